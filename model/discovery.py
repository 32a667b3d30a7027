"""A learner that finds classes without a name: labels for some of the classes, or for none, and spare columns for more.

Semi-unsupervised learning (Willetts et al. 2019, arXiv 1901.08560). Once warmed up it searches each new neighbour
graph for classes that nobody has named (model/novel_classes.py). What the search says of every node takes the place of
the labels spread over the graph, and some images of every class found stand in for its labels. All terms are
the learner's own.
"""

from typing import Any

import numpy as np
import torch

from model import graph, objective
from model.learner import FRESH, Learner
from model.novel_classes import in_order_of, novel_classes, stand_ins

FEWEST, MOST = 20, 200  # stand-ins of a class without a name; between them, as many as a known class has labels


class Discoverer(Learner):
    """Columns of q(y|x): n_known classes with a name, then n_spare without one; those may be more than there are."""

    def __init__(self, images: np.ndarray, n_known: int, n_spare: int, *rest: Any, **named: Any):
        super().__init__(images, n_known + n_spare, *rest, **named)
        self.n_known, self.n_spare = n_known, n_spare
        self.given: dict[int, int] = {}  # position -> class, from people
        self.stand_ins: dict[int, int] = {}  # position -> spare column; never labels outside of here
        self._searched: tuple[int, set[int]] = (0, set())  # the graph, and the classes with a label then

    @property
    def finding_classes(self) -> bool:
        """Until the first search; afterwards every column has images that stand for it."""
        return self.graph is None

    def set_labels(self, labels: dict[int, int]) -> bool:
        """Labels of people, all below n_known."""
        self.given = {i: y for i, y in labels.items() if not self.held_out[i]}
        return super().set_labels({**self.stand_ins, **self.given})

    def take_step(self) -> None:
        if not self.warming_up and self.graph is None:
            self.build_graph()
        super().take_step()

    def build_graph(self) -> None:
        self.labels = dict(self.given)  # what stood in for labels until now has no place of its own in the graph
        super().build_graph()

    def spread_labels(self) -> None:
        """What the search found; a label that came since then holds for its own image until the next graph."""
        assert self.graph is not None
        positions = np.fromiter(self.given, np.int64, len(self.given))
        labels = np.fromiter(self.given.values(), np.int64, len(self.given))
        rows, inside = graph.rows_or_nearest(self.graph, positions, self.features.h)
        labeled_classes = set(self.given.values())
        if self._searched != (id(self.graph), labeled_classes):
            self._searched = id(self.graph), labeled_classes
            self._search(rows, labels)
        self._changed = False
        assert self.graph_probs is not None
        self.graph_probs[rows[inside]] = np.eye(self.n_classes, dtype=np.float32)[labels[inside]]
        probs = torch.from_numpy(self.graph_probs)
        self._pseudo = probs.argmax(1)
        self._sure = (1 - objective.entropy(probs) / np.log(max(self.n_classes, 2))).clamp_min(0)

    def _search(self, rows: np.ndarray, labels: np.ndarray) -> None:
        assert self.graph is not None
        probs = novel_classes(self.graph, rows, labels, self.n_known, self.n_spare, self.rng)
        self.graph_probs = in_order_of(probs, self._believed(self.graph.positions), self.n_known)
        each = len(self.given) // max(len(set(self.given.values())), 1)
        found = stand_ins(self.graph_probs, self.n_known, int(np.clip(each, FEWEST, MOST)), self.rng)
        self.stand_ins = {int(self.graph.positions[row]): column for row, column in found.items()}
        self.labels = {**self.stand_ins, **self.given}
        self.steps_with = {i: self.steps_with.get(i, 0) if i in self.given else FRESH for i in self.labels}

    def _believed(self, positions: np.ndarray) -> np.ndarray:
        """q(y|x) of the network, (n, C)."""
        h = self.features.h[torch.from_numpy(positions)].float().to(self.device.torch)
        with torch.inference_mode():
            return self.ema.classifier(h).softmax(1).cpu().numpy()
