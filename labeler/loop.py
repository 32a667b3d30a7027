"""A sitting: ask, answer, skip, undo. The page, scripts and the benchmark all label through this."""

import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from labeler.control import Control
from labeler.narrowing import Narrowing
from labeler.picking import Pick, Picker
from labeler.published import Published
from labeler.reasons import why
from storage import Event, NewEvent, Sample
from storage.classes import composed

if TYPE_CHECKING:
    from labeler.project import Project

KEPT_ON_SCREEN = 2  # a new ranking replaces all questions but the one on screen and the next


@dataclass(frozen=True)
class Question:
    """A sample to decide, why it is asked, and what the model believes (None before the first version).

    `blind`: the image is asked of several people, so that nobody is to see what the model believes, which has learned
    what the others said.
    """

    sample_id: int
    name: str
    width: int
    height: int
    version: int | None
    acquisition: str
    score: float | None
    rank: int | None
    purpose: str
    probs: dict[int, float] | None
    guess: int | None
    doubt: float | None
    why: str
    blind: bool = False


class Loop:
    """One annotator at one client. `ask` keeps a queue of its own; the page keeps its queue in the browser and calls
    `ask_many` and `commit`. Threads may share one."""

    def __init__(self, project: "Project", annotator: str, client: str, lookahead: int = 16) -> None:
        self.annotator = annotator
        self.client = client
        self._project = project
        self._store = project.store
        self._lookahead = lookahead
        self._lock = threading.RLock()
        self._queue: list[Question] = []
        self._asked: dict[int, Question] = {}
        self._ranking: tuple[int, int | None] | None = None
        self._picker = Picker(project, annotator, client)
        self._shown: int | None = None  # sample id that `ask` gave last
        self._wishes: tuple[Control, Narrowing] | None = None  # that the queue was made by

    def ask(self) -> Question | None:
        """The next question, leased. Asked again without an answer: the same one. None when nothing is open."""
        with self._lock:
            self._replace_what_is_old()
            held = set(self._store.held(self.annotator, self.client)) if self._queue else set()
            while self._queue:
                sample_id = self._queue[0].sample_id
                if sample_id in held or self._picker.lease([sample_id], 1):  # expired but still open: ours again
                    return self._on_screen()
                self._queue.pop(0)  # decided, or on somebody else's screen by now
            self._queue = self.ask_many(self._lookahead)
            return self._on_screen()

    def ask_many(self, n: int, have: Sequence[int] = (), replace: bool = False) -> list[Question]:
        """Up to n questions more than those the caller has. `replace` gives back every lease it does not name first."""
        n, have = max(0, n), [int(sample_id) for sample_id in have]
        if replace:
            self._store.release(self.annotator, self.client, keep=have)
        if have:
            self._store.renew(self.annotator, self.client, have)
        published = self._project.published()
        picks = self._picker.pick(n, have, published)
        questions = self._questions(picks, published)
        with self._lock:
            self._ranking = published.ranking_key if published else None
            if replace:
                self._asked = {sample_id: self._asked[sample_id] for sample_id in have if sample_id in self._asked}
            self._asked |= {question.sample_id: question for question in questions}
        return questions

    def ask_these(self, wanted: np.ndarray, n: int, acquisition: str) -> list[Question]:
        """Up to n questions of these samples, in their order: those that are open, leased. `acquisition` names why."""
        published = self._project.published()
        picks = [Pick(sample_id, "learn", acquisition) for sample_id in self._picker.lease(wanted, n)]
        questions = self._questions(picks, published)
        with self._lock:
            self._asked |= {question.sample_id: question for question in questions}
        return questions

    def look_at(self, sample_ids: np.ndarray, acquisition: str) -> list[Question]:
        """Questions of these samples, in their order, whoever decided them: nothing is leased, nothing becomes open."""
        picks = [Pick(int(sample_id), "learn", acquisition) for sample_id in sample_ids]
        return self._questions(picks, self._project.published())

    def release(self) -> None:
        """Give back every sample that this loop holds."""
        self._store.release(self.annotator, self.client)
        with self._lock:
            self._queue, self._asked = [], {}

    def answer(self, sample_id: int, cls: str | int, ms: int | None = None, uid: str | None = None) -> None:
        """Label a sample. `cls` is a name, that of a merged class too, or an index in classes() order."""
        self._decide("label", sample_id, self._class_id(cls), ms, uid)

    def answer_many(self, answers: Mapping[int, str | int], ms: int | None = None, uid: str | None = None) -> str:
        """Label samples in one action (sample id -> class), which `undo` takes back as one; returns the group's id.

        `ms` is the time of the whole action, shared out evenly. The same `uid` sent again is stored once.
        """
        group_id = uid or _uid()
        class_ids = {cls: self._class_id(cls) for cls in answers.values()}
        share = ms // len(answers) if ms is not None and answers else None
        self.commit(
            self._decision("label", int(sample_id), class_ids[cls], share, f"{group_id}-{int(sample_id)}", group_id)
            for sample_id, cls in answers.items()
        )
        return group_id

    def skip(self, sample_id: int, ms: int | None = None, uid: str | None = None) -> None:
        self._decide("skip", sample_id, None, ms, uid)

    def unsure(self, sample_id: int, ms: int | None = None, uid: str | None = None) -> None:
        self._decide("unsure", sample_id, None, ms, uid)

    def flag(self, sample_id: int, ms: int | None = None, uid: str | None = None) -> None:
        self._decide("flag", sample_id, None, ms, uid)

    def undo(self) -> Question | None:
        """Retract this client's newest decision, with its whole group where it has one.

        Returns that sample, asked again (of a group, the last one; the others are open); None when there is none.
        """
        event = self._store.last_decision(self.annotator, self.client)
        if event is None:
            return None
        if event.group_id is not None:
            self._store.undo_group(event.group_id, _uid(), self.annotator, self.client)
        else:
            self.commit([NewEvent(_uid(), "undo", event.sample_id, purpose=event.purpose, undoes=event.uid)])
        question = self._asked_again(event)
        with self._lock:
            self._asked[question.sample_id] = question
            if self._store.state(event.sample_id) is None:  # otherwise an earlier label holds again
                self._queue.insert(0, question)
        return question

    def commit(self, events: Iterable[NewEvent], own: bool = False) -> list[str]:
        """Record events of this annotator and client, in order; returns the uids that are stored now.

        `own`: what would change another person's answer is refused (storage.Conflict).
        """
        events = [replace(event, annotator=self.annotator, client=self.client) for event in events]
        uids = self._store.record(events, own)
        decided = {event.sample_id for event in events if event.kind != "comment"}
        with self._lock:
            self._queue = [question for question in self._queue if question.sample_id not in decided]
            for sample_id in decided:
                self._asked.pop(sample_id, None)
        return uids

    def _decide(self, kind: str, sample_id: int, class_id: int | None, ms: int | None, uid: str | None) -> None:
        self.commit([self._decision(kind, int(sample_id), class_id, ms, uid or _uid())])

    def _decision(
        self, kind: str, sample_id: int, class_id: int | None, ms: int | None, uid: str, group_id: str | None = None
    ) -> NewEvent:
        """A decision with what its question showed, where it was asked."""
        event = NewEvent(uid, kind, sample_id, class_id, ms=ms, group_id=group_id)
        question = self._asked.get(sample_id)
        if question is None:
            return event
        return replace(
            event,
            version=question.version,
            acquisition=question.acquisition,
            score=question.score,
            rank=question.rank,
            predicted_class_id=question.guess,
            predicted_prob=question.probs[question.guess] if question.probs and question.guess is not None else None,
            purpose=question.purpose,
        )

    def _class_id(self, cls: str | int) -> int:
        classes = self._store.classes()
        found = None
        if isinstance(cls, str):
            every = (one for one in self._store.classes(archived=True) if not one.archived)
            found = next((one.id for one in every if composed(one.name) == composed(cls)), None)
        elif isinstance(cls, int | np.integer) and not isinstance(cls, bool) and 0 <= cls < len(classes):
            found = classes[cls].id
        if found is None:
            raise KeyError(f"There is no class {cls!r}; the classes are {', '.join(one.name for one in classes)}.")
        return found

    def _on_screen(self) -> Question | None:
        """The head of the queue, which stays whatever is wanted next."""
        self._shown = self._queue[0].sample_id if self._queue else None
        return self._queue[0] if self._queue else None

    def _replace_what_is_old(self) -> None:
        """Give back what is neither on screen nor next when a newer ranking is there, or what is not on screen when
        something else is wanted, and ask anew."""
        published, wishes = self._project.published(), self._picker.wishes()
        anew, self._wishes = wishes != self._wishes, wishes
        reranked = published is not None and published.ranking_key != self._ranking
        if not self._queue or not (anew or reranked):
            return
        on_screen = self._queue[0].sample_id == self._shown
        kept = self._queue[: int(on_screen) if anew else KEPT_ON_SCREEN]
        have = [question.sample_id for question in kept]
        self._queue = kept + self.ask_many(self._lookahead - len(kept), have, replace=True)

    def _questions(self, picks: list[Pick], published: Published | None) -> list[Question]:
        samples = {sample.id: sample for sample in self._store.samples(ids=(pick.sample_id for pick in picks))}
        names = {one.id: one.name for one in self._store.classes(archived=True)}
        counted_as = self._store.counted_as()
        questions = [_question(samples[pick.sample_id], pick, published, names, counted_as) for pick in picks]
        blind = self._store.asked_of_several(samples)
        return [replace(question, blind=question.sample_id in blind) for question in questions] if blind else questions

    def _asked_again(self, event: Event) -> Question:
        """The question that an event answered, as it was chosen then; what the model believes is from now."""
        pick = Pick(event.sample_id, event.purpose, event.acquisition or "random", event.score, event.rank)
        question = self._questions([pick], self._project.published())[0]
        return replace(question, version=event.version)


def _question(
    sample: Sample, pick: Pick, published: Published | None, names: dict[int, str], counted_as: dict[int, int]
) -> Question:
    probs = published.probs_of(sample.id, counted_as) if published is not None else None
    top = sorted(probs.items(), key=lambda pair: -pair[1])[:2] if probs else []
    return Question(
        sample_id=sample.id,
        name=sample.name,
        width=sample.width,
        height=sample.height,
        version=published.version if published is not None else None,
        acquisition=pick.acquisition,
        score=pick.score,
        rank=pick.rank,
        purpose=pick.purpose,
        probs=probs,
        guess=top[0][0] if top else None,
        doubt=1 - (top[0][1] - top[1][1]) if len(top) == 2 else None,
        why=why(pick.purpose, pick.acquisition, pick.score, published.labels if published else None, probs, names),
    )


def _uid() -> str:
    return uuid.uuid4().hex
