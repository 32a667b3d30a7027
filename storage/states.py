"""What follows from the events: the state of each sample. The newest decision, or what several people agree on.

A sample of the share that is asked of several people (docs/decisions/0022) has a state once so many answered: what
most of them say, by the newest answer of each. A tie is the state "disputed". A reviewer's decision stands above all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, and_, case, exists, func, select

from storage.classes import roots
from storage.database import values_of
from storage.tables import events, open_answers, sample_states, samples
from storage.values import DISPUTED, STATE_KINDS

STATE_COLUMNS = [column.name for column in sample_states.c]
ANSWER_COLUMNS = [column.name for column in open_answers.c]
CANDIDATE, REVIEW, UNDO = (events.alias(name) for name in ("candidate", "review", "undo"))  # made once: it takes long
BEYOND = 2**52  # more than any event id
YES: sa.ColumnElement[int] = sa.literal_column("1")  # not a parameter: SQLite finds the index of reviews by it


@dataclass(frozen=True)
class Rules:
    """How many answers a sample needs, and what classes count as: what states follow from, beside the events.

    `ever`: the largest share that was asked of several people so far; `share` and `times` hold now. `merged`: class id
    -> what it counts as, of merged classes.
    """

    rng_seed: int = 0
    ever: float = 0.0
    share: float = 0.0
    times: int = 1
    merged: Mapping[int, int] = field(default_factory=dict)

    @property
    def place(self) -> sa.ColumnElement[float]:
        """Of a row of samples."""
        return func.labeler_place(self.rng_seed, samples.c.sha256, type_=sa.Float)

    @property
    def drawn(self) -> sa.ColumnElement[bool]:
        """Whether a sample's state is what several people agree on."""
        return and_(self.place < self.ever, samples.c.split != "gold")

    @property
    def needed(self) -> sa.ColumnElement[int]:
        """How many people a sample is asked of."""
        return case((and_(self.place < self.share, samples.c.split != "gold"), self.times), else_=1)

    def counts_as(self, class_id: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return case(self.merged, value=class_id, else_=class_id) if self.merged else class_id


ASKED_ONCE = Rules()
SAID = (
    "SELECT share, times, rng_seed, after_event_id FROM overlap_events ORDER BY id"  # as text: asked with every lease
)


def rules_at(db: Connection, at: int | None = None) -> Rules:
    """As they are (None), or as they were when event `at` was the newest one, with the classes as they are now."""
    said = [one for one in db.exec_driver_sql(SAID) if at is None or one.after_event_id <= at]
    if not said:
        return ASKED_ONCE
    merged = {class_id: root for class_id, root in roots(db).items() if class_id != root}
    newest = said[-1]
    return Rules(newest.rng_seed, max(one.share for one in said), newest.share, newest.times, merged)


def decides(e: Any, at: int | None = None) -> sa.ColumnElement[bool]:
    """Whether an event decides: it is of that kind and no undo names it. At an event, later ones do not count."""
    undone = exists().where(UNDO.c.undoes == e.c.uid)
    if at is None:
        return and_(e.c.kind.in_(STATE_KINDS), ~undone)
    return and_(e.c.kind.in_(STATE_KINDS), e.c.id <= at, ~undone.where(UNDO.c.id <= at))


def derived(
    rules: Rules, sample_ids: Iterable[int] | None = None, at: int | None = None
) -> "sa.Select[Any] | sa.CompoundSelect[Any]":
    """The rows of sample_states as the events have them, or had them up to event `at`, of some samples or of all."""
    sample_ids = None if sample_ids is None else list(sample_ids)
    newest = _newest(rules, sample_ids, at)
    return newest if not rules.ever else sa.union_all(newest, _agreed(rules, sample_ids, at))


def states_at(db: Connection, event_id: int | None) -> sa.FromClause:
    """sample_states as they are (None), or as they were when this event was the newest one."""
    return sample_states if event_id is None else derived(rules_at(db, event_id), at=event_id).subquery("then")


def derive_states(db: Connection, sample_ids: Iterable[int], rules: Rules | None = None) -> None:
    """Write the states of these samples anew, inside a writing transaction."""
    rules, sample_ids = rules or rules_at(db), list(sample_ids)
    db.execute(sa.delete(sample_states).where(sample_states.c.sample_id.in_(values_of(sample_ids))))
    db.execute(sa.insert(sample_states).from_select(STATE_COLUMNS, derived(rules, sample_ids)))
    if rules.ever:
        db.execute(sa.delete(open_answers).where(open_answers.c.sample_id.in_(values_of(sample_ids))))
        db.execute(sa.insert(open_answers).from_select(ANSWER_COLUMNS, derived_open(rules, sample_ids)))


def derived_open(rules: Rules, sample_ids: Iterable[int] | None = None) -> sa.Select[Any]:
    """The rows of open_answers: answers to samples of the share that need more of them, as the states are now."""
    found = answers(rules, sample_ids).subquery("answer")
    settled = exists().where(sample_states.c.sample_id == found.c.sample_id)
    return select(*(found.c[name] for name in ANSWER_COLUMNS)).where(~settled)


def answers(
    rules: Rules, sample_ids: Iterable[int] | None = None, at: int | None = None, reviewed: bool = False
) -> sa.Select[Any]:
    """Each person's newest answer to each sample of the share. Those that a reviewer decided only with `reviewed`."""
    newest = (
        select(func.max(CANDIDATE.c.id))
        .where(decides(CANDIDATE, at), CANDIDATE.c.review == 0)
        .group_by(CANDIDATE.c.sample_id, CANDIDATE.c.annotator_id)
    )
    if sample_ids is not None:
        newest = newest.where(CANDIDATE.c.sample_id.in_(values_of(sample_ids)))
    query = select(
        events.c.sample_id,
        events.c.annotator_id,
        events.c.id.label("event_id"),
        events.c.kind,
        rules.counts_as(events.c.class_id).label("counts_as"),
        rules.needed.label("needed"),
    )
    query = query.join_from(events, samples, samples.c.id == events.c.sample_id)
    query = query.where(events.c.id.in_(newest), rules.drawn)
    if not reviewed:
        settled = exists().where(REVIEW.c.sample_id == events.c.sample_id, REVIEW.c.review == YES, decides(REVIEW, at))
        query = query.where(~settled)
    return query


def _newest(rules: Rules, sample_ids: list[int] | None, at: int | None) -> sa.Select[Any]:
    """Of samples that one answer decides the newest event, of all others what a reviewer decided."""
    in_order = CANDIDATE.c.id + BEYOND * CANDIDATE.c.review
    newest = select(func.max(in_order) % BEYOND).where(decides(CANDIDATE, at)).group_by(CANDIDATE.c.sample_id)
    if sample_ids is not None:
        newest = newest.where(CANDIDATE.c.sample_id.in_(values_of(sample_ids)))
    columns = [events.c.id.label("event_id") if name == "event_id" else events.c[name] for name in STATE_COLUMNS]
    query = select(*columns).where(events.c.id.in_(newest))
    if not rules.ever:
        return query
    query = query.join_from(events, samples, samples.c.id == events.c.sample_id)
    return query.where(sa.or_(events.c.review == 1, ~rules.drawn))


def _agreed(rules: Rules, sample_ids: list[int] | None, at: int | None) -> sa.Select[Any]:
    """Of samples of the share with as many answers as they need what most of these say, or that they are disputed."""
    answer = answers(rules, sample_ids, at).subquery("answer")
    vote = (
        select(
            answer.c.sample_id,
            func.count().label("n"),
            func.max(answer.c.event_id).label("event_id"),
            func.max(answer.c.needed).label("needed"),
        )
        .group_by(answer.c.sample_id, answer.c.kind, answer.c.counts_as)
        .subquery("vote")
    )
    sample_id, best_first = vote.c.sample_id, (vote.c.n.desc(), vote.c.event_id.desc())
    second = func.lead(vote.c.n).over(partition_by=sample_id, order_by=best_first)
    best = select(
        vote,
        func.sum(vote.c.n).over(partition_by=sample_id).label("given"),
        func.max(vote.c.event_id).over(partition_by=sample_id).label("newest"),
        func.row_number().over(partition_by=sample_id, order_by=best_first).label("position"),
        func.coalesce(second, 0).label("second"),
    ).subquery("best")
    alone = best.c.n > best.c.second
    told = {
        "kind": case((alone, events.c.kind), else_=DISPUTED).label("kind"),
        "class_id": case((alone, events.c.class_id)).label("class_id"),
        "event_id": events.c.id.label("event_id"),
    }
    return (
        select(*(told[name] if name in told else events.c[name] for name in STATE_COLUMNS))
        .join_from(best, events, events.c.id == case((alone, best.c.event_id), else_=best.c.newest))
        .where(best.c.position == 1, best.c.given >= best.c.needed)
    )
