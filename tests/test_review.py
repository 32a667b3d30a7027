"""The reviewer's queue: what is in it, what a decision does, and who may."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import server_url
from fastapi.testclient import TestClient
from pages import IGNORE_UNCLOSED, collect_unclosed, small_project

from labeler import Project
from labeler.accounts import SignIns, hashed
from labeler.ui.app import build
from storage import NewEvent

pytestmark = IGNORE_UNCLOSED
PASSWORD = "correct horse battery"
ROUTES = ("GET /labeler/review", "POST /labeler/review", "GET /labeler/agreement")


@pytest.fixture(scope="module", autouse=True)
def unclosed() -> Iterator[None]:
    yield
    collect_unclosed()


@pytest.fixture
def project(tmp_path: Path, database: Path | str) -> Iterator[Project]:
    """Of three answers each: image 1 agreed, 2 outvoted, 3 disputed; 4 flagged by one person, beyond the share."""
    url = server_url(database)
    with small_project(tmp_path / "project", n=12, classes=["cat", "dog", "owl"], database=url) as p:
        p.set_overlap(1, 3)
        for sample_id, said in {1: (1, 1, 1), 2: (1, 1, 2), 3: (1, 2, 3)}.items():
            for who, class_id in zip(("ann", "bob", "cy"), said, strict=True):
                p.store.record([NewEvent(f"{who}-{sample_id}", "label", sample_id, class_id, who, "tab")])
        p.set_overlap(0, 1)
        p.store.record([NewEvent("flagged", "flag", 4, None, "ann", "tab")])
        yield p


def decision(project: Project, uid: str, sample_id: int, **more: object) -> dict[str, object]:
    key = project.store.setting("page_key")
    return {"project": key, "client": "client-of-eve", "uid": uid, "sample_id": sample_id} | more


@pytest.fixture
def client(project: Project) -> Iterator[TestClient]:
    with TestClient(build(project), base_url="http://127.0.0.1") as client:
        client.post("/labeler/name", json={"name": "eve"})
        yield client


def test_disputed_images_come_first_and_a_decision_takes_one_off(project: Project, client: TestClient) -> None:
    assert project.store.review_ids() == [3, 4, 2]
    queue = client.get("/labeler/review").json()
    assert [image["sample_id"] for image in queue["images"]] == [3, 4, 2]
    assert [image["majority"] and image["majority"]["class_id"] for image in queue["images"]] == [None, None, 1]
    assert queue["images"][1]["majority"]["kind"] == "flag"
    body = decision(project, "review-01", 3, kind="label", class_id=2)
    for _ in range(2):  # sent again, stored once
        assert client.post("/labeler/review", json=body).json() == {"stored": ["review-01"]}
    refused = client.post("/labeler/review", json=body | {"class_id": 3})
    assert (refused.status_code, refused.json()["detail"][:36]) == (409, "The answer review-01 is stored alrea")
    assert project.store.labels()[3] == 2
    assert project.store.review_ids() == [4, 2]
    last = client.get("/labeler/review").json()["last"]
    assert last == {"uid": "review-01", "sample_id": 3}
    undo = decision(project, "review-02", 3, kind="undo", undoes=last["uid"])
    assert client.post("/labeler/review", json=undo).status_code == 200
    assert project.store.review_ids() == [3, 4, 2]


def test_who_said_it_is_a_letter_until_names_are_asked_for(client: TestClient) -> None:
    def people(address: str) -> list[str]:
        return [answer["who"] for answer in client.get(address).json()["images"][0]["answers"]]

    assert people("/labeler/review") == ["Person A", "Person B", "Person C"]
    assert sorted(people("/labeler/review?names=true")) == ["ann", "bob", "cy"]
    assert [i["sample_id"] for i in client.get("/labeler/review?left=3&first=1").json()["images"]] == [1, 4, 2]
    assert client.get("/labeler/review?first=999").status_code == 200


def test_what_cannot_be_decided_is_refused_in_words(project: Project, client: TestClient) -> None:
    for more in ({"kind": "label"}, {"kind": "label", "class_id": 99}, {"kind": "undo"}):
        refused = client.post("/labeler/review", json=decision(project, "review-03", 3, **more))
        assert refused.status_code == 422
        assert refused.json()["detail"]
    assert client.post("/labeler/review", json=decision(project, "review-04", 999, kind="skip")).status_code == 422
    other = decision(project, "review-05", 3, kind="skip") | {"project": "another"}
    assert client.post("/labeler/review", json=other).status_code == 409
    assert project.store.review_ids() == [3, 4, 2]


def test_a_decision_is_of_who_was_shown_the_image(project: Project, client: TestClient) -> None:
    assert client.get("/labeler/review").json()["annotator"] == "eve"
    client.post("/labeler/name", json={"name": "zoe"})  # in another tab of the same browser
    of_eve = decision(project, "review-07", 3, kind="label", class_id=2, annotator="eve")
    refused = client.post("/labeler/review", json=of_eve)
    assert (refused.status_code, refused.json()["detail"][:23]) == (401, "These answers are eve's")
    assert project.store.review_ids() == [3, 4, 2]
    client.post("/labeler/review", json=of_eve | {"annotator": "zoe"}).raise_for_status()
    assert project.store.review_ids() == [4, 2]


def test_the_number_that_waits_follows_a_merge_that_ends_the_disagreement(
    project: Project, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labeler.ui.review.COUNTED_EVERY", -1.0)
    assert client.get("/labeler/state").json()["to_review"] == 3
    project.store.merge_classes([2, 3], into=1)
    assert client.get("/labeler/state").json()["to_review"] == len(project.store.review_ids()) == 1


def test_the_label_tab_cannot_take_a_review_back_nor_show_it(project: Project, client: TestClient) -> None:
    client.post("/labeler/review", json=decision(project, "review-06", 3, kind="label", class_id=2))
    undo = {"uid": "not-a-reviewer", "kind": "undo", "sample_id": 3, "undoes": "review-06"}
    body = {"project": project.store.setting("page_key"), "client": "client-of-eve", "operations": [undo]}
    assert "reviewer" in client.post("/labeler/commit", json=body).json()["refused"][0]["reason"]
    assert project.store.labels()[3] == 2
    assert client.get("/labeler/history").json()["answers"] == []


@pytest.mark.parametrize(("role", "may"), [("annotator", False), ("reviewer", True), ("admin", True)])
def test_each_route_asks_for_the_role(project: Project, role: str, may: bool) -> None:
    project.store.add_account("eve", role, hashed(PASSWORD, "eve"))
    with TestClient(build(project, sign_ins=SignIns(project.store)), base_url="http://127.0.0.1") as client:
        assert client.get("/labeler/review").status_code == 401
        assert client.post("/labeler/signin", json={"name": "eve", "password": PASSWORD}).status_code == 200
        body = decision(project, "review-07", 3, kind="skip")
        answered = [client.request(*route.split(), json=body if "POST" in route else None) for route in ROUTES]
        assert [answer.status_code for answer in answered] == [200 if may else 403] * 3
        assert client.get("/labeler/state").json()["to_review"] == (2 if may else None)
    assert (project.store.state(3).kind == "skip") == may  # type: ignore[union-attr]
