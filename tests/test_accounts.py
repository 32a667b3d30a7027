"""Accounts: by command, in the record, over the routes. What each role may do is decided on the server."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Ended, server_url
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pages import IGNORE_UNCLOSED, build, collect_unclosed, small_project
from starlette.websockets import WebSocketDisconnect

from labeler import Project, accounts
from labeler.accounts import NotSignedIn, SignIns, TooManyAttempts, hashed
from labeler.backup import backup, restore
from labeler.cli.people import Role
from labeler.serve import serve
from labeler.ui.guard import Guard
from labeler.ui.routes import routes
from storage import NewEvent, Store
from storage.values import ROLES

pytestmark = IGNORE_UNCLOSED
LOCAL = "http://labels.example:7860"
PASSWORD = "correct horse battery"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with small_project(tmp_path / "project", n=12) as p:
        yield p


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters that Argon2 is least with; what is tested is not its strength."""
    hasher = accounts.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(accounts, "_hasher", hasher)
    monkeypatch.setattr(accounts, "_nobody", hasher.hash("nobody"))


def with_accounts(project: Project) -> None:
    for name, role in (("ann", "annotator"), ("rita", "reviewer"), ("ada", "admin")):
        project.store.add_account(name, role, hashed(PASSWORD, name))


# ---------- the record ----------


def test_a_name_that_labeled_without_a_password_keeps_its_labels_as_an_account(project: Project) -> None:
    loop = project.loop(annotator="ann")
    question = loop.ask()
    assert question is not None
    loop.answer(question.sample_id, 0)
    assert project.store.account("ann") is None
    project.store.add_account("ann", "reviewer", "hash")
    assert project.store.annotators() == ["ann"]
    assert [(e.annotator, e.kind) for e in project.store.events(annotator="ann")] == [("ann", "label")]
    with pytest.raises(ValueError, match="an account ann already"):
        project.store.add_account("ann", "admin", "another")
    assert project.store.account("ann").role == "reviewer"  # type: ignore[union-attr]


def test_the_last_admin_stays_one(project: Project) -> None:
    with_accounts(project)
    with pytest.raises(ValueError, match="only admin"):
        project.store.change_account("ada", role="annotator")
    with pytest.raises(ValueError, match="only admin"):
        project.store.change_account("ada", disabled=True)
    project.store.change_account("rita", role="admin")
    assert project.store.change_account("ada", disabled=True).disabled
    with pytest.raises(ValueError, match="only admin"):
        project.store.change_account("rita", role="reviewer")
    with pytest.raises(KeyError, match="no account 'nobody'"):
        project.store.change_account("nobody", role="admin")


def test_the_database_holds_no_password(project: Project) -> None:
    with_accounts(project)
    for file in project.folder.glob("labels.db*"):
        assert PASSWORD.encode() not in file.read_bytes()


@pytest.mark.parametrize("password", ["short", "x" * 201, "", "annabelle 12"])
def test_poor_passwords_are_refused(password: str) -> None:
    with pytest.raises(ValueError, match="password"):
        hashed(password, "annabelle")


# ---------- signing in ----------


@pytest.mark.parametrize(
    "change",
    [
        [{"role": "reviewer"}, {"role": "annotator"}],
        [{"disabled": True}, {"disabled": False}],
        [{"password_hash": "another"}],
    ],
)
def test_a_cookie_ends_for_good_with_another_role_or_password_and_when_the_account_is_disabled(
    project: Project, change: list[dict[str, Any]]
) -> None:
    with_accounts(project)
    sign_ins = SignIns(project.store)
    account, cookie = sign_ins.sign_in(" ann ", PASSWORD, "10.0.0.1")
    assert (account.name, sign_ins.who(cookie)) == ("ann", account)
    assert SignIns(project.store).who(cookie) == account, "a restart signs nobody out"
    project.store.change_account("ann", role="annotator")  # which she is
    assert sign_ins.who(cookie) == account
    before = project.store.account("ann")
    for one in change:
        project.store.change_account("ann", **one)
        assert sign_ins.who(cookie) is None
    project.store.change_account("ann", password_hash=before.password_hash)  # type: ignore[union-attr]
    assert sign_ins.who(cookie) is None, "the very hash of before does not bring it back"
    assert sign_ins.who(sign_ins.sign_in("ann", PASSWORD, "10.0.0.1")[1]) is not None


def test_a_cookie_ends_with_time_and_is_worth_nothing_elsewhere(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_accounts(project)
    sign_ins = SignIns(project.store)
    _, cookie = sign_ins.sign_in("ann", PASSWORD, "10.0.0.1")
    forged = accounts.URLSafeTimedSerializer("another secret", salt="labeler sign-in")
    payload = accounts.URLSafeTimedSerializer("", salt="").loads_unsafe(cookie)[1]
    assert payload is not None
    body, signature = cookie.rsplit(".", 1)
    for other in (None, "", "x", f"{body}.{signature[::-1]}", forged.dumps(payload), forged.dumps(7)):
        assert sign_ins.who(other) is None
    monkeypatch.setattr(accounts, "SIGNED_IN_SECONDS", -1)
    assert sign_ins.who(cookie) is None


def test_guesses_are_slowed_for_one_name_and_for_one_address(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with_accounts(project)
    now = [1000.0]
    monkeypatch.setattr(accounts.time, "monotonic", lambda: now[0])
    sign_ins = SignIns(project.store)
    for _ in range(accounts.OF_NAME):
        with pytest.raises(NotSignedIn):
            sign_ins.sign_in("ann", "wrong password", "10.0.0.1")
    with pytest.raises(TooManyAttempts, match="Try again in 5 min"):
        sign_ins.sign_in("ann", PASSWORD, "10.0.0.1")
    sign_ins.sign_in("ann", PASSWORD, "10.0.0.2")  # nobody can lock a person out from elsewhere
    sign_ins.sign_in("rita", PASSWORD, "10.0.0.1")
    for i in range(accounts.OF_ADDRESS - accounts.OF_NAME):
        with pytest.raises(NotSignedIn):
            sign_ins.sign_in(f"guess {i}", "wrong password", "10.0.0.1")
    with pytest.raises(TooManyAttempts):
        sign_ins.sign_in("rita", PASSWORD, "10.0.0.1")
    now[0] += accounts.FORGOTTEN + 1
    assert sign_ins.sign_in("ann", PASSWORD, "10.0.0.1")[0].name == "ann"


def test_a_restored_project_takes_no_sign_in_of_the_one_that_was_backed_up(project: Project, tmp_path: Path) -> None:
    with_accounts(project)
    _, cookie = SignIns(project.store).sign_in("ann", PASSWORD, "10.0.0.1")
    backup(project, tmp_path / "b.zip")
    project.store.change_account("ann", disabled=True)
    restore(tmp_path / "b.zip", tmp_path / "again")
    with Project.open(tmp_path / "again") as again:
        assert SignIns(again.store).who(cookie) is None
        assert SignIns(again.store).sign_in("ann", PASSWORD, "10.0.0.1")


# ---------- over the routes ----------


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The whole application with Gradio in it."""
    with small_project(tmp_path_factory.mktemp("page") / "project", n=12) as p:
        for name, role in (("ann", "annotator"), ("ada", "admin")):
            p.store.add_account(name, role, hashed(PASSWORD, name))
        yield TestClient(build(p, sign_ins=SignIns(p.store)), base_url=LOCAL, follow_redirects=False)
    collect_unclosed()


@pytest.fixture
def client(page: TestClient) -> TestClient:
    page.cookies.clear()
    return page


def signed_in(client: TestClient, name: str) -> TestClient:
    answer = client.post("/labeler/signin", json={"name": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return client


def test_a_database_that_is_away_is_no_reason_to_sign_in_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in(client, "ann")

    def away(*_: object) -> None:
        raise ConnectionError("the server was stopped")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "account", away)
        answer = client.get("/labeler/state")
        assert (answer.status_code, answer.json()) == (503, {"detail": "The database does not answer."})
    assert client.get("/labeler/state").json()["annotator"] == "ann"


def test_nothing_is_shown_to_who_is_not_signed_in(project: Project, client: TestClient) -> None:
    api = routes(project, None, SignIns(project.store))
    open_to_all = {"/labeler/signin", "/labeler/ui/{name}"}
    paths = {getattr(route, "path", "") for route in api.routes}
    assert {"/labeler/next", "/labeler/commit", "/labeler/image/{sample_id}", "/labeler/state"} <= paths
    for path in sorted(paths - open_to_all):
        for method in ("GET", "POST"):
            answer = client.request(method, path.replace("{sample_id}", "1").replace("{version}", "1"))
            assert answer.status_code == 401, (method, path)
    for path in ("/", "/config", "/gradio_api/info", "/labeler/../config", "//labeler/ui/x"):
        assert client.get(path).status_code in (401, 404), path
    to_a_person = client.get("/", headers={"accept": "text/html,*/*"})
    assert (to_a_person.status_code, to_a_person.headers["location"]) == (303, "/labeler/signin")
    assert "Sign in" in client.get("/labeler/signin").text
    assert client.get("/labeler/ui/signin.js").status_code == 200


def test_a_socket_is_closed_to_who_is_not_signed_in(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/anything"):
        pass
    assert (refused.value.code, refused.value.reason) == (1008, "Sign in first.")


def test_labels_are_the_accounts_whatever_name_a_cookie_says(client: TestClient) -> None:
    signed_in(client, "ann")
    client.cookies.set("labeler_name", "ada")
    state = client.get("/labeler/state").json()
    assert (state["annotator"], state["role"]) == ("ann", "annotator")
    about = {"project": state["key"], "client": "tab-00000001"}
    question = client.post("/labeler/next", json={**about, "n": 1}).json()["questions"][0]
    operation = {"uid": "uid-00000001", "kind": "label", "sample_id": question["sample_id"], "class_id": 1}
    assert client.post("/labeler/commit", json={**about, "operations": [operation]}).json()["stored"]
    assert [one["uid"] for one in client.get("/labeler/history").json()["answers"]] == ["uid-00000001"]
    assert client.post("/labeler/name", json={"name": "ada"}).status_code == 403
    client.cookies.clear()
    signed_in(client, "ada")
    assert client.get("/labeler/history").json()["answers"] == []


def test_only_an_admin_changes_how_images_are_chosen(client: TestClient) -> None:
    key = signed_in(client, "ann").get("/labeler/state").json()["key"]
    mine = {"project": key, "client": "tab-00000001", "newest": True}
    assert client.post("/labeler/queue", json=mine).json()["queue"]["newest"]
    refused = client.post("/labeler/control", json={"project": key, "acquisition": "random"})
    assert (refused.status_code, refused.json()["detail"]) == (403, "Only an admin may do this; ann is an annotator.")
    client.cookies.clear()
    signed_in(client, "ada")
    assert client.get("/labeler/state").json()["queue"]["newest"] is False  # what ann wants is not what ada wants
    assert client.post("/labeler/control", json={"project": key, "acquisition": "random"}).status_code == 200


@pytest.mark.parametrize("role", ROLES)
def test_only_reviewers_and_admins_change_what_another_person_answered(
    role: str, tmp_path: Path, database: Path | str
) -> None:
    """Of images 1 to 4 bob's answers, 5 her own, 6 nobody's, 7 to 12 asked of two people, bob and another."""
    kinds = ("label", "skip", "unsure", "flag")
    with small_project(tmp_path / "p", n=12, database=server_url(database)) as p:
        p.store.add_account("ann", role, hashed(PASSWORD, "ann"))
        p.store.record([NewEvent(f"bobs-answer-{i}", "label", i, 2, "bob", "tab") for i in range(1, 5)])
        p.store.record([NewEvent("anns-answer-5", "label", 5, 2, "ann", "another")])
        app, sign_ins = FastAPI(), SignIns(p.store)
        app.include_router(routes(p, None, sign_ins))
        client = TestClient(Guard(app, sign_ins.who), base_url=LOCAL)
        about = {"project": signed_in(client, "ann").get("/labeler/state").json()["key"], "client": "tab-00000001"}

        def refused(*operations: dict[str, Any]) -> dict[str, str]:
            answer = client.post("/labeler/commit", json={**about, "operations": operations}).json()
            assert not any(one["again"] for one in answer["refused"])
            return {one["uid"]: one["reason"] for one in answer["refused"]}

        theirs = [
            {"uid": f"answer-{i}", "kind": kind, "sample_id": i, "class_id": 1 if kind == "label" else None}
            for i, kind in enumerate(kinds, start=1)
        ]
        theirs.append({"uid": "undoing-1", "kind": "undo", "sample_id": 1, "undoes": "bobs-answer-1"})
        own = [
            {"uid": "answer-5", "kind": "label", "sample_id": 5, "class_id": 1},
            {"uid": "undoing-5", "kind": "undo", "sample_id": 5, "undoes": "anns-answer-5"},
            {"uid": "answer-6", "kind": "skip", "sample_id": 6},
        ]
        told = refused(*theirs, *own)
        assert set(told) == ({one["uid"] for one in theirs} if role == "annotator" else set())
        for uid, reason in told.items():
            assert "a reviewer may" in reason, uid
        states = {i: (state.kind, state.annotator) for i, state in p.store.states().items()}
        others = {i: ("label", "bob") if role == "annotator" else (kind, "ann") for i, kind in enumerate(kinds, 1)}
        assert states == {**others, 5: ("label", "ann"), 6: ("skip", "ann")}

        p.set_overlap(1, 2)
        p.store.record([NewEvent(f"{who}-7", "label", 7, 2, who, "tab") for who in ("bob", "cy")])
        assert refused({"uid": "answer-7", "kind": "label", "sample_id": 7, "class_id": 3}) == {}
        answers = [(one.annotator, one.class_id) for one in p.store.answers() if one.sample_id == 7]
        assert answers == [("bob", 2), ("cy", 2), ("ann", 3)]


def test_how_fast_others_are_is_told_to_reviewers_and_admins_alone(client: TestClient) -> None:
    told = {}
    for name in ("ann", "ada", "ann"):
        client.cookies.clear()
        key = signed_in(client, name).get("/labeler/state").json()["key"]
        operation = {"uid": f"pace-of-{name}", "kind": "label", "sample_id": 9, "class_id": 1, "ms": 1000}
        about = {"project": key, "client": "tab-00000001"}
        assert client.post("/labeler/commit", json={**about, "operations": [operation]}).json()["stored"]
        told[name] = {one["annotator"] for one in client.get("/labeler/learning").json()["pace"]["people"]}
    assert told == {"ann": {"ann"}, "ada": {"ann", "ada"}}


def test_a_wrong_password_and_signing_out(client: TestClient) -> None:
    wrong = client.post("/labeler/signin", json={"name": "ann", "password": "something else"})
    unknown = client.post("/labeler/signin", json={"name": "nobody", "password": "something else"})
    assert (wrong.status_code, wrong.json()) == (unknown.status_code, unknown.json()) == (403, wrong.json())
    answer = client.post("/labeler/signin", json={"name": "ann", "password": PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/labeler/state").status_code == 200
    client.post("/labeler/signout", json={})
    client.cookies.clear()
    assert client.get("/labeler/state").status_code == 401


def test_other_cookies_of_this_host_do_no_harm(client: TestClient) -> None:
    cookie = client.post("/labeler/signin", json={"name": "ann", "password": PASSWORD}).cookies["labeler_signin"]
    client.cookies.clear()
    for other in ('prefs={"a": "b, c"}', "a b=1", "=x", "k[0]=v"):
        headers = {"cookie": f"{other}; labeler_signin={cookie}"}
        assert client.get("/labeler/state", headers=headers).json()["annotator"] == "ann", other


def test_another_site_can_neither_sign_in_nor_label(client: TestClient) -> None:
    signed_in(client, "ann")
    for path in ("/labeler/signin", "/labeler/commit", "/labeler/signout"):
        answer = client.post(path, json={}, headers={"origin": "http://evil.example"})
        assert (answer.status_code, answer.text) == (403, "Requests from other pages are refused.")


# ---------- commands ----------


def test_accounts_by_command(project: Project, labeler: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    def user(*args: object, password: str = "") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\n"))
        return labeler("user", *args)

    made = user("add", project.folder, "ada", "--role", "admin", "--password-stdin", password=PASSWORD)
    assert (made.code, "may sign in as admin" in made.out) == (0, True), made
    assert SignIns(project.store).sign_in("ada", PASSWORD, "here")[0].role == "admin"
    again = user("add", project.folder, "ada", "--password-stdin", password=PASSWORD)
    assert (again.code, "an account ada already" in again.err) == (1, True)
    alike = user("add", project.folder, "Ada", "--password-stdin", password=PASSWORD)
    assert (alike.code, "There is ada already" in alike.err) == (1, True)
    short = user("add", project.folder, "ben", "--password-stdin", password="short")
    assert (short.code, "10 to 200 characters" in short.err) == (1, True)
    assert "ada" in user("list", project.folder).out
    refused = user("disable", project.folder, "ada")
    assert (refused.code, "only admin" in refused.err) == (1, True)
    unasked = user("password", project.folder, "ada")
    assert (unasked.code, "--password-stdin" in unasked.err) == (1, True)


def test_roles_of_the_command_are_those_of_the_record() -> None:
    assert [role.value for role in Role] == list(ROLES)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_a_start_where_nobody_could_sign_in_is_refused(project: Project, host: str) -> None:
    with pytest.raises(ValueError, match=f"labeler user add {project.folder} NAME --role admin"):
        serve(project.folder, host=host, auth=host == "127.0.0.1", open_browser=False)
    project.store.add_account("ann", "annotator", "hash")
    project.store.change_account("ann", disabled=True)
    with pytest.raises(ValueError, match="needs"):
        serve(project.folder, host=host, auth=True, open_browser=False)
