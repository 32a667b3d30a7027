"""The page's own routes, without a browser."""

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pages import IGNORE_UNCLOSED, LOCAL, build, collect_unclosed, publish_version, small_project
from PIL import Image

from labeler import Project
from labeler.published import publish_ranking
from labeler.ui.routes import routes

pytestmark = IGNORE_UNCLOSED


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with small_project(tmp_path / "project", n=30) as p:
        yield p


Tab = Callable[..., Any]


@pytest.fixture
def client(project: Project) -> TestClient:
    """Our routes alone, which is quick."""
    app = FastAPI()
    app.include_router(routes(project))
    return TestClient(app, base_url=LOCAL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The whole application with Gradio in it; its tests change nothing but a name."""
    with small_project(tmp_path_factory.mktemp("page") / "project", n=2) as p:
        yield TestClient(build(p), base_url=LOCAL)
    collect_unclosed()


def tab(client: TestClient, name: str = "ann", client_id: str = "tab-00000001") -> Tab:
    """Posts as one browser tab of one annotator does."""
    key = client.get("/labeler/state").json()["key"]
    client.cookies.clear()
    assert client.post("/labeler/name", json={"name": name}).status_code == 200
    cookie = {"cookie": f"labeler_name={client.cookies['labeler_name']}"}

    def post(path: str, **body: Any) -> Any:
        client.cookies.clear()
        answer = client.post(f"/labeler/{path}", json={"project": key, "client": client_id} | body, headers=cookie)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return post


def test_an_empty_refill_tells_how_many_images_are_on_the_screens_of_others(
    project: Project, client: TestClient
) -> None:
    ann, bob = tab(client), tab(client, "bob", "tab-00000002")
    theirs = [question["sample_id"] for question in bob("next", n=20)["questions"]]
    first = ann("next", n=20)
    mine = [question["sample_id"] for question in first["questions"]]
    assert (len(mine), first["elsewhere"]) == (10, 0)
    assert ann("next", n=5, have=mine) == {"questions": [], "elsewhere": 20, "answered": 0, "narrowed": False}
    bob("commit", operations=[label(f"bobs-label-{i}", i) for i in theirs])
    assert ann("next", n=5, have=mine) == {"questions": [], "elsewhere": 0, "answered": 0, "narrowed": False}


def label(uid: str, sample_id: int, class_id: int = 1, **more: Any) -> dict[str, Any]:
    return {"uid": uid, "kind": "label", "sample_id": sample_id, "class_id": class_id} | more


def test_an_answer_is_stored_once_however_often_it_is_sent(project: Project, client: TestClient) -> None:
    post = tab(client)
    question = post("next", n=1)["questions"][0]
    operation = label("uid-0001", question["sample_id"], 2, ms=450)

    assert post("commit", operations=[operation])["stored"] == ["uid-0001"]
    again = post("commit", operations=[operation])

    assert (again["stored"], again["refused"]) == (["uid-0001"], [])
    (event,) = project.store.events()
    assert (event.sample_id, event.class_id, event.annotator, event.client, event.ms) == (
        question["sample_id"], 2, "ann", "tab-00000001", 450,
    )  # fmt: skip
    assert again["counts"]["per_class"]["2"] == 1


def test_the_same_uid_with_another_answer_and_an_undo_of_nothing_are_refused_with_a_reason(
    project: Project, client: TestClient
) -> None:
    post = tab(client)
    undo = {"uid": "undo-0001", "kind": "undo", "sample_id": 1, "undoes": "uid-0001"}
    assert post("commit", operations=[label("uid-0001", 1, 2), undo])["refused"] == []
    sent = [label("uid-0001", 1, 3), undo, undo | {"uid": "undo-0002"}, label("uid-0002", 2), label("uid-0003", 3, 99)]

    answer = post("commit", operations=sent)

    assert answer["stored"] == ["undo-0001", "uid-0002"]
    told = {refused["uid"]: (refused["reason"], refused["again"]) for refused in answer["refused"]}
    assert told == {
        "uid-0001": ("The answer uid-0001 is stored already, and says something else. It was left as it is.", False),
        "undo-0002": ("That answer was taken back already.", False),
        "uid-0003": ("There is no class with id 99.", True),
    }
    assert [(e.uid, e.class_id) for e in project.store.events()] == [
        ("uid-0001", 2), ("undo-0001", None), ("uid-0002", 1),
    ]  # fmt: skip


def test_a_ranking_between_two_versions_is_told_and_asked_from(project: Project, client: TestClient) -> None:
    publish_version(project, 1)
    post, before = tab(client), client.get("/labeler/state").json()
    held = [question["sample_id"] for question in post("next", n=4)["questions"]]
    answered, shown, coming = held[0], held[1], held[2]
    post("commit", operations=[label("uid-0001", answered)])
    version = project.published()
    assert version is not None
    wanted = [i for i in version.sample_ids.tolist() if i not in held][::-1]
    probs = np.roll(version.probs, 1, axis=1)
    publish_ranking(
        version.folder,
        acquisition="margin",
        last_event_id=project.store.last_event_id(),
        probs=probs,
        scores=np.full(len(probs), 0.25, np.float32),
        ranking=np.array([shown, coming, *wanted]),
    )

    after = client.get("/labeler/state").json()
    assert after["version"] == before["version"] == 1
    assert after["ranking"] != before["ranking"]
    questions = post("next", n=3, have=[shown, coming], replace=True)["questions"]
    assert [question["sample_id"] for question in questions] == wanted[:3]
    assert (questions[0]["guess"], questions[0]["score"], questions[0]["version"]) == (4, 0.25, 1)


def test_what_the_screen_showed_is_kept_with_the_answer(project: Project, client: TestClient) -> None:
    publish_version(project, 1)
    post = tab(client)
    question = post("next", n=1)["questions"][0]
    assert question["guess"] == 3
    echo = {k: question[k] for k in ("version", "acquisition", "score", "rank", "purpose")}
    predicted = {"predicted_class_id": 3, "predicted_prob": question["probs"]["3"]}

    post("commit", operations=[label("uid-0001", question["sample_id"]) | echo | predicted])

    (event,) = project.store.events()
    assert (event.version, event.acquisition, event.score, event.rank) == (1, "margin", 0.5, question["rank"])
    assert (event.predicted_class_id, event.purpose) == (3, "learn")
    assert event.predicted_prob == pytest.approx(0.7)


def test_two_tabs_never_get_the_same_image_and_a_refill_brings_only_new_ones(client: TestClient) -> None:
    ann, bob = tab(client), tab(client, client_id="tab-00000002")

    first = [q["sample_id"] for q in ann("next", n=8)["questions"]]
    second = [q["sample_id"] for q in ann("next", n=8, have=first)["questions"]]
    others = [q["sample_id"] for q in bob("next", n=16)["questions"]]

    assert len({*first, *second}) == 16
    assert len(others) == 14, "thirty images, sixteen of them with the other tab"
    assert not {*first, *second} & set(others)
    assert bob("next", n=2, have=others)["questions"] == []


def test_images_that_are_given_back_go_to_others(client: TestClient) -> None:
    ann, bob = tab(client), tab(client, "bob", "tab-00000002")
    held = [q["sample_id"] for q in ann("next", n=30)["questions"]]
    assert bob("next", n=1)["questions"] == []

    ann("release", sample_ids=held[:2])

    assert {q["sample_id"] for q in bob("next", n=30)["questions"]} == set(held[2:])
    assert ann("renew", sample_ids=held[:3])["held"] == held[:2]


def test_an_impossible_answer_is_refused_by_name_and_holds_up_no_other(project: Project, client: TestClient) -> None:
    post = tab(client)
    operations = [label("uid-0001", 1), label("uid-0002", 2, class_id=99), label("uid-0003", 999), label("uid-0004", 3)]

    answer = post("commit", operations=operations)

    assert answer["stored"] == ["uid-0001", "uid-0004"]
    assert [refusal["uid"] for refusal in answer["refused"]] == ["uid-0002", "uid-0003"]
    assert all(refusal["reason"] for refusal in answer["refused"])
    assert project.store.labels() == {1: 1, 3: 1}


def test_an_undo_gives_the_image_back_to_the_screen_it_names(project: Project, client: TestClient) -> None:
    post = tab(client)
    post("commit", operations=[label("uid-0001", 1), label("uid-0002", 2)])
    undo = {"uid": "uid-0003", "kind": "undo", "sample_id": 1, "undoes": "uid-0001", "client": "tab-00000001-grid"}
    post("commit", operations=[undo, {"uid": "uid-0004", "kind": "undo", "sample_id": 2, "undoes": "uid-0002"}])
    assert project.store.held("ann", "tab-00000001-grid") == [1]
    assert project.store.held("ann", "tab-00000001") == [2]


def test_the_history_holds_what_an_annotator_answered_and_did_not_undo(client: TestClient) -> None:
    post = tab(client)
    operations = [label("uid-0001", 1), label("uid-0002", 2), {"uid": "uid-0003", "kind": "skip", "sample_id": 3}]
    post("commit", operations=operations)
    post("commit", operations=[{"uid": "uid-0004", "kind": "undo", "sample_id": 2, "undoes": "uid-0002"}])

    answers = client.get("/labeler/history", headers={"cookie": "labeler_name=ann"}).json()["answers"]

    assert [(a["uid"], a["kind"], a["class_id"]) for a in answers] == [
        ("uid-0003", "skip", None),
        ("uid-0001", "label", 1),
    ]


def test_a_page_of_another_project_cannot_store_its_labels_here(project: Project, client: TestClient) -> None:
    client.post("/labeler/name", json={"name": "ann"})
    for path, body in [("commit", {"operations": [label("uid-0001", 1)]}), ("next", {"n": 1})]:
        message = {"project": "another", "client": "tab-00000001"}
        assert client.post(f"/labeler/{path}", json=message | body).status_code == 409
    assert project.store.events() == []


def test_nothing_is_asked_or_stored_before_a_name_is_given(client: TestClient) -> None:
    key = client.get("/labeler/state").json()["key"]
    message = {"project": key, "client": "tab-00000001"}
    assert client.post("/labeler/next", json=message | {"n": 1}).status_code == 401
    assert client.post("/labeler/commit", json=message | {"operations": [label("uid-0001", 1)]}).status_code == 401
    assert client.get("/labeler/state").json()["annotator"] is None


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "two\nlines\x07", "import", "Import"])
def test_a_name_that_cannot_be_kept_is_refused_with_a_sentence(client: TestClient, name: str) -> None:
    answer = client.post("/labeler/name", json={"name": name})
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith(".")
    assert "labeler_name" not in client.cookies


def test_a_name_that_differs_by_capital_letters_alone_is_refused(project: Project, client: TestClient) -> None:
    assert client.post("/labeler/name", json={"name": "Zoë"}).status_code == 200
    refused = client.post("/labeler/name", json={"name": "zoë"})
    assert (refused.status_code, "There is Zoë already" in refused.json()["detail"]) == (422, True)
    project.store.annotator("zoë")  # from a record of before
    for name in ("Zoë", "zoë"):
        assert client.post("/labeler/name", json={"name": name}).status_code == 200


def test_a_name_of_any_script_comes_back_as_it_was_typed(client: TestClient) -> None:
    client.post("/labeler/name", json={"name": "  Zoë 李;=, ©  "})
    assert client.get("/labeler/state").json()["annotator"] == "Zoë 李;=, ©"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"origin": "http://evil.example"}),
        ("POST", {"origin": "http://127.0.0.1:9999"}),
        ("POST", {"origin": "null"}),
        ("GET", {"origin": "http://["}),
        ("POST", {"sec-fetch-site": "cross-site"}),
        ("GET", {"origin": "http://evil.example"}),
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}),
        ("GET", {"host": "evil.example"}),
        ("GET", {"host": "evil.example:7860"}),
        ("GET", {"host": "127.0.0.1.evil.example"}),
        ("GET", {"host": "[::1"}),
    ],
)
@pytest.mark.parametrize("path", ["/labeler/state", "/labeler/name", "/", "/gradio_api/queue/join"])
def test_other_sites_are_refused_on_every_route(
    page: TestClient, method: str, headers: dict[str, str], path: str
) -> None:
    answer = page.request(method, path, headers=headers, json={"name": "eve"} if method == "POST" else None)
    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860"])
def test_this_machine_is_answered_under_each_of_its_names(page: TestClient, host: str) -> None:
    headers = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert page.post("/labeler/name", json={"name": "ann"}, headers=headers).status_code == 200
    link = {"host": host, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert page.get("/", headers=link).status_code == 200


def test_an_image_named_with_its_hash_may_be_kept_forever(project: Project, client: TestClient) -> None:
    question = tab(client)("next", n=1)["questions"][0]
    answer = client.get(question["image"])
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    pixels = np.array(Image.open(io.BytesIO(answer.content)))
    assert pixels.shape == (8, 8)
    again = client.get(question["image"], headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    bare = client.get(f"/labeler/image/{question['sample_id']}")
    assert (bare.content, bare.headers["cache-control"]) == (answer.content, "no-cache")
    assert client.get("/labeler/image/999").status_code == 404


def test_a_thumbnail_of_a_large_image_is_small(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((300, 600, 3), np.uint8)).save(tmp_path / "large.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "large.png").rename(tmp_path / "in" / "large.png")
    with Project.create(tmp_path / "project", ["a"]) as project:
        project.import_(tmp_path / "in", measure_share=0)
        app = FastAPI()
        app.include_router(routes(project))
        client = TestClient(app, base_url=LOCAL)
        thumb = Image.open(io.BytesIO(client.get("/labeler/thumb/1").content))
        assert thumb.size == (128, 64)
        assert Image.open(io.BytesIO(client.get("/labeler/image/1").content)).size == (600, 300)


def test_generated_images_come_as_one_sheet_with_a_row_for_each_class(project: Project, client: TestClient) -> None:
    assert client.get("/labeler/generated/1").status_code == 404
    publish_version(project, 1)
    told = client.get("/labeler/state").json()["generated"]
    assert (told["version"], told["n"], told["height"], told["width"]) == (1, 4, 8, 8)
    answer = client.get(told["url"])
    sheet = np.array(Image.open(io.BytesIO(answer.content)))
    published = project.published()
    assert published is not None
    assert sheet.shape == (10 * 8, 4 * 8)
    assert (sheet[16:24, 8:16] == published.generated[2, 1]).all()
    assert client.get(told["url"], headers={"if-none-match": answer.headers["etag"]}).status_code == 304


def test_accuracy_is_never_told_without_the_number_it_stands_on(project: Project, client: TestClient) -> None:
    publish_version(project, 1, gold_accuracy=0.812, gold_n=1000, measured_accuracy=0.5)
    assert client.get("/labeler/state").json()["accuracy"] == [{"kind": "gold", "value": 0.812, "n": 1000}]
    versions = client.get("/labeler/learning").json()["versions"]
    assert [(v["version"], v["labels"], v["metrics"]["gold_n"]) for v in versions] == [(1, 0, 1000)]


def test_how_everybody_is_asked_is_chosen_from_what_there_is(project: Project, client: TestClient) -> None:
    post = tab(client)
    assert post("control", acquisition="entropy")["control"]["acquisition"] == "entropy"
    now = post("control", random_share=0.25, diversity=2, paused=True)["control"]
    assert now == {
        "paused": True,
        "acquisition": "entropy",
        "random_share": 0.25,
        "measure_share": 0.1,
        "diversity": 2.0,
    }
    state = client.get("/labeler/state").json()
    assert state["control"] == now
    for wrong in ({"acquisition": "telepathy"}, {"random_share": 2}, {"paused": "perhaps"}):
        body = {"project": state["key"], "paused": False} | wrong
        assert client.post("/labeler/control", json=body, headers={"cookie": "labeler_name=ann"}).status_code == 422
    assert client.get("/labeler/state").json()["control"] == now


def test_a_person_narrows_what_is_asked_and_lifts_it_again(project: Project, client: TestClient) -> None:
    publish_version(project, 1, labels=1)
    post, other = tab(client), tab(client, "bob", "tab-00000002")
    answer = post("queue", sample_ids=[5, 6, 7, 900], title="on the map")
    assert answer["left"] == 3
    assert {name: answer["queue"][name] for name in ("selected", "title", "class_id", "newest")} == {
        "selected": 4,
        "title": "on the map",
        "class_id": None,
        "newest": False,
    }
    asked = post("next", n=9)["questions"]
    assert sorted(q["sample_id"] for q in asked) == [5, 6, 7]
    assert {q["acquisition"] for q in asked} == {"margin among selection"}
    assert len(other("next", n=9)["questions"]) == 9
    assert post("queue", class_id=3)["left"] == 3  # the selection stays
    assert post("queue", class_id=4)["left"] == 0
    post("release", sample_ids=[])
    empty = post("next", n=9)
    assert (empty["questions"], empty["narrowed"]) == ([], True)
    lifted = post("queue", class_id=None, sample_ids=None)
    assert lifted["queue"]["selected"] is None
    assert lifted["left"] == 30 - 9
    assert len(post("next", n=9)["questions"]) == 9


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"sample_ids": []}, 422),
        ({"sample_ids": [0]}, 422),
        ({"sample_ids": [2**70]}, 422),
        ({"class_id": 99}, 404),
        ({"title": 81 * "x"}, 422),
    ],
)
def test_a_narrowing_that_cannot_be_is_refused(client: TestClient, body: dict[str, Any], status: int) -> None:
    tab(client)
    key = client.get("/labeler/state").json()["key"]
    body = {"project": key, "client": "tab-00000001", "newest": True} | body
    headers = {"cookie": "labeler_name=ann"}
    assert client.post("/labeler/queue", json=body, headers=headers).status_code == status
    assert client.get("/labeler/state", headers=headers).json()["queue"]["newest"] is False
    assert client.post("/labeler/queue", json=body | {"project": "another"}, headers=headers).status_code in (409, 422)


def test_only_the_pages_own_files_are_handed_out(client: TestClient) -> None:
    assert client.get("/labeler/ui/canvas.js").headers["content-type"].startswith("text/javascript")
    for name in ("routes.py", "..%2Fserve.py", "..%2f..%2flabels.db", "__init__.py", "nothing.js"):
        assert client.get(f"/labeler/ui/{name}").status_code == 404


def test_the_page_names_no_address_outside_this_machine(page: TestClient) -> None:
    answer = page.get("/")
    linked = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(https?://[^"'\s)>]+)""", answer.text)
    assert not [url for url in linked if not url.startswith(LOCAL)]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert not re.search(r"https?:|\*", policy)
    assert '"run_history":true' not in answer.text.replace(" ", "")


def test_a_button_of_a_merged_class_on_an_old_page_is_kept_and_counts_as_the_other(
    project: Project, client: TestClient
) -> None:
    publish_version(project, 1)
    post = tab(client)
    question = post("next", n=1)["questions"][0]
    project.store.merge_classes([3], into=5)

    answer = post("commit", operations=[label("uid-0001", question["sample_id"], 3, predicted_class_id=3)])

    assert (answer["stored"], answer["refused"]) == (["uid-0001"], [])
    assert answer["counts"]["per_class"] == {str(i): int(i == 5) for i in range(1, 11) if i != 3}
    assert project.store.events()[0].class_id == 3
    state = client.get("/labeler/state").json()
    assert state["merged"] == {"3": 5}
    assert 3 not in [c["id"] for c in state["classes"]]
    project.store.unmerge_classes([3])
    assert project.store.labels() == {question["sample_id"]: 3}


def test_a_button_of_an_archived_class_on_an_old_page_is_refused_and_its_image_stays_with_the_tab(
    project: Project, client: TestClient
) -> None:
    post = tab(client)
    asked = [question["sample_id"] for question in post("next", n=2)["questions"]]
    project.store.archive_classes([3])

    answer = post("commit", operations=[label("uid-0001", asked[0], 3), label("uid-0002", asked[1], 4)])

    assert answer["stored"] == ["uid-0002"]
    reason = "The class 'class 3' is archived. Choose another class, or restore it."
    assert answer["refused"] == [{"uid": "uid-0001", "reason": reason, "again": True}]
    assert post("renew", sample_ids=asked)["held"] == asked[:1]
    assert post("commit", operations=[label("uid-0003", asked[0], 4)])["stored"] == ["uid-0003"]


def test_beliefs_of_an_older_version_are_told_of_the_classes_as_they_are_now(
    project: Project, client: TestClient
) -> None:
    publish_version(project, 1)  # class 3 with .7, class 5 with .2, the others with .0125 each
    post = tab(client)
    project.store.merge_classes([3], into=7)
    question = post("next", n=1)["questions"][0]
    assert question["guess"] == 7
    assert question["probs"]["7"] == pytest.approx(0.7125)
    assert "3" not in question["probs"]
    project.store.archive_classes([7])
    question = post("next", n=1)["questions"][0]
    assert question["guess"] == 5
    assert question["probs"]["5"] == pytest.approx(0.2 / 0.2875)
    assert sum(question["probs"].values()) == pytest.approx(1)


def test_the_history_names_what_an_answer_counts_as_and_each_version_its_own_classes(
    project: Project, client: TestClient
) -> None:
    publish_version(project, 1)
    post = tab(client)
    post("commit", operations=[label("uid-0001", 1, 3)])
    project.store.merge_classes([3], into=5)
    publish_version(project, 2)
    answers = client.get("/labeler/history", headers={"cookie": "labeler_name=ann"}).json()["answers"]
    assert [a["class_id"] for a in answers] == [3]
    assert client.get("/labeler/state").json()["merged"] == {"3": 5}
    versions = client.get("/labeler/learning").json()["versions"]
    assert [len(version["class_ids"]) for version in versions] == [10, 9]


BIG, HALF, JSON = 2**63, "\ud800", {"content-type": "application/json"}
LABEL: dict[str, Any] = {"uid": "uid-00001", "kind": "label", "sample_id": 1, "class_id": 1}


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        (f"image/{BIG}", None, "sample_id"),
        (f"thumb/-{10 * BIG}", None, "sample_id"),
        (f"map/image/{BIG}", None, "sample_id"),
        (f"classes/1/images?order=new&offset={BIG}", None, "offset"),
        (f"review?first={BIG}", None, "first"),
        ("next", {"n": 1, "have": [BIG]}, "have.0"),
        ("grid", {"n": 4, "seen": [BIG]}, "seen.0"),
        ("commit", {"operations": [LABEL | {"rank": BIG}]}, "operations.0.rank"),
        ("commit", {"operations": [LABEL | {"acquisition": HALF}]}, "operations.0.acquisition"),
        ("commit", {"operations": [LABEL | {"uid": 9 * HALF}]}, "operations.0.uid"),
        ("commit", {"operations": [], "annotator": HALF}, "annotator"),
        ("queue", {"sample_ids": [1], "title": HALF}, "title"),
        ("keys", {"keys": {"skip": HALF}}, "keys.skip"),
        ("review", LABEL | {"sample_id": BIG}, "sample_id"),
        ("classes", {"kind": "guideline", "class_ids": [1], "text": "x", "was": BIG}, "was"),
    ],
)
def test_numbers_and_texts_that_no_database_holds_are_refused_with_the_reason(
    path: str, body: dict[str, Any] | None, place: str, page: TestClient
) -> None:
    page.post("/labeler/name", json={"name": "ann"})
    message = {"project": page.get("/labeler/state").json()["key"], "client": "tab-00000001"}
    sent = None if body is None else json.dumps(message | body)
    answer = page.request("GET" if sent is None else "POST", f"/labeler/{path}", content=sent, headers=JSON)
    page.cookies.clear()
    assert (answer.status_code, answer.json()["detail"].split(": ")[0]) == (422, place)


def test_keys_belong_to_the_person_who_chose_them(client: TestClient) -> None:
    ann, bob = tab(client), tab(client, "bob", "tab-00000002")
    assert ann("keys", keys={"class:3": "q", "flag": ""}) == {"keys": {"class:3": "q", "flag": ""}}
    assert bob("keys", keys={"skip": "x"}) == {"keys": {"skip": "x"}}
    own = {}
    for name in ("ann", "bob", "cem"):
        client.post("/labeler/name", json={"name": name})
        own[name] = client.get("/labeler/state").json()["keys"]
    assert own == {"ann": {"class:3": "q", "flag": ""}, "bob": {"skip": "x"}, "cem": {}}


@pytest.mark.parametrize("keys", [{"class:x": "q"}, {"Flag!": "q"}, {"flag": "long"}, {"flag": 3}])
def test_keys_that_make_no_sense_are_refused(client: TestClient, keys: dict[str, Any]) -> None:
    key = client.get("/labeler/state").json()["key"]
    client.post("/labeler/name", json={"name": "ann"})
    assert client.post("/labeler/keys", json={"project": key, "keys": keys}).status_code == 422
    assert client.get("/labeler/state").json()["keys"] == {}
