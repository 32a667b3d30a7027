"""The routes of the Classes tab, without a browser: what each change does, who may make it, what others see of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pages import IGNORE_UNCLOSED, LOCAL, small_project

from labeler import Project
from labeler.accounts import SignIns, hashed
from labeler.ui.guard import Guard
from labeler.ui.routes import routes

pytestmark = IGNORE_UNCLOSED
PASSWORD = "correct horse battery"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Samples 1 to 4 are cats, 5 and 6 dogs."""
    with small_project(tmp_path / "project", n=12, classes=["cat", "dog", "owl"]) as p:
        loop = p.loop("ann")
        for sample_id in range(1, 7):
            loop.answer(sample_id, "cat" if sample_id < 5 else "dog")
        yield p


def client_of(project: Project, sign_ins: SignIns | None = None) -> TestClient:
    app = FastAPI()
    app.include_router(routes(project, None, sign_ins))
    app.add_middleware(Guard, who=sign_ins.who if sign_ins else None)
    return TestClient(app, base_url=LOCAL)


@pytest.fixture
def client(project: Project) -> TestClient:
    client = client_of(project)
    client.post("/labeler/name", json={"name": "rita"})
    return client


def change(client: TestClient, kind: str, status: int = 200, **more: Any) -> Any:
    key = client.get("/labeler/state").json()["key"]
    answer = client.post("/labeler/classes", json={"project": key, "kind": kind, **more})
    assert answer.status_code == status, answer.text
    return answer.json()


def told(answer: dict[str, Any]) -> list[tuple[str, str, str, int]]:
    return [(one["name"], one["key"], one["status"], one["labels"]) for one in answer["classes"]]


def test_each_change_is_made_and_answered_with_the_classes_as_they_are_then(
    project: Project, client: TestClient
) -> None:
    fox = change(client, "add", name="fox")["added"][0]
    change(client, "rename", class_ids=[3], name="barn owl")
    change(client, "recolour", class_ids=[3], value="#123456")
    change(client, "key", class_ids=[fox], value="1")
    answer = change(client, "reorder", class_ids=[fox, 3, 2, 1])
    assert told(answer) == [
        ("fox", "1", "active", 0), ("barn owl", "3", "active", 0), ("dog", "2", "active", 2), ("cat", "4", "active", 4),
    ]  # fmt: skip
    assert told(change(client, "reorder", class_ids=[fox, 3, 2, 1], keys=True))[3] == ("cat", "4", "active", 4)
    answer = change(client, "merge", class_ids=[2], into=1)
    assert told(answer)[2:] == [("cat", "4", "active", 6), ("dog", "3", "merged", 2)]
    assert answer["classes"][3]["merged_into"] == "cat"
    change(client, "unmerge", class_ids=[2])
    change(client, "archive", class_ids=[2])
    assert told(change(client, "restore", class_ids=[2]))[2] == ("dog", "3", "active", 2)
    split = change(client, "split", class_ids=[1], name="kitten", sample_ids=[1, 2])
    assert told(split)[-1] == ("kitten", "5", "active", 2)
    for _ in range(2):  # sent again, it does nothing
        answer = change(client, "unsplit", value=split["group_id"])
        assert told(answer)[3:] == [("cat", "4", "active", 4), ("kitten", "5", "archived", 0)]
    assert {event.annotator for event in project.store.class_events() if event.after_event_id} == {"rita"}
    assert project.store.check() == []


def test_what_cannot_be_done_is_one_line_and_changes_nothing(project: Project, client: TestClient) -> None:
    before = project.store.class_events()
    for kind, more, reason in [
        ("add", {"name": "cat"}, "The class 'cat' is there twice. Give every class its own name."),
        ("rename", {"class_ids": [9], "name": "x"}, "There is no class with id 9."),
        ("merge", {"class_ids": [1], "into": 1}, "The class 'cat' cannot be merged into itself."),
        ("recolour", {"class_ids": [1], "value": "red"}, "'red' is no colour such as #4477aa."),
        ("unsplit", {"value": "nothing"}, "There is no group 'nothing'."),
        ("example", {"class_ids": [1], "sample_ids": [5]}, "Sample 5 is not labeled 'cat'"),
    ]:
        assert change(client, kind, 422, **more)["detail"].startswith(reason)
    assert project.store.class_events() == before
    stale = client.post("/labeler/classes", json={"project": "another", "kind": "add", "name": "x"})
    assert stale.status_code == 409


def test_guidelines_reach_every_page_by_a_mark_in_its_state(project: Project, client: TestClient) -> None:
    marks = [client.get("/labeler/state").json()["guidelines"]]

    def news() -> Any:
        marks.append(client.get("/labeler/state").json()["guidelines"])
        assert marks[-1] != marks[-2]
        answer = client.get("/labeler/guidelines").json()
        assert answer["mark"] == marks[-1]
        return {k: (v["text"], [e["sample_id"] for e in v["examples"]]) for k, v in answer["guidelines"].items()}

    one = change(client, "guideline", class_ids=[1], text="Whiskers.\nPurrs.", sample_ids=[2, 1], was=0)["classes"][0]
    assert (one["guideline"], [e["sample_id"] for e in one["examples"]], one["event_id"]) == (
        "Whiskers.\nPurrs.", [2, 1], 1,
    )  # fmt: skip
    assert news() == {"1": ("Whiskers.\nPurrs.", [2, 1])}
    change(client, "example", class_ids=[2], sample_ids=[5])
    project.loop("ann").answer(1, "dog")
    assert news() == {"1": ("Whiskers.\nPurrs.", [2]), "2": ("", [5])}
    aside = [(e["sample_id"], e["aside"]) for e in client.get("/labeler/classes").json()["classes"][0]["examples"]]
    assert aside == [(2, False), (1, True)]
    change(client, "example", class_ids=[2], sample_ids=[5], use=False)
    change(client, "guideline", class_ids=[3], text="Hoots.")
    change(client, "archive", class_ids=[3])
    assert news() == {"1": ("Whiskers.\nPurrs.", [2])}
    refused = change(client, "guideline", 409, class_ids=[1], text="Barks.", was=0)
    assert refused["detail"].startswith("rita changed this guideline meanwhile")


def test_images_of_a_class_are_listed_by_pages(client: TestClient) -> None:
    def ids(query: str) -> list[int]:
        return [one["sample_id"] for one in client.get(f"/labeler/classes/1/images?{query}").json()["images"]]

    assert ids("order=newest") == [4, 3, 2, 1]
    assert ids("order=newest&offset=3") == [1]
    assert sorted(ids("order=typical")) == [1, 2, 3, 4]


def test_classes_are_changed_by_reviewers_and_admins_and_read_by_all(project: Project) -> None:
    for role in ("annotator", "reviewer", "admin"):
        project.store.add_account(role, role, hashed(PASSWORD, role))
    client = client_of(project, SignIns(project.store))
    key = project.store.setting("page_key")
    for role, status in (("annotator", 403), ("reviewer", 200), ("admin", 200)):
        client.cookies.clear()
        assert client.get("/labeler/classes").status_code == 401
        client.post("/labeler/signin", json={"name": role, "password": PASSWORD})
        body = {"project": key, "kind": "add", "name": f"of {role}"}
        assert client.post("/labeler/classes", json=body).status_code == status
        body = {"project": key, "kind": "guideline", "class_ids": [1], "text": role}
        assert client.post("/labeler/classes", json=body).status_code == status
        assert client.get("/labeler/classes/1/images").status_code == status
        assert client.get("/labeler/classes").status_code == client.get("/labeler/guidelines").status_code == 200
    assert [one.name for one in project.store.classes()][3:] == ["of reviewer", "of admin"]
    assert [(event.text, event.annotator) for event in project.store.guideline_events()] == [
        ("reviewer", "reviewer"), ("admin", "admin"),
    ]  # fmt: skip
