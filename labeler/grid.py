"""The grid: many open images of one predicted class, or alike, to be looked at together and decided in one action.

Measuring images never come here, nor those that are asked of several people: a guess in sight would flatter the
accuracy, or the agreement, that they are for.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labeler.guesses import Guesses, guesses
from labeler.loop import Loop, Question
from labeler.project import Project
from labeler.published import Published

ORDERS = ("certain", "doubtful")
MOST = 100


@dataclass(frozen=True)
class Page:
    """`per_class`: class id -> open images that are taken for it, those of this page among them."""

    questions: list[Question]
    per_class: dict[int, int]


class Grid:
    """One project's grid; threads may share one."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._kept: tuple[tuple[object, ...], Guesses] | None = None

    def ask(self, loop: Loop, n: int, class_id: int | None, order: str = "certain", seen: Sequence[int] = ()) -> Page:
        """Up to n open images that are taken for this class (None: the one with most of them), leased to the loop.

        Those `seen` before come last. Whatever the loop held before is given back. Nothing before the first version
        that learned from a label. ValueError for an unknown order.
        """
        if order not in ORDERS:
            raise ValueError(f"Unknown order {order!r}; it is one of {', '.join(ORDERS)}.")
        loop.release()
        published = self._project.published()
        if published is None or not published.labels:
            return Page([], {})
        guesses, rows = self._guesses(published), self._open_rows(published)
        per_class = _counted(guesses.class_ids[rows])
        if class_id is None and per_class:
            class_id = max(per_class, key=lambda one: per_class[one])
        mine = rows[guesses.class_ids[rows] == class_id]
        sign = -1 if order == "certain" else 1
        before = np.isin(published.sample_ids[mine], np.array(seen, np.int64))
        mine = mine[np.lexsort((sign * guesses.probs[mine], before))]
        return Page(loop.ask_these(published.sample_ids[mine], n, f"grid {order}"), per_class)

    def alike(self, loop: Loop, n: int, sample_id: int) -> Page:
        """Up to n open images, those nearest to this one in front (it too, while it is open): by the mean of q(z|x).

        KeyError where the newest version does not know the image.
        """
        loop.release()
        published = self._project.published()
        row = published.position(sample_id) if published is not None else None
        if published is None or row is None:
            raise KeyError(f"The model has not seen image {sample_id} yet.")
        rows = self._open_rows(published)
        difference = published.embeddings[rows].astype(np.float32) - published.embeddings[row].astype(np.float32)
        near = rows[np.argsort(np.einsum("nz,nz->n", difference, difference), kind="stable")]
        per_class = _counted(self._guesses(published).class_ids[rows]) if published.labels else {}
        return Page(loop.ask_these(published.sample_ids[near], n, "grid alike"), per_class)

    def _open_rows(self, published: Published) -> np.ndarray:
        """Ascending rows of the images that nobody has decided or has on screen, and that one person is asked."""
        store = self._project.store
        wanted = store.open_ids("pool")
        if several := store.asked_of_several():
            wanted = wanted[~np.isin(wanted, list(several))]
        at = np.searchsorted(published.sample_ids, wanted).clip(max=max(len(published.sample_ids) - 1, 0))
        return at[published.sample_ids[at] == wanted]  # without those that were imported since

    def _guesses(self, published: Published) -> Guesses:
        counted_as = self._project.store.counted_as()
        key = (*published.ranking_key, tuple(sorted(counted_as.items())))
        with self._lock:
            if self._kept is None or self._kept[0] != key:
                self._kept = key, guesses(published, counted_as)
            return self._kept[1]


def _counted(class_ids: np.ndarray) -> dict[int, int]:
    found, n = np.unique(class_ids, return_counts=True)
    return dict(zip(found.tolist(), n.tolist(), strict=True))
