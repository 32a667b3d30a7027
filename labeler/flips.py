"""What each answer changed: how many predictions flipped from one publication to the next.

A ranking comes a moment after an answer, a version seconds later; each is compared with the one before it. What is
known is kept with the version (metrics["changes"]) and, until there is the next one, in the ranking's file. Where
several answers came between two publications the flips are those of all of them: nobody could divide them.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from labeler.published import Published
from storage import Store

if TYPE_CHECKING:
    from storage import Version

NEWEST = 20  # versions that are looked through for what an answer changed


@dataclass(frozen=True)
class Change:
    """From event `after` (not itself) up to event `upto`: `flipped` of `n` images are taken for another class.

    `answers`: labels and undos among these events that a model learns from. `steps`: gradient steps were taken too, as
    for every version; between two rankings there are none. `labels`: how many labels were known then.
    """

    after: int
    upto: int
    answers: int
    flipped: int
    n: int
    steps: int
    labels: int
    time: float


class Flips:
    """Compares what is published with what was before. Threads may share one."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.Lock()
        self._last: tuple[np.ndarray, np.ndarray, int, int] | None = None  # sample ids, class ids, event, step
        self._home: object = None  # what rankings are made on; others than on the newest are not in force
        self._step = 0  # of that version
        self.since_version: list[Change] = []

    def version(
        self, home: object, sample_ids: np.ndarray, taken: np.ndarray, event: int, step: int, labels: int
    ) -> list[Change]:
        """A version is about to be published: all that changed since the one before, this one the last."""
        with self._lock:
            self._home, self._step = home, step
            changes = self.since_version + self._compare(sample_ids, taken, event, step, labels)
            self.since_version = []
            return changes

    def ranking(self, home: object, sample_ids: np.ndarray, taken: np.ndarray, event: int, labels: int) -> list[Change]:
        """A ranking is about to be published: all that changed since its version."""
        with self._lock:
            if home == self._home:
                self.since_version += self._compare(sample_ids, taken, event, self._step, labels)
            return list(self.since_version)

    def _compare(self, sample_ids: np.ndarray, taken: np.ndarray, event: int, step: int, labels: int) -> list[Change]:
        before = self._last
        upto = event if before is None else max(event, before[2])
        if not labels:  # what it takes them for means nothing
            self._last = None
            return []
        self._last = sample_ids, taken, upto, step
        if before is None or not np.array_equal(before[0], sample_ids):
            return []
        flipped = int((before[1] != taken).sum())
        answers = self._store.taught_between(before[2], upto)
        return [Change(before[2], upto, answers, flipped, len(taken), step - before[3], labels, round(time.time(), 3))]


def as_rows(changes: Sequence[Change]) -> list[list[Any]]:
    return [[getattr(one, column.name) for column in fields(Change)] for one in changes]


def from_rows(rows: Sequence[Sequence[Any]]) -> list[Change]:
    return [Change(*row) for row in rows]


def known(versions: "Sequence[Version]", published: Published | None) -> list[Change]:
    """All changes that these versions tell of, oldest first, and those since the newest one."""
    found = [change for version in versions for change in from_rows(version.metrics.get("changes", []))]
    return found + (from_rows(published.changes) if published is not None else [])


def of_answers(store: Store, published: Published | None, events: Mapping[int, int]) -> dict[int, Change]:
    """Key -> what the answer changed, of {key: event id}: the first publication that knew it, where that is known."""
    changes = known(store.versions(newest=NEWEST), published)
    upto = np.array([change.upto for change in changes], np.int64)
    found = {}
    for key, event in events.items():
        at = int(np.searchsorted(upto, event))
        if at < len(changes) and changes[at].after < event and changes[at].answers:
            found[key] = changes[at]
    return found
