"""What PostgreSQL does otherwise than SQLite: two writers at once, lost connections, passwords, rights."""

import logging
import secrets
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import sqlalchemy as sa
from conftest import QUICK, Ended, by_hand, drop_trigger, interrupt, start, wait_for
from fastapi.testclient import TestClient
from pages import IGNORE_UNCLOSED, build, collect_unclosed, small_project
from test_salvage import leaves, tear

from labeler.lookout import Lookout
from labeler.outage import outlasted
from labeler.project import Project
from labeler.serve import _held
from storage import Conflict, NewEvent, NewSample, Store, migrations
from storage.tables import metadata

if TYPE_CHECKING:
    from postgres import Server

pytestmark = IGNORE_UNCLOSED
Command = Callable[..., Ended]
SECRET = "open-sesame"


def rows(n: int) -> list[NewSample]:
    return [NewSample(f"{i:064x}", f"image {i}", "images/pack.npy", i, 8, 8, 1) for i in range(n)]


def label(uid: str, sample_id: int, class_id: int = 1) -> NewEvent:
    return NewEvent(uid, "label", sample_id, class_id, "ann", "tab")


@pytest.fixture
def url(postgresql: "Server") -> str:
    return postgresql.url(f"t{secrets.token_hex(8)}")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """Ten samples and three classes."""
    with Store.create(url, "test", ["cat", "dog", "owl"]) as store:
        store.add_samples(rows(10))
        yield store


def waiting(store: Store) -> int:
    """How many wait for the lock of writers."""
    with store._reading() as db:
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return int(db.exec_driver_sql(query).scalar() or 0)


def end_all_others(store: Store) -> None:
    with store._reading() as db:
        db.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def is_away(ask: Callable[[], object]) -> bool:
    """Whether it says in one line that there is no server."""
    try:
        ask()
    except ConnectionError as told:
        return "cannot be reached" in str(told) and "\n" not in str(told)
    return False


# ---------- two at once ----------


def test_an_event_is_never_seen_before_one_with_a_lower_id(store: Store) -> None:
    """A transaction that has its id and has not committed holds up the next one, which would be seen first."""
    with Store.open(store.place) as other, ThreadPoolExecutor() as pool:
        with store._writing() as db:
            store._append(db, [label("first", 1)])
            second = pool.submit(other.record, [label("second", 2)])
            wait_for(lambda: waiting(store))
            assert other.events() == []
            assert not second.done()
        second.result(30)
        assert [(event.id, event.uid) for event in other.events()] == [(1, "first"), (2, "second")]


def test_a_reader_that_asks_for_what_is_newer_misses_nothing_of_four_writers(store: Store) -> None:
    writers, n = 4, 40

    def write(name: int) -> None:
        with Store.open(store.place) as own:
            for i in range(n):
                own.record([label(f"{name}-{i}", i % 10 + 1)])

    seen: list[str] = []
    newest = 0
    with ThreadPoolExecutor(writers) as pool:
        running = [pool.submit(write, name) for name in range(writers)]
        ended = False
        while not ended:
            ended = all(one.done() for one in running)  # and then once more
            for event in store.events(after=newest):
                newest = event.id
                seen.append(event.uid)
    assert [one.exception() for one in running] == [None] * writers
    assert sorted(seen) == sorted(f"{name}-{i}" for name in range(writers) for i in range(n))
    assert store.check() == []


def test_a_reading_transaction_sees_one_moment_and_waits_for_nobody(store: Store) -> None:
    history = store.history()
    assert list(history) == []
    store.record([label("a", 1), label("b", 2)])
    history = store.history()
    assert next(history).event.uid == "b"
    with Store.open(store.place) as other, other._writing() as db:
        other._append(db, [label("c", 3)])
        assert [entry.event.uid for entry in history] == ["a"]
        assert store.labels() == {1: 1, 2: 1}


def test_what_a_writer_read_before_it_waited_is_not_what_it_goes_by(store: Store) -> None:
    """The same uid from two at once: the second one sees that the first has stored it."""
    with Store.open(store.place) as other, ThreadPoolExecutor() as pool:
        with store._writing() as db:
            store._append(db, [label("same", 1, 1)])
            again = pool.submit(other.record, [label("same", 1, 1)])
            wait_for(lambda: waiting(store) == 1)
            differs = pool.submit(other.record, [label("same", 1, 2)])  # queues behind the first in its process
        assert again.result(30) == ["same"]
        with pytest.raises(Conflict):
            differs.result(30)
    assert store.labels() == {1: 1}


def test_two_projects_in_one_database_know_nothing_of_each_other(postgresql: "Server", store: Store) -> None:
    with Store.create(postgresql.url("of_others"), "other", ["x"]) as other:
        other.add_samples(rows(1))
        store.record([label("a", 1)])
        with other._writing():  # and no writer of one waits for the other's
            store.record([label("b", 2)])
        assert (other.last_event_id(), len(store.sample_ids()), len(other.sample_ids())) == (0, 10, 1)
    with pytest.raises(ValueError, match="exists already"):
        Store.create(postgresql.url("of_others"), "third")


# ---------- lost connections ----------


def test_connections_that_the_server_ended_are_replaced(store: Store) -> None:
    store.record([label("a", 1)])
    mark = store.change_mark()
    end_all_others(store)
    assert store.record([label("b", 2)]) == ["b"]
    wait_for(lambda: store.change_mark() != mark)


def test_a_transaction_that_is_cut_stores_nothing_and_says_so_and_may_be_sent_again(store: Store) -> None:
    def record_and_be_cut() -> None:
        with store._writing() as db:
            store._append(db, [label("a", 1)])
            with Store.open(store.place) as other:
                end_all_others(other)
            store._append(db, [label("b", 2)])

    with pytest.raises(ConnectionError, match="cannot be reached") as lost:
        record_and_be_cut()
    assert "\n" not in str(lost.value)
    assert store.events() == []
    assert store.record([label("a", 1)]) == ["a"]


def test_a_server_that_is_away_is_told_of_and_all_goes_on_when_it_is_back(postgresql: "Server", store: Store) -> None:
    store.record([label("a", 1)])
    mark = store.change_mark()
    postgresql.stop()
    try:
        wait_for(lambda: is_away(store.change_mark))
        for ask in (store.labels, lambda: store.record([label("b", 2)])):
            assert is_away(ask)
    finally:
        postgresql.start()
    assert store.record([label("b", 2)]) == ["b"]
    assert store.labels() == {1: 1, 2: 1}
    assert store.change_mark() != mark


def test_an_acknowledged_label_survives_the_sudden_end_of_every_server_process(postgresql: "Server", url: str) -> None:
    with Store.create(url, "test", ["cat"]) as store:
        store.add_samples(rows(3))
        store.record([label("a", 1)])
        postgresql.kill()
        postgresql.start()
        assert store.labels() == {1: 1}
        assert store.check() == []


# ---------- what an acknowledged label rests on ----------


def test_every_label_waits_for_the_disk_whatever_the_server_would_do_by_itself(store: Store) -> None:
    with Store.open(f"{store.place}&options=-csynchronous_commit%3Doff") as careless:
        for durable, expected in ((True, "on"), (False, "off")):
            with careless._writing(durable=durable) as db:
                assert db.exec_driver_sql("SHOW synchronous_commit").scalar() == expected
        with careless._reading() as db:
            assert db.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"


def test_a_server_that_does_not_write_through_is_named_by_check(store: Store, postgresql: "Server") -> None:
    def fsync(value: str) -> None:
        with store._engine.connect() as db:
            db.execution_options(isolation_level="AUTOCOMMIT", postgresql_readonly=False)
            db.exec_driver_sql(f"ALTER SYSTEM SET fsync = {value}")
            db.exec_driver_sql("SELECT pg_reload_conf()")
        wait_for(lambda: bool(store.check()) is (value == "off"))

    fsync("off")
    try:
        assert store.check()[0].startswith("PostgreSQL: fsync is off")
    finally:
        fsync("on")


def test_events_are_not_emptied_either_and_what_is_missing_is_mended(store: Store) -> None:
    store.record([label("a", 1), label("b", 2)])
    with pytest.raises(sa.exc.IntegrityError, match="only appended"):
        by_hand(store, "TRUNCATE events CASCADE")
    drop_trigger(store, "events_keep_delete")
    drop_trigger(store, "class_events_keep_update")
    by_hand(
        store,
        "UPDATE sample_states SET class_id = 3",
        "UPDATE classes SET name = 'x' WHERE id = 2",
        "INSERT INTO leases VALUES (5, 1, 'tab', 1e12)",
        "DELETE FROM classes WHERE id = 3 AND false",
    )
    assert len(store.check()) == 6
    assert len(store.repair()) == 5
    assert store.check() == []
    with pytest.raises(sa.exc.IntegrityError, match="only appended"):
        by_hand(store, "DELETE FROM events")


def test_a_text_with_a_nul_is_refused_in_one_line_and_stores_nothing(store: Store) -> None:
    wrong = [
        NewEvent("a\0", "skip", 1),
        NewEvent("a", "skip", 1, annotator="a\0"),
        NewEvent("a", "skip", 1, None, "a", "\0"),
    ]
    for event in wrong:
        with pytest.raises(ValueError, match="the character NUL"):
            store.record([event])
    assert store.events() == []


# ---------- made, opened, upgraded ----------


def test_the_tables_are_those_that_sqlite_has(store: Store) -> None:
    with store._reading() as db:
        found = sa.inspect(db)
        schema = store._dialect.schema_name  # type: ignore[attr-defined]
        made = {name: [c["name"] for c in found.get_columns(name, schema)] for name in found.get_table_names(schema)}
    assert made == {table.name: [column.name for column in table.c] for table in metadata.sorted_tables}


@pytest.mark.parametrize("schema", range(1, len(migrations.MIGRATIONS)))
def test_a_record_of_an_older_schema_is_brought_up_to_date(
    schema: int, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:schema])
        older = Store.make(url, "test", lambda store: None)
        if schema < 3:
            by_hand(older, "INSERT INTO classes (name, key, colour, position) VALUES ('cat', '1', '#4477aa', 0)")
        else:  # since then a class comes with an event of its own
            older.add_classes(["cat"])
        by_hand(
            older,
            "INSERT INTO samples (sha256, name, file, width, height, channels, split) "
            "VALUES ('a', 'a', 'a', 8, 8, 1, 'pool')",
        )
        older.close()
    with Store.open(url) as store:
        store.record([label("a", 1)])
        assert store.labels() == {1: 1}
        assert store.check() == []


def test_a_failed_upgrade_leaves_the_record_as_it_was(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_at_the_end(db: sa.Connection) -> None:
        db.exec_driver_sql("UPDATE samples SET name = 'spoiled'")
        db.exec_driver_sql("DROP TABLE leases")
        db.exec_driver_sql("SELECT * FROM no_such_table")

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", [*migrations.MIGRATIONS, fail_at_the_end])
        with pytest.raises(ValueError, match=r"could not be upgraded .* left as it was: .*no_such_table"):
            Store.open(url)
    assert store.sample(1).name == "image 0"
    assert store.check() == []
    by_hand(store, "UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(ValueError, match=r"newer Labeler \(schema 99"):
        Store.open(url)


def test_what_is_not_a_record_is_refused_in_one_line_and_left_alone(postgresql: "Server", store: Store) -> None:
    by_hand(store, "CREATE SCHEMA bookmarks", "CREATE TABLE bookmarks.meta (key TEXT, url TEXT)")
    for url, error, reason in [
        (postgresql.url("bookmarks"), ValueError, "another program"),
        (postgresql.url("nothing"), FileNotFoundError, "no record at"),
        (postgresql.url("x").partition("&schema")[0], ValueError, "ends with .schema=NAME"),
        (postgresql.url("x").replace("/postgres?", "/other?"), ConnectionError, 'database "other" does not exist'),
        (postgresql.url('x";--'), ValueError, "small letters"),
        ("mysql://host/labels", ValueError, "not on mysql"),
        (f"postgresql+psycopg2://ann:{SECRET}@host/labels", ValueError, "not on postgresql"),
        (f"postgresql:// ann:{SECRET}@ho st:x/labels", ValueError, "no URL"),
    ]:
        with pytest.raises(error, match=reason) as refused:
            Store.open(url)
        assert "\n" not in str(refused.value)
        assert SECRET not in str(refused.value)
    with store._reading() as db:
        schemas = set(db.exec_driver_sql("SELECT nspname FROM pg_namespace").scalars())
    assert not {"nothing", "x"} & schemas


def test_a_record_that_cannot_be_filled_is_not_made(url: str) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="twice"):
            Store.create(url, "test", ["cat", "cat"])
    Store.create(url, "test", ["cat"]).close()


def test_a_database_of_another_encoding_and_one_where_we_may_not_create_are_refused(
    postgresql: "Server", store: Store
) -> None:
    with store._engine.connect() as db:
        db.execution_options(isolation_level="AUTOCOMMIT", postgresql_readonly=False)
        for statement in (
            "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0 STRATEGY file_copy",
            "CREATE ROLE guest LOGIN",
        ):
            db.exec_driver_sql(statement)
    with pytest.raises(ValueError, match="encoding is UTF8"):
        Store.create(postgresql.url("x").replace("/postgres?", "/ascii?"), "test")
    with pytest.raises(PermissionError, match="permission denied") as refused:
        Store.create(postgresql.url("x").replace("tester@", "guest@"), "test")
    assert "\n" not in str(refused.value)


def test_without_psycopg_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labeler: Command
) -> None:
    monkeypatch.delitem(sys.modules, "storage.postgresql", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    ended = labeler("new", tmp_path / "p", "--classes", "a", "--database", "postgresql://host/db")
    assert (ended.code, ended.err) == (
        1,
        "labeler: PostgreSQL needs psycopg. Install it: pip install 'psycopg[binary]'\n",
    )
    assert not (tmp_path / "p").exists()


# ---------- passwords ----------


@pytest.fixture
def guarded(postgresql: "Server", store: Store, url: str) -> str:
    """A URL without the password that its user needs."""
    by_hand(
        store,
        "DROP ROLE IF EXISTS guarded",
        f"CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '{SECRET}'",
    )
    return f"{url}_2".replace("tester@", "guarded@")


def test_a_password_is_used_and_never_written_or_shown(
    guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labeler: Command, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    ended = labeler("new", tmp_path / "p", "--classes", "a,b", "--database", guarded)
    assert ended.code == 1
    assert "no password supplied" in ended.err
    assert not (tmp_path / "p").exists()

    told = labeler(
        "new", tmp_path / "p", "--classes", "a,b", "--database", guarded.replace("guarded@", f"guarded:{SECRET}@")
    )
    assert told.code == 0, told.err
    memory = tmp_path / "p" / "labels.url"
    assert sa.make_url(memory.read_text().strip()) == sa.make_url(guarded)
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600

    without = labeler("status", tmp_path / "p")
    assert (without.code, without.err.count("\n")) == (1, 1)
    monkeypatch.setenv("PGPASSWORD", "wrong")
    wrong = labeler("check", tmp_path / "p")
    assert "password authentication failed" in wrong.err
    monkeypatch.setenv("PGPASSWORD", SECRET)
    status = labeler("status", tmp_path / "p", "--json")
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "pgpass").write_text(f"*:*:*:guarded:{SECRET}\n")
    (tmp_path / "pgpass").chmod(0o600)
    check = labeler("check", tmp_path / "p")
    assert (status.code, check.code) == (0, 0)
    everything = "".join(e.out + e.err for e in (ended, told, without, wrong, status, check)) + caplog.text
    assert SECRET not in everything

    memory.write_text(guarded.replace("guarded@", f"guarded:{SECRET}@"))
    memory.chmod(0o644)
    with pytest.raises(ValueError, match="others may read") as refused:
        Project.open(tmp_path / "p")
    assert SECRET not in str(refused.value)
    memory.chmod(0o600)
    with Project.open(tmp_path / "p") as project:
        assert SECRET not in project.store.place


# ---------- a project ----------


@pytest.fixture
def project(url: str, tmp_path: Path, image_folder: Path) -> Iterator[Project]:
    """The twelve images, all of them in the pool; classes cat and dog."""
    with Project.create(tmp_path / "project", ["cat", "dog"], url) as p:
        p.import_(image_folder, measure_share=0)
        yield p


def test_its_folder_has_the_images_and_says_where_the_record_is(project: Project) -> None:
    assert sorted(entry.name for entry in project.folder.iterdir()) == ["images", "labels.url"]
    project.loop("ann").answer(1, "cat")
    with Project.open(project.folder) as again:
        assert again.store.labels() == {1: 1}
        assert again.name == "project"
    with pytest.raises(ValueError, match="a project already"):
        Project.create(project.folder, ["cat"])
    (project.folder / "labels.db").write_bytes(b"")
    with pytest.raises(ValueError, match="both"):
        Project.open(project.folder)


def test_a_backup_of_either_database_restores_to_either(
    project: Project, postgresql: "Server", tmp_path: Path, labeler: Command
) -> None:
    loop = project.loop("ann", "tab")
    for sample_id in (1, 2, 3):
        loop.answer(sample_id, "dog")
    loop.undo()
    loop.ask()
    project.classes.merge(["dog"], into="cat")
    project.classes.set_guideline("cat", "Whiskers.\nOr a tail?", examples=[1, 2])
    folder: Path = project.folder
    for n, target in enumerate([None, postgresql.url("restored_1"), postgresql.url("restored_2"), None]):
        out, again = tmp_path / f"{n}.zip", tmp_path / f"again-{n}"
        assert labeler("backup", folder, out).code == 0
        ended = labeler("restore", out, again, *(["--database", target] if target else []))
        assert (ended.code, ended.err) == (0, "")
        assert (again / "labels.db").is_file() is (target is None)
        with Project.open(folder) as p, Project.open(again) as q:
            for what in (
                *("events", "classes", "class_events", "samples", "imports", "counts", "labels", "states"),
                *("guidelines", "guideline_events"),
            ):
                assert getattr(p.store, what)() == getattr(q.store, what)(), what
            assert q.store.held("ann", "tab") == []
            assert labeler("check", again).code == 0
            before = p.store.last_event_id()
            bob = q.loop("bob")
            bob.answer(4, "cat")  # ids go on where they were
            bob.undo()
            assert q.store.last_event_id() == before + 2
            assert q.store.add_classes([f"fox {n}"])[0].id == (3 if n == 0 else 4)
            if target:
                q.store.add_samples([NewSample("f" * 64, "n", "f", None, 8, 8, 1)])
                assert q.store.last_sample_id() == 13
        folder = again if n == 0 else folder
    taken = labeler("restore", tmp_path / "0.zip", tmp_path / "taken", "--database", postgresql.url("restored_1"))
    assert (taken.code, (tmp_path / "taken").exists()) == (1, False)
    assert "exists already" in taken.err


def test_a_record_that_was_changed_by_others_moves_to_either_database_and_that_is_told(
    project: Project, postgresql: "Server", tmp_path: Path, labeler: Command
) -> None:
    project.loop("ann").answer(1, "dog")
    drop_trigger(project.store, "events_keep_update")
    by_hand(project.store, "UPDATE events SET ms = 5")
    folder: Path = project.folder
    for n, target in enumerate([None, postgresql.url("changed_1"), postgresql.url("changed_2")]):
        out, again = tmp_path / f"{n}.zip", tmp_path / f"again-{n}"
        assert labeler("backup", folder, out).code == 1
        ended = labeler("restore", out, again, *(["--database", target] if target else []))
        assert (ended.code, "Events that were changed after they were recorded: 1." in ended.err) == (1, True)
        with Project.open(again) as q:
            assert q.store.check()[0] == "Events that were changed after they were recorded: 1."
        folder = again


def test_a_torn_record_is_not_moved_and_that_says_what_to_do(
    postgresql: "Server", tmp_path: Path, labeler: Command
) -> None:
    with small_project(tmp_path / "flowers", n=300) as p:
        p.store.record([NewEvent(f"label {i} " + 60 * "x", "label", i, 1, "ann", "tab") for i in range(1, 301)])
    tear(tmp_path / "flowers", leaves(tmp_path / "flowers" / "labels.db", "events")[3])
    assert labeler("backup", tmp_path / "flowers", tmp_path / "b.zip").code == 1
    for _ in range(2):
        ended = labeler("restore", tmp_path / "b.zip", tmp_path / "again", "--database", postgresql.url("torn"))
        assert (ended.code, "torn and cannot be moved" in ended.err) == (1, True), ended
        assert not (tmp_path / "again").exists()


def test_every_command_that_reads_or_writes_the_record_does_so_there(
    postgresql: "Server", image_folder: Path, tmp_path: Path, labeler: Command
) -> None:
    home = tmp_path / "home"
    url = postgresql.url("commands")
    script = [
        ("new", home, "--classes", "cat,dog,owl", "--database", url),
        ("import", home, image_folder, "--labels", "--measure-share", 0, "--json"),
        ("import", home, image_folder),
        ("classes", home),
        ("classes", "add", home, "fox"),
        ("classes", "merge", home, "dog", "--into", "cat"),
        ("status", home, "--json"),
        ("status", home, "--at", "labels:3"),
        ("log", home, "--annotator", "import"),
        ("export", home, tmp_path / "out.csv"),
        ("export", home, tmp_path / "out.jsonl", "--format", "jsonl", "--at", "3"),
        ("export", home, tmp_path / "out", "--format", "folder"),
        ("check", home, "--repair"),
        ("user", "list", home),
    ]
    for command in script:
        ended = labeler(*command)
        assert ended.code == 0, (command, ended)
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3
    assert len(list((tmp_path / "out" / "cat").iterdir())) == 12


def test_the_page_says_that_the_database_is_away_and_an_answer_sent_again_is_stored_once(
    postgresql: "Server", project: Project
) -> None:
    client = TestClient(build(project), base_url="http://127.0.0.1:7860")
    key = client.get("/labeler/state").json()["key"]
    client.post("/labeler/name", json={"name": "ann"})
    body = {"project": key, "client": "tab-00000001"}
    first = client.post("/labeler/next", json={**body, "n": 1}).json()["questions"][0]["sample_id"]
    answer = {"uid": "uid-0001", "kind": "label", "sample_id": first, "class_id": 1}
    postgresql.stop()
    try:
        away = client.post("/labeler/commit", json={**body, "operations": [answer]})
        assert (away.status_code, away.json()) == (503, {"detail": "The database does not answer."})
    finally:
        postgresql.start()
    for _ in range(2):
        back = client.post("/labeler/commit", json={**body, "operations": [answer]})
        assert back.json()["stored"] == ["uid-0001"]
    assert [event.uid for event in project.store.events()] == ["uid-0001"]
    collect_unclosed()


def test_a_role_is_held_by_the_servers_clock_and_given_back_when_its_holder_dies(store: Store) -> None:
    script = """
import sys, time
from storage import Store
time.time = lambda: 1e9  # a machine whose clock is wrong
store = Store.open(sys.argv[1])
store.hold("trainer", "theirs", {"phase": "learning"})
print("held", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", script, store.place], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        found = store.process("trainer")
        assert found is not None
        assert found["alive"]
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    wait_for(lambda: not (store.process("trainer") or {"alive": False})["alive"])


def test_a_lookout_hears_of_what_another_process_committed(project: Project) -> None:
    ended = threading.Event()
    lookout = Lookout(project.store, ended)
    lookout.start()
    try:
        with Project.open(project.folder) as other:
            other.loop("ann").answer(1, "cat")
        wait_for(lambda: lookout.news)
    finally:
        ended.set()
        lookout.join()


def test_who_waits_for_a_database_says_so_once_and_begins_again_when_it_is_back(
    postgresql: "Server", project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    begun = []

    def work() -> str:
        begun.append(len(begun))
        if len(begun) == 1:
            postgresql.stop()
            threading.Timer(1.2, postgresql.start).start()
        project.store.labels()
        return "done"

    assert outlasted(project.folder, work) == "done"
    wait_for(lambda: not is_away(project.store.labels))
    assert begun == [0, 1]
    said = [record.getMessage() for record in caplog.records]
    assert sum("Waiting until it answers again" in text for text in said) == 1
    assert sum("The database answers again" in text for text in said) == 1


def test_an_interrupt_in_the_middle_of_a_query_is_no_outage(store: Store) -> None:
    interrupting = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    interrupting.start()
    try:
        with pytest.raises(KeyboardInterrupt), store._reading() as db:
            db.execute(sa.text("SELECT pg_sleep(10)"))
    finally:
        interrupting.cancel()  # where the query failed before
    assert store.labels() == {}


def test_a_database_that_never_answered_is_no_outage(postgresql: "Server", project: Project) -> None:
    postgresql.stop()
    try:
        with pytest.raises(ConnectionError, match="cannot be reached"):
            outlasted(project.folder, lambda: 1)
    finally:
        postgresql.start()


def test_a_trainer_and_a_server_outlive_their_database(postgresql: "Server", digit_url: Project) -> None:
    p = digit_url
    process = start("train", p.folder)
    wait_for(lambda: p.store.newest_version(), 60)
    with _held(p, "http://nowhere") as lost:
        postgresql.stop()
        assert process.stderr is not None
        assert "Waiting until it answers again" in process.stderr.readline()
        postgresql.start()
        wait_for(lambda: not is_away(p.store.labels))
        p.store.record([label(f"later {i}", i, i) for i in range(1, 9)])
        wait_for(lambda: p.store.newest_version().last_event_id == p.store.last_event_id(), 60)
        assert not lost.is_set()
        assert p.store.process("server") is not None
        assert interrupt(process).code == 130
        postgresql.stop()
    postgresql.start()  # and leaving without a database is no error
    wait_for(lambda: not is_away(p.store.labels))


@pytest.fixture
def digit_url(url: str, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> Iterator[Project]:
    np.savez(tmp_path / "pool.npz", x=digits[0][:150])
    with Project.create(tmp_path / "digits", [str(k) for k in range(10)], url) as p:
        p.import_(tmp_path / "pool.npz", measure_share=0)
        p.store.set_setting("learner", QUICK)
        yield p
