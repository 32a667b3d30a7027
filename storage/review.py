"""The reviewer's queue: what people answered differently, were unsure of or flagged, until a reviewer decides it."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy import func, select

from storage.database import Database, values_of
from storage.events import EVENT_COLUMNS
from storage.states import YES, answers, decides, rules_at
from storage.tables import annotators, events, sample_states
from storage.values import DISPUTED, Event

FIRST = (DISPUTED, "flag", "unsure")  # in this order; then what a majority decided against others


class ReviewTables(Database):
    def review_ids(self) -> list[int]:
        """Samples that wait for a reviewer: disputed ones first, then flagged, unsure, and where some were outvoted."""
        open_ones = (
            select(sample_states.c.kind, sample_states.c.sample_id)
            .join(events, events.c.id == sample_states.c.event_id)
            .where(sample_states.c.kind.in_(FIRST), sample_states.c.purpose != "gold", events.c.review == 0)
        )
        with self._reading() as db:
            rules = rules_at(db)
            found = {row.sample_id: FIRST.index(row.kind) for row in db.execute(open_ones)}
            if rules.ever:
                answer = answers(rules).subquery("answer")
                one = func.coalesce(sa.cast(answer.c.counts_as, sa.Text), answer.c.kind)
                mixed = (
                    select(answer.c.sample_id)
                    .join(sample_states, sample_states.c.sample_id == answer.c.sample_id)
                    .group_by(answer.c.sample_id)
                    .having(func.count(one.distinct()) > 1)
                )
                found = dict.fromkeys(db.scalars(mixed), len(FIRST)) | found
        return sorted(found, key=lambda sample_id: (found[sample_id], sample_id))

    def said_of(self, sample_ids: Iterable[int]) -> dict[int, list[Event]]:
        """Sample id -> the newest answer of each person to it, oldest first. Decisions of reviewers are none."""
        those = list(sample_ids)
        candidate = events.alias("candidate")
        newest = (
            select(func.max(candidate.c.id))
            .where(candidate.c.sample_id.in_(values_of(those)), candidate.c.review == 0, decides(candidate))
            .group_by(candidate.c.sample_id, candidate.c.annotator_id)
        )
        query = select(*EVENT_COLUMNS).join_from(events, annotators, annotators.c.id == events.c.annotator_id)
        found: dict[int, list[Event]] = {sample_id: [] for sample_id in those}
        with self._reading() as db:
            for row in db.execute(query.where(events.c.id.in_(newest)).order_by(events.c.id)):
                event = Event(*row)
                found[event.sample_id].append(event)
        return found

    def last_review(self, annotator: str) -> Event | None:
        """The newest decision of this reviewer that is not undone."""
        query = (
            select(*EVENT_COLUMNS)
            .join_from(events, annotators, annotators.c.id == events.c.annotator_id)
            .where(events.c.review == YES, annotators.c.name == annotator, decides(events))
            .order_by(events.c.id.desc())
        )
        with self._reading() as db:
            row = db.execute(query.limit(1)).first()
        return Event(*row) if row else None
