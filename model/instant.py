"""What a new label changes at once: it is spread over the graph of frozen features, and the last layer is refitted.

Taken from the learner at each version; from then on it belongs to whoever ranks, in another thread than the steps.
"""

import numpy as np
import torch

from model import graph
from model.graph import Graph
from model.head import Head, Ridge, agreed

FULL_SAY = 20  # labels a class from which the network's own belief about a node counts as much as the graph's


class Instant:
    """Labels in, a classification layer out; `head` is None until there is a label.

    h (N, D): the features of all images, of which the graph's nodes are some; network_probs (n, C): what the layer that
    learns by gradient steps says of the nodes.
    """

    def __init__(self, nodes: Graph, h: torch.Tensor, network_probs: np.ndarray):
        self.graph, self.h, self.network_probs = nodes, h, network_probs
        self.n_classes = network_probs.shape[1]
        self.head: Head | None = None
        self._ridge: Ridge | None = None
        self._spread: graph.Spread | None = None

    def learn(self, labels: dict[int, int]) -> None:
        """`labels`, position -> class, are all there are now."""
        if not labels:
            self.head = None
            return
        positions = np.fromiter(labels, np.int64, len(labels))
        known = np.fromiter(labels.values(), np.int64, len(labels))
        rows, inside = graph.rows_or_nearest(self.graph, positions, self.h)
        self._spread = graph.spread(self.graph, rows, known, self.n_classes, self._spread)
        spread_probs = self._spread.probs
        if self._ridge is None:
            self._ridge = Ridge(self.h[torch.from_numpy(self.graph.positions).to(self.h.device)])
        say = min(1.0, len(rows) / (FULL_SAY * self.n_classes))
        classes = (graph.sharpened(spread_probs) + say * self.network_probs).argmax(1)
        classes[rows[inside]] = known[inside]
        head = self._ridge.fit(torch.from_numpy(classes).to(self.h.device), self.n_classes)
        expected = torch.from_numpy(agreed(spread_probs, self.network_probs)).to(self.h.device)
        self.head = self._ridge.calibrated(head, expected)

    def probs(self) -> np.ndarray:
        """q(y|x) of all images, float32 (N, C)."""
        if self.head is None:
            raise ValueError("no label has been learned yet")
        return self.head.probs(self.h)
