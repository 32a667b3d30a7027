"""A SQLite file that is torn: what can still be read of it, and a record made of that. It is never written itself."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from storage.chain import link_missing
from storage.dialects import in_lists
from storage.migrations import MIGRATIONS
from storage.repairs import TRIGGERS
from storage.store import Store
from storage.tables import metadata

# What is no more than derived, or holds for a moment only, is left. Tables after those that they point at.
KEPT = ("annotators", "classes", "class_events", "imports", "rejects", "samples", "events", "event_links",
        "overlap_events", "versions", "blind_tests", "guideline_events", "settings")  # fmt: skip
# The schema that brought a table.
SINCE = {"class_events": 3, "overlap_events": 4, "event_links": 6, "blind_tests": 7, "guideline_events": 8}
# Classes whose events are lost have been what they are from the beginning, as far as is known.
WITHOUT_HISTORY = """INSERT INTO class_events
    (kind, class_id, name, key, colour, position, archived_at, merged_into, time, after_event_id)
    SELECT 'add', id, name, key, colour, position, archived_at, merged_into, 0, 0 FROM classes
    WHERE id NOT IN (SELECT class_id FROM class_events) ORDER BY id"""
AT_LEAST = 10_000  # ids that are looked at after one that cannot be read, where nothing says how many there are
SHOWN = 5  # lines of the integrity check


@dataclass(frozen=True)
class Readable:
    """Of a table: how many rows, and in how many places there were more that cannot be read."""

    name: str
    rows: int
    holes: int


@dataclass(frozen=True)
class Salvaged:
    """What was taken over. `left_out`: rows that could be read and point at what could not."""

    tables: list[Readable]
    left_out: int
    events: int
    labels: int


def is_from_sqlite(error: BaseException) -> bool:
    """Whether it is what the database said, of a file that may be torn."""
    kinds = (sqlite3.DatabaseError, sa.exc.DatabaseError)
    return isinstance(error, kinds) or isinstance(error.__cause__, kinds)


def faults(path: Path) -> list[str]:
    """What SQLite finds wrong with the file, its first lines; none for one that is sound."""
    found: list[str] = []
    try:
        with _opened(path) as db:
            found.extend(row[0] for row in db.execute("PRAGMA integrity_check"))
    except sqlite3.DatabaseError as error:  # it may end it at once
        found.append(str(error))
    lines = [line for row in found for line in row.splitlines() if row != "ok"]
    return lines[:SHOWN] + ([f"and {len(lines) - SHOWN:,} lines more"] if len(lines) > SHOWN else [])


def readable(path: Path) -> list[Readable]:
    """Of each table that is worth keeping."""
    with _opened(path) as db:
        found = []
        for name in KEPT:
            holes: list[int] = []
            n = sum(1 for _ in _rows(db, name, ["rowid"], holes)) if _columns(db, name) else 0
            found.append(Readable(name, n, len(holes) or int(_is_lost(db, name))))
    return found


def salvage(path: Path, out: Path) -> Salvaged:
    """A new record at `out` of all that can be read, whole or not at all; ValueError where that is nothing."""
    tables: list[Readable] = []
    left_out = 0

    def fill(store: Store) -> None:
        nonlocal left_out
        with store._writing(foreign_keys=False) as new:
            for name in sorted(TRIGGERS):  # repair() makes them again
                new.exec_driver_sql(f"DROP TRIGGER {name}")
            tables.extend(_taken_over(db, new, name) for name in KEPT)
            if not any(table.rows for table in tables):
                raise ValueError(f"Nothing of {path} can be read. Restore the newest backup.")
            while broken := new.exec_driver_sql("PRAGMA foreign_key_check").all():
                for name, rowid in {(row[0], row[1]) for row in broken}:
                    left_out += 1
                    new.exec_driver_sql(f'DELETE FROM "{name}" WHERE rowid = ?', (rowid,))
            new.exec_driver_sql("UPDATE versions SET pruned = 1")  # their files are not taken along
            new.exec_driver_sql(WITHOUT_HISTORY)
            link_missing(new)
        store.repair()

    with _opened(path) as db, Store.make(out, _name(db) or path.parent.name, fill) as store:
        return Salvaged(tables, left_out, len(store.events()), store.counts()["labeled"])


def _taken_over(db: sqlite3.Connection, new: sa.Connection, name: str) -> Readable:
    holes: list[int] = []
    n, columns = 0, _columns(db, name)
    insert = sa.insert(metadata.tables[name]).prefix_with("OR IGNORE")  # a row that no program of ours wrote
    for some in in_lists(_rows(db, name, columns, holes)) if columns else ():
        n += new.execute(insert, [dict(zip(columns, row, strict=True)) for row in some]).rowcount
    return Readable(name, n, len(holes) or int(_is_lost(db, name)))


def _is_lost(db: sqlite3.Connection, name: str) -> bool:
    """Whether a table that the file should have is not there."""
    try:
        (schema,) = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        schema = int(schema)
    except (sqlite3.DatabaseError, TypeError, ValueError):
        schema = len(MIGRATIONS)
    return not _columns(db, name) and schema >= SINCE.get(name, 1)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """To be read only: what SQLite would tidy up may be what is left."""
    with contextlib.closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as db:
        db.execute("PRAGMA writable_schema=ON")  # so that SQLite makes do with the tables that it finds, of a torn list
        with contextlib.suppress(sqlite3.DatabaseError):  # said once
            db.execute("SELECT name FROM sqlite_master").fetchall()
        yield db


def _name(db: sqlite3.Connection) -> str | None:
    try:
        row = db.execute("SELECT value FROM meta WHERE key = 'name'").fetchone()
    except sqlite3.DatabaseError:
        return None
    return str(row[0]) if row else None


def _columns(db: sqlite3.Connection, name: str) -> list[str]:
    """Those that the file has and the record of today too; none where the table is not there."""
    try:
        there = {row[1] for row in db.execute(f'PRAGMA table_info("{name}")')}
    except sqlite3.DatabaseError:
        return []
    return [column.name for column in metadata.tables[name].c if column.name in there]


def _rows(db: sqlite3.Connection, name: str, columns: Sequence[str], holes: list[int]) -> Iterator[Any]:
    """In the order of their ids. Where a page cannot be read it goes on after it; each such place is added to holes."""
    what = ", ".join(f'"{column}"' for column in columns)
    at: int | None = 1
    while at is not None:
        try:
            for row in db.execute(f'SELECT rowid, {what} FROM "{name}" WHERE rowid >= ? ORDER BY rowid', (at,)):
                yield row[1:]
                at = row[0] + 1
            return
        except sqlite3.DatabaseError:
            holes.append(at)
            at = _after_hole(db, name, at)


def _after_hole(db: sqlite3.Connection, name: str, at: int) -> int | None:
    """The next id from which on something can be read; None where that is nowhere."""
    try:
        (most,) = db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = ?", (name,)).fetchone()
    except sqlite3.DatabaseError:
        most = 0
    for rowid in range(at + 1, max(most or 0, at + AT_LEAST) + 1):
        with contextlib.suppress(sqlite3.DatabaseError):
            db.execute(f'SELECT rowid FROM "{name}" WHERE rowid >= ? ORDER BY rowid LIMIT 1', (rowid,)).fetchone()
            return rowid
    return None
