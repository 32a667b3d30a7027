"""A record in one SQLite file: how it is made, opened, checked for being ours, and how a transaction begins."""

import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine, event

from storage.dialects import Progress, in_lists
from storage.places import place
from storage.tables import schema_in

PAGES = 1_000  # copied between two signs of progress
BUSY_SECONDS = 30  # how long a write waits for another process before 'database is locked'


class SQLite:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path)
        self.engine = _engine(URL.create("sqlite", database=str(path)))
        self._looker: sqlite3.Connection | None = None
        self._looking = threading.Lock()

    @contextlib.contextmanager
    def made(self) -> Iterator[Self]:
        """Made and filled beside its place and moved there, so that half of one is never seen."""
        if self.path.exists():
            raise ValueError(f"{self.path} exists already. Open it, or choose another folder.")
        _must_be_writable(self.path.parent)
        unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        unfinished.unlink(missing_ok=True)
        draft = type(self)(unfinished)
        try:
            yield draft
        except BaseException:
            draft.close()
            unfinished.unlink(missing_ok=True)
            raise
        draft.close()
        os.rename(unfinished, self.path)

    def found_schema(self) -> int:
        """Looked up over a bare connection: our own would switch somebody else's database to WAL.

        The file must never be opened but by SQLite: closing it drops every lock that this process has on it, in
        whatever thread, and the next process that ends then deletes the log that we still write to, with all that
        comes after.
        """
        path = self.path
        if not path.is_file():
            raise FileNotFoundError(f"There is no database at {path}.")
        _must_be_writable(path)
        _must_be_writable(path.parent)
        if path.stat().st_size == 0:  # to SQLite that is a database without tables
            raise ValueError(f"{path} is not a Labeler database: it is empty.")
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
                return self._schema(connection.execute)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
                raise ValueError(f"{path} is not a Labeler database: it does not begin like a SQLite file.") from error
            raise ValueError(
                f"{path} cannot be read ({error}). Restore a backup; labeler check tells what is left."
            ) from error

    def schema(self, db: Connection) -> int:
        return self._schema(db.exec_driver_sql)

    def _schema(self, execute: Callable[[str], Iterable[Any]]) -> int:
        rows: Iterable[Any] = ()
        columns = {column for (column,) in execute("SELECT name FROM pragma_table_info('meta')")}
        if columns == {"key", "value"}:
            rows = execute("SELECT key, value FROM meta")
        found = schema_in(rows)
        if found is None:
            raise ValueError(f"{self.path} is a database of another program, not of Labeler. Choose another folder.")
        return found

    @contextlib.contextmanager
    def writing(self, db: Connection, durable: bool, foreign_keys: bool) -> Iterator[None]:
        db.execution_options(writing=True)
        with (
            _pragma(db, "synchronous", "FULL" if durable else "NORMAL", "FULL"),
            _pragma(db, "foreign_keys", "ON" if foreign_keys else "OFF", "ON"),
            db.begin(),
        ):
            yield

    def change_mark(self) -> int:
        """SQLite tells of all commits but those of the connection that is asked, so this one never writes."""
        with self._looking:
            if self._looker is None:
                self._looker = sqlite3.connect(self.path, BUSY_SECONDS, check_same_thread=False)
            return int(self._looker.execute("PRAGMA data_version").fetchall()[0][0])  # all: one row left is a lock left

    def copy_to(self, path: Path, on_progress: Progress) -> None:
        """The moment is held by a reading transaction: without one, each write by others would begin the copy anew."""
        with (
            contextlib.closing(sqlite3.connect(self.path, BUSY_SECONDS, isolation_level=None)) as source,
            contextlib.closing(sqlite3.connect(path)) as target,
        ):
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM meta").fetchall()  # a transaction sees the moment of its first look
            source.backup(
                target, pages=PAGES, progress=lambda _, left, total: on_progress(total - left, total), sleep=0
            )

    def clock(self, db: Connection) -> float:
        return time.time()

    def run(self, db: Connection, statement: str, parameters: Sequence[Any] = ()) -> None:
        db.exec_driver_sql(statement, tuple(parameters))

    def migrating(self, db: Connection) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def fill(self, db: Connection, table: sa.Table, rows: Iterator[Sequence[Any]]) -> None:
        names = [column.name for column in table.c]
        for some in in_lists(rows):
            db.execute(sa.insert(table), [dict(zip(names, row, strict=True)) for row in some])

    def integrity(self, db: Connection) -> list[str]:
        return [f"SQLite: {row[0]}" for row in db.exec_driver_sql("PRAGMA integrity_check") if row[0] != "ok"]

    def references(self, db: Connection) -> list[str]:
        broken = db.exec_driver_sql("PRAGMA foreign_key_check")
        return [f"Row {row[1]} of {row[0]} points at a row of {row[2]} that is not there." for row in broken]

    def settings(self, db: Connection) -> list[str]:
        return []  # every connection is ours, and sets what is needed

    def dealt(self, db: Connection) -> int:
        return int(db.exec_driver_sql("SELECT max(seq) FROM sqlite_sequence WHERE name = 'events'").scalar() or 0)

    def triggers(self, db: Connection) -> set[str]:
        return set(db.scalars(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")))

    def close(self) -> None:
        self.engine.dispose()
        with self._looking:
            if self._looker is not None:
                self._looker.close()
                self._looker = None


def _engine(url: URL) -> Engine:
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_size=8, max_overflow=-1)

    # pysqlite would begin a deferred transaction by itself, and only at the first write. A transaction that reads and
    # then writes would then fail with 'database is locked' at once when another process wrote in between, whatever
    # the timeout. So pysqlite is told to begin nothing, and a write begins IMMEDIATE.
    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.create_function("labeler_place", 2, place, deterministic=True)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(db: Connection) -> None:
        db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("writing") else "BEGIN")

    return engine


@contextlib.contextmanager
def _pragma(db: Connection, name: str, value: str, usual: str) -> Iterator[None]:
    """Change a pragma for a while. Inside a transaction that has no effect, so it is done below SQLAlchemy, before."""
    if value == usual:
        yield
        return
    connection = db.connection.dbapi_connection
    assert connection is not None
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA {name}={value}")
        yield
    finally:
        cursor.execute(f"PRAGMA {name}={usual}")
        cursor.close()


def _must_be_writable(path: Path) -> None:
    if not os.access(path, os.W_OK):
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, "lies on read-only storage; copy the project elsewhere", str(path))
        reason = "cannot be written to; change its permissions, or copy the project elsewhere"
        raise PermissionError(errno.EACCES, reason, str(path))
