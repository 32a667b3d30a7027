"""Mending the database: what follows from the events is derived again, what holds for a moment only is taken away."""

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, or_, select

from storage.chain import samples_of_others
from storage.classes import KEPT, derived_classes
from storage.clock import steady
from storage.database import Database
from storage.dialects import insert
from storage.migrations import (
    m0001_first,
    m0003_class_events,
    m0004_overlap,
    m0006_links,
    m0007_blind_tests,
    m0008_guidelines,
)
from storage.states import derive_states, derived, derived_open, rules_at
from storage.tables import (
    class_events,
    classes,
    events,
    imports,
    leases,
    open_answers,
    processes,
    sample_states,
    samples,
)

LONGEST_LEASE = 3_600  # seconds; one that holds longer was made while the clock was wrong
CREATING = (m0001_first, m0003_class_events, m0004_overlap, m0006_links, m0007_blind_tests, m0008_guidelines)
MADE_BY = tuple(statement for migration in CREATING for statement in migration.STATEMENTS)
KEPT_TABLES = ("events", "event_links", "class_events", "overlap_events", "blind_tests", "guideline_events")
TRIGGERS = {f"{table}_keep_{how}" for table in KEPT_TABLES for how in ("update", "delete")}


class RepairTables(Database):
    def repair(self) -> list[str]:
        """Mend what can be, in one transaction; what was done, one line each. Events are never touched.

        A database that finds itself damaged is left as it is: writing would make it worse.
        """
        done: list[str] = []
        with self._reading() as db:  # labels may be written meanwhile
            if self._dialect.integrity(db):
                return done
        with self._writing() as db:
            for name in missing_triggers(self._dialect.triggers(db)):
                self._dialect.run(db, next(s for s in MADE_BY if s.startswith(f"CREATE TRIGGER {name} ")))
                done.append(f"The trigger {name} was missing and keeps events from being changed again.")
            if wrong := set(wrong_states(db)):
                # The last trace of an event that somebody took away or changed is not written over.
                kept = wrong & (without_event(db) | samples_of_others(db))
                if mended := sorted(wrong - kept):
                    derive_states(db, mended)
                    done.append(f"States that did not follow from their events were derived again: {len(mended):,}.")
            if n := _derive_classes(db, wrong_classes(db)):
                done.append(f"Classes that did not follow from their events were derived again: {n:,}.")
            if n := db.execute(sa.delete(leases).where(_no_lease(steady()))).rowcount:
                done.append(f"Leases that had run out, or never would, were taken away: {n:,}.")
        return done

    def leases_run_out(self) -> int:
        """How many are left of tabs that were closed: harmless, as anybody may take them over."""
        with self._reading() as db:
            return int(db.scalar(select(sa.func.count()).where(leases.c.expires <= steady())) or 0)

    def clear_running(self) -> None:
        """Take away leases and roles. For a copy: nobody has it on screen, and nothing runs on it."""
        with self._writing() as db:
            db.execute(sa.delete(leases))
            db.execute(sa.delete(processes))

    def origins(self) -> dict[int, tuple[str, str]]:
        """Sample id -> (source, part) of the import that brought it."""
        query = select(samples.c.id, imports.c.source, imports.c.part).join(
            imports, imports.c.id == samples.c.import_id
        )
        with self._reading() as db:
            return {row.id: (row.source, row.part) for row in db.execute(query)}


def wrong_states(db: Connection) -> list[int]:
    """Ascending ids of the samples whose state does not follow from their events."""
    rules = rules_at(db)
    found = {row[0] for query in _differences(select(sample_states), derived(rules)) for row in db.execute(query)}
    if rules.ever:
        both = select(open_answers), derived_open(rules)
        found |= {row[0] for query in _differences(*both) for row in db.execute(query)}
    return sorted(found)


def _differences(kept: Any, true: Any) -> tuple[Any, Any]:
    true = select(true.subquery())  # SQLite takes no union within an except
    return sa.except_(kept, true), sa.except_(true, kept)


def without_event(db: Connection) -> set[int]:
    """Samples whose state is of an event that is not there."""
    return set(
        db.scalars(select(sample_states.c.sample_id).where(sample_states.c.event_id.not_in(select(events.c.id))))
    )


def wrong_classes(db: Connection) -> list[int]:
    """Ascending ids of the classes that do not follow from their events."""
    kept, true = select(classes.c.id, *(classes.c[name] for name in KEPT)), derived_classes()
    return sorted({row[0] for query in _differences(kept, true) for row in db.execute(query)})


def _derive_classes(db: Connection, class_ids: Sequence[int]) -> int:
    """Write these classes anew; how many. One that has no events stays as it is: nothing says what it was. So does one
    whose name such a class has."""
    of_others = select(classes.c.name).where(classes.c.archived_at.is_(None), classes.c.id.not_in(class_ids))
    taken = set(db.scalars(of_others)) | _names_without_events(db)
    derived = (row for row in db.execute(derived_classes()) if row.class_id in class_ids)
    true = [dict(row._mapping) for row in derived if row.archived_at is not None or row.name not in taken]
    rows = [{"id": row.pop("class_id"), **row} for row in true]
    aside = sa.update(classes).where(classes.c.id.in_([row["id"] for row in rows]))
    db.execute(aside.values(archived_at=time.time()))  # two of them may have exchanged their names
    for row in rows:
        db.execute(insert(classes).values(row).on_conflict_do_update(index_elements=[classes.c.id], set_=row))
    return len(rows)


def _names_without_events(db: Connection) -> set[str]:
    told = select(class_events.c.class_id)
    return set(db.scalars(select(classes.c.name).where(classes.c.archived_at.is_(None), classes.c.id.not_in(told))))


def missing_triggers(there: set[str]) -> list[str]:
    return sorted(TRIGGERS - there)


def held_for_ever(db: Connection) -> list[int]:
    """Ids of samples that nobody is asked: their lease ends in a future that no lease reaches."""
    query = select(leases.c.sample_id).where(leases.c.expires > steady() + LONGEST_LEASE)
    return list(db.scalars(query.order_by(leases.c.sample_id)))


def _no_lease(now: float) -> sa.ColumnElement[bool]:
    nowhere = leases.c.sample_id.not_in(select(samples.c.id))
    decided = leases.c.sample_id.in_(select(sample_states.c.sample_id))
    return or_(leases.c.expires <= now, leases.c.expires > now + LONGEST_LEASE, nowhere, decided)
