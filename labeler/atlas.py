"""What the Map tab shows, as arrays: where each image lies, and what is known of it.

Of an image that measures accuracy, or is asked of several people, nothing is told that the model believes: in sight, it
would flatter the accuracy, or the agreement, that the image is for.
"""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labeler import maps
from labeler.grid import guesses
from labeler.project import Project
from labeler.published import MAP, Published
from storage import Sample

KINDS = ("open", "label", "skip", "unsure", "flag", "disputed")


@dataclass(frozen=True, eq=False)
class Facts:
    """Rows as those of the newest version. Class ids are 0 where there is none, of `who` the places in `people` from 1.

    `kind` is a place in KINDS; `sure` and `doubt` are shares of 255; `blind`: of these nothing of the model is told.
    """

    key: str
    people: list[str]
    label: np.ndarray  # (N,) uint16
    guess: np.ndarray  # (N,) uint16
    who: np.ndarray  # (N,) uint16
    kind: np.ndarray  # (N,) uint8
    sure: np.ndarray  # (N,) uint8
    doubt: np.ndarray  # (N,) uint8
    blind: np.ndarray  # (N,) uint8


class Atlas:
    """One project's map; threads may share one."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._map: tuple[tuple[Any, ...], maps.Map] | None = None
        self._facts: tuple[tuple[Any, ...], Facts] | None = None

    def map(self) -> tuple[str, np.ndarray, maps.Map] | None:
        """(key, sample ids (N,), the map), another key for each map; None while there is none."""
        published = self._project.published()
        if published is None:
            return None
        try:
            written = (published.folder / MAP).stat().st_mtime_ns
        except OSError:
            return None
        known = published.folder, written
        with self._lock:
            if self._map is None or self._map[0] != known:
                found = maps.read(published.folder, len(published.sample_ids))
                if found is None:
                    return None
                self._map = known, found
            found = self._map[1]
        last = int(published.sample_ids[-1]) if len(published.sample_ids) else 0
        return f"{found.version}.{found.steps}.{last}", published.sample_ids, found

    def facts(self) -> Facts | None:
        """Of every image that the newest version knows; None before the first."""
        published = self._project.published()
        if published is None:
            return None
        store = self._project.store
        counted_as, overlap = store.counted_as(), store.overlap()
        asked = overlap.share, overlap.times, overlap.after_event_id
        known = published.ranking_key, store.last_event_id(), tuple(sorted(counted_as.items())), asked
        with self._lock:
            if self._facts is None or self._facts[0] != known:
                key = hashlib.sha1(repr(known).encode()).hexdigest()
                self._facts = known, self._read(key, published, counted_as)
            return self._facts[1]

    def _read(self, key: str, published: Published, counted_as: dict[int, int]) -> Facts:
        store, ids = self._project.store, published.sample_ids
        n = len(ids)
        label, who, kind = np.zeros(n, np.uint16), np.zeros(n, np.uint16), np.zeros(n, np.uint8)
        people: dict[str, int] = {}
        states = list(store.states().values())
        rows = _rows(ids, [state.sample_id for state in states])
        for row, state in zip(rows.tolist(), states, strict=True):
            if row < 0:
                continue
            kind[row] = KINDS.index(state.kind)
            label[row] = counted_as.get(state.class_id or 0, 0)
            who[row] = people.setdefault(state.annotator, len(people) + 1)
        gold = store.gold()
        rows = _rows(ids, list(gold))
        label[rows[rows >= 0]] = np.array(list(gold.values()), np.uint16)[rows >= 0]
        kind[rows[rows >= 0]] = KINDS.index("label")
        blind = np.ones(n, bool)
        rows = _rows(ids, store.sample_ids("pool"))
        blind[rows[rows >= 0]] = False
        rows = _rows(ids, list(store.asked_of_several()))
        blind[rows[rows >= 0]] = True
        found = guesses(published, counted_as)
        told = ~blind & bool(published.labels)
        guess = np.where(told, found.class_ids, 0).astype(np.uint16)
        sure, doubt = (np.where(told, share, 0) * 255 for share in (found.probs, found.doubts))
        sure, doubt = np.rint(sure).astype(np.uint8), np.rint(doubt).astype(np.uint8)
        return Facts(key, list(people), label, guess, who, kind, sure, doubt, (~told).astype(np.uint8))

    def of_image(self, sample_id: int) -> tuple[Sample, dict[str, Any]]:
        """The image and what may be told of it. KeyError where there is none."""
        store, published = self._project.store, self._project.published()
        sample = store.sample(sample_id)
        counted_as, state = store.counted_as(), store.state(sample_id)
        class_id = state.class_id if state else store.gold().get(sample_id) if sample.split == "gold" else None
        told: dict[str, Any] = {
            "split": sample.split,
            "kind": state.kind if state else "label" if class_id else "open",
            "class_id": counted_as.get(class_id) if class_id else None,
            "annotator": state.annotator if state else None,
            "guess": None,
            "prob": None,
        }
        blind = sample.split != "pool" or bool(store.asked_of_several([sample_id]))
        probs = published.probs_of(sample_id, counted_as) if published and published.labels and not blind else None
        if probs:
            guess = max(probs, key=probs.__getitem__)
            told |= {"guess": guess, "prob": probs[guess]}
        return sample, told | {"blind": blind}


def _rows(ids: np.ndarray, wanted: Sequence[int] | np.ndarray) -> np.ndarray:
    """Row of each wanted id among the ascending ids; -1 where it is not."""
    asked = np.array(wanted, np.int64)
    if not len(ids):
        return np.full(len(asked), -1)
    at = np.searchsorted(ids, asked).clip(max=len(ids) - 1)
    return np.where(ids[at] == asked, at, -1)
