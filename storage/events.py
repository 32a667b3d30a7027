"""Labels are events: appended, never changed. What a sample is follows from them (states.py)."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, Select, func, literal, select

from storage.chain import extend
from storage.classes import ACTIVE, annotator_ids, counted_as, roots
from storage.clock import steady
from storage.database import Database, values_of
from storage.dialects import insert
from storage.past import there
from storage.refusals import must_be_classes, must_be_own, must_make_sense, not_stored_yet, retracted_samples, splits_of
from storage.samples import CHUNK, SAMPLE_COLUMNS
from storage.seats import may_have
from storage.states import STATE_COLUMNS, Rules, decides, derive_states, rules_at, states_at
from storage.tables import annotators, classes, event_links, events, leases, open_answers, sample_states, samples
from storage.values import DISPUTED, PAUSE_MS, STATE_KINDS, Event, Moment, NewEvent, Sample, State

LEASE_SECONDS = 120
# What an Event is made of, in the order of its fields.
_IN_PLACE_OF = {
    "annotator_id": annotators.c.name,
    "paused": events.c.paused != 0,
    "review": events.c.review != 0,
}
EVENT_COLUMNS: list[Any] = [_IN_PLACE_OF.get(column.name, column) for column in events.c]


class EventTables(Database):
    def record(self, new_events: Sequence[NewEvent], own: bool = False) -> list[str]:
        """Append events in order, all or none, and return the uids that are stored now, from this call or before.

        Deciding a sample takes it off everybody's screen (its lease is dropped), or while more people are asked off
        that person's; an undo that reopens one leases it to who undid it (of a group, the last one). Conflict for a
        uid that is stored with another answer, for an undo of what is not there or undone already, and where only
        `own` answers may be changed for what would change another person's.
        """
        for new in new_events:
            must_make_sense(new)
        with self._writing() as db:
            fresh = not_stored_yet(db, new_events)
            if own:
                must_be_own(db, fresh)
            if fresh:
                self._append(db, fresh)
        return [new.uid for new in new_events]

    def _append(self, db: Connection, new_events: list[NewEvent]) -> None:
        splits = splits_of(db, {new.sample_id for new in new_events})
        must_be_classes(db, {new.class_id for new in new_events}, {new.predicted_class_id for new in new_events})
        retracted = retracted_samples(db, new_events)
        ids = annotator_ids(db, [new.annotator for new in new_events])
        now = time.time()
        rows = [_row(new, ids[new.annotator], splits[new.sample_id], now) for new in new_events]
        db.execute(sa.insert(events), rows)
        extend(db, (new.uid for new in new_events))
        decided = [new for new in new_events if new.kind in STATE_KINDS]
        undos = {new.group_id or new.uid: new for new in new_events if new.kind == "undo"}  # the last one of a group
        changed = {new.sample_id for new in new_events if new.kind != "comment"} | retracted
        rules = rules_at(db)
        derive_states(db, changed, rules)
        _drop_leases(db, rules, decided, ids)
        for new in undos.values():
            if new.client and not new.review:
                _lease_reopened(db, rules, new.sample_id, ids[new.annotator], new.client, steady())

    def known_uids(self, uids: Iterable[str]) -> set[str]:
        """Which of these are stored."""
        with self._reading() as db:
            return set(db.scalars(select(events.c.uid).where(events.c.uid.in_(values_of(uids)))))

    def decided_ids(self, ids: Iterable[int] | None = None) -> np.ndarray:
        """Ascending int64: samples that have a state, or wait for the answers of more people; all or among these."""
        decided, waiting = select(sample_states.c.sample_id), select(open_answers.c.sample_id).distinct()
        if ids is not None:
            those = list(ids)
            decided = decided.where(sample_states.c.sample_id.in_(values_of(those)))
            waiting = waiting.where(open_answers.c.sample_id.in_(values_of(those)))
        with self._reading() as db:
            found = db.scalars(decided.order_by(sample_states.c.sample_id)).all()
            also = db.scalars(waiting).all()
        return np.sort(np.array([*found, *also], dtype=np.int64)) if also else np.array(found, dtype=np.int64)

    def last_event_id(self) -> int:
        """0 when nothing was recorded yet."""
        with self._reading() as db:
            return int(db.scalar(select(func.coalesce(func.max(events.c.id), 0))) or 0)

    def head(self) -> tuple[int, str] | None:
        """(id, link) of the newest event: noted elsewhere, it tells later whether the record still goes on from it."""
        newest = select(event_links).order_by(event_links.c.event_id.desc()).limit(1)
        with self._reading() as db:
            row = db.execute(newest).first()
        return (row.event_id, row.link) if row else None

    def link(self, event_id: int) -> str | None:
        """Of an event (docs/record.md#the-chain); None where there is no such event."""
        with self._reading() as db:
            return db.scalar(select(event_links.c.link).where(event_links.c.event_id == event_id))

    def events(
        self,
        sample_id: int | None = None,
        annotator: str | None = None,
        after: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
        uids: Iterable[str] | None = None,
    ) -> list[Event]:
        """The history: of one sample, of one annotator, later than event id `after`, or with these uids."""
        query = _events().where(events.c.id > after).limit(limit)
        query = query.order_by(events.c.id.desc() if newest_first else events.c.id)
        if sample_id is not None:
            query = query.where(events.c.sample_id == int(sample_id))
        if annotator is not None:
            query = query.where(annotators.c.name == annotator)
        if uids is not None:
            query = query.where(events.c.uid.in_(values_of(uids)))
        with self._reading() as db:
            return [Event(*row) for row in db.execute(query)]

    def last_decision(self, annotator: str, client: str) -> Event | None:
        """What `undo` retracts: the newest label, skip, unsure or flag of this client that is not undone.

        Decisions of a reviewer are not among them: they are taken back where they are made.
        """
        query = _events().where(
            annotators.c.name == annotator, events.c.client == client, events.c.review == 0, decides(events)
        )
        with self._reading() as db:
            row = db.execute(query.order_by(events.c.id.desc()).limit(1)).first()
        return Event(*row) if row else None

    def answers_of(self, annotator: str, limit: int) -> list[Event]:
        """The newest decisions of a person that hold, newest first: given one by one, not in groups nor in reviews."""
        query = _events().where(
            annotators.c.name == annotator, events.c.review == 0, events.c.group_id.is_(None), decides(events)
        )
        with self._reading() as db:
            return [Event(*row) for row in db.execute(query.order_by(events.c.id.desc()).limit(limit))]

    def labels(self, purpose: str | None = "learn", split: str | None = None, at: int | None = None) -> dict[int, int]:
        """Sample id -> class id, newest event of each sample; skipped and retracted ones are absent.

        Of a sample that several people are asked what most of them say, or what a reviewer decided; before, none.
        A label of a merged class is one of the class that it was merged into, one of an archived class is absent. `at`
        is an event id: the labels as they were when that event was the newest one, of the classes as they are now.
        """
        with self._reading() as db:
            then = states_at(db, at)
            query = select(then.c.sample_id, then.c.class_id).where(then.c.kind == "label")
            if purpose is not None:
                query = query.where(then.c.purpose == purpose)
            if split is not None:
                query = query.join(samples, samples.c.id == then.c.sample_id).where(samples.c.split == split)
            class_ids = counted_as(db)
            found = dict(db.execute(query.order_by(then.c.sample_id)).all())
        if all(class_ids.get(class_id) == class_id for class_id in set(found.values())):
            return found
        return {sample_id: class_ids[class_id] for sample_id, class_id in found.items() if class_id in class_ids}

    def label_counts(self) -> dict[int, int]:
        """Class id -> labels that were given as this very class and hold, whatever became of the class. Not of gold."""
        query = select(sample_states.c.class_id, func.count()).where(
            sample_states.c.kind == "label", sample_states.c.purpose != "gold"
        )
        with self._reading() as db:
            return dict(db.execute(query.group_by(sample_states.c.class_id)).all())

    def states(self, at: int | None = None) -> dict[int, State]:
        """Sample id -> state, of every sample that has one, or had one when event `at` was the newest."""
        with self._reading() as db:
            then, root = states_at(db, at), roots(db)
            return {row[0]: _state(row, root) for row in db.execute(_states(then).order_by(then.c.sample_id))}

    def state(self, sample_id: int) -> State | None:
        with self._reading() as db:
            row = db.execute(_states(sample_states).where(sample_states.c.sample_id == int(sample_id))).first()
            return _state(row, roots(db)) if row else None

    def decisions(self, at: int | None = None) -> Iterator[tuple[Sample, Event]]:
        """Every sample that has a state (or had one at event `at`), by id, with the event that made it.

        The event has the class that was given, whatever that counts as now (`roots`); of a disputed sample it is the
        newest answer, of the kind "disputed" and without a class. Read while it is iterated, in one transaction: one
        moment of the record, and never much of it in memory.
        """
        n = len(EVENT_COLUMNS)
        with self._reading() as db:
            then = states_at(db, at)
            query = (
                _events()
                .join(then, then.c.event_id == events.c.id)
                .join(samples, samples.c.id == then.c.sample_id)
                .add_columns(then.c.kind, *SAMPLE_COLUMNS)
                .order_by(then.c.sample_id)
            )
            with db.execute(query.execution_options(yield_per=CHUNK)) as found:
                for row in found:
                    event = Event(*row[:n])
                    if row[n] == DISPUTED:
                        event = replace(event, kind=DISPUTED, class_id=None)
                    yield Sample(*row[n + 1 :]), event

    def counts(self, at: Moment | None = None) -> dict[str, Any]:
        """How many samples there are, or were, of each split and in each state. Gold ones are not among the open.

        `per_class` is of the classes in use now; labels of archived ones count as `archived`, not as `labeled`. What is
        `open` includes samples that some of the people who are asked have answered.
        """
        by_split = select(samples.c.split, func.count()).group_by(samples.c.split)
        if at is not None:
            by_split = by_split.where(there(at))
        with self._reading() as db:
            then = states_at(db, None if at is None else at.event_id)
            by_state = (
                select(then.c.kind, then.c.class_id, func.count())
                .where(then.c.purpose != "gold")
                .group_by(then.c.kind, then.c.class_id)
            )
            splits: dict[str, int] = dict(db.execute(by_split).all())
            states = db.execute(by_state).all()
            class_ids = counted_as(db)
            in_use = select(classes.c.id).where(ACTIVE).order_by(classes.c.position, classes.c.id)
            per_class = dict.fromkeys(db.scalars(in_use), 0)
        kinds = dict.fromkeys((*STATE_KINDS, "archived", DISPUTED), 0)
        for kind, class_id, n in states:
            if kind == "label" and class_id in class_ids:
                per_class[class_ids[class_id]] += n
            kinds["archived" if kind == "label" and class_id not in class_ids else kind] += n
        pool, measure, gold = (splits.get(split, 0) for split in ("pool", "measure", "gold"))
        return {
            "samples": pool + measure + gold,
            "pool": pool,
            "measure": measure,
            "gold": gold,
            "labeled": kinds["label"],
            "skipped": kinds["skip"],
            "unsure": kinds["unsure"],
            "flagged": kinds["flag"],
            "archived": kinds["archived"],
            DISPUTED: kinds[DISPUTED],
            "open": pool + measure - sum(kinds.values()),
            "per_class": per_class,
        }


def _drop_leases(db: Connection, rules: Rules, decided: list[NewEvent], ids: dict[str, int]) -> None:
    """Take what was decided off the screens: off everybody's, or where more people are asked off the person's own."""
    for annotator in {new.annotator for new in decided} if rules.ever else {None}:
        of_theirs = (new.sample_id for new in decided if annotator in (None, new.annotator))
        query = sa.delete(leases).where(leases.c.sample_id.in_(values_of(of_theirs)))
        if annotator is not None:
            has_state = leases.c.sample_id.in_(select(sample_states.c.sample_id))
            query = query.where(sa.or_(leases.c.annotator_id == ids[annotator], has_state))
        db.execute(query)


def _row(new: NewEvent, annotator_id: int, split: str, now: float) -> dict[str, Any]:
    """An event as a row. What it is for follows from the sample: a measuring one can never be learned from."""
    row = {name: getattr(new, name) for name in NewEvent.__dataclass_fields__ if name != "annotator"}
    row |= {"annotator_id": annotator_id, "time": now, "paused": int((new.ms or 0) > PAUSE_MS)}
    row["review"] = int(new.review)
    if split != "pool":
        row["purpose"] = split
    return row


def _lease_reopened(db: Connection, rules: Rules, sample_id: int, annotator_id: int, client: str, now: float) -> None:
    """Give an undone sample back to who undid it, unless it still has an earlier state or somebody else has it."""
    open_again = (
        select(samples.c.id, literal(annotator_id), literal(client), literal(now + LEASE_SECONDS))
        .select_from(samples)
        .where(samples.c.id == sample_id, may_have(rules, annotator_id, client, now))
    )
    statement = insert(leases).from_select(["sample_id", "annotator_id", "client", "expires"], open_again)
    changes = {name: statement.excluded[name] for name in ("client", "expires")}
    db.execute(
        statement.on_conflict_do_update(
            index_elements=[leases.c.sample_id, leases.c.annotator_id], set_=changes, where=leases.c.expires <= now
        )
    )


def _events() -> Select[Any]:
    return select(*EVENT_COLUMNS).join_from(events, annotators, annotators.c.id == events.c.annotator_id)


def _state(row: Any, root: dict[int, int]) -> State:
    state = State(*row)
    return state if state.class_id is None else replace(state, class_id=root[state.class_id])


def _states(then: sa.FromClause) -> Select[Any]:
    columns = [annotators.c.name if name == "annotator_id" else then.c[name] for name in STATE_COLUMNS]
    return select(*columns).join_from(then, annotators, annotators.c.id == then.c.annotator_id)
