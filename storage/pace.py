"""When people answered and how long they looked, and how many answers a ranking had to learn from."""

from sqlalchemy import func, or_, select

from storage.database import Database
from storage.states import decides
from storage.tables import annotators, events
from storage.values import Given

BY_NOBODY = ("import", "split")  # acquisitions of events that nobody gave one by one
TEACH = ("label", "undo")  # kinds of events that a model learns from


class PaceTables(Database):
    def given(self, limit: int) -> list[Given]:
        """The newest answers that hold, oldest first; not those of imports, splits and reviews."""
        by_people = or_(events.c.acquisition.is_(None), events.c.acquisition.not_in(BY_NOBODY))
        query = (
            select(
                annotators.c.name,
                events.c.kind,
                events.c.time,
                events.c.ms,
                events.c.paused != 0,
                events.c.group_id.is_not(None),
            )
            .join_from(events, annotators, annotators.c.id == events.c.annotator_id)
            .where(decides(events), events.c.review == 0, by_people)
            .order_by(events.c.id.desc())
            .limit(limit)
        )
        with self._reading() as db:
            return [Given(*row) for row in reversed(db.execute(query).all())]

    def taught_between(self, after: int, upto: int) -> int:
        """How many events with ids in (after, upto] a model learns from: labels and undos, not those that measure."""
        query = select(func.count()).where(
            events.c.id > after, events.c.id <= upto, events.c.kind.in_(TEACH), events.c.purpose == "learn"
        )
        with self._reading() as db:
            return int(db.scalar(query) or 0)
