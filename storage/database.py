"""One database of a record: how it is made, opened and brought up to date, and its two kinds of transaction."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from sqlalchemy import Connection, select
from sqlalchemy.exc import DatabaseError

from storage import migrations
from storage.dialects import Dialect, Progress, dialect_of, values_of
from storage.migrations import Migration
from storage.tables import APPLICATION, meta
from storage.transfer import copy

__all__ = ["Database", "values_of"]


class Database:
    """The engine and its two kinds of transaction. Usable from many threads, beside many processes."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._engine = dialect.engine
        # One writer is let in at a time, and the others of other processes sleep and look again, or hold a connection;
        # threads of one process queue here instead, which is fair and wakes at once.
        self._writer = threading.Lock()

    @property
    def place(self) -> str:
        """Opens it again: the path of the file, or a URL without a password."""
        return self._dialect.place

    @classmethod
    def make(cls, database: Path | str, name: str, fill: Callable[[Self], None]) -> Self:
        """A new database, at this path or URL. Nobody sees half of one."""
        dialect = dialect_of(database, name)
        try:
            with dialect.made() as draft, cls(draft) as store:
                with store._writing() as db, draft.migrating(db):
                    migrations.upgrade(db, 0, migrations.MIGRATIONS)
                    about = [{"key": "application", "value": APPLICATION}, {"key": "name", "value": name}]
                    db.execute(sa.insert(meta), about)
                fill(store)
        except BaseException:
            dialect.close()
            raise
        return cls(dialect)

    @classmethod
    def open(cls, database: Path | str) -> Self:
        """An existing database, brought to the newest schema. ValueError in one line when it is not one of ours."""
        dialect = dialect_of(database)
        known = migrations.MIGRATIONS
        store = cls(dialect)
        try:
            found = dialect.found_schema()
            if found > len(known):
                raise ValueError(
                    f"{dialect.place} was written by a newer Labeler (schema {found}, this one knows {len(known)}). "
                    "Upgrade Labeler to open it."
                )
            if found < len(known):
                store._upgrade(known)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    @contextlib.contextmanager
    def copied(
        cls, source: Path, database: Path | str, name: str, on_progress: Progress | None = None
    ) -> Iterator[Self]:
        """The record in the SQLite file `source` as a new one at a path or URL; gone again when the block fails."""
        cls.open(source).close()  # of the newest schema
        old, new = dialect_of(source), dialect_of(database, name)
        try:
            with copy(old, new, on_progress or (lambda done, total: None)):
                store = cls(new)
                yield store
        finally:
            old.close()
            new.close()

    def _upgrade(self, known: Sequence[Migration]) -> None:
        with self._writing(foreign_keys=False) as db:  # a migration may rebuild a table that others point at
            found = self._dialect.schema(db)  # another process may have been first
            try:
                with self._dialect.migrating(db):
                    migrations.upgrade(db, found, known)
                if broken := self._dialect.references(db):
                    raise ValueError(f"{len(broken)} rows point at nothing after the upgrade. {broken[0]}")
            except (DatabaseError, ValueError) as error:
                reason = str(error.orig) if isinstance(error, DatabaseError) else str(error)
                raise ValueError(
                    f"{self.place} could not be upgraded from schema {found} to {len(known)} and is left as it was: "
                    f"{reason}"
                ) from error

    def close(self) -> None:
        self._dialect.close()

    def change_mark(self) -> int:
        """Another number after every commit, whoever made it. Some microseconds, where a query takes hundreds.

        Who waits for news takes the mark first and asks then: what is committed meanwhile changes the mark again.
        """
        return self._dialect.change_mark()

    def copy_to(self, path: Path, on_progress: Progress | None = None) -> None:
        """One moment of the record as a new SQLite file, while others write; `on_progress` gets (done, in all)."""
        self._dialect.copy_to(path, on_progress or (lambda done, total: None))

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
        """A transaction that writes: alone from its first statement, and on disk when this returns.

        Not `durable`: it survives the death of any process, but a power cut may take the newest ones. That saves the
        wait for the disk where nothing is lost by it (leases, heartbeats). The next durable one writes them through.
        """
        with self._writer, self._engine.connect() as db, self._dialect.writing(db, durable, foreign_keys):
            yield db
