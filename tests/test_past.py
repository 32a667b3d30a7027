"""The record as it was at an event, a time or a number of labels, and the log of what was done."""

import contextlib
import csv
import json
import sqlite3
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import Ended

from labeler import Project
from labeler.moments import At, find, parse_at, parse_time, shown_as_one, told
from storage import Moment, NewEvent, NewSample, State, Store, migrations
from storage.exporters import export
from storage.exporters.rows import COLUMNS, iso

Command = Callable[..., Ended]


def rows(n: int, first: int = 0, **fields: object) -> list[NewSample]:
    places = range(first, first + n)
    return [NewSample(f"{i:064x}", f"image {i}", "images/pack.npy", i, 8, 8, 1, **fields) for i in places]  # type: ignore[arg-type]


@pytest.fixture
def store(database: Path | str) -> Iterator[Store]:
    """Ten samples (ids 1 to 10) and three classes (ids 1 to 3)."""
    with Store.create(database, "test", ["cat", "dog", "owl"]) as store:
        store.add_samples(rows(10))
        yield store


def event(uid: str, kind: str, sample_id: int, class_id: int | None = None, **fields: object) -> NewEvent:
    return NewEvent(uid, kind, sample_id, class_id, "ann", "tab", **fields)  # type: ignore[arg-type]


MIXED = [
    event("a", "label", 1, 1, ms=1_200, version=3, predicted_class_id=2, predicted_prob=0.625),
    event("b", "label", 2, 2),
    event("early", "skip", 3),
    event("c", "label", 1, 3),  # a correction
    event("d", "skip", 4, ms=61_000),
    event("late", "undo", 3, undoes="early"),
    event("e", "undo", 1, undoes="c"),
    event("f", "flag", 2),  # of a labeled one
    event("g", "comment", 2, comment="blurred"),
    event("h", "undo", 2, undoes="f"),
    event("i", "unsure", 5),
    event("j", "label", 11, 3),  # a measuring one
    event("k", "label", 12, 3),  # a gold one
    event("l", "undo", 1, undoes="a"),
]


@pytest.fixture
def mixed(store: Store) -> Store:
    """Every kind of event, corrections, undos, all splits."""
    store.add_samples([*rows(1, first=10, split="measure"), *rows(1, first=11, split="gold", gold_class_id=1)])
    store.record(MIXED)
    return store


def test_the_states_at_an_event_are_those_of_a_record_that_ends_there(mixed: Store, tmp_path: Path) -> None:
    with Store.create(tmp_path / "other.db", "other", ["cat", "dog", "owl"]) as other:
        other.add_samples(rows(10))
        other.add_samples([*rows(1, first=10, split="measure"), *rows(1, first=11, split="gold", gold_class_id=1)])
        for at in range(len(MIXED) + 1):
            if at:
                other.record([MIXED[at - 1]])
            assert mixed.states(at) == other.states()
            assert mixed.counts(mixed.moment_after(at)) == other.counts()
            assert [(s, e.uid) for s, e in mixed.decisions(at)] == [(s, e.uid) for s, e in other.decisions()]
            for purpose in (None, "learn", "measure"):
                assert mixed.labels(purpose, at=at) == other.labels(purpose)
            assert mixed.labels(None, "pool", at) == other.labels(None, "pool")


def change_classes(store: Store) -> None:
    """Dogs were cats all along, and owls should not have been."""
    store.merge_classes([2], into=1)
    store.archive_classes([3])


def test_the_past_has_the_classes_of_now_as_a_record_that_ends_there(mixed: Store, tmp_path: Path) -> None:
    change_classes(mixed)
    for at in range(len(MIXED) + 1):
        with Store.create(tmp_path / f"{at}.db", "other", ["cat", "dog", "owl"]) as other:
            other.add_samples(rows(10))
            other.add_samples([*rows(1, first=10, split="measure"), *rows(1, first=11, split="gold", gold_class_id=1)])
            other.record(MIXED[:at])
            change_classes(other)
            assert mixed.states(at) == other.states()
            assert mixed.counts(mixed.moment_after(at)) == other.counts()
            for purpose in (None, "learn", "measure"):
                assert mixed.labels(purpose, at=at) == other.labels(purpose)
    then = {at: mixed.counts(mixed.moment_after(at)) for at in (2, 4, 14)}
    assert {at: (n["labeled"], n["archived"], n["per_class"]) for at, n in then.items()} == {
        2: (2, 0, {1: 2}),
        4: (1, 1, {1: 1}),  # the correction of event 4 was to an owl
        14: (1, 1, {1: 1}),
    }
    assert mixed.labels(None, at=2) == {1: 1, 2: 1}
    assert [mixed.moment_with_labels(n).event_id for n in (1, 2)] == [1, 2]
    with pytest.raises(ValueError, match="never were 3 labels at one time; the most were 2"):
        mixed.moment_with_labels(3)  # there were, before owls were archived
    mixed.unmerge_classes([2])
    mixed.restore_classes([3])
    assert mixed.labels(None, at=4) == {1: 3, 2: 2}
    assert mixed.moment_with_labels(3).event_id == 12


@pytest.mark.parametrize("format", ["csv", "jsonl", "folder"])
def test_an_export_of_a_moment_has_the_classes_of_now(project: Project, tmp_path: Path, format: str) -> None:
    store, loop = project.store, project.loop("ann", "tab")
    owl = store.add_classes(["owl"])[0].id
    loop.answer_many({1: "cat", 2: "dog", 3: "owl"})
    loop.skip(4)
    loop.answer(2, "owl")
    store.merge_classes([2], into=1)
    store.archive_classes([owl])

    def exported(at: int) -> tuple[list[tuple[str, str, str]], dict[str, object]]:
        tally = export(store, project.folder, tmp_path / str(at), format, at=store.moment_after(at))
        file = tmp_path / str(at) / "labels.csv" if format == "folder" else tmp_path / str(at)
        with file.open(newline="") as text:
            found = [json.loads(line) for line in text] if format == "jsonl" else list(csv.DictReader(text))
        return [(str(row["sample_id"]), row["status"], row["class"] or "") for row in found], tally

    before, tally = exported(4)
    assert before == [("1", "label", "cat"), ("2", "label", "cat"), ("3", "archived", "owl"), ("4", "skip", "")]
    assert (tally["label"], tally["archived"], tally["skip"], tally["open"]) == (2, 1, 1, 8)
    assert tally["classes"] == {"cat": 2}
    after, tally = exported(5)
    assert after == [("1", "label", "cat"), ("2", "archived", "owl"), ("3", "archived", "owl"), ("4", "skip", "")]
    assert (tally["label"], tally["archived"], tally["classes"]) == (1, 2, {"cat": 1})
    if format == "folder":
        listed = json.loads((tmp_path / "5" / "classes.json").read_text())["classes"]
        assert listed == [{"id": 1, "name": "cat", "folder": "cat"}]
        assert sorted(path.name for path in (tmp_path / "5").iterdir()) == ["cat", "classes.json", "labels.csv"]


def test_an_export_tells_what_it_wrote_where_classes_change_meanwhile(project: Project, tmp_path: Path) -> None:
    store, loop = project.store, project.loop("ann", "tab")
    loop.answer_many({1: "cat", 2: "dog", 3: "dog"})

    def change(done: int, total: int) -> None:
        if done == 1:
            store.merge_classes([1], into=2)
            store.record([event("late", "label", 4, store.add_classes(["fox"])[0].id)])

    tally = export(store, project.folder, tmp_path / "out", "folder", change)
    assert (tally["label"], tally["classes"]) == (3, {"cat": 1, "dog": 2})
    with (tmp_path / "out" / "labels.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["cat/0.png", "dog/1.png", "dog/2.png"]
    assert store.counts()["per_class"] == {2: 3, 3: 1}


def test_a_number_of_labels_is_the_first_moment_that_has_them(mixed: Store) -> None:
    def labeled(at: int) -> int:
        return int(mixed.counts(mixed.moment_after(at))["labeled"])

    found = {n: mixed.moment_with_labels(n).event_id for n in range(4)}
    assert found == {n: next(at for at in range(15) if labeled(at) == n) for n in range(4)} == {0: 0, 1: 1, 2: 2, 3: 12}
    with pytest.raises(ValueError, match="never were 4 labels at one time; the most were 3"):
        mixed.moment_with_labels(4)


def test_a_label_that_an_undo_brings_back_counts_again(store: Store) -> None:
    store.record([event("a", "label", 1, 1), event("b", "skip", 1), event("c", "label", 2, 1)])
    store.record([event("d", "undo", 9, undoes="b")])  # sent with another sample than it retracts
    assert store.moment_with_labels(2).event_id == 4


def test_an_event_that_is_not_there_yet_is_no_moment(mixed: Store) -> None:
    for wrong in (-1, 15):
        with pytest.raises(ValueError, match="the newest one is 14"):
            mixed.moment_after(wrong)


def test_a_time_copied_from_a_log_means_the_event_beside_it(store: Store) -> None:
    for i in range(1, 7):
        store.record([event(f"{i}", "label", i, 1)])
    for stored in store.events():
        for text in (told(stored.time), iso(stored.time), datetime.fromtimestamp(stored.time, UTC).isoformat()):
            assert find(store, parse_at(text)).event_id >= stored.id
    assert [round(shown_as_one(when), 4) for when in (100.0, 100.25, 100.250001)] == [1, 0.001, 0]
    assert store.moment_at(100 + shown_as_one(100)).time < 101


def test_images_imported_later_were_not_there_yet(store: Store) -> None:
    first = store.start_import("here", "folder", "all", "pool")
    store.add_samples(rows(5, first=10, import_id=first))
    store.finish_import(first, 5, 0, 0)
    store.record([event("a", "label", 1, 1)])
    second = store.start_import("there", "folder", "all", "pool")
    store.add_samples(rows(6, first=15, import_id=second))
    store.record([event("b", "label", 17, 1)])  # while it runs
    store.add_samples(rows(7, first=21, import_id=second))
    store.finish_import(second, 13, 0, 0)
    store.record([event("c", "label", 18, 1)])
    assert [store.counts(store.moment_after(at))["pool"] for at in range(4)] == [15, 15, 28, 28]
    between = Moment(2, None, store.imports()[1].started)
    assert store.counts(between)["pool"] == 17  # those up to the newest that had an event
    assert store.counts(store.moment_after(3)) == store.counts()


def test_the_model_and_the_people_are_those_of_then(store: Store) -> None:
    store.record([event("a", "label", 1, 1)])
    store.add_version(1, 1, 1, 10, "models/1", "margin", {})
    store.drop_version(1)
    store.record([NewEvent("b", "label", 2, 2, "bob", "tab")])
    store.add_version(2, 2, 2, 20, "models/2", "margin", {})
    store.record([event("c", "label", 3, 3)])

    moments = [store.moment_after(at) for at in range(4)]
    assert [v and v.version for v in map(store.newest_version, moments)] == [None, 1, 2, 2]
    assert [store.annotators_at(moment) for moment in moments] == [[], ["ann"], ["ann", "bob"], ["ann", "bob"]]
    first = store.moment_at(store.events()[0].time)
    assert (first.event_id, store.newest_version(first)) == (1, None)  # the very time of an event: no model yet
    assert store.moment_at(store.events()[0].time - 1).event_id == 0


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_an_export_is_what_the_states_and_events_say_row_by_row(mixed: Store, tmp_path: Path, format: str) -> None:
    """The plain way, with everything in memory, against the one that reads while it writes."""
    events, names = {one.id: one for one in mixed.events()}, {one.id: one.name for one in mixed.classes()}
    expected = []
    for sample_id, state in mixed.states().items():
        sample, found = mixed.sample(sample_id), events[state.event_id]
        shown = datetime.fromtimestamp(found.time, UTC).isoformat(timespec="milliseconds")
        values = (sample.id, sample.name, sample.sha256, found.kind, names.get(found.class_id or 0), found.class_id)
        values += (found.annotator, shown, found.id, found.purpose, found.acquisition, found.version, found.ms)
        if sample.split != "gold":
            expected.append(dict(zip(COLUMNS, values, strict=True)))
    tally = export(mixed, tmp_path, tmp_path / "out", format)
    if format == "jsonl":
        assert [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()] == expected
    else:
        as_text = [{name: "" if value is None else str(value) for name, value in row.items()} for row in expected]
        with (tmp_path / "out").open(newline="") as file:
            assert list(csv.DictReader(file)) == as_text
    assert [row["sample_id"] for row in expected] == [2, 4, 5, 11]
    assert (tally["label"], tally["skip"], tally["unsure"], tally["flag"], tally["open"]) == (2, 1, 1, 0, 7)
    assert tally["classes"] == {"cat": 0, "dog": 1, "owl": 1}


def test_what_is_labeled_while_the_record_is_read_does_not_get_in_between(store: Store) -> None:
    store.record([event(f"{i}", "label", i, 1) for i in (1, 2, 3)])
    reading, history = store.decisions(), store.history()
    assert next(reading)[0].id == 1
    assert next(history).event.uid == "3"
    store.record([event("corrected", "label", 3, 2), event("new", "label", 4, 1), event("u", "undo", 2, undoes="2")])
    assert [(sample.id, found.class_id) for sample, found in reading] == [(2, 1), (3, 1)]
    assert [(entry.event.uid, entry.undone_by) for entry in history] == [("2", None), ("1", None)]


def test_an_export_holds_a_small_part_of_the_record_in_memory(store: Store, tmp_path: Path) -> None:
    store.add_samples(rows(5_000, first=10))
    store.record([event(f"{i}", "label", i, 1) for i in range(1, 5_000)])
    export(store, tmp_path, tmp_path / "warm", "csv")
    tracemalloc.start()
    try:
        export(store, tmp_path, tmp_path / "out", "csv")
        for _ in store.history():
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000  # bytes; all rows together take six million


# ---------- groups ----------


def test_a_group_is_undone_as_one_and_once(store: Store) -> None:
    group = [event(f"g{i}", "label", i, 2, group_id="bulk") for i in (1, 2, 3)]
    store.record([event("before", "label", 1, 1), *group, event("alone", "undo", 2, undoes="g2")])
    store.release("ann", "tab")
    assert store.labels() == {1: 2, 3: 2}

    assert store.undo_group("bulk", "take back", "ann", "tab") == ["take back-2", "take back-4"]

    assert store.labels() == {1: 1}
    assert store.held("ann", "tab") == [3]  # the last one; nobody's screen shows a whole group
    undos = store.events(after=5)
    assert [(one.uid, one.kind, one.undoes, one.group_id) for one in undos] == [
        ("take back-2", "undo", "g1", "bulk"),
        ("take back-4", "undo", "g3", "bulk"),
    ]
    assert store.undo_group("bulk", "take back", "ann", "tab") == ["take back-2", "take back-4"]
    assert store.undo_group("bulk", "again", "ann", "tab") == []
    assert store.last_event_id() == 7
    assert store.check() == []
    with pytest.raises(KeyError, match="no group 'other'"):
        store.undo_group("other", "x")


def test_an_older_record_finds_its_groups_by_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:1])
        Store.make(tmp_path / "labels.db", "test", lambda store: store.add_samples(rows(3))).close()
    fill = [
        "INSERT INTO classes (name, key, colour, position) VALUES ('cat', '1', '#4477aa', 0)",
        "INSERT INTO annotators (name, created_at) VALUES ('ann', 0)",
        *(
            f"INSERT INTO events (uid, kind, sample_id, class_id, annotator_id, client, time, purpose, group_id) "
            f"VALUES ('{uid}', 'label', {sample_id}, 1, 1, 'tab', 0, 'learn', {group})"
            for uid, sample_id, group in (("a", 1, "'bulk'"), ("b", 2, "NULL"))
        ),
        "INSERT INTO sample_states SELECT sample_id, kind, class_id, id, annotator_id, purpose FROM events",
    ]
    with contextlib.closing(sqlite3.connect(tmp_path / "labels.db")) as older:
        for statement in fill:
            older.execute(statement)
        older.commit()
    with Store.open(tmp_path / "labels.db") as store:
        with store._reading() as db:
            plan = db.exec_driver_sql("EXPLAIN QUERY PLAN SELECT uid FROM events WHERE group_id = 'bulk'").all()
        assert "events_group" in plan[0][3]
        assert store.undo_group("bulk", "u") == ["u-1"]
        assert store.labels() == {2: 1}


def test_a_loop_answers_many_at_once_and_undo_takes_them_all_back(project: Project) -> None:
    loop = project.loop("ann", "tab")
    first = loop.ask()
    assert first is not None
    loop.answer(first.sample_id, "cat")
    others = [sample_id for sample_id in project.store.sample_ids().tolist() if sample_id != first.sample_id][:4]
    answers: dict[int, str | int] = dict.fromkeys(others[:3], "dog") | {others[3]: 0}
    group_id = loop.answer_many(answers, ms=4_002, uid="mine")
    assert loop.answer_many(answers, ms=4_002, uid="mine") == group_id == "mine"
    assert {(one.group_id, one.ms) for one in project.store.events(after=1)} == {("mine", 1_000)}
    assert project.store.labels() == {first.sample_id: 1} | dict.fromkeys(others[:3], 2) | {others[3]: 1}

    back = loop.undo()

    assert back is not None
    assert back.sample_id == others[3]
    assert loop.ask() == back
    assert project.store.labels() == {first.sample_id: 1}
    back = loop.undo()
    assert back is not None
    assert back.sample_id == first.sample_id
    assert project.store.last_event_id() == 10
    assert loop.undo() is None


def test_one_undo_takes_a_split_back(project: Project) -> None:
    project.loop("ann", "tab").answer_many({1: "cat", 2: "cat", 3: "dog", 4: "cat"})
    project.classes.merge(["dog"], into="cat")
    new, _ = project.classes.split("cat", "kitten", [1, 3, 4], "ann")
    project.loop("ann", "tab").answer(4, "cat")  # since then
    assert project.store.labels() == {1: new.id, 2: 1, 3: new.id, 4: 1}

    back = project.loop("ann", "split").undo()

    assert back is not None
    assert project.store.labels() == {1: 1, 2: 1, 3: 1, 4: 1}
    assert project.store.state(4) == State(4, "label", 1, 8, "ann", "learn")  # the later label, not the first one
    assert project.loop("ann", "split").undo() is None
    project.classes.unmerge(["dog"])
    assert project.store.labels() == {1: 1, 2: 1, 3: 2, 4: 1}
    project.classes.archive(["kitten"])
    assert project.store.counts()["archived"] == 0
    assert project.store.check() == []


def test_a_split_is_taken_back_by_its_group_also_when_its_class_was_archived(project: Project) -> None:
    project.loop("ann", "tab").answer_many({1: "cat", 2: "cat"})
    new, group_id = project.classes.split("cat", "kitten", [1, 2])
    project.classes.archive(["kitten"])
    assert project.store.labels() == {}
    assert len(project.store.undo_group(group_id, "back", "me")) == 2
    assert project.store.undo_group(group_id, "again", "me") == []
    assert project.store.labels() == {1: 1, 2: 1}
    project.classes.restore(["kitten"])
    assert project.store.counts()["per_class"] == {1: 2, 2: 0, new.id: 0}


def test_a_group_with_an_unknown_class_or_sample_stores_nothing(project: Project) -> None:
    loop = project.loop()
    for wrong in ({1: "cat", 2: "bird"}, {1: "cat", 99: "dog"}):
        with pytest.raises(KeyError):
            loop.answer_many(wrong)
    loop.answer_many({})
    assert project.store.last_event_id() == 0


# ---------- as commands ----------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", At("12", event_id=12)),
        (" 0 ", At("0", event_id=0)),
        ("labels:100", At("labels:100", labels=100)),
        ("1970-01-02T00:00Z", At("1970-01-02T00:00Z", time=86_400.0)),
        ("1970-01-02 01:00+01:00", At("1970-01-02 01:00+01:00", time=86_400.0)),
        ("2026-03-04", At("2026-03-04", time=datetime(2026, 3, 4).astimezone().timestamp())),
        ("2026-03-04T05:06", At("2026-03-04T05:06", time=datetime(2026, 3, 4, 5, 6).astimezone().timestamp())),
    ],
)
def test_a_moment_is_an_event_a_time_or_a_number_of_labels(text: str, expected: At) -> None:
    assert parse_at(text) == expected


@pytest.mark.parametrize(
    "text", ["", "-1", "labels:", "labels:x", "labels:-1", "100 labels", "yesterday", "1" * 40, "²"]
)
def test_what_is_no_moment_is_a_usage_error(project: Project, labeler: Command, text: str) -> None:
    for words in (["status", project.folder, "--at", text], ["export", project.folder, "out", "--at", text]):
        ended = labeler(*words)
        assert ended.code == 2
        assert len(ended.err.splitlines()) == 1
        assert "labels:100" in ended.err


def test_status_and_export_at_a_moment(project: Project, tmp_path: Path, labeler: Command) -> None:
    loop = project.loop("ann", "tab")
    loop.answer(1, "cat")
    loop.answer(2, "cat")
    loop.answer(1, "dog")
    time.sleep(0.003)
    loop.undo()
    loop.skip(2)
    recorded = datetime.fromtimestamp(project.store.events()[2].time, UTC)
    for at in ("3", recorded.replace(microsecond=recorded.microsecond // 1_000 * 1_000 + 999).isoformat()):
        report = json.loads(labeler("status", project.folder, "--at", at, "--json").out)
        assert (report["labeled"], report["skipped"], report["open"]) == (2, 0, 10)
        assert {c["name"]: c["labels"] for c in report["classes"]} == {"cat": 1, "dog": 1}
        assert report["at"]["event_id"] == 3
    assert "after event 2 of 20" in labeler("status", project.folder, "--at", "labels:2").out
    assert "before the first event: 0 of 12 images labeled" in labeler("status", project.folder, "--at", "0").out

    now = json.loads(labeler("status", project.folder, "--json").out)
    newest = json.loads(labeler("status", project.folder, "--at", "5", "--json").out)
    assert {name: newest[name] for name in newest if name != "at"} == {
        name: now[name] for name in newest if name != "at"
    }

    tally = json.loads(
        labeler("export", project.folder, tmp_path / "then", "--format", "folder", "--at", "3", "--json").out
    )
    assert (tally["label"], tally["open"], tally["classes"], tally["at"]["event_id"]) == (
        2,
        10,
        {"cat": 1, "dog": 1},
        3,
    )
    with (tmp_path / "then" / "labels.csv").open(newline="") as file:
        assert [(row["sample_id"], row["class"], row["file"].split("/")[0]) for row in csv.DictReader(file)] == [
            ("1", "dog", "dog"),
            ("2", "cat", "cat"),
        ]


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("6", "no event 6; the newest one is 1"),
        ("labels:2", "never were 2 labels"),
        (datetime.max.isoformat(), "still to come"),
    ],
)
def test_a_moment_that_never_was_is_a_failure_in_one_line(
    project: Project, tmp_path: Path, labeler: Command, at: str, says: str
) -> None:
    project.loop().answer(1, "cat")
    for words in (["status", project.folder], ["export", project.folder, tmp_path / "out.csv"]):
        ended = labeler(*words, "--at", at)
        assert (ended.code, len(ended.err.splitlines())) == (1, 1)
        assert says in ended.err
    assert not (tmp_path / "out.csv").exists()


def test_the_log_tells_what_was_done_newest_first(project: Project, labeler: Command) -> None:
    assert labeler("log", project.folder).out == "Nothing was recorded yet.\n"
    name = project.store.sample(1).name
    cat_then = event("a", "label", 1, 1, ms=61_500, version=3, predicted_class_id=2, predicted_prob=0.625)
    bad = "two\nlines, \x1b[31mred"
    project.loop("ann", "tab").commit(
        [cat_then, event("b", "undo", 1, undoes="a"), event("c", "comment", 2, comment=bad)]
    )
    project.loop("bob", "tab").answer_many({1: "dog"}, uid="abcdefghijk")

    lines = [line.split("  ", 1)[1] for line in labeler("log", project.folder).out.splitlines()]

    assert lines == [
        f"#4  bob  label dog  {name} (1)  in group abcdefgh",
        f"#3  ann  comment  {project.store.sample(2).name} (2)  two�lines, �[31mred",
        f"#2  ann  undo of #1 label cat  {name} (1)",
        f"#1  ann  label cat  {name} (1)  61.5 s with a pause, model 3 said dog 62%, undone by #2",
    ]
    entries = [json.loads(line) for line in labeler("log", project.folder, "--json").out.splitlines()]
    assert [(one["event_id"], one["undone_by"], one["undoes_event"]) for one in entries] == [
        (4, None, None),
        (3, None, None),
        (2, None, 1),
        (1, 2, None),
    ]
    stored = project.store.events()[0]
    assert datetime.fromisoformat(entries[3]["time"]).timestamp() == pytest.approx(stored.time, abs=0.001)
    for field in ("uid", "kind", "sample_id", "class_id", "annotator", "client", "ms", "paused", "version", "comment"):
        assert [one[field] for one in entries] == [getattr(e, field) for e in project.store.events(newest_first=True)]
    assert (entries[3]["class"], entries[3]["predicted_class"], entries[3]["name"]) == ("cat", "dog", name)


def test_the_log_of_an_image_a_person_a_time_and_the_newest(project: Project, labeler: Command) -> None:
    ann, bob = project.loop("ann", "tab"), project.loop("bob", "tab")
    for i in range(1, 4):
        ann.answer(i, "cat")
        bob.skip(i)
    fourth = iso(project.store.events()[3].time)

    def log(*words: object) -> list[int]:
        ended = labeler("log", project.folder, "--json", *words)
        assert (ended.code, ended.err) == (0, "")
        return [json.loads(line)["event_id"] for line in ended.out.splitlines()]

    assert log("--sample", "2") == log("--sample", project.store.sample(2).name) == [4, 3]
    assert log("--annotator", "bob") == [6, 4, 2]
    assert log("--limit", "2") == [6, 5]
    since = [one.id for one in project.store.events(newest_first=True) if one.time >= parse_time(fourth)]
    assert log("--since", fourth) == since
    assert since[:3] == [6, 5, 4]
    assert log("--since", "2999-01-01") == []
    assert log("--sample", "1", "--annotator", "ann") == [1]
    assert "that fits" in labeler("log", project.folder, "--since", "2999-01-01").out
    assert labeler("log", project.folder, "--limit", "2").out.count("\n") == 2
    for words, says in ((["--sample", "x.png"], "No image 'x.png'"), (["--annotator", "eve"], "there are ann, bob")):
        ended = labeler("log", project.folder, *words)
        assert (ended.code, len(ended.err.splitlines())) == (1, 1)
        assert says in ended.err
    assert labeler("log", project.folder, "--since", "noon").code == 2


def test_a_long_log_is_cut_in_words_and_whole_as_json(project: Project, labeler: Command) -> None:
    project.loop().commit([event(f"{i}", "label", i % 12 + 1, 1) for i in range(2_500)])
    lines = labeler("log", project.folder).out.splitlines()
    assert (len(lines), lines[-1]) == (51, "These are the newest 50: --limit N shows more, --json all.")
    entries = [json.loads(line)["event_id"] for line in labeler("log", project.folder, "--json").out.splitlines()]
    assert entries == list(range(2_500, 0, -1))


def test_the_log_has_the_changes_of_classes_where_they_happened(
    project: Project, labeler: Callable[..., Ended]
) -> None:
    project.loop("ann", "tab").answer_many({1: "cat", 2: "cat"})
    project.classes.rename("cat", "tom", annotator="bob")
    project.loop("ann", "tab").answer(3, "dog")
    _, group_id = project.classes.split("tom", "kitten", [2], annotator="bob")
    project.classes.merge(["dog"], "tom", annotator="ann")

    lines = [line.split("  ", 1)[1] for line in labeler("log", project.folder).out.splitlines()]
    assert lines[0] == "ann  class merge  dog  into tom"
    assert lines[1].startswith("#4  bob  label kitten")
    assert lines[2] == "bob  class split  kitten  off tom"
    assert lines[3].startswith("#3  ann  label dog")
    assert lines[4] == "bob  class rename  tom  which was class 1, is named so from then on"
    assert [line.split("  ")[0] for line in lines[5:]] == ["#2", "#1"]

    def kinds(*words: object) -> list[str]:
        out = labeler("log", project.folder, "--json", *words).out
        return [json.loads(line)["kind"] for line in out.splitlines()]

    assert kinds("--limit", 3) == ["class merge", "label", "class split"]
    assert kinds("--annotator", "bob") == ["label", "class split", "class rename"]
    assert kinds("--sample", 2) == ["label", "label"]
    row = json.loads(labeler("log", project.folder, "--json", "--limit", 3).out.splitlines()[-1])
    assert (row["class"], row["came_from"], row["group_id"], row["after_event_id"]) == ("kitten", "tom", group_id, 3)


def test_the_log_has_classes_that_were_added_before_the_first_label_but_those_that_it_began_with(
    project: Project, image_folder: Path, labeler: Callable[..., Ended]
) -> None:
    assert labeler("log", project.folder).out == "Nothing was recorded yet.\n"
    labeler("classes", "add", project.folder, "owl", "--annotator", "ann")
    (image_folder / "cat").rename(image_folder / "tiger")
    project.import_(image_folder, labels=True)
    lines = [line.split("  ", 1)[1] for line in labeler("log", project.folder).out.splitlines()]
    assert [line for line in lines if not line.startswith("#")] == ["class add  tiger", "ann  class add  owl"]
    with Project.create(project.folder.parent / "without", []) as p:
        p.classes.add(["owl"], "ann")
        assert "  ann  class add  owl" in labeler("log", p.folder).out


def test_a_split_is_undone_by_its_group_and_its_empty_class_archived(
    project: Project, labeler: Callable[..., Ended]
) -> None:
    project.loop("ann", "tab").answer_many({1: "cat", 2: "cat", 3: "cat"})
    _, group_id = project.classes.split("cat", "kitten", [1, 2])
    ended = labeler("undo", project.folder, group_id[:8], "--annotator", "bob")
    assert ended.out == "Took back 2 decisions.\nThe class 'kitten', which is empty, is archived.\n"
    assert project.store.labels() == {1: 1, 2: 1, 3: 1}
    assert [one.name for one in project.store.classes()] == ["cat", "dog"]
    assert project.store.events()[-1].annotator == "bob"
    assert labeler("undo", project.folder, group_id).out == "That group is undone already.\n"

    _, group_id = project.classes.split("cat", "kitten", [1, 2])
    project.loop("ann", "tab").answer(3, "kitten")
    report = json.loads(labeler("undo", project.folder, group_id, "--json").out)
    assert report == {"group_id": group_id, "undone": 2, "archived": []}  # somebody labeled it since
    assert project.store.labels()[1] == 1


def test_a_group_is_named_by_enough_of_its_id(project: Project, labeler: Callable[..., Ended]) -> None:
    record = project.store.record
    groups = enumerate(("abc1", "abc2"), 1)
    record([NewEvent(f"{name} {i}", "label", i, 1, "ann", group_id=name) for i, name in groups])
    assert labeler("undo", project.folder, "abc").err.count("More than one group begins with 'abc'") == 1
    for unknown in ("xyz", "", "ab", "%%%"):
        ended = labeler("undo", project.folder, unknown)
        assert (ended.code, "labeler log shows" in ended.err) == (1, True)
    assert project.store.labels() == {1: 1, 2: 1}
    assert labeler("undo", project.folder, "abc2").code == 0
    assert project.store.labels() == {1: 1}
