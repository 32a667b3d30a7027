"""The grid: which images it brings, who holds them, and one group of answers that is taken back as one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pages import CLASSES, IGNORE_UNCLOSED, collect_unclosed, small_project

from labeler import Project
from labeler.grid import Grid, guesses
from labeler.loop import Loop
from labeler.published import Published, publish
from labeler.ui.app import build
from storage import NewEvent

pytestmark = IGNORE_UNCLOSED


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Forty images: taken for class 1 or 2 in turn, less and less surely; embedded on a line in their order."""
    with small_project(tmp_path / "project", n=40, classes=CLASSES[:3]) as p:
        publish_beliefs(p)
        yield p


def publish_beliefs(p: Project, labels: int = 5, version: int = 1) -> None:
    ids = p.store.sample_ids()
    n, class_ids = len(ids), [one.id for one in p.store.classes()]
    probs = np.full((n, 3), 0.02, np.float32)
    sure = np.linspace(0.9, 0.5, n)
    probs[np.arange(n), np.arange(n) % 2] = sure
    probs[:, 2] += 0.96 - sure
    embeddings = np.stack([np.arange(n), np.zeros(n)], 1).astype(np.float16)
    publish(
        p.folder,
        p.store,
        version=version,
        class_ids=class_ids,
        acquisition="margin",
        last_event_id=p.store.last_event_id(),
        labels=labels,
        steps=10,
        metrics={},
        arrays={
            "sample_ids": ids,
            "probs": probs,
            "scores": np.zeros(n, np.float32),
            "ranking": ids,
            "embeddings": embeddings,
            "generated": np.zeros((3, 1, 8, 8), np.uint8),
        },
        save_model=lambda path: path.write_bytes(b"weights"),
    )


def loop_of(p: Project, client: str = "grid") -> Loop:
    return p.loop("ann", client)


def ids(page: Any) -> list[int]:
    return [question.sample_id for question in page.questions]


def test_images_of_a_class_come_by_how_sure_the_model_is(project: Project) -> None:
    grid, loop = Grid(project), loop_of(project)
    page = grid.ask(loop, 5, 1)
    assert ids(page) == [1, 3, 5, 7, 9]
    assert {q.guess for q in page.questions} == {1}
    assert page.per_class == {1: 20, 2: 20}
    assert ids(grid.ask(loop, 5, 1, "doubtful")) == [39, 37, 35, 33, 31]
    assert ids(grid.ask(loop, 3, 2)) == [2, 4, 6]
    assert len(ids(grid.ask(loop, 100, 2))) == 20
    with pytest.raises(ValueError, match="certain, doubtful"):
        grid.ask(loop, 5, 1, "random")


def test_what_was_seen_before_comes_last(project: Project) -> None:
    page = Grid(project).ask(loop_of(project), 20, 1, seen=[1, 5])
    assert ids(page)[:2] == [3, 7]
    assert ids(page)[-2:] == [1, 5]


def test_without_a_class_it_begins_with_the_one_that_has_most(project: Project) -> None:
    project.loop("ann", "tab").answer_many({1: CLASSES[0], 3: CLASSES[0]})
    page = Grid(project).ask(loop_of(project), 4, None)
    assert {q.guess for q in page.questions} == {2}
    assert page.per_class == {1: 18, 2: 20}


def test_images_alike_come_nearest_first(project: Project) -> None:
    grid, loop = Grid(project), loop_of(project)
    assert ids(grid.alike(loop, 5, 20)) == [20, 19, 21, 18, 22]
    project.loop("ann", "tab").answer(20, CLASSES[0])
    assert ids(grid.alike(loop, 2, 20)) == [19, 21]  # a decided one may be what they are like
    with pytest.raises(KeyError, match="has not seen image 999"):
        grid.alike(loop, 5, 999)


def test_what_the_grid_shows_is_on_no_other_screen_and_is_given_back(project: Project) -> None:
    grid, mine, other = Grid(project), loop_of(project, "grid"), loop_of(project, "another")
    shown = ids(grid.ask(mine, 10, 1))
    assert not set(shown) & set(ids(grid.ask(other, 10, 1)))
    assert not set(shown) & {q.sample_id for q in project.loop("ben", "tab").ask_many(16)}
    grid.ask(mine, 10, 2)  # the first ten are given back
    assert ids(grid.ask(other, 10, 1)) == shown


def test_nothing_comes_before_the_model_knows_a_label(tmp_path: Path) -> None:
    with small_project(tmp_path / "new", n=40, classes=CLASSES[:3]) as p:
        grid, loop = Grid(p), loop_of(p)
        assert ids(grid.ask(loop, 5, 1)) == []
        publish_beliefs(p, labels=0)
        assert ids(grid.ask(loop, 5, 1)) == []
        assert ids(grid.alike(loop, 2, 7)) == [7, 6]  # what looks alike needs no label


def test_measuring_images_never_come(tmp_path: Path) -> None:
    with small_project(tmp_path / "measured", n=40, classes=CLASSES[:3]) as p:
        x = np.random.default_rng(9).integers(0, 256, (30, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / "more.npz", x=x)
        p.import_(tmp_path / "more.npz", measure_share=0.5)
        publish_beliefs(p)
        measured = set(p.store.sample_ids("measure").tolist())
        assert len(measured) > 5
        grid = Grid(p)
        found = {i for k in (1, 2, 3) for i in ids(grid.ask(loop_of(p, f"grid {k}"), 100, k))}
        assert found == set(p.store.sample_ids("pool").tolist())
        assert not measured & set(ids(grid.alike(loop_of(p, "another"), 100, min(measured))))


def test_images_that_several_people_are_asked_never_come(project: Project) -> None:
    project.store.set_overlap(0.5, 2)
    several = project.store.asked_of_several()
    assert 5 < len(several) < 35
    found = set(ids(Grid(project).ask(loop_of(project), 100, 1))) | set(
        ids(Grid(project).ask(loop_of(project), 100, 2))
    )
    assert found == set(project.store.sample_ids("pool").tolist()) - several


def test_classes_that_changed_since_count_as_they_are_now(project: Project) -> None:
    grid, loop = Grid(project), loop_of(project)
    project.classes.merge([CLASSES[1]], CLASSES[0])
    page = grid.ask(loop, 100, 1)
    assert (len(ids(page)), page.per_class) == (40, {1: 40})
    project.classes.unmerge([CLASSES[1]])
    project.classes.archive([CLASSES[0]])
    page = grid.ask(loop, 100, 3)
    assert set(page.per_class) == {2, 3}
    published = project.published()
    assert published is not None
    found = guesses(published, project.store.counted_as())
    assert set(found.class_ids.tolist()) == {2, 3}
    assert sure_of(published, 0, {2: 2, 3: 3}) == pytest.approx(found.probs[0])


def test_a_chosen_set_comes_by_class_and_only_the_open_ones_of_it(project: Project) -> None:
    project.loop("ann", "tab").answer(5, CLASSES[0])
    grid, loop = Grid(project), loop_of(project)
    page = grid.ask(loop, 100, None, among=[9, 2, 5, 1, 3, 7, 999])
    assert (ids(page), page.class_id, page.per_class, page.hidden) == ([1, 3, 7, 9], 1, {1: 4, 2: 1}, 0)
    assert {q.acquisition for q in page.questions} == {"grid chosen certain"}
    assert project.store.held("ann", "grid") == [1, 3, 7, 9]
    assert ids(grid.ask(loop, 2, 1, "doubtful", seen=[9], among=[9, 1, 3, 7])) == [7, 3]
    assert ids(grid.ask(loop, 5, 3, among=[1, 2])) == []
    assert ids(grid.ask(loop, 5, None, among=[])) == []
    assert ids(grid.alike(loop, 100, 20, among=[1, 22, 18, 5])) == [18, 22, 1]


def test_a_chosen_set_needs_no_label(tmp_path: Path) -> None:
    with small_project(tmp_path / "new", n=40, classes=CLASSES[:3]) as p:
        assert ids(Grid(p).ask(loop_of(p), 5, None, among=[3, 4])) == []
        publish_beliefs(p, labels=0)
        page = Grid(p).ask(loop_of(p), 2, None, seen=[3], among=[7, 3, 4])
        assert (ids(page), page.class_id, page.per_class) == ([4, 7], None, {})


def test_labeled_images_of_a_chosen_set_are_shown_by_their_label_and_nothing_is_leased(project: Project) -> None:
    project.loop("ben", "tab").answer_many({1: CLASSES[0], 3: CLASSES[0], 4: CLASSES[0], 6: CLASSES[2], 8: CLASSES[1]})
    project.loop("ben", "tab").skip(10)
    grid, loop = Grid(project), loop_of(project)
    page = grid.decided(loop, 10, None, [1, 3, 4, 6, 10, 12])
    assert (ids(page), page.class_id, page.per_class, page.hidden) == ([1, 3, 4], 1, {1: 3, 3: 1}, 0)
    assert ids(grid.decided(loop, 10, 1, [1, 3, 4], "doubtful")) == [4, 3, 1]  # 4 is taken for class 2
    assert ids(grid.decided(loop, 2, 1, [1, 3, 4], "doubtful", seen=[4])) == [3, 1]
    assert ids(grid.decided(loop, 10, 3, range(1, 41))) == [6]
    assert project.store.held("ann", "grid") == []
    assert project.store.labels() == {1: 1, 3: 1, 4: 1, 6: 3, 8: 2}
    assert (ids(grid.decided(loop, 10, None, [11])), grid.decided(loop, 10, None, []).class_id) == ([], None)


def test_labels_that_one_person_cannot_change_are_counted_and_not_shown(project: Project) -> None:
    store = project.store
    project.loop("ben", "tab").answer_many(dict.fromkeys(range(1, 11), CLASSES[0]))
    store.record([NewEvent("r-1", "label", 1, 2, "eve", review=True)])
    page = Grid(project).decided(loop_of(project), 100, 1, range(1, 41))
    assert (sorted(ids(page)), page.hidden) == (list(range(2, 11)), 1)
    store.set_overlap(0.5, 2)
    several = store.asked_of_several()
    for sample_id in several & set(range(1, 11)):
        project.loop("eve", "other").answer(sample_id, CLASSES[0])
    page = Grid(project).decided(loop_of(project), 100, 1, range(1, 41))
    assert set(ids(page)) == set(range(2, 11)) - several
    assert page.hidden == 10 - len(ids(page))
    store.set_overlap(0, 1)  # what several said holds all the same
    assert set(ids(Grid(project).decided(loop_of(project), 100, 1, range(1, 41)))) == set(range(2, 11)) - several


def test_measuring_images_of_a_chosen_set_are_counted_and_not_shown(tmp_path: Path) -> None:
    with small_project(tmp_path / "measured", n=40, classes=CLASSES[:3], measure_share=0.5) as p:
        publish_beliefs(p)
        every, measured = p.store.sample_ids().tolist(), p.store.sample_ids("measure").tolist()
        assert len(measured) > 5
        grid, loop = Grid(p), loop_of(p)
        pages = [grid.ask(loop, 100, k, among=every) for k in (1, 2, 3)]
        assert not set(measured) & {i for page in pages for i in ids(page)}
        assert {page.hidden for page in pages} == {len(measured)}
        p.loop("ann", "tab").answer_many(dict.fromkeys(every, CLASSES[0]))
        page = grid.decided(loop, 100, 1, every)
        assert (set(ids(page)), page.hidden) == (set(every) - set(measured), len(measured))


def sure_of(published: Published, row: int, counted_as: dict[int, int]) -> float:
    probs = published.probs_of(int(published.sample_ids[row]), counted_as)
    assert probs is not None
    return max(probs.values())


@pytest.fixture
def client(project: Project) -> Iterator[TestClient]:
    with TestClient(build(project), base_url="http://127.0.0.1") as c:
        c.post("/labeler/name", json={"name": "ann"})
        yield c
    collect_unclosed()


def test_a_group_is_stored_as_one_and_undone_as_one(project: Project, client: TestClient) -> None:
    me = {"project": client.get("/labeler/state").json()["key"], "client": "tab-00000001-grid"}
    answer = client.post("/labeler/grid", json={**me, "n": 6, "class_id": 1}).json()
    assert answer["per_class"] == {"1": 20, "2": 20}
    shown = [q["sample_id"] for q in answer["questions"]]
    assert shown == [1, 3, 5, 7, 9, 11]
    assert {q["acquisition"] for q in answer["questions"]} == {"grid certain"}
    operations = [
        {"uid": f"answer-{i:04d}", "kind": "label", "sample_id": i, "class_id": 1, "group_id": "group-0001", "ms": 9}
        for i in shown[:4]
    ]
    stored = client.post("/labeler/commit", json={**me, "client": "tab-00000001", "operations": operations}).json()
    assert stored["stored"] == [one["uid"] for one in operations]
    assert {event.group_id for event in project.store.events()} == {"group-0001"}
    assert client.get("/labeler/history").json()["answers"] == []  # not to be taken back one by one
    assert project.store.undo_group("group-0001", "back", "ann")
    assert project.store.labels() == {}


def test_answers_given_one_by_one_stay_in_the_history_after_many_groups(project: Project, client: TestClient) -> None:
    alone = [NewEvent(f"alone-{i}", "label", i, 1, "ann", "tab-00000001") for i in (1, 2, 3)]
    project.store.record(alone)
    for group in range(100):
        ids = range(4, 20)
        project.store.record(
            [NewEvent(f"{group}-{i}", "label", i, 1, "ann", "tab-00000001", group_id=f"group-{group}") for i in ids]
        )
    project.store.record([NewEvent("back", "undo", 2, annotator="ann", client="tab-00000001", undoes="alone-2")])
    answers = client.get("/labeler/history").json()["answers"]
    assert [answer["uid"] for answer in answers] == ["alone-3", "alone-1"]


def test_the_grid_refuses_what_makes_no_sense(client: TestClient) -> None:
    me = {"project": client.get("/labeler/state").json()["key"], "client": "tab-00000001-grid"}
    for wrong in ({"n": 0}, {"n": 101}, {"n": 5, "order": "best"}, {"n": 5, "alike": -1}):
        assert client.post("/labeler/grid", json={**me, **wrong}).status_code == 422
    assert client.post("/labeler/grid", json={**me, "n": 5, "alike": 999}).status_code == 404
    assert client.post("/labeler/grid", json={**me, "n": 5, "project": "another"}).status_code == 409
    assert client.post("/labeler/grid", json={**me, "n": 5, "class_id": 99}).json()["questions"] == []


def test_a_correction_is_an_event_like_any_other(project: Project, client: TestClient) -> None:
    project.loop("ben", "tab").answer_many({1: CLASSES[0], 3: CLASSES[0]})
    me = {"project": client.get("/labeler/state").json()["key"], "client": "tab-00000001-grid"}
    asked = {**me, "n": 6, "among": [1, 2, 3], "decided": True}
    answer = client.post("/labeler/grid", json=asked).json()
    assert [q["sample_id"] for q in answer["questions"]] == [1, 3]
    assert (answer["class_id"], answer["per_class"], answer["hidden"]) == (1, {"1": 2}, 0)
    operation = {"uid": "answer-0003", "kind": "label", "sample_id": 3, "class_id": 2, "group_id": "group-0001"}
    client.post("/labeler/commit", json={**me, "operations": [operation]}).raise_for_status()
    assert project.store.labels() == {1: 1, 3: 2}
    assert client.post("/labeler/grid", json=asked).json()["per_class"] == {"1": 1, "2": 1}
    project.store.undo_group("group-0001", "back", "ann")
    assert project.store.labels() == {1: 1, 3: 1}
    for wrong in ({"among": None}, {"alike": 2}, {"among": [0]}, {"among": list(range(1, 100_002))}):
        assert client.post("/labeler/grid", json={**asked, **wrong}).status_code == 422
    assert client.post("/labeler/grid", json={**asked, "among": list(range(1, 100_001))}).json()["per_class"] == {
        "1": 2
    }


def test_a_label_that_came_from_the_canvas_leaves_the_grid(project: Project) -> None:
    grid, loop = Grid(project), loop_of(project)
    project.store.record([NewEvent("u-1", "label", 1, 2, "ben")])
    assert ids(grid.ask(loop, 3, 1)) == [3, 5, 7]
