"""A learner that finds classes without a name: labels for some of the classes, or for none, and spare columns for more.

Semi-unsupervised learning (Willetts et al. 2019, arXiv 1901.08560). Once warmed up it searches each new neighbour
graph for classes that nobody has named (model/novel_classes.py). What the search says of every node takes the place of
the labels spread over the graph, and some images of every class found stand in for its labels. All terms are
the learner's own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from model import graph
from model.checkpoint import Model
from model.head import Ridge, agreed
from model.instant import Instant
from model.learner import FEATURES_LAST, FRESH, Learner
from model.novel_classes import in_order_of, novel_classes, stand_ins

FEWEST, MOST = 20, 200  # stand-ins of a class without a name; between them, as many as a known class has labels


class Discoverer(Learner):
    """Columns of q(y|x): n_known classes with a name, then n_spare without one; those may be more than there are.

    `options` are the learner's own.
    """

    def __init__(self, images: np.ndarray, n_known: int, n_spare: int, **options: Any):
        if n_spare < 1:
            raise ValueError(f"n_spare is {n_spare}; a search for classes without a name needs a spare column")
        super().__init__(images, n_known + n_spare, **options)
        self.n_known, self.n_spare = n_known, n_spare
        self.given: dict[int, int] = {}  # position -> class, from people
        self.stand_ins: dict[int, int] = {}  # position -> spare column; never labels outside of here
        self._found: np.ndarray | None = None  # probs (n, C) of the graph's nodes, by the last search
        self._searched: tuple[graph.Graph | None, set[int]] = (None, set())  # the graph, and the classes with a label

    @property
    def finding_classes(self) -> bool:
        """Until the first search; afterwards every column has images that stand for it."""
        return self._found is None

    def set_labels(self, labels: dict[int, int]) -> bool:
        """Labels of people, all below n_known."""
        if labels and max(labels.values()) >= self.n_known:
            raise ValueError(f"a label is {max(labels.values())}; the classes with a name are below {self.n_known}")
        self.given = {i: y for i, y in labels.items() if not self.held_out[i]}
        return super().set_labels({**self.stand_ins, **self.given})

    def take_step(self) -> None:
        if not self.warming_up and self._found is None:
            self.build_graph()
        super().take_step()

    def unnamed(self, positions: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(which, sure), (n,) each, of the given positions or of all: spare class 0 to n_spare - 1, or -1 where one
        with a name is likelier; and the probability of that.
        """
        if self._found is None:
            raise ValueError(
                f"nothing was searched yet: {self.warm_up_steps - self.step} steps of the warm-up are left"
            )
        at = np.arange(len(self.images)) if positions is None else positions
        self.features.refresh(self.ema, at[self.step - self.features.refreshed_at[at] > FEATURES_LAST], self.step)
        instant = self.look()
        vae = self.finished(instant.head if instant is not None else None)
        probs = self.features.probs(vae, at)
        named = probs[:, : self.n_known].sum(1)
        spare = probs[:, self.n_known :]
        which = np.where(probs.argmax(1) < self.n_known, -1, spare.argmax(1))
        return which, np.where(which < 0, named, spare.max(1))

    def look(self) -> Instant | None:
        """The published layer is refitted to what the search found of every node: to spread what stands in loses some.

        Half of it is the network's own, which needs some hundred steps to learn what a search found.
        """
        instant = super().look()
        probs = self.pseudo_labels.probs
        if instant is None or self.graph is None or probs is None:
            return instant
        h = instant.h[torch.from_numpy(self.graph.positions)].float()
        ridge, columns = Ridge(h), torch.from_numpy(probs.argmax(1))
        expected = torch.from_numpy(agreed(probs, instant.network.probs(h)))
        found = ridge.calibrated(ridge.fit(columns, self.n_classes), expected)
        instant.head = ridge.calibrated(found.mixed_with(instant.network, 0.5), expected)
        return instant

    def as_model(self, classes: Sequence[str]) -> Model:
        """What stands in for a label is not counted as one."""
        model = super().as_model(classes)
        model.header["labels"] = len(self.given)
        return model

    # ---------- the search takes the place of the labels spread over the graph ----------
    def build_graph(self) -> None:
        self.labels = dict(self.given)  # what stood in for labels until now has no place of its own in the graph
        super().build_graph()

    def spread_labels(self) -> None:
        """What the search found; a label that came since then holds for its own image until the next graph."""
        assert self.graph is not None
        rows, labels, inside = self._placed(self.graph, self.given)
        now = self.graph, set(self.given.values())
        if self._searched != now:  # a graph is equal to itself alone
            self._search(rows, labels)
            self._searched = now
        self._changed = False
        assert self._found is not None
        probs = self._found.copy()
        probs[rows[inside]] = np.eye(self.n_classes, dtype=np.float32)[labels[inside]]
        self.pseudo_labels.take(probs, probs, rows[inside], labels[inside])

    def _search(self, rows: np.ndarray, labels: np.ndarray) -> None:
        assert self.graph is not None
        probs = novel_classes(self.graph, rows, labels, self.n_known, self.n_spare, self.rng)
        self._found = in_order_of(probs, self.features.probs(self.ema, self.graph.positions), self.n_known)
        each = len(self.given) // max(len(set(self.given.values())), 1)
        found = stand_ins(self._found, self.n_known, int(np.clip(each, FEWEST, MOST)), self.rng)
        self.stand_ins = {int(self.graph.positions[row]): column for row, column in found.items()}
        self.labels = {**self.stand_ins, **self.given}
        self.steps_with = {i: self.steps_with.get(i, 0) if i in self.given else FRESH for i in self.labels}
