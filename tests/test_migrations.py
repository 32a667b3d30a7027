"""Opening a database: ours is brought up to date or left as it was, anybody else's is refused in one line."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage import NewEvent, NewSample, Store, chain, migrations
from storage.tables import metadata


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A closed database with one label in it."""
    with Store.create(tmp_path / "labels.db", "test", ["cat"]) as store:
        store.add_samples([NewSample("0" * 64, "image", "images/a.png", None, 8, 8, 1)])
        store.record([NewEvent("a", "label", 1, 1, "ann", "tab")])
    return tmp_path / "labels.db"


def add_a_table(db: sa.Connection) -> None:
    db.exec_driver_sql("CREATE TABLE added (id INTEGER PRIMARY KEY)")
    db.exec_driver_sql("ALTER TABLE samples ADD COLUMN added TEXT")


def fail_at_the_end(db: sa.Connection) -> None:
    db.exec_driver_sql("UPDATE samples SET name = 'spoiled'")
    db.exec_driver_sql("DROP TABLE leases")
    db.exec_driver_sql("SELECT * FROM no_such_table")


def test_the_tables_say_what_the_migrations_make(database: Path) -> None:
    found = sa.inspect(sa.create_engine(f"sqlite:///{database}"))
    made = {name: [c["name"] for c in found.get_columns(name)] for name in found.get_table_names()}
    assert made == {table.name: [column.name for column in table.c] for table in metadata.sorted_tables}


def test_an_older_database_is_brought_up_to_date_on_open(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", [*migrations.MIGRATIONS, add_a_table])
    for _ in range(2):
        with Store.open(database) as store, store._reading() as db:
            assert db.exec_driver_sql("SELECT count(*) FROM added").scalar() == 0
            assert store.labels() == {1: 1}


def test_a_failed_migration_leaves_the_database_as_it_was(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, newest = database.read_bytes(), len(migrations.MIGRATIONS)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", [*migrations.MIGRATIONS, add_a_table, fail_at_the_end])
        says = rf"could not be upgraded from schema {newest} to {newest + 2} and is left as it was.*no_such"
        with pytest.raises(ValueError, match=says):
            Store.open(database)
    assert database.read_bytes() == before
    with Store.open(database) as store:
        assert store.labels() == {1: 1}
        assert store.check() == []


def test_a_migration_that_leaves_rows_pointing_at_nothing_is_taken_back(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_classes(db: sa.Connection) -> None:
        db.exec_driver_sql("DELETE FROM classes")

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", [*migrations.MIGRATIONS, lose_the_classes])
        with pytest.raises(ValueError, match="point at nothing"):
            Store.open(database)
    with Store.open(database) as store:
        assert [one.name for one in store.classes()] == ["cat"]


def test_a_database_of_a_newer_version_is_refused(database: Path) -> None:
    with sqlite3.connect(database) as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    db.close()
    with pytest.raises(ValueError, match=r"newer Labeler \(schema 99") as refused:
        Store.open(database)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE bookmarks (url TEXT)",
        "CREATE TABLE meta (key TEXT, value TEXT, other TEXT)",
        "CREATE TABLE meta (key TEXT, value TEXT)",
    ],
)
def test_a_database_of_another_program_is_refused_and_untouched(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "labels.db"
    with sqlite3.connect(path) as db:
        db.execute(statement)
    db.close()
    with pytest.raises(ValueError, match="another program"):
        Store.open(path)
    with sqlite3.connect(path) as db:
        assert [row[0] for row in db.execute("SELECT sql FROM sqlite_master")] == [statement]
    db.close()


def test_a_database_of_another_program_keeps_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="another program"):
        Store.open(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["labels.db"]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" * 100])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.db"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a Labeler database"):
        Store.open(path)
    assert path.read_bytes() == content


def test_a_damaged_database_is_refused_in_one_line(database: Path) -> None:
    with database.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 8_000)
    with pytest.raises(ValueError, match="cannot be read") as refused:
        Store.open(database)
    assert "\n" not in str(refused.value)


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no database at"):
        Store.open(tmp_path / "labels.db")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_database_is_not_made_again(database: Path) -> None:
    with pytest.raises(ValueError, match="exists already"):
        Store.create(database, "other")
    with Store.open(f"sqlite:///{database}") as store:
        assert store.name == "test"


def test_a_url_of_another_kind_of_database_is_refused() -> None:
    with pytest.raises(ValueError, match="not on mysql"):
        Store.open("mysql://host/labels")


@pytest.mark.skipif(shutil.which("setpriv") is None and os.name != "posix", reason="needs a folder it may not write")
def test_a_read_only_folder_is_refused_in_one_line(database: Path) -> None:
    script = """
import sys
from storage import Store
try:
    Store.open(sys.argv[1])
except PermissionError as error:
    print(error)
"""
    database.parent.chmod(0o500)
    as_nobody = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    try:
        told = subprocess.run(
            [*as_nobody, sys.executable, "-c", script, database], capture_output=True, text=True, check=True
        )
    finally:
        database.parent.chmod(0o700)
    assert told.stdout.count("\n") == 1
    assert "cannot be written to" in told.stdout
    assert str(database.parent) in told.stdout


def test_a_moved_project_opens_elsewhere(database: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    database.rename(elsewhere / "labels.db")
    with Store.open(elsewhere / "labels.db") as store:
        assert store.labels() == {1: 1}


def test_the_events_of_an_older_record_are_linked_as_they_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with an undo that came before what it undoes, which is refused today."""
    monkeypatch.setattr(chain, "BATCH", 3)  # several pages
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:4])
        Store.make(tmp_path / "labels.db", "test", lambda store: None).close()
    with sqlite3.connect(tmp_path / "labels.db") as db:
        db.execute("INSERT INTO classes (id, name, key, colour, position) VALUES (1, 'cat', 'c', '#000000', 0)")
        db.execute(
            "INSERT INTO class_events SELECT 1, 'add', id, name, key, colour, position, "
            "NULL, NULL, NULL, NULL, 1.0, 0, NULL FROM classes"
        )
        db.execute("INSERT INTO annotators (id, name, created_at) VALUES (1, 'ann', 1.0)")
        for i in range(1, 6):
            db.execute(
                "INSERT INTO samples (sha256, name, file, width, height, channels, split) "
                "VALUES (?, ?, 'images/a', 8, 8, 1, 'pool')",
                (f"{i:064x}", str(i)),
            )
        event = (
            "INSERT INTO events (uid, kind, sample_id, class_id, annotator_id, client, time, purpose, undoes) VALUES "
        )
        db.execute(f"{event} ('early', 'undo', 1, NULL, 1, 'tab', 1.0, 'learn', 'late')")
        for i in range(2, 6):
            db.execute(f"{event} ('e{i}', 'label', {i}, 1, 1, 'tab', {i}.5, 'learn', NULL)")
            db.execute(f"INSERT INTO sample_states VALUES ({i}, 'label', 1, {i}, 1, 'learn')")
        db.execute(f"{event} ('late', 'label', 1, 1, 1, 'tab', 9.0, 'learn', NULL)")
    db.close()
    with Store.open(tmp_path / "labels.db") as store:
        assert store.check() == []
        assert store.labels() == dict.fromkeys(range(2, 6), 1)
        assert len({store.link(i) for i in range(1, 7)} - {None}) == 6
        before = store.head()
        store.record([NewEvent("new", "skip", 1, None, "ann", "tab")])
        assert store.check() == []
        assert (before, store.head()) == ((6, store.link(6)), (7, store.link(7)))


def test_a_record_of_one_answer_an_image_is_as_it_was_and_may_ask_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:3])
        with Store.create(tmp_path / "labels.db", "test", ["cat", "dog"]) as store:
            store.add_samples(NewSample(f"{i:064x}", f"image {i}", "images/a.png", None, 8, 8, 1) for i in range(3))
            store.annotator("ann")
    with sqlite3.connect(tmp_path / "labels.db") as db:
        db.execute(
            "INSERT INTO events (uid, kind, sample_id, class_id, annotator_id, client, time, purpose) "
            "VALUES ('a', 'label', 1, 2, 1, 'tab', 1.0, 'learn')"
        )
        db.execute("INSERT INTO sample_states VALUES (1, 'label', 2, 1, 1, 'learn')")
        db.execute("INSERT INTO leases VALUES (2, 1, 'tab', 1e12)")
    db.close()
    with Store.open(tmp_path / "labels.db") as store:
        assert store.check() == ["Sample 2 is never asked: its lease was made while the clock was wrong."]
        assert store.labels() == {1: 2}
        assert store.held("ann", "tab") == [2]
        assert [(e.uid, e.review) for e in store.events()] == [("a", False)]
        store.set_overlap(1, 2)
        assert store.lease([1, 2, 3], 3, "bob", "tab") == [1, 2, 3]
        assert store.labels() == {}
