"""The neighbour graph of the learned features: what a label says about the images around it, at once.

Label propagation of Zhou et al. 2004 on a symmetric kNN graph with weights cos^4 (Iscen et al. 2019).
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F

NEIGHBOURS = 15


@dataclass(frozen=True, eq=False)
class Graph:
    """Rows are positions in the caller's image array; `features` are centred and of length one."""

    positions: np.ndarray  # (n,) int64
    features: torch.Tensor  # (n, D) float32
    affinity: sp.csr_matrix  # (n, n) symmetric normalised
    typicality: np.ndarray  # (n,) float32 in (0, 1]: one over the mean distance to the neighbours

    def rows_of(self, positions: np.ndarray) -> np.ndarray:
        """Row of each position; -1 where the graph does not hold it."""
        order = np.argsort(self.positions)
        at = np.searchsorted(self.positions, positions, sorter=order).clip(max=len(order) - 1)
        rows = order[at]
        return np.where(self.positions[rows] == positions, rows, -1)


@torch.inference_mode()
def build(positions: np.ndarray, h: torch.Tensor, chunk: int = 1000) -> Graph:
    """h (n, D): the topmost layer of the images at `positions` (n,)."""
    features = F.normalize(h.float() - h.float().mean(0), dim=1)
    n, k = len(features), min(NEIGHBOURS, len(features) - 1)
    half = features.bfloat16()
    cosines, neighbours = torch.empty(n, k), torch.empty(n, k, dtype=torch.long)
    for i in range(0, n, chunk):
        similarity = half[i : i + chunk] @ half.T  # (chunk, n)
        similarity[torch.arange(len(similarity)), torch.arange(i, i + len(similarity))] = -2  # not its own neighbour
        top, who = similarity.topk(k, dim=1)
        cosines[i : i + chunk], neighbours[i : i + chunk] = top.float().cpu(), who.cpu()
    weights = (cosines.clamp_min(0) ** 4).numpy()
    edges = (weights.ravel(), (np.repeat(np.arange(n), k), neighbours.numpy().ravel()))
    w = sp.csr_matrix(edges, shape=(n, n))
    w = w + w.T
    scale = sp.diags(1 / np.sqrt(np.asarray(w.sum(1)).ravel() + 1e-6))
    distance = (2 - 2 * cosines.clamp(-1, 1)).clamp_min(1e-6).sqrt().mean(1) if k else torch.ones(n)
    typicality = (1 / distance).numpy()
    return Graph(positions, features, (scale @ w @ scale).tocsr().astype(np.float32), typicality / typicality.max())


def propagate(graph: Graph, rows: np.ndarray, labels: np.ndarray, n_classes: int, steps: int = 30) -> np.ndarray:
    """probs (n, C) of every node, from the `labels` of the nodes in `rows`.

    F <- .99 S F + .01 Y, where the labels of a class share one unit of Y between them: a class that was asked about
    often, because it is hard, must not win by the number of its labels.
    """
    y = np.zeros((len(graph.positions), n_classes), np.float32)
    y[rows, labels] = 1 / np.bincount(labels, minlength=n_classes)[labels]
    f = y
    for _ in range(steps):
        f = 0.99 * (graph.affinity @ f) + 0.01 * y
    total = f.sum(1, keepdims=True)
    return np.where(total > 1e-12, f / np.maximum(total, 1e-12), 1 / n_classes).astype(np.float32)
