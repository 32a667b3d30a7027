"""The history as people read it: newest first, with names, what an undo took back and what was undone."""

from collections.abc import Iterable, Iterator

from sqlalchemy import func, select

from storage.database import Database, values_of
from storage.events import EVENT_COLUMNS
from storage.samples import CHUNK
from storage.tables import annotators, events, samples
from storage.values import STATE_KINDS, Entry, Event


class HistoryTables(Database):
    def history(
        self,
        sample_ids: Iterable[int] | None = None,
        annotator: str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """Events newest first: of some samples, of one annotator, recorded `since` then (seconds since 1970).

        Read while it is iterated, in one transaction: one moment of the record, and never much of it in memory.
        """
        target, undo = events.alias("target"), events.alias("undo")
        undone_by = select(func.min(undo.c.id)).where(undo.c.undoes == events.c.uid, events.c.kind.in_(STATE_KINDS))
        query = (
            select(
                *EVENT_COLUMNS,
                samples.c.name,
                undone_by.scalar_subquery(),
                target.c.id,
                target.c.kind,
                target.c.class_id,
            )
            .join_from(events, annotators, annotators.c.id == events.c.annotator_id)
            .join(samples, samples.c.id == events.c.sample_id)
            .outerjoin(target, target.c.uid == events.c.undoes)
            .order_by(events.c.id.desc())
            .limit(limit)
        )
        if sample_ids is not None:
            query = query.where(events.c.sample_id.in_(values_of(sample_ids)))
        if annotator is not None:
            who = select(annotators.c.id).where(annotators.c.name == annotator).scalar_subquery()
            query = query.where(
                events.c.annotator_id + 0 == who
            )  # + 0: by the index, all would be sorted for the first
        if since is not None:
            query = query.where(events.c.time >= since)
        n = len(EVENT_COLUMNS)
        with self._reading() as db, db.execute(query.execution_options(yield_per=CHUNK)) as found:
            for row in found:
                yield Entry(Event(*row[:n]), *row[n:])

    def ids_by_name(self, name: str) -> list[int]:
        """Ascending ids of the samples of this name: several, when imports had files of the same name."""
        with self._reading() as db:
            return list(db.scalars(select(samples.c.id).where(samples.c.name == name).order_by(samples.c.id)))
