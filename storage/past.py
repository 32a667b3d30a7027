"""Moments of the past: which event was the newest one then, and what else was there."""

import time
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Select, func, or_, select

from storage.classes import counted_as, roots
from storage.database import Database
from storage.places import place
from storage.samples import CHUNK
from storage.states import ASKED_ONCE, YES, rules_at
from storage.tables import annotators, events, imports, overlap_events, samples
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
        with self._reading() as db:
            tally, most = _Tally(db), 0
            with db.execute(_changes()) as changes:
                for row in changes:
                    tally.take(row)
                    most = max(most, tally.labeled)
                    if tally.labeled == n:
                        break
                else:
                    raise ValueError(f"There never were {n:,} labels at one time; the most were {most:,}.")
        return self.moment_after(row.id)

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


class _Decision(NamedTuple):
    annotator_id: int
    says: tuple[str, int | None]  # kind, class id as it counts
    review: bool


class _Tally:
    """How many samples are labeled, counted along the events: by the rules of states.py, with what is asked then."""

    def __init__(self, db: Connection) -> None:
        said = db.scalars(select(overlap_events.c.after_event_id).order_by(overlap_events.c.id)).all()
        self._to_come = [(after, rules_at(db, after)) for after in dict.fromkeys(said)]
        self._rng_seed = self._to_come[0][1].rng_seed if said else None
        self._db, self._rules = db, ASKED_ONCE
        self._roots, self._counted = roots(db), counted_as(db)
        self._in_use = set(self._counted.values())
        reviewed = db.scalar(select(events.c.id).where(events.c.review == YES).limit(1)) is not None
        self._newest_decides = not said and not reviewed
        self._standing: dict[int, dict[int, _Decision]] = defaultdict(dict)  # sample id -> {event id: decision}
        self._labels: dict[int, dict[int, bool]] = defaultdict(dict)  # sample id -> {event id: it is a label}
        self._places: dict[int, float] = {}
        self.labeled = 0

    def take(self, row: Any) -> None:
        """The next event, a row of _changes()."""
        if self._newest_decides:
            return self._take_newest(*row)
        decisions = self._standing[row.sample_id]
        before = self._is_labeled(row.sample_id)
        if row.kind == "undo":
            decisions.pop(row.target, None)
        elif row.undone_by is None or row.undone_by > row.id:
            says = (row.kind, None if row.class_id is None else self._roots[row.class_id])
            decisions[row.id] = _Decision(row.annotator_id, says, bool(row.review))
        self.labeled += self._is_labeled(row.sample_id) - before
        changed = False
        while self._to_come and self._to_come[0][0] <= row.id:
            self._rules, changed = self._to_come.pop(0)[1], True
        if changed:
            self.labeled = sum(map(self._is_labeled, list(self._standing)))

    def _take_newest(
        self, event_id: int, kind: str, sample_id: int, class_id: int | None, _who: int, _review: int,
        target: int | None, undone_by: int | None,
    ) -> None:  # fmt: skip
        """The same where nothing is asked of several people and nothing reviewed, which is quicker."""
        labels = self._labels[sample_id]
        before = next(reversed(labels.values()), False)
        if kind == "undo":
            labels.pop(target or 0, None)
        elif undone_by is None or undone_by > event_id:
            labels[event_id] = class_id in self._counted
        self.labeled += next(reversed(labels.values()), False) - before

    def _is_labeled(self, sample_id: int) -> bool:
        decisions = self._standing[sample_id].values()
        reviews = [decision for decision in decisions if decision.review]
        if reviews or self._rng_seed is None or (needed := self._needed(sample_id, self._rng_seed)) is None:
            newest = next(reversed(reviews or decisions), None)
            return newest is not None and newest.says[1] in self._in_use
        answers = {decision.annotator_id: decision.says for decision in decisions}  # the newest of each
        votes = Counter(answers.values()).most_common(2)
        if len(answers) < needed or (len(votes) == 2 and votes[0][1] == votes[1][1]):
            return False
        return votes[0][0][1] in self._in_use

    def _needed(self, sample_id: int, rng_seed: int) -> int | None:
        """How many answers a sample needs; None where the newest decides."""
        if sample_id not in self._places:
            sha256 = self._db.scalar(select(samples.c.sha256).where(samples.c.id == sample_id)) or ""
            self._places[sample_id] = place(rng_seed, sha256)
        where = self._places[sample_id]
        if where >= self._rules.ever:
            return None
        return self._rules.times if where < self._rules.share else 1


def _changes() -> Select[Any]:
    """Whatever may change a state, in order. `target`: the id of what it undoes; `undone_by`: of what undoes it."""
    target, undo = events.alias("target"), events.alias("undo")
    undone_by = select(func.min(undo.c.id)).where(undo.c.undoes == events.c.uid).scalar_subquery()
    decides = sa.and_(events.c.kind.in_(STATE_KINDS), events.c.purpose != "gold")
    return (
        select(
            events.c.id,
            events.c.kind,
            func.coalesce(target.c.sample_id, events.c.sample_id).label("sample_id"),
            events.c.class_id,
            events.c.annotator_id,
            events.c.review,
            target.c.id.label("target"),
            undone_by.label("undone_by"),
        )
        .outerjoin_from(events, target, target.c.uid == events.c.undoes)
        .where(or_(decides, events.c.kind == "undo"))
        .order_by(events.c.id)
        .execution_options(yield_per=CHUNK)
    )
