"""Numbered migrations, run on open. All that are missing run in one transaction: all of them hold, or none."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from storage.migrations import (
    m0001_first,
    m0002_groups,
    m0003_class_events,
    m0004_overlap,
    m0005_generations,
    m0006_links,
    m0007_blind_tests,
    m0008_guidelines,
)

Migration = Callable[[Connection], None]

# Number n is MIGRATIONS[n - 1]. A released migration is never edited; a change of the schema is a new one.
MIGRATIONS: list[Migration] = [
    m0001_first.upgrade,
    m0002_groups.upgrade,
    m0003_class_events.upgrade,
    m0004_overlap.upgrade,
    m0005_generations.upgrade,
    m0006_links.upgrade,
    m0007_blind_tests.upgrade,
    m0008_guidelines.upgrade,
]


def upgrade(db: Connection, found: int, migrations: Sequence[Migration]) -> None:
    """Bring a database from schema `found` to the newest, inside the caller's transaction."""
    for migrate in migrations[found:]:
        migrate(db)
    db.exec_driver_sql(
        "INSERT INTO meta (key, value) VALUES ('schema', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (str(len(migrations)),),
    )
