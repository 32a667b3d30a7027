"""The databases that a record can be on: what each does in its own way, and the SQL that reads alike on both.

Nothing outside of this file, storage/sqlite.py and storage/postgresql.py knows which one it is.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, make_url, select
from sqlalchemy.dialects.postgresql import insert  # ON CONFLICT, compiled for SQLite too: the syntax is the same
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

__all__ = ["Dialect", "Progress", "dialect_of", "given", "in_lists", "insert", "listed", "values_of"]

BATCH = 5_000  # rows
ON_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")  # and not with another driver
Progress = Callable[[int, int], None]  # done, in all


class Dialect(Protocol):
    """One database. `place` opens it again and is safe to show: a path, or a URL without a password."""

    place: str
    engine: Engine

    def made(self) -> AbstractContextManager["Dialect"]:
        """A new and empty one to fill, which is at its place when the block ends well, and gone when it does not."""

    def found_schema(self) -> int:
        """Looked up before anything of ours touches it; FileNotFoundError or ValueError where it is not ours."""

    def schema(self, db: Connection) -> int: ...

    def writing(self, db: Connection, durable: bool, foreign_keys: bool) -> AbstractContextManager[Any]:
        """A transaction of the only writer: what it reads stays so until it commits."""

    def change_mark(self) -> int: ...

    def copy_to(self, path: Path, on_progress: Progress) -> None: ...

    def clock(self, db: Connection) -> float:
        """Seconds since 1970 by the clock that all processes of the project share."""

    def run(self, db: Connection, statement: str, parameters: Sequence[Any] = ()) -> None:
        """A statement of a migration, written for SQLite with ? for parameters."""

    def migrating(self, db: Connection) -> AbstractContextManager[None]:
        """What is executed inside is a migration, as by `run`."""

    def fill(self, db: Connection, table: sa.Table, rows: Iterator[Sequence[Any]]) -> None:
        """Rows with ids of their own, each with every column; the next id comes after them."""

    def integrity(self, db: Connection) -> list[str]:
        """What is damaged so that it must not be written to, one line each."""

    def references(self, db: Connection) -> list[str]:
        """Rows that point at nothing, one line each."""

    def settings(self, db: Connection) -> list[str]:
        """What is set so that a promise does not hold, one line each."""

    def dealt(self, db: Connection) -> int:
        """The highest id that an event was ever given, where the database says it; else 0."""

    def triggers(self, db: Connection) -> set[str]: ...

    def close(self) -> None: ...


def dialect_of(database: Path | str, name: str = "") -> Dialect:
    """By a path or a URL. `name`: what a place of its own is called after where the URL says no more than a server."""
    if isinstance(database, Path) or "://" not in database:
        return _sqlite(Path(database))
    url = _url(database)
    if url.drivername in ON_POSTGRESQL:
        from storage.postgresql import PostgreSQL

        return PostgreSQL(url, name)
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        raise ValueError(
            f"A record is in a SQLite file or on PostgreSQL, not on {url.drivername}. "
            "Give the path of a labels.db, or postgresql+psycopg://user@host/database."
        )
    return _sqlite(Path(url.database))


def is_on_server(database: str) -> bool:
    """Whether a URL is one of a PostgreSQL database. ValueError for what is none of any."""
    return _url(database).drivername in ON_POSTGRESQL


def _url(database: str) -> sa.URL:
    try:
        return make_url(database)
    except (ArgumentError, ValueError):  # its text would show the URL, password and all
        raise ValueError("That is no URL of a database. Write postgresql+psycopg://user@host/database.") from None


def _sqlite(path: Path) -> Dialect:
    from storage.sqlite import SQLite

    return SQLite(path.absolute())


class listed(FunctionElement[Any]):
    """A JSON list as rows: `key`, from 0 and ascending, and `value`, to be cast to what it is."""

    name = "listed"
    inherit_cache = True


@compiles(listed)
def _listed_by_sqlite(element: listed, compiler: Any, **how: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **how)})"


@compiles(listed, "postgresql")
def _listed_by_postgresql(element: listed, compiler: Any, **how: Any) -> str:
    elements = f"json_array_elements_text(CAST({compiler.process(element.clauses, **how)} AS JSON))"
    return f"(SELECT value, ordinality AS key FROM {elements} WITH ORDINALITY)"


def values_of(numbers_or_names: Iterable[Any]) -> sa.Select[Any] | list[Any]:
    """What `in_` takes for the given ids or uids: a subselect with one bound parameter, however many there are."""
    values = list(numbers_or_names)
    if not values:
        return []  # of the type of what it is compared with
    type_ = sa.Text if isinstance(values[0], str) else sa.BigInteger
    return select(sa.cast(listed(json.dumps(values)).table_valued("value").c.value, type_))


def given(parameter: str) -> sa.Select[Any]:
    """What `in_` takes for texts that come as JSON with each execution, in a statement that is made once."""
    return select(listed(sa.bindparam(parameter, type_=sa.Text)).table_valued("value").c.value)


def in_lists(rows: Iterator[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """Lists of as many rows as are sent at once."""
    while some := list(islice(rows, BATCH)):
        yield some
