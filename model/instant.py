"""What a new label changes at once: it is spread over the graph of frozen features, and the last layer is refitted.

Taken from the learner at each version; from then on it belongs to whoever ranks, in another thread than the steps.
"""

import numpy as np
import torch

from model import graph
from model.graph import Graph
from model.head import Head, Ridge

EQUAL_SAY = 20  # labels a class at which the layer that learns by gradient steps counts as much as the graph
SURER = 0.5  # added to the power of the graph's probabilities, whose walk ends in more classes than an image may be of
WELL_SPREAD = 10  # labels a class at which it is added in full: of fewer, more lie far from any image like them


class Instant:
    """Labels in, a classification layer out; `head` is None until there is a label.

    h (N, D): the features of all images, of which the graph's nodes are some; `network`: the layer that learns by
    gradient steps, as it was when the features were taken; `trust`: how far the graph is believed, from 0 to 1;
    `network_share`: that of the network in what is taken for its belief, the rest is chance.
    """

    def __init__(self, nodes: Graph, h: torch.Tensor, network: Head, trust: float = 1.0, network_share: float = 1.0):
        self.graph, self.h, self.network, self.trust = nodes, h, network, trust
        self.n_classes = len(network.weight)
        self.head: Head | None = None
        self._nodes_h = h[torch.from_numpy(nodes.positions).to(h.device)].float()
        self._network_probs = network_share * network.probs(self._nodes_h) + (1 - network_share) / self.n_classes
        self._ridge: Ridge | None = None

    def learn(self, labels: dict[int, int]) -> None:
        """`labels`, position -> class, are all there are now."""
        if not labels:
            self.head = None
            return
        rows, known, inside = graph.placed(self.graph, labels, self.h)
        spread_probs = graph.propagate(self.graph, rows, known, self.n_classes)
        if self._ridge is None:
            self._ridge = Ridge(self._nodes_h)
        say = len(labels) / (EQUAL_SAY * self.n_classes)
        share = 1 - self.trust / (1 + say)
        classes = (
            self.trust * graph.sharpened(spread_probs) + min(say + 1 - self.trust, 1) * self._network_probs
        ).argmax(1)
        classes[rows[inside]] = known[inside]
        head = self._ridge.fit(torch.from_numpy(classes).to(self.h.device), self.n_classes)
        power = 1 + SURER * min(1, len(labels) / (WELL_SPREAD * self.n_classes))
        believed = (1 - share) * graph.sharpened(spread_probs, power) + share * self._network_probs
        expected = torch.from_numpy(believed).to(self.h.device)
        head = self._ridge.calibrated(head, expected)
        self.head = self._ridge.calibrated(head.mixed_with(self.network, share), expected)

    def expect(self, position: int) -> None:
        """This image may be the next to get a label: what takes longest of learning it is done now."""
        (row,) = self.graph.rows_of(np.array([position])).tolist()
        if row >= 0:
            graph.walk(self.graph, row)

    def probs(self) -> np.ndarray:
        """q(y|x) of all images, float32 (N, C)."""
        if self.head is None:
            raise ValueError("no label has been learned yet")
        return self.head.probs(self.h)
