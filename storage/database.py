"""One SQLite database: how it is made, opened, checked for being ours, and how a transaction begins."""

import contextlib
import errno
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine, event, func, make_url, select
from sqlalchemy.exc import DatabaseError

from storage import migrations
from storage.migrations import Migration
from storage.places import place
from storage.tables import meta

APPLICATION = "labeler"
PAGES = 1_000  # copied between two signs of progress
BUSY_SECONDS = 30  # how long a write waits for another process before 'database is locked'


class Database:
    """The engine and its two kinds of transaction. Usable from many threads, beside many processes."""

    def __init__(self, url: URL) -> None:
        self.path = Path(url.database or "")
        self._engine = _engine(url)
        # SQLite lets one writer in at a time and makes the others sleep and look again; threads of one process
        # queue here instead, which is fair and wakes at once.
        self._writer = threading.Lock()
        self._looker: sqlite3.Connection | None = None
        self._looking = threading.Lock()

    @classmethod
    def make(cls, database: Path | str, name: str, fill: Callable[[Self], None]) -> Self:
        """A new database. Made and filled beside its place and moved there, so that half of one is never seen."""
        url = _url(database)
        path = Path(url.database or "")
        if path.exists():
            raise ValueError(f"{path} exists already. Open it, or choose another folder.")
        _must_be_writable(path.parent)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.unlink(missing_ok=True)
        store = cls(url.set(database=str(unfinished)))
        with store._writing() as db:
            migrations.upgrade(db, 0, migrations.MIGRATIONS)
            db.execute(sa.insert(meta), [{"key": "application", "value": APPLICATION}, {"key": "name", "value": name}])
        try:
            fill(store)
        except BaseException:
            store.close()
            unfinished.unlink()
            raise
        store.close()
        os.rename(unfinished, path)
        return cls(url)

    @classmethod
    def open(cls, database: Path | str) -> Self:
        """An existing database, brought to the newest schema. ValueError in one line when it is not one of ours."""
        url = _url(database)
        path = Path(url.database or "")
        if not path.is_file():
            raise FileNotFoundError(f"There is no database at {path}.")
        _must_be_writable(path)
        _must_be_writable(path.parent)
        known = migrations.MIGRATIONS
        found = _schema_of_file(path)
        if found > len(known):
            raise ValueError(
                f"{path} was written by a newer Labeler (schema {found}, this one knows {len(known)}). "
                "Upgrade Labeler to open it."
            )
        store = cls(url)
        if found < len(known):
            try:
                store._upgrade(known)
            except BaseException:
                store.close()
                raise
        return store

    def _upgrade(self, known: Sequence[Migration]) -> None:
        with self._writing(foreign_keys=False) as db:  # a migration may rebuild a table that others point at
            found = _schema(db.exec_driver_sql, self.path)  # another process may have been first
            try:
                migrations.upgrade(db, found, known)
            except (DatabaseError, ValueError) as error:
                reason = str(error.orig) if isinstance(error, DatabaseError) else str(error)
                raise ValueError(
                    f"{self.path} could not be upgraded from schema {found} to {len(known)} and is left as it was: "
                    f"{reason}"
                ) from error

    def close(self) -> None:
        self._engine.dispose()
        with self._looking:
            if self._looker is not None:
                self._looker.close()
                self._looker = None

    def change_mark(self) -> int:
        """Another number after every commit, whoever made it. Some microseconds, where a query takes hundreds.

        Who waits for news takes the mark first and asks then: what is committed meanwhile changes the mark again.
        SQLite tells of all commits but those of the connection that is asked, so this one never writes.
        """
        with self._looking:
            if self._looker is None:
                self._looker = sqlite3.connect(self.path, BUSY_SECONDS, check_same_thread=False)
            return int(self._looker.execute("PRAGMA data_version").fetchall()[0][0])  # all: one row left is a lock left

    def copy_to(self, path: Path, on_progress: Callable[[int, int], None] | None = None) -> None:
        """One moment of the database as a new file, while others write. `on_progress` gets pages copied, pages in all.

        The moment is held by a reading transaction: without one, each write by others would begin the copy anew.
        """
        told = on_progress or (lambda done, total: None)
        with (
            contextlib.closing(sqlite3.connect(self.path, BUSY_SECONDS, isolation_level=None)) as source,
            contextlib.closing(sqlite3.connect(path)) as target,
        ):
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM meta").fetchall()  # a transaction sees the moment of its first look
            source.backup(target, pages=PAGES, progress=lambda _, left, total: told(total - left, total), sleep=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        with self._reading() as db:
            return str(db.scalar(select(meta.c.value).where(meta.c.key == "name")))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the database and never waits for a writer."""
        with self._engine.connect() as db:
            yield db

    @contextlib.contextmanager
    def _writing(self, durable: bool = True, foreign_keys: bool = True) -> Iterator[Connection]:
        """A transaction that writes: holds the write lock from its first statement, is on disk when this returns.

        Not `durable`: it survives the death of any process, but a power cut may take the newest ones. That saves the
        wait for the disk where nothing is lost by it (leases, heartbeats). The next durable one writes them through.
        """
        with self._writer, self._engine.connect() as db:
            db.execution_options(writing=True)
            with (
                _pragma(db, "synchronous", "FULL" if durable else "NORMAL", "FULL"),
                _pragma(db, "foreign_keys", "ON" if foreign_keys else "OFF", "ON"),
                db.begin(),
            ):
                yield db


def values_of(numbers_or_names: Iterable[Any]) -> sa.Select[Any]:
    """A subselect of the given ids or uids. One bound parameter, however many there are."""
    return select(func.json_each(json.dumps(list(numbers_or_names))).table_valued("value").c.value)


def _url(database: Path | str) -> URL:
    if isinstance(database, str) and "://" in database:
        url = make_url(database)
        if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
            raise ValueError(f"{url.render_as_string()} is not a SQLite file. Give the path of a labels.db.")
        return url
    return URL.create("sqlite", database=str(Path(database).absolute()))


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


def _schema_of_file(path: Path) -> int:
    """Looked up over a bare connection: our own would switch somebody else's database to WAL.

    The file must never be opened but by SQLite: closing it drops every lock that this process has on it, in whatever
    thread, and the next process that ends then deletes the log that we still write to, with all that comes after.
    """
    if path.stat().st_size == 0:  # to SQLite that is a database without tables
        raise ValueError(f"{path} is not a Labeler database: it is empty.")
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            return _schema(connection.execute, path)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise ValueError(f"{path} is not a Labeler database: it does not begin like a SQLite file.") from error
        raise ValueError(f"{path} cannot be read ({error}). Restore it from a backup.") from error


def _schema(execute: Callable[[str], Iterable[Any]], path: Path) -> int:
    """The number of the last migration this database has seen."""
    rows: dict[str, str] = {}
    columns = {column for (column,) in execute("SELECT name FROM pragma_table_info('meta')")}
    if columns == {"key", "value"}:
        rows = {str(key): str(value) for key, value in execute("SELECT key, value FROM meta")}
    if rows.get("application") != APPLICATION or not rows.get("schema", "").isdecimal():
        raise ValueError(f"{path} is a database of another program, not of Labeler. Choose another folder.")
    return int(rows["schema"])


def _must_be_writable(path: Path) -> None:
    if not os.access(path, os.W_OK):
        reason = "cannot be written to; change its permissions, or copy the project elsewhere"
        raise PermissionError(errno.EACCES, reason, str(path))
