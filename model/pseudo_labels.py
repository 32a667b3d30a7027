"""What the labels say of unlabeled images over the neighbour graph, and how far that can be believed."""

import numpy as np
import torch

from model import graph, objective
from model.graph import Graph
from model.trust import Trust


class PseudoLabels:
    """Of the nodes of one graph, in its order: `probs` (n, C), None while no label was spread over it.

    `trust` in what the graph says, and `network_trust`, outlive the graph.
    """

    def __init__(self) -> None:
        self.probs: np.ndarray | None = None
        self.trust, self.network_trust = Trust(), Trust()

    def spread(self, nodes: Graph, rows: np.ndarray, labels: np.ndarray, inside: np.ndarray, n_classes: int) -> None:
        """Propagate `labels` (m,) from `rows` (m,) as `graph.placed` has them."""
        probs = graph.propagate(nodes, rows, labels, n_classes)
        self.take(probs, graph.sharpened(probs), rows[inside], labels[inside])

    def take(self, probs: np.ndarray, belief: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> None:
        """Classes of `probs` (n, C), as sure as `belief` (n, C) is; nodes of `rows` (m,) have their `labels` (m,)."""
        self.probs = probs
        self._classes = torch.from_numpy(probs.argmax(1))
        self._classes[torch.from_numpy(rows)] = torch.from_numpy(labels)
        top = np.log(max(probs.shape[1], 2))
        self._sure = (1 - objective.entropy(torch.from_numpy(belief)) / top).clamp_min(0)

    def of(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(class, how sure from 0 to 1) of these nodes, on the CPU."""
        at = torch.from_numpy(rows)
        return self._classes[at], self._sure[at]

    def compare(self, nodes: Graph, rows: np.ndarray, labels: np.ndarray, new: np.ndarray, network: np.ndarray) -> None:
        """Let labels that neither graph nor network was told say how right both are about their images.

        `rows`, `labels` (m,) of all labels; `new` (m,) bool; `network`: its probs (new.sum(), C) of the new ones.
        """
        self.network_trust.compare(network, labels[new], labels[~new])
        if self.probs is not None:
            told = [(self.probs, new, ~new)]
        else:  # two halves, each by all others
            half = new & (np.cumsum(new) % 2 == 0)
            parts = [part for part in (half, new & ~half) if part.any()]
            n_classes = network.shape[1]
            told = [(graph.propagate(nodes, rows[~part], labels[~part], n_classes), part, ~part) for part in parts]
        for probs, part, others in told:
            self.trust.compare(graph.sharpened(probs[rows[part]]), labels[part], labels[others])
