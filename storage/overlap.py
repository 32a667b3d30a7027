"""Overlap: a share of the samples is asked of several people, and what each of them says of a sample."""

import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, exists, func, select

from storage.chain import samples_of_others
from storage.classes import annotator_ids, counted_as
from storage.database import Database, values_of
from storage.dialects import Progress
from storage.events import EVENT_COLUMNS
from storage.repairs import without_event, wrong_states
from storage.samples import CHUNK, SAMPLE_COLUMNS
from storage.states import YES, answers, decides, derive_states, rules_at, states_at
from storage.tables import annotators, events, open_answers, overlap_events, sample_states, samples
from storage.values import DISPUTED, Answer, Event, Overlap, Sample

MOST_TIMES = 100
SETTLED_AT_ONCE = 100  # samples: some milliseconds
SETTLE_PAUSE = 0.01  # seconds
NEVER = Overlap(0.0, 1, 0, None, 0.0, 0)


class OverlapTables(Database):
    def set_overlap(
        self, share: float, times: int, annotator: str | None = None, on_progress: Progress | None = None
    ) -> Overlap:
        """From now on ask this share of the samples, drawn at random, of so many people; with a share of 0 none.

        The draw is the project's own and never changes: a larger share holds the samples of a smaller one. Nothing that
        was answered is lost: where several people answered already, what most of them say is what holds. That is
        found out in chunks, as `settle` does; called again, this goes on where it was interrupted.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"A share of {share} was asked for; it is between 0 and 1.")
        if not (1 <= times <= MOST_TIMES) or (share > 0 and times < 2):
            raise ValueError(f"Samples were to be asked {times} times; 2 to {MOST_TIMES} are possible.")
        with self._writing() as db:
            before = _said(db)
            now = {
                "share": share,
                "times": times if share else 1,
                "rng_seed": before[-1].rng_seed if before else secrets.randbits(32),
                "annotator_id": None if annotator is None else annotator_ids(db, [annotator])[annotator],
                "time": time.time(),
                "after_event_id": select(func.coalesce(func.max(events.c.id), 0)).scalar_subquery(),
            }
            if not before or (before[-1].share, before[-1].times) != (now["share"], now["times"]):
                db.execute(sa.insert(overlap_events).values(**now))
            said = _said(db)[-1]
        self.settle(on_progress)
        return said

    def settle(self, on_progress: Progress | None = None, keep_traces: bool = False) -> None:
        """Derive again the states that do not follow from their events by the rules of now, in chunks.

        They are looked for without holding up anybody. What is answered meanwhile has its state by these rules already.
        `keep_traces`: the state of an event that somebody changed, its last trace, is not written over either.
        """
        with self._reading() as db:
            if wrong := wrong_states(db):
                lost = without_event(db) | (samples_of_others(db) if keep_traces else set())
                wrong = [sample_id for sample_id in wrong if sample_id not in lost]
        for end in range(SETTLED_AT_ONCE, len(wrong) + SETTLED_AT_ONCE, SETTLED_AT_ONCE):
            begun = time.monotonic()
            with self._writing(durable=end >= len(wrong)) as db:  # the last one writes all of them through
                derive_states(db, wrong[end - SETTLED_AT_ONCE : end])
            took = time.monotonic() - begun
            if on_progress:
                on_progress(min(end, len(wrong)), len(wrong))
            time.sleep(max(SETTLE_PAUSE, took))  # labels get in between

    def overlap(self, at: int | None = None) -> Overlap:
        """What is asked of several people now, or was when event `at` was the newest; a share of 0: nothing."""
        said = [one for one in self.overlap_events() if at is None or one.after_event_id <= at]
        return said[-1] if said else NEVER

    def overlap_events(self) -> list[Overlap]:
        """Every change of it, oldest first."""
        with self._reading() as db:
            return _said(db)

    def asked_of_several(self, sample_ids: Iterable[int] | None = None) -> set[int]:
        """Which of these, or of all samples, are asked of several people."""
        with self._reading() as db:
            rules = rules_at(db)
            if not rules.share:
                return set()
            query = select(samples.c.id).where(rules.drawn, rules.place < rules.share)
            if sample_ids is not None:
                query = query.where(samples.c.id.in_(values_of(int(i) for i in sample_ids)))
            return set(db.scalars(query))

    def waiting_ids(self, split: str, annotator: str, limit: int = 1_000) -> np.ndarray:
        """Ascending int64: samples that others answered and this person has not, which need more answers."""
        mine = open_answers.alias("mine")
        by_me = exists().where(mine.c.sample_id == open_answers.c.sample_id, mine.c.annotator_id == _id_of(annotator))
        query = (
            select(open_answers.c.sample_id)
            .distinct()
            .join(samples, samples.c.id == open_answers.c.sample_id)
            .where(samples.c.split == split, ~by_me)
            .order_by(open_answers.c.sample_id)
            .limit(limit)
        )
        with self._reading() as db:
            return np.array(db.scalars(query).all(), dtype=np.int64)

    def answered_by(self, annotator: str) -> int:
        """How many samples this person answered that wait for the answers of others."""
        query = select(func.count()).select_from(open_answers).where(open_answers.c.annotator_id == _id_of(annotator))
        with self._reading() as db:
            return int(db.scalar(query) or 0)

    def labels_without_agreement(self, split: str) -> dict[int, list[int]]:
        """Sample id -> class ids that people gave, oldest first, of samples that need more answers or are disputed.

        Classes count as in `labels`; a person's newest answer counts; samples that nobody labeled are absent.
        """
        with self._reading() as db:
            rules = rules_at(db)
            if not rules.ever:
                return {}
            disputed = select(sample_states.c.sample_id).where(sample_states.c.kind == DISPUTED)
            open_ids = set(db.scalars(select(open_answers.c.sample_id).distinct())) | set(db.scalars(disputed))
            answer = answers(rules, open_ids).where(events.c.kind == "label", samples.c.split == split)
            class_ids = counted_as(db)
            found: dict[int, list[int]] = defaultdict(list)
            for row in db.execute(answer.order_by(events.c.id)):
                if row.counts_as in class_ids:
                    found[row.sample_id].append(class_ids[row.counts_as])
        return dict(found)

    def labels_of_one(self, sample_ids: Iterable[int]) -> dict[int, int]:
        """Sample id -> class id, ascending: those of these in the pool whose label one more label would change.

        That is none that several people are or were asked, none that a reviewer decided, none of an archived class.
        """
        query = (
            select(sample_states.c.sample_id, sample_states.c.class_id)
            .join(samples, samples.c.id == sample_states.c.sample_id)
            .join(events, events.c.id == sample_states.c.event_id)
            .where(sample_states.c.kind == "label", samples.c.split == "pool", events.c.review == 0)
            .where(sample_states.c.sample_id.in_(values_of(int(i) for i in sample_ids)))
            .order_by(sample_states.c.sample_id)
        )
        with self._reading() as db:
            rules = rules_at(db)
            found = db.execute(query.where(~rules.drawn) if rules.ever else query).all()
            class_ids = counted_as(db)
        return {sample_id: class_ids[class_id] for sample_id, class_id in found if class_id in class_ids}

    def answers(self, at: int | None = None) -> list[Answer]:
        """What each person says, or said when event `at` was the newest, of each sample that was asked of several.

        Labels of archived classes are of kind "archived". A reviewer's decision is no answer. By sample, then by time.
        """
        with self._reading() as db:
            rules = rules_at(db, at)
            if not rules.ever:
                return []
            class_ids = counted_as(db)
            names = dict(db.execute(select(annotators.c.id, annotators.c.name)).all())
            found = db.execute(answers(rules, at=at, reviewed=True).order_by(events.c.sample_id, events.c.id))
            return [
                Answer(
                    row.sample_id,
                    names[row.annotator_id],
                    "archived" if row.kind == "label" and row.counts_as not in class_ids else row.kind,
                    class_ids.get(row.counts_as),
                    row.event_id,
                )
                for row in found
            ]

    def annotations(self, at: int | None = None) -> Iterator[tuple[Sample, Event]]:
        """The newest answer of each person to each sample, and the newest decision of each reviewer, by sample.

        Read while it is iterated, in one transaction, as `decisions` is.
        """
        candidate = events.alias("candidate")
        newest = select(func.max(candidate.c.id)).where(decides(candidate, at))
        newest = newest.group_by(candidate.c.sample_id, candidate.c.annotator_id, candidate.c.review)
        query = (
            select(*EVENT_COLUMNS, *SAMPLE_COLUMNS)
            .join_from(events, annotators, annotators.c.id == events.c.annotator_id)
            .join(samples, samples.c.id == events.c.sample_id)
            .where(events.c.id.in_(newest))
            .order_by(events.c.sample_id, events.c.id)
        )
        n = len(EVENT_COLUMNS)
        with self._reading() as db:
            for row in db.execute(query.execution_options(yield_per=CHUNK)):
                yield Sample(*row[n:]), Event(*row[:n])

    def overlap_counts(self, at: int | None = None) -> dict[str, int]:
        """Of the samples that are asked of several people: how many there are, have enough answers, wait, are disputed.

        `agreed` are those with one answer that most people gave, or a reviewer.
        """
        with self._reading() as db:
            rules = rules_at(db, at)
            if not rules.ever:
                return dict.fromkeys(("drawn", "agreed", "disputed", "waiting"), 0)
            drawn = db.scalar(select(func.count()).select_from(samples).where(rules.drawn, rules.place < rules.share))
            then = states_at(db, at)
            by_kind = select(then.c.kind, func.count()).join_from(then, samples, samples.c.id == then.c.sample_id)
            settled: dict[str, int] = dict(db.execute(by_kind.where(rules.drawn).group_by(then.c.kind)).all())
            answer = answers(rules, at=at).subquery("answer")
            has_state = select(then.c.sample_id)
            waiting = select(func.count(answer.c.sample_id.distinct())).where(answer.c.sample_id.not_in(has_state))
            return {
                "drawn": int(drawn or 0),
                "agreed": sum(n for kind, n in settled.items() if kind != DISPUTED),
                "disputed": settled.get(DISPUTED, 0),
                "waiting": int(db.scalar(waiting) or 0),
            }


def settle_again(db: Connection) -> None:
    """After classes were merged or came apart: two answers may be one now, or two again."""
    if rules_at(db).ever:
        derive_states(db, wrong_states(db))


def decided_by_several(db: Connection, sample_ids: Iterable[int]) -> set[int]:
    """Which of these have a state that the newest answer alone does not make: of the share, or a reviewer's."""
    rules, those = rules_at(db), values_of(list(sample_ids))
    reviewed = set(db.scalars(select(events.c.sample_id).where(events.c.review == YES, events.c.sample_id.in_(those))))
    if not rules.ever:
        return reviewed
    return reviewed | set(db.scalars(select(samples.c.id).where(samples.c.id.in_(those), rules.drawn)))


def _id_of(annotator: str) -> sa.ScalarSelect[int]:
    return select(annotators.c.id).where(annotators.c.name == annotator).scalar_subquery()


def _said(db: Connection) -> list[Overlap]:
    query = select(
        overlap_events.c.share,
        overlap_events.c.times,
        overlap_events.c.rng_seed,
        annotators.c.name,
        overlap_events.c.time,
        overlap_events.c.after_event_id,
    ).outerjoin(annotators, annotators.c.id == overlap_events.c.annotator_id)
    return [Overlap(*row) for row in db.execute(query.order_by(overlap_events.c.id))]
