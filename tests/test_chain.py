"""The chain of events: what anybody else took out of the record, put in or changed is told, on either database."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Ended, by_hand, drop_trigger, on_sqlite, server_url
from pages import small_project

from labeler import Project, heads
from storage import NewEvent, NewSample, Store
from storage.chain import LINKED, link_after

N = 8
TAKE_OUT = ("DELETE FROM sample_states WHERE event_id {}", "DELETE FROM events WHERE id {}")
WITH_LINKS = (*TAKE_OUT, "DELETE FROM event_links WHERE event_id {}")
CHANGED = "Events that were changed after they were recorded: "
CHANGE = "UPDATE events SET class_id = 2 WHERE id = 4", "UPDATE sample_states SET class_id = 2 WHERE event_id = 4"
PUT_IN = (
    "INSERT INTO events (id, uid, kind, sample_id, class_id, annotator_id, client, time, purpose) "
    "VALUES ({0}, 'strange', 'label', 10, 1, 1, 'tab', 1.0, 'learn')",
    "INSERT INTO sample_states VALUES (10, 'label', 1, {0}, 1, 'learn')",
)


def label(i: int, **fields: object) -> NewEvent:
    return NewEvent(f"e{i}", "label", i, 1, "ann", "tab", **fields)  # type: ignore[arg-type]


@pytest.fixture
def store(database: Path | str) -> Iterator[Store]:
    """Ten samples, the first eight labeled, by one event each; the second class was added after the last of them."""
    with Store.create(database, "test", ["cat"]) as store:
        store.add_samples(NewSample(f"{i:064x}", f"image {i}", "images/pack.npy", i, 8, 8, 1) for i in range(10))
        for i in range(1, N, 3):
            store.record([label(k) for k in range(i, min(i + 3, N + 1))])
        yield store


def tamper(store: Store, *statements: str) -> None:
    for table in ("events", "event_links"):
        for how in ("update", "delete"):
            drop_trigger(store, f"{table}_keep_{how}")
    by_hand(store, *statements)


def told(store: Store) -> list[str]:
    """But for the triggers, which are missing now."""
    return [line for line in store.check() if "trigger" not in line]


@pytest.mark.parametrize(
    ("done", "tells"),
    [
        ([s.format("= 3") for s in TAKE_OUT], "Events that were recorded and are gone: 3."),
        ([s.format("IN (2, 4, 5, 6)") for s in TAKE_OUT], "Events that were recorded and are gone: 2, 4 to 6."),
        ([s.format("> 6") for s in TAKE_OUT], "Events that were recorded and are gone: 7 to 8."),
        ([s.format("IN (3, 4)") for s in WITH_LINKS], "Between the events 2 and 5 some are gone, or 5 was changed."),
        ([s.format("= 1") for s in WITH_LINKS], "Between the events 0 and 2 some are gone, or 2 was changed."),
        (CHANGE, CHANGED + "4."),
        (["UPDATE events SET time = time - 60 WHERE id = 4"], CHANGED + "4."),
        (["UPDATE annotators SET name = 'eve'"], CHANGED + "1 to 8."),
        ([f"UPDATE samples SET sha256 = '{99:064x}' WHERE id = 5"], CHANGED + "5."),
        ([s.format(90) for s in PUT_IN], "Events that were put in by another program than Labeler: 90."),
        ([s.format(-1) for s in PUT_IN], "Events that were put in by another program than Labeler: -1."),
    ],
)  # fmt: skip
def test_what_was_done_to_the_events_is_told_with_their_ids(store: Store, done: list[str], tells: str) -> None:
    store.add_classes(["dog"])
    assert store.check() == []
    tamper(store, *done)
    assert told(store) == [tells]
    store.record([NewEvent("later", "comment", 1, None, "ann", "tab")])
    assert told(store) == [tells], "what comes later covers nothing up"


def test_a_repair_keeps_the_state_that_a_changed_event_no_longer_gives(store: Store) -> None:
    """What was recorded stands nowhere else by then. A state that is wrong by itself is derived again."""
    store.add_classes(["dog"])
    tamper(store, CHANGE[0], "UPDATE sample_states SET class_id = 2 WHERE sample_id = 7")
    done = store.repair()
    assert [line for line in done if "States" in line] == [
        "States that did not follow from their events were derived again: 1."
    ]
    assert (store.labels()[4], store.labels()[7]) == (1, 1)
    assert CHANGED + "4." in told(store)


def test_an_end_that_was_taken_off_with_its_links_is_told_by_whatever_knew_of_it(store: Store) -> None:
    tamper(store, *(s.format("> 6") for s in WITH_LINKS))
    lines = told(store)
    assert lines == ([CUT.format(8)] if on_sqlite(store) else [])
    store.add_version(1, 7, 0, 0, "models/000001", "random", {})
    assert told(store) == [CUT.format(8 if on_sqlite(store) else 7)]


CUT = "The record ends with event 6, but there was an event {}: the end was taken off."


def test_a_link_is_the_sha256_of_the_one_before_and_of_what_the_event_says(store: Store) -> None:
    names = [str(column) for column in LINKED]
    assert names[:7] == [
        "events.id", "events.uid", "events.kind", "events.sample_id", "samples.sha256", "events.class_id",
        "annotators.name",
    ]  # fmt: skip
    first = store.events()[0]
    values = [
        1,
        "e1",
        "label",
        1,
        f"{0:064x}",
        1,
        "ann",
        "tab",
        first.time,
        None,
        0,
        *[None] * 6,
        "learn",
        *[None] * 3,
        0,
    ]
    assert store.link(1) == link_after("", values)
    assert store.link(1) != link_after("x", values)
    assert (store.head(), store.link(9)) == ((N, store.link(N)), None)


def test_numbers_that_a_database_keeps_otherwise_are_linked_as_they_are_kept(store: Store, tmp_path: Path) -> None:
    odd = [float("nan"), -0.0, float("inf"), 1e-320, 3]
    store.record([NewEvent(f"odd {i}", "skip", 9, None, "ann", "tab", score=score) for i, score in enumerate(odd)])
    assert store.check() == []
    store.copy_to(tmp_path / "copy.db")
    with Store.open(tmp_path / "copy.db") as copy:
        assert copy.check() == []
        assert copy.head() == store.head()


@pytest.fixture
def project(tmp_path: Path, database: Path | str) -> Iterator[Project]:
    with small_project(tmp_path / "project", n=12, database=server_url(database)) as p:
        p.store.record([label(i) for i in range(1, N + 1)])
        yield p


def test_a_head_that_was_noted_tells_of_a_cut_that_nothing_in_the_database_knows_of(
    project: Project, labeler: Callable[..., Ended]
) -> None:
    report = json.loads(labeler("check", project.folder, "--json").out)
    head = f"{report['head']['event_id']}:{report['head']['link']}"
    assert (report["ok"], head) == (True, f"{N}:{project.store.link(N)}")
    assert heads.kept(project.folder)[:2] == (N, project.store.link(N))
    project.store.record([label(9)])
    assert f"--head 9:{project.store.link(9)}" in labeler("check", project.folder, "--head", head).out
    assert labeler("check", project.folder, "--head", "9:abc").code == 2

    tamper(project.store, *(s.format("> 6") for s in WITH_LINKS))
    if on_sqlite(project.store):
        by_hand(project.store, "UPDATE sqlite_sequence SET seq = 6 WHERE name = 'events'")
    cut = labeler("check", project.folder, "--head", head)
    assert (cut.code, cut.out.count("event 9 as labels.head noted it"), cut.out.count("go on from event 8")) == (
        1,
        1,
        1,
    )
    project.store.record([label(7), label(8), NewEvent("new", "skip", 9, None, "ann", "tab")])
    assert "event 9 as labels.head noted it" in labeler("check", project.folder).out, "nor is it noted anew"
    (project.folder / heads.FILE).unlink()
    labeler("check", project.folder, "--repair")  # the triggers
    assert labeler("check", project.folder).code == 0


def test_a_head_that_cannot_be_read_says_nothing(project: Project) -> None:
    for text in ("", "[]", "{}", '{"event_id": 1}', "\x00"):
        (project.folder / heads.FILE).write_text(text)
        assert heads.fault(project.folder, project.store) is None
    heads.note(project.folder, project.store)
    assert heads.kept(project.folder)[0] == N
