"""What the routes share: the loop of each browser tab, and the project told as plain JSON values."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from itertools import groupby
from typing import Any

import numpy as np

from labeler.blind import BlindTests
from labeler.control import control_of
from labeler.grid import Grid
from labeler.loop import Loop, Question
from labeler.project import Project
from labeler.published import Published
from labeler.sketches import Sketches
from labeler.ui import pictures
from model import ACQUISITIONS
from storage import Conflict, Event, NewEvent, Sample

LOOPS = 200  # browser tabs remembered; a forgotten one gets a new loop, its leases are in the database
HISTORY = 60
SKETCHED, POSSIBLE = 12, 0.01  # classes drawn for one image: all, or of many those at least this likely


class Desk:
    """One project as the page sees it."""

    def __init__(self, project: Project, trainer: Callable[[], dict[str, Any]] | None) -> None:
        self.project = project
        self.key = _key(project)
        self.acquisitions = tuple(ACQUISITIONS)
        self.sketches = Sketches(project.folder)
        self.blind_tests = BlindTests(project, self.sketches)
        self._trainer = trainer
        self._loops: OrderedDict[tuple[str, str], Loop] = OrderedDict()
        self._lock = threading.Lock()
        self._sheet: tuple[int, bytes] | None = None
        self._grid = Grid(project)

    # ---------- questions and answers ----------

    def ask(self, name: str, client: str, n: int, have: Sequence[int], replace: bool) -> list[dict[str, Any]]:
        """Up to n questions beyond those the tab has, leased to it. What it has stays leased."""
        questions = self._loop(name, client).ask_many(n, have=have, replace=replace)
        return self._questions(questions)

    def grid(
        self,
        name: str,
        client: str,
        n: int,
        class_id: int | None,
        order: str,
        seen: Sequence[int],
        alike: int | None,
        among: Sequence[int] | None = None,
        decided: bool = False,
    ) -> dict[str, Any]:
        """Images to be decided together: of one class, or like the sample `alike`; and how many there are of each.

        `among`: only these; `decided`: the labeled ones of them, to be corrected.
        """
        loop = self._loop(name, client)
        if decided:
            page = self._grid.decided(loop, n, class_id, among or (), order, seen)
        elif alike is not None:
            page = self._grid.alike(loop, n, alike, among)
        else:
            page = self._grid.ask(loop, n, class_id, order, seen, among)
        return {
            "questions": self._questions(page.questions),
            "per_class": {str(one): count for one, count in page.per_class.items()},
            "class_id": page.class_id,
            "hidden": page.hidden,
        }

    def elsewhere(self, name: str, client: str) -> int:
        """How many samples that are open for this person are on other screens."""
        store = self.project.store
        free = sum(len(store.open_ids(split, name)) for split in ("pool", "measure"))
        mine = len(store.held(name, client)) + store.answered_by(name)
        return max(0, int(store.counts()["open"]) - free - mine)

    def commit(self, name: str, events: list[NewEvent], own: bool) -> tuple[list[str], list[dict[str, Any]]]:
        """(uids that are stored now, refused ones). A refused answer never holds up the others.

        `own`: the person may change no answer of another one.
        A refused one has its `reason`, and `again`: whether another answer to its image may be stored.
        """
        stored: list[str] = []
        refused: list[dict[str, Any]] = []
        for client, of_client in groupby(events, lambda event: event.client):
            kept, impossible = self._commit(self._loop(name, client), list(of_client), own)
            stored += kept
            refused += impossible
        return stored, refused

    def _commit(self, loop: Loop, events: list[NewEvent], own: bool) -> tuple[list[str], list[dict[str, Any]]]:
        try:
            return loop.commit(events, own), []
        except (KeyError, ValueError):
            pass  # one of them is impossible: find out which
        stored: list[str] = []
        refused: list[dict[str, Any]] = []
        for event in events:
            try:
                stored += loop.commit([event], own)
            except (KeyError, ValueError) as problem:
                again, reason = not isinstance(problem, Conflict), str(problem.args[0] if problem.args else problem)
                refused.append({"uid": event.uid, "reason": reason, "again": again})
        return stored, refused

    def renew(self, name: str, client: str, sample_ids: Sequence[int]) -> list[int]:
        """Those of sample_ids that are the tab's now, for two more minutes. One that ran out is taken again if open."""
        return self.project.store.lease(sample_ids, len(sample_ids), name, client)

    def history(self, name: str) -> list[dict[str, Any]]:
        """The newest answers of an annotator that were not undone, newest first; one by one given, not in groups."""
        store = self.project.store
        kept, counted_as = store.answers_of(name, HISTORY), store.counted_as()
        blind = store.asked_of_several(event.sample_id for event in kept)
        published, samples = self.project.published(), self._samples(event.sample_id for event in kept)
        answers = [_answer(event, samples[event.sample_id], published, counted_as) for event in kept]
        return [answer | {"blind": answer["sample_id"] in blind} for answer in answers]

    def _loop(self, name: str, client: str) -> Loop:
        with self._lock:
            holder = (name, client)
            if holder not in self._loops:
                self._loops[holder] = self.project.loop(annotator=name, client=client)
            self._loops.move_to_end(holder)
            while len(self._loops) > LOOPS:
                self._loops.popitem(last=False)
            return self._loops[holder]

    def sketch(self, version: int, sample_id: int, class_ids: Sequence[int]) -> Future[bytes | None] | None:
        """The image drawn for each class, side by side, as PNG. None for one that has no hints."""
        store = self.project.store
        if store.sample(sample_id).split == "measure" or store.asked_of_several([sample_id]):
            return None
        return self.sketches.ask(version, sample_id, class_ids)

    def _questions(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        published, samples = self.project.published(), self._samples(one.sample_id for one in questions)
        return [_question(one, samples[one.sample_id], published) for one in questions]

    def _samples(self, sample_ids: Iterable[int]) -> dict[int, Sample]:
        return {sample.id: sample for sample in self.project.store.samples(ids=sample_ids)}

    # ---------- the state of things ----------

    def keys(self, name: str) -> dict[str, str]:
        """The keys this person chose instead of the project's."""
        return dict(self.project.store.setting(f"keys of {name}", {}))

    def choose_keys(self, name: str, keys: dict[str, str]) -> None:
        self.project.store.set_setting(f"keys of {name}", keys)

    def counts(self) -> dict[str, Any]:
        counts = self.project.store.counts()
        return counts | {"per_class": {str(class_id): n for class_id, n in counts["per_class"].items()}}

    def state(self) -> dict[str, Any]:
        """Everything the header and the class list show."""
        store, published = self.project.store, self.project.published()
        return {
            "project": self.project.name,
            "key": self.key,
            "classes": [{"id": c.id, "name": c.name, "key": c.key, "colour": c.colour} for c in store.classes()],
            "merged": {str(one): root for one, root in store.roots().items() if one != root},
            "guidelines": store.guidelines_mark(),
            "counts": self.counts(),
            "version": published.version if published else None,
            "ranking": ".".join(map(str, published.ranking_key)) if published else None,
            "ranked_by": published.acquisition if published else None,
            "version_labels": published.labels if published else None,
            "accuracy": accuracy(published.metrics) if published else [],
            "generated": _generated(published) if published else None,
            "trainer": self._trainer_state(),
            "control": asdict(control_of(store)),
            "acquisitions": list(self.acquisitions),
        }

    # ---------- what is asked ----------

    def narrowing(self, name: str) -> dict[str, Any]:
        return asdict(self.project.narrowings.of(name))

    def narrow(self, name: str, client: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change what a person is asked; what it is then, and how many images are open among them, or the tab's own."""
        store = self.project.store
        now = self.project.narrowings.choose(name, **changes)
        mine = np.intersect1d(store.held(name, client), self.project.orders.pool())
        still = np.union1d(store.open_ids("pool", name), mine)
        if now.narrows:
            acquisition = control_of(store).acquisition
            still = self.project.narrowings.apply(name, now, self.project.published(), acquisition).of(still)
        return {"queue": asdict(now), "left": len(still)}

    def _trainer_state(self) -> dict[str, Any]:
        process = self.project.store.process("trainer") or {"alive": False}
        told = ("alive", "phase", "step", "steps_total", "version", "message")
        watched = self._trainer() if self._trainer else {"wanted": False, "restarts": 0, "restarted_ago": None}
        return {name: process.get(name) for name in told} | watched

    def generated_sheet(self, version: int) -> bytes | None:
        """All generated images of a version in one PNG: a row for each class."""
        if self._sheet and self._sheet[0] == version:
            return self._sheet[1]
        row = next((v for v in self.project.store.versions() if v.version == version), None)
        sheet = pictures.sheet(self.project.folder / row.folder / "generated.npy") if row else None
        if sheet is not None:
            self._sheet = (version, sheet)
        return sheet


def accuracy(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Accuracies with the number of images each stands on; none without its n."""
    kinds = [kind for kind in ("gold", "measured") if metrics.get(f"{kind}_n") and f"{kind}_accuracy" in metrics]
    return [{"kind": kind, "value": metrics[f"{kind}_accuracy"], "n": metrics[f"{kind}_n"]} for kind in kinds]


def _generated(published: Any) -> dict[str, Any]:
    classes, n, height, width = published.generated.shape[:4]
    return {
        "url": f"/labeler/generated/{published.version}",
        "version": published.version,
        "labels": published.labels,
        "class_ids": published.class_ids[:classes],
        "n": n,
        "height": height,
        "width": width,
    }


def _question(question: Question, sample: Sample, published: Published | None) -> dict[str, Any]:
    return shown(sample) | {
        "version": question.version,
        "acquisition": question.acquisition,
        "score": question.score,
        "rank": question.rank,
        "purpose": question.purpose,
        "probs": question.probs,
        "guess": question.guess,
        "doubt": question.doubt,
        "blind": question.blind,
        "why": question.why,
        "sketch": _sketch(published, question.version, sample.id, question.probs, sample.split),
    }


def _answer(event: Event, sample: Sample, published: Published | None, counted_as: dict[int, int]) -> dict[str, Any]:
    probs = published.probs_of(sample.id, counted_as) if published else None
    version = published.version if published else None
    return shown(sample) | {
        "uid": event.uid,
        "kind": event.kind,
        "class_id": event.class_id,
        "purpose": event.purpose,
        "version": version,
        "probs": probs,
        "guess": max(probs, key=probs.__getitem__) if probs else None,
        "sketch": _sketch(published, version, sample.id, probs, sample.split),
    }


def _sketch(
    published: Published | None, version: int | None, sample_id: int, probs: dict[int, float] | None, split: str
) -> dict[str, Any] | None:
    """Where to get the image drawn as the classes the model thinks possible, in the order of the picture."""
    if published is None or published.version != version or not probs or split == "measure":
        return None
    known = sorted(set(published.class_ids) & set(probs), key=lambda class_id: -probs[class_id])
    drawn = [i for n, i in enumerate(known) if len(known) <= SKETCHED or (n < SKETCHED and probs[i] >= POSSIBLE)]
    url = f"/labeler/sketch/{version}/{sample_id}?of={','.join(map(str, drawn))}"
    return {"url": url, "class_ids": drawn} if drawn else None


def shown(sample: Sample) -> dict[str, Any]:
    version = f"{sample.id}?v={sample.sha256[:16]}"
    return {
        "sample_id": sample.id,
        "name": sample.name,
        "width": sample.width,
        "height": sample.height,
        "image": f"/labeler/image/{version}",
        "thumb": f"/labeler/{'thumb' if pictures.is_large(sample) else 'image'}/{version}",
    }


def _key(project: Project) -> str:
    """The project's lasting name for browsers: made once, kept with the project."""
    key = project.store.setting("page_key")
    if key is None:
        key = secrets.token_hex(8)
        project.store.set_setting("page_key", key)
    return str(key)
