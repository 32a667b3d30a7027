"""The record: what is stored is stored once, in order, for good, whoever else is writing."""

import sqlite3
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from conftest import DATABASES, by_hand, drop_trigger, on_sqlite, wait_for
from conftest import place as place_for
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from storage import AlreadyRunning, Conflict, NewEvent, NewSample, Store

Create = Callable[[list[str]], Store]
HOLDER = {"annotator": "ann", "client": "tab"}


def rows(n: int, first: int = 0, **fields: object) -> list[NewSample]:
    places = range(first, first + n)
    return [NewSample(f"{i:064x}", f"image {i}", "images/pack.npy", i, 8, 8, 1, **fields) for i in places]  # type: ignore[arg-type]


@pytest.fixture
def store(database: Path | str) -> Iterator[Store]:
    """Ten samples (ids 1 to 10) and three classes (ids 1 to 3)."""
    with Store.create(database, "test", ["cat", "dog", "owl"]) as store:
        store.add_samples(rows(10))
        yield store


@pytest.fixture
def create(database: Path | str) -> Iterator[Create]:
    """Makes a record with these classes; closed after the test."""
    with ExitStack() as stack:
        yield lambda names: stack.enter_context(Store.create(database, "test", names))


def label(uid: str, sample_id: int, class_id: int = 1, **fields: object) -> NewEvent:
    return NewEvent(uid, "label", sample_id, class_id, "ann", "tab", **fields)  # type: ignore[arg-type]


def undo(uid: str, of: str, sample_id: int) -> NewEvent:
    return NewEvent(uid, "undo", sample_id, annotator="ann", client="tab", undoes=of)


def test_every_connection_writes_through_to_the_disk_and_begins_at_once(tmp_path: Path) -> None:
    with Store.create(tmp_path / "labels.db", "test") as store, store._writing() as db:
        pragmas = {
            name: db.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
        with pytest.raises(sqlite3.OperationalError, match="locked"):  # before anything was written
            sqlite3.connect(store.place, timeout=0).execute("INSERT INTO settings VALUES ('a', '1')")
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_sent_again_event_is_stored_once(store: Store) -> None:
    assert store.record([label("a", 1, 2)]) == ["a"]
    assert store.record([label("a", 1, 2), label("b", 2), label("b", 2)]) == ["a", "b", "b"]
    assert [(event.uid, event.sample_id, event.class_id) for event in store.events()] == [("a", 1, 2), ("b", 2, 1)]


@pytest.mark.parametrize(
    "other",
    [
        label("a", 1, 1),
        label("a", 3, 2),
        NewEvent("a", "skip", 1, annotator="ann", client="tab"),
        NewEvent("a", "label", 1, 2, "bob", "tab"),
        label("a", 1, 2, review=True),
        undo("a", "before", 1),
    ],
)
def test_a_uid_that_is_stored_with_another_answer_is_refused_with_its_whole_batch(
    store: Store, other: NewEvent
) -> None:
    store.record([label("before", 5), label("a", 1, 2)])
    with pytest.raises(Conflict, match="The answer a is stored already, and says something else"):
        store.record([label("new", 4), other])
    assert store.labels() == {1: 2, 5: 1}
    assert store.record([label("a", 1, 2, ms=7)]) == ["a"], "what was on the way besides is no other answer"


def test_a_uid_twice_in_one_batch_with_two_answers_is_refused(store: Store) -> None:
    with pytest.raises(Conflict):
        store.record([label("a", 1, 2), label("a", 3, 1)])
    assert store.last_event_id() == 0


def test_events_come_back_as_they_were_sent(store: Store) -> None:
    sent = label("a", 1, 2, ms=61_000, version=7, acquisition="margin", score=0.5, rank=3, predicted_class_id=1)
    before = time.time()
    store.record([sent])
    event = store.events()[0]
    assert {name: getattr(event, name) for name in sent.__dataclass_fields__} == vars(sent)
    assert event.paused
    assert before <= event.time <= time.time()


def test_a_batch_with_an_unknown_class_or_sample_stores_nothing(store: Store) -> None:
    with pytest.raises(KeyError, match="no class with id 9"):
        store.record([label("a", 1), label("b", 2, 9)])
    with pytest.raises(KeyError, match="no sample 11"):
        store.record([label("a", 1), label("b", 11)])
    assert store.last_event_id() == 0
    assert store.counts()["open"] == 10


@pytest.mark.parametrize(
    "wrong",
    [
        NewEvent("a", "like", 1),
        NewEvent("", "skip", 1),
        NewEvent("a", "label", 1),
        NewEvent("a", "skip", 1, class_id=1),
        NewEvent("a", "undo", 1),
        NewEvent("a", "label", 1, 1, undoes="b"),
        NewEvent("a", "skip", 1, ms=-1),
        NewEvent("a", "skip", 1, ms=2**70),
    ],
)
def test_an_event_that_makes_no_sense_is_refused(store: Store, wrong: NewEvent) -> None:
    with pytest.raises(ValueError, match="event"):
        store.record([wrong])


def test_events_cannot_be_changed_or_deleted(store: Store) -> None:
    store.record([label("a", 1)])
    for statement in ("UPDATE events SET class_id = 2", "DELETE FROM events"):
        with pytest.raises(IntegrityError, match="only appended"):
            by_hand(store, statement)


def test_undo_of_a_correction_brings_the_earlier_label_back(store: Store) -> None:
    store.record([label("a", 1, 1), label("b", 1, 2), undo("c", "b", 1)])
    assert store.labels() == {1: 1}
    store.record([undo("d", "a", 1)])
    assert store.labels() == {}
    assert store.state(1) is None


@pytest.mark.parametrize(
    ("nothing", "says"),
    [
        ([undo("c", "a", 1)], "taken back already"),
        ([undo("c", "nobody", 1)], "no such answer"),
        ([undo("c", "b", 1)], "no such answer"),  # an undo is taken back by another answer
        ([undo("c", "said", 2)], "no such answer"),
        ([undo("c", "late", 3), label("late", 3)], "no such answer"),
        ([label("late", 3), undo("c", "late", 3), undo("d", "late", 3)], "taken back already"),
    ],
)
def test_an_undo_of_nothing_is_refused_and_one_sent_again_is_not(
    store: Store, nothing: list[NewEvent], says: str
) -> None:
    store.record([label("a", 1), undo("b", "a", 1), NewEvent("said", "comment", 2, annotator="ann", client="tab")])
    with pytest.raises(Conflict, match=says):
        store.record(nothing)
    assert store.record([undo("b", "a", 1)]) == ["b"]
    assert [event.uid for event in store.events()] == ["a", "b", "said"]


def test_an_undone_sample_is_leased_to_who_undid_it(store: Store) -> None:
    store.record([label("a", 1), undo("b", "a", 1)])
    assert store.held(**HOLDER) == [1]
    assert store.lease([1, 2], 2, "bob", "tab") == [2]


def test_an_undo_takes_no_sample_from_somebody_elses_screen(store: Store) -> None:
    store.record([label("a", 1)])
    store.record([undo("b", "a", 1)])
    store.release(**HOLDER)
    assert store.lease([1], 1, "bob", "tab") == [1]
    store.record([undo("b", "a", 1)])
    with pytest.raises(Conflict):
        store.record([undo("c", "a", 1)])
    assert store.held("bob", "tab") == [1]


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["label"]), st.integers(1, 3), st.integers(1, 3)),
        st.tuples(st.sampled_from(["skip", "unsure", "flag", "comment"]), st.integers(1, 3), st.none()),
        st.tuples(st.just("undo"), st.just(0), st.integers(0, 12)),
    ),
    max_size=14,
)


@pytest.fixture(scope="module", params=DATABASES)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, Iterator[int]]]:
    """One store for many examples, each with three samples of its own: making a database takes longer than a test."""
    with Store.create(place_for(request, tmp_path_factory.mktemp("states")), "test", ["a", "b", "c"]) as store:
        store.add_samples(rows(300))
        yield store, iter(range(1, 300, 3))


@settings(max_examples=50, deadline=None)
@given(script=EVENTS, split=st.integers(0, 14))
def test_states_follow_from_any_history(
    script: list[tuple[str, int, int]], split: int, shared: tuple[Store, Iterator[int]]
) -> None:
    """Against a plain dict: the state is the newest event of a sample that no undo names, sent in one go or in two."""
    store, firsts = shared
    first = next(firsts)
    sent: list[NewEvent] = []
    standing: list[NewEvent] = []
    for i, (kind, place, n) in enumerate(script):
        uid, sample_id = f"{first}-{i}", first + place - 1
        if kind != "undo":
            sent.append(NewEvent(uid, kind, sample_id, n, "ann"))
            standing += sent[-1:] if kind != "comment" else []
        elif standing:
            undone = standing.pop(n % len(standing))
            sent.append(NewEvent(uid, "undo", undone.sample_id, annotator="ann", undoes=undone.uid))
    expected = {event.sample_id: (event.kind, event.class_id) for event in standing}
    store.record(sent[:split])
    store.record(sent[split:])
    states = {s: (state.kind, state.class_id) for s, state in store.states().items() if first <= s < first + 3}
    assert states == expected
    labels = {s: class_id for s, class_id in store.labels().items() if first <= s < first + 3}
    assert labels == {s: class_id for s, (kind, class_id) in expected.items() if kind == "label"}
    assert store.check() == []


def test_counts_tell_states_and_splits_apart(store: Store) -> None:
    store.add_samples(rows(4, first=10, split="measure"))
    store.add_samples(rows(5, first=14, split="gold", gold_class_id=2))
    kinds = ["skip", "unsure", "flag"]
    store.record([label("a", 1, 1), label("b", 2, 3), label("c", 11, 3), label("gold", 15, 3)])
    store.record([NewEvent(kind, kind, 3 + i, annotator="ann") for i, kind in enumerate(kinds)])
    assert store.counts() == {
        "samples": 19,
        "pool": 10,
        "measure": 4,
        "gold": 5,
        "labeled": 3,
        "skipped": 1,
        "unsure": 1,
        "flagged": 1,
        "archived": 0,
        "disputed": 0,
        "open": 8,
        "per_class": {1: 1, 2: 0, 3: 2},
    }
    assert store.gold() == dict.fromkeys(range(15, 20), 2)


def test_what_a_label_is_for_follows_from_its_sample_and_not_from_the_client(store: Store) -> None:
    store.add_samples([*rows(1, first=10, split="measure"), *rows(1, first=11, split="gold", gold_class_id=1)])
    store.record([label("a", 1), label("b", 11, purpose="learn"), label("c", 12, purpose="learn")])
    assert store.labels() == {1: 1}
    assert store.labels("measure") == {11: 1}
    assert store.labels(None) == {1: 1, 11: 1, 12: 1}
    assert store.labels(None, split="measure") == {11: 1}


def test_eight_threads_lease_distinct_samples(create: Create) -> None:
    store = create(["cat"])
    store.add_samples(rows(400))
    wanted = store.sample_ids()

    def take(thread: int) -> list[int]:
        return [sample_id for _ in range(10) for sample_id in store.lease(wanted, 5, "ann", f"tab {thread}")]

    with ThreadPoolExecutor(8) as pool:
        taken = [set(ids) for ids in pool.map(take, range(8))]
    assert [len(ids) for ids in taken] == [5] * 8  # asked again, a holder gets what it holds
    assert len(set.union(*taken)) == 40


def test_a_lease_passes_over_what_is_decided_gold_or_on_another_screen(store: Store) -> None:
    store.add_samples(rows(1, first=10, split="gold"))
    store.record([label("a", 2)])
    assert store.lease([1], 1, "bob", "tab") == [1]
    assert store.lease([11, 3, 2, 1, 5, 4, 99], 3, **HOLDER) == [3, 5, 4]
    assert store.lease([4, 1, 6], 3, **HOLDER) == [4, 6]
    assert store.held(**HOLDER) == [3, 4, 5, 6]
    assert sorted(store.open_ids("pool")) == [7, 8, 9, 10]


def test_a_lease_walks_a_long_ranking_to_its_end(create: Create) -> None:
    store = create(["cat"])
    store.add_samples(rows(3_000))
    store.record([label(f"{i}", i) for i in range(1, 2_999)])
    assert store.lease(store.sample_ids(), 4, **HOLDER) == [2_999, 3_000]


def test_a_lease_runs_out_unless_renewed(store: Store) -> None:
    store.lease([1, 2], 2, **HOLDER, seconds=0.05)
    store.renew(**HOLDER, sample_ids=[1], seconds=60)
    time.sleep(0.06)
    assert store.held(**HOLDER) == [1]
    assert store.lease([1, 2], 2, "bob", "tab") == [2]
    store.renew(**HOLDER, sample_ids=[1, 2], seconds=60)  # lost ones stay lost
    assert store.held("bob", "tab") == [2]


@pytest.mark.parametrize("moved", [-86_400, -3_600, -60, 60, 3_600, 86_400])
def test_a_lease_holds_as_long_as_it_should_though_the_clock_on_the_wall_is_moved(
    store: Store, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, even = time.time, time.monotonic
    passed = 0.0

    def move(seconds: float) -> None:
        nonlocal passed
        passed = seconds
        monkeypatch.setattr(time, "time", lambda: wall() + moved + passed)
        monkeypatch.setattr(time, "monotonic", lambda: even() + passed)

    assert store.lease([1], 1, **HOLDER) == [1]
    store.record([label("a", 2), undo("b", "a", 2)])  # asked again, which is a lease too
    move(100)
    assert store.held(**HOLDER) == [1, 2]
    assert store.lease([1, 2, 3], 3, "bob", "tab") == [3]
    assert store.open_ids("pool").tolist() == list(range(4, 11))
    assert [line for line in store.check() if "clock" in line] == []
    store.renew(**HOLDER, sample_ids=[1])
    move(200)
    assert store.held(**HOLDER) == [1]
    assert store.lease([1, 2], 2, "bob", "tab") == [2]
    move(330)
    assert store.lease([1], 1, "bob", "tab") == [1]


def test_release_gives_back_all_but_what_is_kept(store: Store) -> None:
    store.lease([1, 2, 3], 3, **HOLDER)
    store.lease([4], 1, "ann", "another tab")
    assert store.release(**HOLDER, keep=[2]) == 2
    assert store.held(**HOLDER) == [2]
    assert store.held("ann", "another tab") == [4]


def test_deciding_a_sample_takes_it_off_every_screen(store: Store) -> None:
    store.lease([1, 2], 2, "bob", "tab")
    store.record([label("a", 1)])
    assert store.held("bob", "tab") == [2]


def test_two_processes_write_at_once_without_a_lock_error(store: Store, tmp_path: Path) -> None:
    script = """
import sys
from storage import NewEvent, Store
store = Store.open(sys.argv[1])
for i in range(30):
    store.lease([i % 10 + 1], 1, sys.argv[2], "tab")
    store.record([NewEvent(f"{sys.argv[2]}-{i}", "label", i % 10 + 1, 1, sys.argv[2], "tab")])
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, store.place, name], stderr=subprocess.PIPE, text=True)
        for name in ("ann", "bob")
    ]
    for i in range(30):
        store.record([label(f"here-{i}", i % 10 + 1)])
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0), ("", 0)]
    uids = [event.uid for event in store.events()]
    for name in ("ann", "bob", "here"):
        assert [uid for uid in uids if uid.startswith(name)] == [f"{name}-{i}" for i in range(30)]
    assert store.check() == []


def test_what_was_recorded_is_there_after_a_kill(store: Store) -> None:
    script = """
import sys
from storage import NewEvent, Store
store = Store.open(sys.argv[1])
for i in range(10_000):
    print(*store.record([NewEvent(f"u{i}", "label", i % 10 + 1, 1, "ann", "tab")]), flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", script, store.place], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(20)]
    process.kill()
    acknowledged += process.stdout.read().split()
    process.wait()
    process.stdout.close()
    stored = [event.uid for event in store.events()]
    assert stored[: len(acknowledged)] == acknowledged
    assert store.check() == []


def test_what_is_written_stays_though_this_process_opens_the_database_twice_and_another_ends(store: Store) -> None:
    """Seen to lose labels: opening the file by hand drops SQLite's locks, and whoever ends then deletes our log."""
    come_and_go = "import sys; from storage import Store; print(Store.open(sys.argv[1]).labels())"

    def as_another_process_sees_it() -> str:
        command = [sys.executable, "-c", come_and_go, str(store.place)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    store.record([label("a", 1, 1)])
    Store.open(store.place).close()
    assert as_another_process_sees_it() == "{1: 1}"
    store.record([label("b", 2, 2)])
    assert as_another_process_sees_it() == "{1: 1, 2: 2}"


def test_class_names_are_kept_as_written(create: Create) -> None:
    names = ["Cat", "cat", "a/b\\c", "\"quoted\" 'name'", "🐈‍⬛", "x" * 300, "CON", "..", "${alert(1)}", "=1+1"]
    store = create(names)
    assert [one.name for one in store.classes()] == names
    assert [one.key for one in store.classes()] == list("1234567890")
    assert len({one.colour for one in store.classes()}) == 10


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["cat", " "], "empty"),
        (["cat", ""], "empty"),
        (["cat", "cat "], "twice"),
        ([unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")], "twice"),
        (["a\nb"], "control character"),
    ],
)
def test_class_names_that_will_not_do_are_refused_together(tmp_path: Path, names: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Store.create(tmp_path / "labels.db", "test", names)
    assert list(tmp_path.iterdir()) == []
    store = Store.create(tmp_path / "labels.db", "test", ["bird"])
    with pytest.raises(ValueError, match=reason):
        store.add_classes(names)
    assert [one.name for one in store.classes()] == ["bird"]


def test_classes_added_later_follow_and_get_free_keys(create: Create) -> None:
    store = create([f"c{i}" for i in range(12)])
    added = store.add_classes([f"d{i}" for i in range(30)])
    assert [one.position for one in added] == list(range(12, 42))
    assert [one.key for one in added] == [*"cdhijklnoprtvwxyqge", *[""] * 11]


def test_a_class_named_like_a_key_gets_that_key(create: Create) -> None:
    store = create(["0", "other", "1", "s", "A"])
    assert [one.key for one in store.classes()] == ["0", "2", "1", "3", "4"]
    assert [one.key for one in store.add_classes(["1 again", "5", "b"])] == ["6", "5", "b"]


def test_an_identical_image_is_stored_once(store: Store) -> None:
    assert store.add_samples([*rows(3, first=8), *rows(1, first=9)]) == {"added": 1, "duplicates": 3}
    ids = store.sample_ids()
    assert len(ids) == 11
    assert store.last_sample_id() == ids[-1]
    assert [sample.name for sample in store.samples()] == [f"image {i}" for i in range(11)]


def test_samples_are_found_by_id_split_and_content(store: Store) -> None:
    store.add_samples(rows(2, first=10, split="measure"))
    assert store.sample(11).name == "image 10"
    assert [sample.id for sample in store.samples("measure")] == [11, 12]
    assert [sample.id for sample in store.samples(ids=np.array([3, 1]))] == [1, 3]
    assert store.ids_by_sha256([f"{4:064x}", "unknown"]) == {f"{4:064x}": 5}
    with pytest.raises(KeyError, match="no sample 99"):
        store.sample(99)


def test_a_role_has_one_holder_until_it_lets_go(store: Store) -> None:
    store.hold("server", "first", {"url": "http://127.0.0.1:7860"})
    with pytest.raises(AlreadyRunning, match=r"http://127\.0\.0\.1:7860"):
        store.hold("server", "second", {})
    assert store.heartbeat("server", "first", {"url": "x", "busy": True})
    process = store.process("server")
    assert process is not None
    assert process["alive"]
    assert process["busy"]
    store.let_go("server", "second")  # not theirs to give
    assert store.process("server") is not None
    store.let_go("server", "first")
    assert store.process("server") is None
    assert not store.heartbeat("server", "first", {})
    store.hold("server", "second", {})


def test_the_role_of_a_killed_process_is_taken_over_at_once(store: Store) -> None:
    script = """
import sys, time
from storage import Store
Store.open(sys.argv[1]).hold("trainer", "theirs", {"phase": "learning"})
print("held", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", script, store.place], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(AlreadyRunning, match=str(process.pid)):
        store.hold("trainer", "ours", {})
    process.kill()
    process.stdout.close()
    deadline = time.monotonic() + 5
    while (found := store.process("trainer")) is not None and found["alive"] and time.monotonic() < deadline:
        time.sleep(0.01)  # not waited for: it is a zombie now, and that is dead enough
    store.hold("trainer", "ours", {"phase": "starting"})
    process.wait()


def test_a_silent_holder_on_another_machine_is_replaced(store: Store) -> None:
    store.hold("trainer", "theirs", {})
    with store._writing() as db:
        db.exec_driver_sql("UPDATE processes SET host = 'elsewhere', pid = 1")
    with pytest.raises(AlreadyRunning):
        store.hold("trainer", "ours", {})
    with store._writing() as db:
        db.exec_driver_sql("UPDATE processes SET heartbeat = heartbeat - 11")
    store.hold("trainer", "ours", {})
    assert not store.heartbeat("trainer", "theirs", {})


def test_the_change_mark_is_another_one_after_each_commit_of_another_process(store: Store) -> None:
    with Store.open(store.place) as other:
        marks = [store.change_mark()]
        changes = [
            lambda: store.record([label("a", 1)]),
            lambda: other.hold("trainer", "me", {}),
            lambda: other.heartbeat("trainer", "me", {}),
            lambda: other.lease([2], 1, "bob", "tab"),
            lambda: store.set_setting("a", 1),
        ]
        for change in changes:
            change()
            wait_for(lambda: store.change_mark() not in marks)
            marks.append(store.change_mark())
        with pytest.raises(KeyError):
            other.record([label("b", 99)])
        assert store.change_mark() == marks[-1]


def test_the_change_mark_of_a_file_is_another_one_whichever_program_wrote(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "labels.db", "test", ["cat"])
    store.add_samples(rows(1))
    other = sqlite3.connect(store.place, isolation_level=None)
    marks = [store.change_mark()]
    changes = [
        lambda: store.record([label("a", 1)]),
        lambda: store.hold("trainer", "me", {}),
        lambda: store.heartbeat("trainer", "me", {}),
        lambda: other.execute("INSERT INTO settings VALUES ('a', '1')"),
        lambda: other.execute("DELETE FROM settings"),
    ]
    for change in changes:
        change()
        assert store.change_mark() not in marks
        marks.append(store.change_mark())
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO settings VALUES ('b', '1')")
    assert store.change_mark() == marks[-1]
    other.execute("ROLLBACK")
    assert store.change_mark() == marks[-1]
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    before = store.change_mark()
    other.execute("INSERT INTO settings VALUES ('c', '1')")  # the first into an empty log
    assert store.change_mark() != before
    other.close()


def test_versions_keep_their_row_when_their_arrays_are_dropped(store: Store) -> None:
    assert store.newest_version() is None
    for version in (1, 2):
        store.add_version(version, 10 * version, 5, 100, f"models/{version}", "margin", {"elbo": -1.5})
    assert store.newest_version() == store.versions()[1]
    store.drop_version(1)
    assert [(v.version, v.pruned, v.metrics) for v in store.versions()] == [
        (1, True, {"elbo": -1.5}),
        (2, False, {"elbo": -1.5}),
    ]
    assert [v.version for v in store.versions(pruned=False)] == [2]


def test_settings_hold_any_json(store: Store) -> None:
    for value in ("margin", 0.5, None, False, [1, {"a": "🐈"}]):
        store.set_setting("key", value)
        assert store.setting("key", "default") == value
    assert store.setting("other", "default") == "default"


def test_annotators_are_ready_for_accounts(store: Store) -> None:
    assert store.annotator("ann") == store.annotator("ann")
    store.record([NewEvent("a", "skip", 1, annotator="bob")])
    assert store.annotators() == ["ann", "bob"]
    with store._reading() as db:
        accounts = db.exec_driver_sql("SELECT name, role, password_hash FROM annotators").fetchall()
    assert [tuple(row) for row in accounts] == [("ann", "annotator", None), ("bob", "annotator", None)]


def test_check_finds_states_that_do_not_follow_and_rows_that_point_nowhere(store: Store) -> None:
    store.record([label("a", 1), label("b", 2)])
    by_hand(store, "UPDATE sample_states SET class_id = 2 WHERE sample_id = 1")
    drop_trigger(store, "events_keep_delete")
    nowhere = []
    if on_sqlite(store):  # the other one never lets a row point at nothing
        with closing(sqlite3.connect(store.place, isolation_level=None)) as other:
            other.execute("INSERT INTO leases VALUES (77, 1, 'tab', 0)")
        nowhere = ["Row 1 of leases points at a row of samples that is not there."]
    assert store.check() == [
        *nowhere,
        "The state of sample 1 does not follow from its events.",
        "The trigger events_keep_delete, which keeps events from being changed, is missing.",
    ]


def test_a_repair_keeps_the_last_trace_of_an_event_that_somebody_took_away(tmp_path: Path) -> None:
    with Store.create(tmp_path / "labels.db", "test", ["cat", "dog"]) as store:
        store.add_samples(rows(3))
        store.record([label("a", 1), label("b", 2)])
        drop_trigger(store, "events_keep_delete")
        with closing(sqlite3.connect(store.place, isolation_level=None)) as other:
            other.execute("DELETE FROM events WHERE id = 1")
            other.execute("UPDATE sample_states SET class_id = 2 WHERE sample_id = 2")
        assert len(store.repair()) == 2  # the trigger, and the other state
        assert store.labels() == {1: 1, 2: 1}
        assert any("sample_states points at a row of events that is not there" in line for line in store.check())


def test_the_history_is_found_by_sample_annotator_and_place(store: Store) -> None:
    store.record([label("a", 1), label("b", 2), NewEvent("c", "skip", 1, annotator="bob", client="tab")])
    assert [event.uid for event in store.events(sample_id=1)] == ["a", "c"]
    assert [event.uid for event in store.events(annotator="ann", newest_first=True)] == ["b", "a"]
    assert [event.uid for event in store.events(after=1, limit=1)] == ["b"]
    assert [event.uid for event in store.events(uids=["c", "x"])] == ["c"]


def test_the_newest_decision_of_a_client_is_what_it_would_undo(store: Store) -> None:
    store.record([label("a", 1), label("b", 2), NewEvent("c", "comment", 2, annotator="ann", client="tab")])
    store.record([NewEvent("d", "skip", 3, annotator="ann", client="another tab"), undo("e", "b", 2)])
    newest = store.last_decision("ann", "tab")
    assert newest is not None
    assert newest.uid == "a"
    assert store.last_decision("bob", "tab") is None
