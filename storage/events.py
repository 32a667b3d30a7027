"""Labels are events: appended, never changed. The newest one of a sample that is not undone is its state."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, Select, and_, exists, func, literal, select
from sqlalchemy.dialects.sqlite import insert

from storage.classes import ACTIVE, annotator_ids, counted_as, roots, shown
from storage.database import Database, values_of
from storage.samples import SAMPLE_COLUMNS
from storage.tables import annotators, classes, events, leases, sample_states, samples
from storage.values import EVENT_KINDS, PAUSE_MS, STATE_KINDS, Event, NewEvent, Sample, State

LEASE_SECONDS = 120
ALREADY_UNDONE = "retracts nothing: already undone"
NOTHING_TO_UNDO = "retracts nothing yet: no such event"

log = logging.getLogger(__name__)


class EventTables(Database):
    def record(self, new_events: Sequence[NewEvent]) -> list[str]:
        """Append events in order, all or none, and return the uids that are stored now, from this call or before.

        Deciding a sample takes it off everybody's screen (its lease is dropped); an undo that reopens one leases it to
        who undid it. An undo of an unknown or undone event is stored, changes nothing, and says so in its comment.
        """
        for new in new_events:
            _check(new)
        with self._writing() as db:
            stored = set(db.scalars(select(events.c.uid).where(events.c.uid.in_(values_of(e.uid for e in new_events)))))
            fresh = {new.uid: new for new in reversed(new_events) if new.uid not in stored}  # first of equal uids wins
            in_order = [new for new in dict.fromkeys(new_events) if fresh.get(new.uid) is new]
            if in_order:
                self._append(db, in_order)
        return [new.uid for new in new_events]

    def _append(self, db: Connection, new_events: list[NewEvent]) -> None:
        splits = _splits(db, {new.sample_id for new in new_events})
        _must_be_classes(db, {new.class_id for new in new_events}, {new.predicted_class_id for new in new_events})
        ids = annotator_ids(db, [new.annotator for new in new_events])
        targets = _undo_targets(db, new_events)
        now = time.time()
        rows = [_row(new, ids[new.annotator], splits[new.sample_id], now) for new in new_events]
        for row in rows:
            if row["kind"] == "undo" and row["undoes"] in targets.unfit:
                row["comment"] = row["comment"] or targets.unfit[row["undoes"]]
                log.warning("undo %s %s (%s)", row["uid"], row["comment"], row["undoes"])
        db.execute(sa.insert(events), rows)
        decided = [new.sample_id for new in new_events if new.kind in STATE_KINDS]
        changed = {*decided, *targets.sample_ids, *(new.sample_id for new in new_events if new.kind == "undo")}
        _derive_states(db, changed)
        db.execute(sa.delete(leases).where(leases.c.sample_id.in_(values_of(decided))))
        for new in new_events:
            if new.kind == "undo" and new.client:
                _lease_reopened(db, new.sample_id, ids[new.annotator], new.client, now)

    def known_uids(self, uids: Iterable[str]) -> set[str]:
        """Which of these are stored."""
        with self._reading() as db:
            return set(db.scalars(select(events.c.uid).where(events.c.uid.in_(values_of(uids)))))

    def decided_ids(self, ids: Iterable[int] | None = None) -> np.ndarray:
        """Ascending int64: samples that have a state, all or among these."""
        query = select(sample_states.c.sample_id).order_by(sample_states.c.sample_id)
        if ids is not None:
            query = query.where(sample_states.c.sample_id.in_(values_of(ids)))
        with self._reading() as db:
            return np.array(db.scalars(query).all(), dtype=np.int64)

    def last_event_id(self) -> int:
        """0 when nothing was recorded yet."""
        with self._reading() as db:
            return int(db.scalar(select(func.coalesce(func.max(events.c.id), 0))) or 0)

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
            return [_event(row) for row in db.execute(query)]

    def last_decision(self, annotator: str, client: str) -> Event | None:
        """What `undo` retracts: the newest label, skip, unsure or flag of this client that is not undone."""
        query = _events().where(annotators.c.name == annotator, events.c.client == client, _decides(events))
        with self._reading() as db:
            row = db.execute(query.order_by(events.c.id.desc()).limit(1)).first()
        return _event(row) if row else None

    def labels(self, purpose: str | None = "learn", split: str | None = None) -> dict[int, int]:
        """Sample id -> class id, newest event of each sample; skipped and retracted ones are absent.

        A label of a merged class is one of the class that it was merged into, one of an archived class is absent.
        """
        query = select(sample_states.c.sample_id, sample_states.c.class_id).where(sample_states.c.kind == "label")
        if purpose is not None:
            query = query.where(sample_states.c.purpose == purpose)
        if split is not None:
            query = query.join(samples, samples.c.id == sample_states.c.sample_id).where(samples.c.split == split)
        with self._reading() as db:
            class_ids = counted_as(db)
            found = dict(db.execute(query.order_by(sample_states.c.sample_id)).all())
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

    def states(self) -> dict[int, State]:
        """Sample id -> state, of every sample that has one."""
        query = _states().order_by(sample_states.c.sample_id)
        with self._reading() as db:
            root = roots(db)
            return {row.sample_id: _state(row, root) for row in db.execute(query)}

    def state(self, sample_id: int) -> State | None:
        with self._reading() as db:
            row = db.execute(_states().where(sample_states.c.sample_id == int(sample_id))).first()
            return _state(row, roots(db)) if row else None

    def decisions(self) -> list[tuple[Sample, Event]]:
        """Every sample that has a state, by id, with the event that made it."""
        query = _events().join(sample_states, sample_states.c.event_id == events.c.id)
        decided = select(*SAMPLE_COLUMNS).join(sample_states, sample_states.c.sample_id == samples.c.id)
        with self._reading() as db:
            by_sample = {row.sample_id: _event(row) for row in db.execute(query)}
            return [(Sample(*row), by_sample[row.id]) for row in db.execute(decided.order_by(samples.c.id))]

    def counts(self) -> dict[str, Any]:
        """How many samples there are of each split, and in each state. Gold ones are not among the open.

        `per_class` is of the classes in use; labels of archived ones count as `archived`, not as `labeled`.
        """
        by_split = select(samples.c.split, func.count()).group_by(samples.c.split)
        by_state = (
            select(sample_states.c.kind, sample_states.c.class_id, func.count())
            .where(sample_states.c.purpose != "gold")
            .group_by(sample_states.c.kind, sample_states.c.class_id)
        )
        with self._reading() as db:
            splits: dict[str, int] = dict(db.execute(by_split).all())
            states = db.execute(by_state).all()
            class_ids = counted_as(db)
            in_use = select(classes.c.id).where(ACTIVE).order_by(classes.c.position, classes.c.id)
            per_class = dict.fromkeys(db.scalars(in_use), 0)
        kinds = dict.fromkeys((*STATE_KINDS, "archived"), 0)
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
            "open": pool + measure - sum(kinds.values()),
            "per_class": per_class,
        }


class _Targets:
    """What the undo events of one batch point at: samples to look at again, and the undos that retract nothing."""

    def __init__(self) -> None:
        self.sample_ids: set[int] = set()
        self.unfit: dict[str, str] = {}


def _undo_targets(db: Connection, new_events: list[NewEvent]) -> _Targets:
    targets = _Targets()
    wanted = [new.undoes for new in new_events if new.undoes]
    if not wanted:
        return targets
    query = select(events.c.uid, events.c.sample_id).where(
        events.c.uid.in_(values_of(wanted)), events.c.kind.in_(STATE_KINDS)
    )
    known = dict(db.execute(query).all())
    undone = set(db.scalars(select(events.c.undoes).where(events.c.undoes.in_(values_of(wanted)))))
    for new in new_events:
        if new.kind in STATE_KINDS:
            known[new.uid] = new.sample_id
        if new.undoes is None:
            continue
        if new.undoes not in known:
            targets.unfit[new.undoes] = NOTHING_TO_UNDO
        elif new.undoes in undone:
            targets.unfit[new.undoes] = ALREADY_UNDONE
        else:
            targets.sample_ids.add(known[new.undoes])
        undone.add(new.undoes)
    return targets


def _check(new: NewEvent) -> None:
    if new.kind not in EVENT_KINDS:
        raise ValueError(f"{new.kind!r} is not a kind of event; one of {', '.join(EVENT_KINDS)} is.")
    if not new.uid:
        raise ValueError("An event needs a uid of its own, so that sending it again stores it once.")
    if any(not 0 <= number < 2**62 for number in (new.ms, new.version, new.rank) if number is not None):
        raise ValueError(f"An event came with ms={new.ms}, version={new.version}, rank={new.rank}: they start at 0.")
    if (new.kind == "label") != (new.class_id is not None):
        raise ValueError(f"A {new.kind} event came with class id {new.class_id}; a label has one, no other kind does.")
    if (new.kind == "undo") != (new.undoes is not None):
        raise ValueError(
            f"A {new.kind} event came with undoes={new.undoes!r}; an undo names a uid, no other kind does."
        )


def _splits(db: Connection, sample_ids: set[int]) -> dict[int, str]:
    query = select(samples.c.id, samples.c.split).where(samples.c.id.in_(values_of(sample_ids)))
    splits = dict(db.execute(query).all())
    if missing := sample_ids - splits.keys():
        raise KeyError(f"There is no sample {min(missing)}.")
    return splits


def _must_be_classes(db: Connection, labeled: set[int | None], predicted: set[int | None]) -> None:
    """A label as a merged class is kept as it was given; one as an archived class would be one that nobody reads."""
    rows = {row.id: row for row in db.execute(select(classes.c.id, classes.c.name, classes.c.archived_at))}
    missing = (labeled | predicted) - {None} - rows.keys()
    if missing:
        raise KeyError(f"There is no class with id {min(i for i in missing if i is not None)}.")
    root = roots(db)
    for class_id in labeled:
        if class_id is None:
            continue
        counts_as = rows[root[class_id]]
        if counts_as.archived_at is not None:
            raise ValueError(f"The class {shown(counts_as.name)} is archived. Choose another class, or restore it.")


def _row(new: NewEvent, annotator_id: int, split: str, now: float) -> dict[str, Any]:
    """An event as a row. What it is for follows from the sample: a measuring one can never be learned from."""
    row = {name: getattr(new, name) for name in NewEvent.__dataclass_fields__ if name != "annotator"}
    row |= {"annotator_id": annotator_id, "time": now, "paused": int((new.ms or 0) > PAUSE_MS)}
    if split != "pool":
        row["purpose"] = split
    return row


def _decides(e: Any) -> sa.ColumnElement[bool]:
    """Whether an event makes a state: it is of that kind and no undo names it."""
    undo = events.alias("undo")
    return and_(e.c.kind.in_(STATE_KINDS), ~exists().where(undo.c.undoes == e.c.uid))


def derived(sample_ids: Iterable[int] | None = None) -> Select[Any]:
    """The rows of sample_states as the events have them, of some samples or of all."""
    candidate = events.alias("candidate")
    newest = select(func.max(candidate.c.id)).where(_decides(candidate)).group_by(candidate.c.sample_id)
    if sample_ids is not None:
        newest = newest.where(candidate.c.sample_id.in_(values_of(sample_ids)))
    names = ("sample_id", "kind", "class_id", "id", "annotator_id", "purpose")
    return select(*(events.c[name] for name in names)).where(events.c.id.in_(newest))


def _derive_states(db: Connection, sample_ids: Iterable[int]) -> None:
    sample_ids = list(sample_ids)
    db.execute(sa.delete(sample_states).where(sample_states.c.sample_id.in_(values_of(sample_ids))))
    names = ["sample_id", "kind", "class_id", "event_id", "annotator_id", "purpose"]
    db.execute(sa.insert(sample_states).from_select(names, derived(sample_ids)))


def _lease_reopened(db: Connection, sample_id: int, annotator_id: int, client: str, now: float) -> None:
    """Give an undone sample back to who undid it, unless it still has an earlier state or somebody else has it."""
    open_again = select(literal(sample_id), literal(annotator_id), literal(client), literal(now + LEASE_SECONDS)).where(
        ~exists().where(sample_states.c.sample_id == sample_id)
    )
    statement = insert(leases).from_select(["sample_id", "annotator_id", "client", "expires"], open_again)
    changes = {name: statement.excluded[name] for name in ("annotator_id", "client", "expires")}
    db.execute(
        statement.on_conflict_do_update(
            index_elements=[leases.c.sample_id], set_=changes, where=leases.c.expires <= now
        )
    )


def _events() -> Select[Any]:
    columns = [column for column in events.c if column.name != "annotator_id"]
    return select(*columns, annotators.c.name.label("annotator")).join(
        annotators, annotators.c.id == events.c.annotator_id
    )


def _event(row: sa.Row[Any]) -> Event:
    return Event(**{**row._mapping, "paused": bool(row.paused)})


def _state(row: sa.Row[Any], root: dict[int, int]) -> State:
    state = State(**row._mapping)
    return state if state.class_id is None else replace(state, class_id=root[state.class_id])


def _states() -> Select[Any]:
    names = ("sample_id", "kind", "class_id", "event_id")
    columns = [sample_states.c[name] for name in names]
    return select(*columns, annotators.c.name.label("annotator"), sample_states.c.purpose).join(
        annotators, annotators.c.id == sample_states.c.annotator_id
    )
