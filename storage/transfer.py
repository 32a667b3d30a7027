"""One record as another: the same rows with the same ids, from whichever database to whichever."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, func, select

from storage import migrations
from storage.dialects import BATCH, Dialect, Progress
from storage.tables import meta, metadata


@contextlib.contextmanager
def copy(source: Dialect, target: Dialect, on_progress: Progress) -> Iterator[Dialect]:
    """One moment of `source` as the new `target`, which stays when the block ends well. `on_progress` gets rows.

    The source has the newest schema, as every record that is open.
    """
    with target.made() as draft:
        with source.engine.connect() as old, draft.engine.connect() as new, draft.writing(new, True, False):
            with draft.migrating(new):
                migrations.upgrade(new, 0, migrations.MIGRATIONS)
            new.execute(sa.delete(meta))
            tables = _in_order(old, new)
            total = sum(old.scalar(select(func.count()).select_from(table)) or 0 for table in tables)
            done = 0
            for table in tables:
                draft.fill(new, table, _rows(old, table, lambda n, before=done: on_progress(before + n, total)))
                done += old.scalar(select(func.count()).select_from(table)) or 0
        yield target


def _in_order(*connections: Connection) -> list[sa.Table]:
    """Tables after those that they point at, as the SQLite one of the two knows."""
    sqlite = next(db for db in connections if db.dialect.name == "sqlite")
    names = [name for name, _ in sa.inspect(sqlite).get_sorted_table_and_fkc_names()]
    return [metadata.tables[name] for name in names if name is not None and name in metadata.tables]


def _rows(db: Connection, table: sa.Table, told: Any) -> Iterator[Sequence[Any]]:
    query = select(table).order_by(*table.primary_key).execution_options(yield_per=BATCH)
    for n, row in enumerate(db.execute(query), start=1):
        if n % BATCH == 0:
            told(n)
        yield row
