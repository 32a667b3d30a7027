"""A record in a schema of a PostgreSQL database: made, opened, and written to by one at a time.

The rules of SQLite hold here too, as all that reads the record relies on them: a writing transaction is alone from its
beginning to its commit, so ids ascend in the order in which they are seen; a reading one sees one moment and waits for
nobody (docs/decisions/0024). docs/record.md tells what is promised.
"""

import contextlib
import hashlib
import re
import secrets
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine, event

from storage.dialects import Progress
from storage.tables import schema_in

try:
    import psycopg
    from psycopg import errors
except ImportError as missing:
    raise RuntimeError("PostgreSQL needs psycopg. Install it: pip install 'psycopg[binary]'") from missing

BUSY_SECONDS = 30  # how long a write waits for another one
IDLE_SECONDS = 60  # how long a writer may say nothing, before the server takes its transaction back
CONNECT = {  # a lost network is noticed within a minute
    "client_encoding": "utf8",
    "application_name": "labeler",
    "connect_timeout": "10",
    "keepalives_idle": "20",
    "keepalives_interval": "5",
    "keepalives_count": "4",
}
POOL: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 5, "max_overflow": 15}  # a server has 100, for all
SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
REFUSE = """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'restrict_violation'; END $$"""
# Where a sample stands between 0 and 1, as storage/places.py has it: the first 53 bits of a hash.
PLACE = """CREATE FUNCTION labeler_place(rng_seed BIGINT, sha256_of_it TEXT) RETURNS DOUBLE PRECISION
    IMMUTABLE LANGUAGE SQL
    RETURN ((('x' || substr(encode(sha256(convert_to(CAST($1 AS TEXT) || ' ' || $2, 'UTF8')), 'hex'), 1, 16)
        )::BIT(64)::BIGINT >> 11) & 9007199254740991) / 9007199254740992::DOUBLE PRECISION"""
# What a connection is told first. A server that acknowledges before the disk has it is told to wait; one that waits
# for its replicas too is left alone.
PREPARE = """SELECT set_config('search_path', %s, false), set_config('lock_timeout', %s, false),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
        ELSE current_setting('synchronous_commit') END, false)"""
# What a writing transaction begins with, in one go: the lock comes last, and who waits for news is told at the commit.
BEGIN = """SELECT set_config('idle_in_transaction_session_timeout', :idle, true), pg_notify(:schema, ''),
    set_config('synchronous_commit', CASE WHEN :durable THEN current_setting('synchronous_commit') ELSE 'off' END, true)
    """


class PostgreSQL:
    def __init__(self, url: URL, name: str = "") -> None:
        """`url` may hold a password, for this object alone, and `schema`, a key of ours; `name` is for a new one."""
        query = dict(url.query)
        schema = query.pop("schema", None) or f"{_slug(name)}_{secrets.token_hex(3)}"
        if not isinstance(schema, str) or not SCHEMA.fullmatch(schema):
            raise ValueError(f"schema={schema!r} will not do: small letters, digits and _, as in flowers_2.")
        self.schema_name = schema
        self.is_named = "schema" in url.query
        secret: dict[str, Any] = {key: query.pop(key) for key in ("password", "sslpassword") if key in query}
        shown = URL.create("postgresql+psycopg", url.username, None, url.host, url.port, url.database, query)
        self.place = shown.update_query_dict({"schema": schema}).render_as_string()
        self._url = shown.set(password=url.password).update_query_dict(secret)
        key = hashlib.blake2b(schema.encode(), digest_size=8).digest()
        self._key = int.from_bytes(key, "big", signed=True)  # of the lock: such locks are told apart by a number
        self.engine = self._engine()
        self._looker: psycopg.Connection[Any] | None = None
        self._looking = threading.Lock()
        self._news = 0

    def _engine(self) -> Engine:
        engine = sa.create_engine(self._url, connect_args=CONNECT, **POOL)
        engine.dialect.use_insertmanyvalues_wo_returning = True  # many rows are one statement
        event.listen(engine, "connect", self._prepare, insert=True)
        event.listen(engine, "handle_error", self._told, retval=True)
        event.listen(engine, "before_cursor_execute", _translated, retval=True)
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def _prepare(self, connection: "psycopg.Connection[Any]", _record: object = None) -> None:
        connection.autocommit = True
        connection.execute(PREPARE, (self.schema_name, f"{BUSY_SECONDS}s"))
        connection.autocommit = False

    def _told(self, context: Any) -> BaseException | None:
        """The built-in exception that says it, in one line; None leaves it to SQLAlchemy."""
        found = context.original_exception
        if context.is_pre_ping or not isinstance(found, Exception):  # another connection is taken; Ctrl-C is no outage
            return None
        if context.is_disconnect or (context.connection is None and isinstance(found, psycopg.OperationalError)):
            return self._lost(found)
        return self._in_one_line(found)

    def _lost(self, error: BaseException) -> ConnectionError:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        return ConnectionError(
            f"The database {self.place} cannot be reached: {reason}. See that it runs; a password comes from "
            "PGPASSWORD or ~/.pgpass."
        )

    def _in_one_line(self, error: BaseException) -> Exception | None:
        if isinstance(error, errors.LockNotAvailable):
            return TimeoutError(f"Another writer has held {self.place} for {BUSY_SECONDS} seconds. Try again later.")
        if isinstance(error, errors.InsufficientPrivilege):
            reason = str(error).partition("\n")[0]
            return PermissionError(f"{self.place}: {reason}. Ask its owner for the right to CREATE and to write there.")
        if isinstance(error, psycopg.DataError) and error.sqlstate in (None, "22021", "22P05"):
            return ValueError("A text holds the character NUL, which PostgreSQL does not store. Take it out.")
        return None

    @contextlib.contextmanager
    def made(self) -> Iterator[Self]:
        """A schema of its own: several projects share a database, and none needs the right to make one."""
        with self.engine.connect() as db:
            db.execution_options(isolation_level="AUTOCOMMIT", postgresql_readonly=False)
            if (encoding := db.scalar(sa.text("SHOW server_encoding"))) != "UTF8":
                raise ValueError(f"{self.place} stores texts as {encoding}. Give a database whose encoding is UTF8.")
            if self._exists(db):
                raise ValueError(f"{self.place} exists already. Choose another schema, or leave it out of the URL.")
            db.exec_driver_sql(f"CREATE SCHEMA {self.schema_name}")
        try:
            with self.engine.connect() as db, self.writing(db, True, True):
                db.exec_driver_sql(REFUSE)
                db.exec_driver_sql(PLACE)
            yield self
        except BaseException:
            with self.engine.connect() as db:
                db.execution_options(isolation_level="AUTOCOMMIT", postgresql_readonly=False)
                db.exec_driver_sql(f"DROP SCHEMA {self.schema_name} CASCADE")
            raise

    def _exists(self, db: Connection) -> bool:
        query = sa.text("SELECT count(*) FROM pg_namespace WHERE nspname = :schema")
        return bool(db.scalar(query, {"schema": self.schema_name}))

    def found_schema(self) -> int:
        if not self.is_named:
            raise ValueError(f"Which record in {self.place.partition('?')[0]}? Its URL ends with ?schema=NAME.")
        with self.engine.connect() as db:
            if not self._exists(db):
                raise FileNotFoundError(f"There is no record at {self.place}.")
            return self.schema(db)

    def schema(self, db: Connection) -> int:
        columns = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('meta') AND attnum > 0"
        rows: Sequence[Any] = ()
        if set(db.scalars(sa.text(columns))) == {"key", "value"}:
            rows = db.execute(sa.text("SELECT key, value FROM meta")).all()
        found = schema_in(rows)
        if found is None:
            raise ValueError(f"{self.place} is a schema of another program, not of Labeler. Choose another one.")
        return found

    @contextlib.contextmanager
    def writing(self, db: Connection, durable: bool, foreign_keys: bool) -> Iterator[None]:
        """READ COMMITTED: a moment that was taken before the lock was had would be one before the last commit."""
        db.execution_options(isolation_level="READ COMMITTED", postgresql_readonly=False)
        told = {"idle": f"{IDLE_SECONDS}s", "schema": self.schema_name, "durable": durable}
        with db.begin():
            db.execute(sa.text(BEGIN), told)
            self._lock(db)
            yield

    def _lock(self, db: Connection) -> None:
        """Held until the commit is seen by all: PostgreSQL lets go of it after that."""
        db.execute(sa.text("SELECT pg_advisory_xact_lock(CAST(:key AS BIGINT))"), {"key": self._key})

    def change_mark(self) -> int:
        """Counts the notices that came in; who was away counts one more, as some may have been missed."""
        with self._looking:
            if self._looker is None or not self._took_notices(self._looker):
                self._look_away()
                _, options = self.engine.dialect.create_connect_args(self._url)
                try:
                    self._looker = psycopg.connect(autocommit=True, **{**options, **CONNECT})
                    self._looker.execute(f"LISTEN {self.schema_name}")
                except psycopg.OperationalError as error:
                    raise self._lost(error) from error
                self._news += 1
            return self._news

    def _took_notices(self, looker: "psycopg.Connection[Any]") -> bool:
        """Without a question to the server. False when it is gone."""
        try:
            looker.pgconn.consume_input()
            looker.pgconn.consume_input()  # the end of a connection is behind the server's farewell
        except psycopg.OperationalError:
            return False
        while looker.pgconn.notifies():
            self._news += 1
        return True

    def _look_away(self) -> None:
        if self._looker is not None:
            self._looker.close()
            self._looker = None

    def copy_to(self, path: Path, on_progress: Progress) -> None:
        from storage.sqlite import SQLite
        from storage.transfer import copy

        with copy(self, SQLite(path), on_progress) as copied:
            pass
        copied.close()

    def clock(self, db: Connection) -> float:
        return float(db.scalar(sa.text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)")) or 0)

    def run(self, db: Connection, statement: str, parameters: Sequence[Any] = ()) -> None:
        with self.migrating(db):
            db.exec_driver_sql(statement, tuple(parameters))

    @contextlib.contextmanager
    def migrating(self, db: Connection) -> Iterator[None]:
        db.execution_options(migrating=True)
        yield
        db.execution_options(migrating=False)

    def fill(self, db: Connection, table: sa.Table, rows: Iterator[Sequence[Any]]) -> None:
        connection = db.connection.dbapi_connection
        assert connection is not None
        names = ", ".join(f'"{column.name}"' for column in table.c)
        try:
            with connection.cursor().copy(f'COPY "{table.name}" ({names}) FROM STDIN') as to:
                for row in rows:
                    to.write_row(row)
        except psycopg.DataError as error:
            raise self._in_one_line(error) or error from error
        if "id" in table.c:
            last = f'SELECT max(id) FROM "{table.name}"'
            db.execute(sa.text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), n) FROM ({last}) AS t(n)"))

    def integrity(self, db: Connection) -> list[str]:
        return []  # the server's own affair: checksums, pg_amcheck

    def references(self, db: Connection) -> list[str]:
        return []  # the server never lets a row point at nothing

    def settings(self, db: Connection) -> list[str]:
        query = "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'"
        return [
            f"PostgreSQL: {name} is off: a power cut may take acknowledged labels. Set {name} = on in postgresql.conf."
            for name in db.scalars(sa.text(f"{query} ORDER BY name"))
        ]

    def dealt(self, db: Connection) -> int:
        return 0  # ids that were dealt to what was then taken back are no events

    def triggers(self, db: Connection) -> set[str]:
        query = """SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
            WHERE relnamespace = to_regnamespace(:schema) AND NOT tgisinternal AND tgenabled <> 'D'"""
        return set(db.scalars(sa.text(query), {"schema": self.schema_name}))

    def close(self) -> None:
        self.engine.dispose()
        with self._looking:
            self._look_away()


def _slug(name: str) -> str:
    """Of a folder's name, what a schema may be called."""
    letters = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40]
    usable = letters[:1].isalpha() and not letters.startswith("pg_")  # those are PostgreSQL's own
    return letters if usable else f"labeler_{letters}".rstrip("_")


# ---------- migrations are written for SQLite ----------

_TRIGGER = re.compile(
    r"CREATE TRIGGER (\w+) BEFORE (UPDATE|DELETE) ON (\w+)\s+BEGIN SELECT RAISE\(ABORT, '([^']*)'\); END"
)
_WORDS = [
    (re.compile(r"\bINTEGER PRIMARY KEY AUTOINCREMENT\b"), "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
    (re.compile(r"\bINTEGER\b"), "BIGINT"),
    (re.compile(r"\bREAL\b"), "DOUBLE PRECISION"),
    (re.compile(r"\s*\bWITHOUT ROWID\b"), ""),
]


def as_postgresql(statement: str) -> str:
    """A statement of a migration. It knows the few words that ours use; what it does not know, the server refuses."""
    if trigger := _TRIGGER.fullmatch(statement.strip()):
        name, how, table, reason = trigger.groups()
        how = "DELETE OR TRUNCATE" if how == "DELETE" else how
        return f"CREATE TRIGGER {name} BEFORE {how} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse('{reason}')"
    for sqlite, postgresql in _WORDS:
        statement = sqlite.sub(postgresql, statement)
    return statement.replace("%", "%%").replace("?", "%s")


def _translated(
    db: Connection, _cursor: Any, statement: str, parameters: Any, context: Any, _many: bool
) -> tuple[str, Any]:
    by_hand = context.compiled is None and db.get_execution_options().get("migrating")
    return (as_postgresql(statement) if by_hand else statement), parameters
