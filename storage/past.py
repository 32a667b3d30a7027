"""Moments of the past: which event was the newest one then, and what else was there."""

import time
from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Select, func, or_, select

from storage.classes import counted_as
from storage.database import Database
from storage.samples import CHUNK
from storage.tables import annotators, events, imports, samples
from storage.values import STATE_KINDS, Moment


class PastTables(Database):
    def moment_after(self, event_id: int) -> Moment:
        """From this event until the next one; 0 is before the first. ValueError when there is no such event."""
        with self._reading() as db:
            newest = int(db.scalar(select(func.coalesce(func.max(events.c.id), 0))) or 0)
            if not 0 <= event_id <= newest:
                raise ValueError(f"There is no event {event_id}; the newest one is {newest}.")
            next_one = select(events.c.time).where(events.c.id > event_id).order_by(events.c.id).limit(1)
            until = db.scalar(next_one)
            return _moment(db, event_id, time.time() if until is None else float(until))

    def moment_at(self, when: float) -> Moment:
        """The record at a time, in seconds since 1970."""
        newest = select(events.c.id).where(events.c.time <= when).order_by(events.c.id.desc()).limit(1)
        with self._reading() as db:
            return _moment(db, int(db.scalar(newest) or 0), when)

    def moment_with_labels(self, n: int) -> Moment:
        """When n samples were labeled for the first time. ValueError when so many never were.

        As `counts` counts them: gold ones are not among them, nor are those of classes that are archived now.
        """
        if n == 0:
            return self.moment_after(0)
        standing: dict[int, dict[int, bool]] = defaultdict(dict)  # sample id -> {event id: it is a label}, oldest first
        labeled = most = 0
        with self._reading() as db, db.execute(_changes()) as changes:
            counted = counted_as(db)
            for event_id, kind, sample_id, class_id, target, undone_by in changes:
                decisions = standing[sample_id]
                before = next(reversed(decisions.values()), False)
                if kind == "undo":
                    decisions.pop(target, None)
                elif undone_by is None or undone_by > event_id:
                    decisions[event_id] = class_id in counted
                labeled += next(reversed(decisions.values()), False) - before
                most = max(most, labeled)
                if labeled == n:
                    break
            else:
                raise ValueError(f"There never were {n:,} labels at one time; the most were {most:,}.")
        return self.moment_after(event_id)

    def annotators_at(self, moment: Moment) -> list[str]:
        """Who had recorded something by then, in the order in which they came."""
        known = select(events.c.annotator_id).where(events.c.id <= moment.event_id)
        query = select(annotators.c.name).where(annotators.c.id.in_(known)).order_by(annotators.c.id)
        with self._reading() as db:
            return list(db.scalars(query))


def there(moment: Moment) -> sa.ColumnElement[bool]:
    """Whether a sample was in the project then: its import was over, or a sample that came after it had an event.

    When each sample was stored is not recorded. An import that was interrupted counts from its start.
    """
    over = select(imports.c.id).where(func.coalesce(imports.c.finished, imports.c.started) <= moment.time)
    newest = select(func.max(events.c.sample_id)).where(events.c.id <= moment.event_id).scalar_subquery()
    return or_(samples.c.import_id.is_(None), samples.c.import_id.in_(over), samples.c.id <= newest)


def _moment(db: Connection, event_id: int, until: float) -> Moment:
    recorded = db.scalar(select(events.c.time).where(events.c.id == event_id))
    return Moment(event_id, recorded, until)


def _changes() -> Select[Any]:
    """Whatever may change a state, in order: event id, kind, sample id, class id, what it undoes, what undoes it."""
    target, undo = events.alias("target"), events.alias("undo")
    undone_by = select(func.min(undo.c.id)).where(undo.c.undoes == events.c.uid).scalar_subquery()
    decides = sa.and_(events.c.kind.in_(STATE_KINDS), events.c.purpose != "gold")
    return (
        select(
            events.c.id,
            events.c.kind,
            func.coalesce(target.c.sample_id, events.c.sample_id),
            events.c.class_id,
            target.c.id,
            undone_by,
        )
        .outerjoin_from(events, target, target.c.uid == events.c.undoes)
        .where(or_(decides, events.c.kind == "undo"))
        .order_by(events.c.id)
        .execution_options(yield_per=CHUNK)
    )
