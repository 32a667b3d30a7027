"""The grid: many open images of one predicted class, or alike, to be looked at together and decided in one action.

It may be opened on a set of images that was chosen elsewhere: on the open ones of them, or on the labeled ones, to be
corrected. Measuring images never come here, nor those that are asked of several people: a guess in sight would flatter
the accuracy, or the agreement, that they are for, and so would a set that was chosen by what the model believes.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labeler.guesses import Guesses, guesses
from labeler.loop import Loop, Question
from labeler.project import Project
from labeler.published import Published

ORDERS = ("certain", "doubtful")
MOST = 100
MOST_AMONG = 100_000


@dataclass(frozen=True)
class Page:
    """`per_class`: class id -> images that are taken for it, or labeled as it, those of this page among them.

    `class_id`: which of them the questions are of. `hidden`: images of the set chosen that could be here and never are.
    """

    questions: list[Question]
    per_class: dict[int, int]
    class_id: int | None = None
    hidden: int = 0


class Grid:
    """One project's grid; threads may share one."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._kept: tuple[tuple[object, ...], Guesses] | None = None

    def ask(
        self,
        loop: Loop,
        n: int,
        class_id: int | None,
        order: str = "certain",
        seen: Sequence[int] = (),
        among: Sequence[int] | None = None,
    ) -> Page:
        """Up to n open images that are taken for this class (None: the one with most of them), leased to the loop.

        `among`: only these. Those `seen` before come last. Whatever the loop held before is given back. Before the
        first version that learned from a label nothing, or of those `among` any. ValueError for an unknown order.
        """
        sign = _sign(order)
        loop.release()
        published = self._project.published()
        if published is None or (not published.labels and among is None):
            return Page([], {})
        rows, hidden = self._open_rows(published, among)
        before = np.isin(published.sample_ids[rows], np.array(seen, np.int64))
        if not published.labels:
            mine = rows[np.argsort(before, kind="stable")]
            return Page(loop.ask_these(published.sample_ids[mine], n, "grid chosen"), {}, None, hidden)
        guesses = self._guesses(published)
        per_class = _counted(guesses.class_ids[rows])
        class_id = _most(per_class) if class_id is None else class_id
        of_class = guesses.class_ids[rows] == class_id
        mine = rows[of_class]
        mine = mine[np.lexsort((sign * guesses.probs[mine], before[of_class]))]
        why = f"grid {order}" if among is None else f"grid chosen {order}"
        return Page(loop.ask_these(published.sample_ids[mine], n, why), per_class, class_id, hidden)

    def decided(
        self,
        loop: Loop,
        n: int,
        class_id: int | None,
        among: Sequence[int],
        order: str = "certain",
        seen: Sequence[int] = (),
    ) -> Page:
        """Up to n of these images that are labeled as this class (None: the one with most of them). Nothing is leased.

        Only those whose label one more would change: none that several people are asked, or that a reviewer decided.
        `order` is by the probability of the label they have. ValueError for an unknown order.
        """
        sign = _sign(order)
        loop.release()
        store = self._project.store
        labels = store.labels_of_one(among)
        ids, given = np.array(list(labels), np.int64), np.array(list(labels.values()), np.int64)
        per_class = _counted(given)
        class_id = _most(per_class) if class_id is None else class_id
        mine = ids[given == class_id]
        before = np.isin(mine, np.array(seen, np.int64))
        mine = mine[np.lexsort((sign * self._believed(mine, class_id), before))]
        held = store.labels(purpose=None)
        hidden = sum(sample_id in held and sample_id not in labels for sample_id in set(among))
        return Page(loop.look_at(mine[:n], "grid decided"), per_class, class_id, hidden)

    def alike(self, loop: Loop, n: int, sample_id: int, among: Sequence[int] | None = None) -> Page:
        """Up to n open images, those nearest to this one in front (it too, while it is open): by the mean of q(z|x).

        KeyError where the newest version does not know the image.
        """
        loop.release()
        published = self._project.published()
        row = published.position(sample_id) if published is not None else None
        if published is None or row is None:
            raise KeyError(f"The model has not seen image {sample_id} yet.")
        rows, hidden = self._open_rows(published, among)
        difference = published.embeddings[rows].astype(np.float32) - published.embeddings[row].astype(np.float32)
        near = rows[np.argsort(np.einsum("nz,nz->n", difference, difference), kind="stable")]
        per_class = _counted(self._guesses(published).class_ids[rows]) if published.labels else {}
        return Page(loop.ask_these(published.sample_ids[near], n, "grid alike"), per_class, None, hidden)

    def _open_rows(self, published: Published, among: Sequence[int] | None) -> tuple[np.ndarray, int]:
        """Ascending rows of the images that nobody has decided or has on screen, and that one person is asked.

        Of those chosen (None: of all); and how many open ones of those chosen measure, or are asked of several.
        """
        store = self._project.store
        wanted, hidden = store.open_ids("pool"), 0
        if among is not None:
            wanted = np.intersect1d(wanted, np.array(among, np.int64))
            hidden = len(np.intersect1d(store.open_ids("measure"), np.array(among, np.int64)))
        if several := store.asked_of_several():
            asked_once = ~np.isin(wanted, list(several))
            hidden += len(wanted) - int(asked_once.sum()) if among is not None else 0
            wanted = wanted[asked_once]
        at = np.searchsorted(published.sample_ids, wanted).clip(max=max(len(published.sample_ids) - 1, 0))
        return at[published.sample_ids[at] == wanted], hidden  # without those that were imported since

    def _believed(self, sample_ids: np.ndarray, class_id: int | None) -> np.ndarray:
        """The probability of a class, float32 (N,); 0 for images that the newest version does not know."""
        found = np.zeros(len(sample_ids), np.float32)
        published = self._project.published()
        if published is None or not len(published.sample_ids):
            return found
        counted_as = self._project.store.counted_as()
        columns = [k for k, one in enumerate(published.class_ids) if counted_as.get(one) == class_id]
        at = np.searchsorted(published.sample_ids, sample_ids).clip(max=len(published.sample_ids) - 1)
        known = published.sample_ids[at] == sample_ids
        found[known] = published.probs[at[known]][:, columns].sum(1)
        return found

    def _guesses(self, published: Published) -> Guesses:
        counted_as = self._project.store.counted_as()
        key = (*published.ranking_key, tuple(sorted(counted_as.items())))
        with self._lock:
            if self._kept is None or self._kept[0] != key:
                self._kept = key, guesses(published, counted_as)
            return self._kept[1]


def _sign(order: str) -> int:
    if order not in ORDERS:
        raise ValueError(f"Unknown order {order!r}; it is one of {', '.join(ORDERS)}.")
    return -1 if order == "certain" else 1


def _most(per_class: Mapping[int, int]) -> int | None:
    return max(per_class, key=lambda one: per_class[one], default=None)


def _counted(class_ids: np.ndarray) -> dict[int, int]:
    found, n = np.unique(class_ids, return_counts=True)
    return dict(zip(found.tolist(), n.tolist(), strict=True))
