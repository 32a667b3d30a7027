"""The neighbour graph of the learned features: what a label says about the images around it, at once.

Label propagation of Zhou et al. 2004 on a symmetric kNN graph with weights cos^4 (Iscen et al. 2019).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from model.device import Pause, best_device, no_pause

NEIGHBOURS = 15
CHANCE = 0.01  # that two images count as practically the same although they lie as images of their group do
ROUNDING = 2e-3  # distance that float32 cannot tell from none
NONE = np.empty(0, np.int64)
KEPT = 64  # walks from one node that a graph keeps, the newest


class Walks(NamedTuple):
    """Those of a class: what of its labels reaches each node, the mean over its labels."""

    steps: int
    rows: np.ndarray  # (m,) nodes with a label of the class, ascending
    reaches: np.ndarray  # (n,) float32


@dataclass(frozen=True, eq=False)
class Graph:
    """Rows are positions in the caller's image array; `features` are centred and of length one."""

    positions: np.ndarray  # (n,) int64
    features: torch.Tensor  # (n, D) float32
    affinity: sp.csr_matrix  # (n, n) symmetric normalised
    typicality: np.ndarray  # (n,) float32 in (0, 1]: one over the mean distance to the neighbours
    mean: torch.Tensor  # (D,) of the features before they were centred
    left_out: np.ndarray  # (m,) positions of labeled images for which there was no room
    reach: float  # distance from a node to the last of its neighbours, the median
    twin: float  # distance up to which two images are practically the same
    walked: dict[int, Walks] = field(default_factory=dict, init=False)  # each class's newest, see propagate()
    begun: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, init=False)  # (row, steps), see walk()
    stand_ins: dict[int, int] = field(default_factory=dict, init=False)  # position -> row, see placed()

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.positions)

    def rows_of(self, positions: np.ndarray) -> np.ndarray:
        """Row of each position; -1 where the graph does not hold it."""
        order = self._order
        at = np.searchsorted(self.positions, positions, sorter=order).clip(max=len(order) - 1)
        rows = order[at]
        return np.where(self.positions[rows] == positions, rows, -1)

    def nearest(self, h: torch.Tensor) -> np.ndarray:
        """Row of the node most like each of h (m, D), which need not be in the graph."""
        return (F.normalize(h.float() - self.mean, dim=1) @ self.features.T).argmax(1).cpu().numpy()


@torch.inference_mode()
def build(
    positions: np.ndarray, h: torch.Tensor, left_out: np.ndarray = NONE, chunk: int = 1000, pause: Pause = no_pause
) -> Graph:
    """h (n, D): the topmost layer of the images at `positions` (n,)."""
    mean = h.float().mean(0)
    features = F.normalize(h.float() - mean, dim=1)
    n, k = len(features), min(NEIGHBOURS, len(features) - 1)
    half = features.bfloat16() if best_device().bfloat16 else features
    cosines, neighbours = torch.empty(n, k), torch.empty(n, k, dtype=torch.long)
    for i in range(0, n, chunk):
        pause()
        similarity = half[i : i + chunk] @ half.T  # (chunk, n)
        similarity[torch.arange(len(similarity)), torch.arange(i, i + len(similarity))] = -2  # not its own neighbour
        top, who = similarity.topk(k, dim=1)
        cosines[i : i + chunk], neighbours[i : i + chunk] = top.float().cpu(), who.cpu()
    weights = (cosines.clamp_min(0) ** 4).numpy()
    edges = (weights.ravel(), (np.repeat(np.arange(n), k), neighbours.numpy().ravel()))
    w = sp.csr_matrix(edges, shape=(n, n))
    w = w + w.T
    scale = sp.diags(1 / np.sqrt(np.asarray(w.sum(1)).ravel() + 1e-6))
    reach, twin = scales(features, neighbours)
    # copies of one image do not make it typical: none counts as nearer than `twin`
    distance = (2 - 2 * cosines.clamp(-1, 1)).sqrt().clamp_min(twin).mean(1) if k else torch.ones(n)
    typicality = (1 / distance).numpy()
    affinity = (scale @ w @ scale).tocsr().astype(np.float32)
    return Graph(positions, features, affinity, typicality / typicality.max(), mean, left_out, reach, twin)


def scales(features: torch.Tensor, neighbours: torch.Tensor, sample: int = 1000) -> tuple[float, float]:
    """(reach, twin) of a graph; features (n, D), neighbours (n, k).

    Images that lie evenly in m dimensions have their nearest of k neighbours within t times the distance to the last
    with a chance of (k - 1) t^m. `twin` is where that is CHANCE: nearer than that, they are no two images of a group.
    m by maximum likelihood (Levina & Bickel 2004, eq. 8), the median of the nodes.
    """
    n, k = neighbours.shape
    if k < 3:
        return float(2**0.5), ROUNDING
    some = torch.arange(0, n, max(n // sample, 1), device=features.device)
    near = features[neighbours[some.cpu()].to(features.device)]  # (n_some, k, D)
    distance = (near - features[some, None]).norm(dim=2).sort(dim=1).values
    last = distance[:, -1:].clamp_min(ROUNDING)
    inverse_m = (last / distance[:, :-1].clamp_min(ROUNDING)).log().mean(1).median().item()
    reach = distance[:, -1].median().item()
    return max(reach, ROUNDING), max(reach * (CHANCE / (k - 1)) ** inverse_m, ROUNDING)


def placed(graph: Graph, labels: Mapping[int, int], h: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows (m,), classes (m,), inside (m,) bool) of labels, position -> class, but for those that were left out.

    The row is that of the image, or of the node most like it where the graph holds it not: looked for once, and kept
    with the graph. h (N, D): the features of all images.
    """
    positions = np.fromiter(labels, np.int64, len(labels))
    classes = np.fromiter(labels.values(), np.int64, len(labels))
    if len(graph.left_out):
        stay = ~np.isin(positions, graph.left_out)
        positions, classes = positions[stay], classes[stay]
    rows = graph.rows_of(positions)
    inside = rows >= 0
    outside = positions[~inside].tolist()
    if new := [p for p in outside if p not in graph.stand_ins]:
        found = graph.nearest(h[torch.tensor(new, device=h.device)])
        graph.stand_ins.update(zip(new, found.tolist(), strict=True))
    rows[~inside] = [graph.stand_ins[p] for p in outside]
    return rows, classes, inside


def walk_length(n: int) -> int:
    """How many edges a label walks in a graph of n nodes: in a small one, further is into other classes.

    By the root of n, as measured from 400 nodes (4 steps) to 20,000 (30); docs/decisions/0041.
    """
    return min(30, max(4, round(0.21 * math.sqrt(n))))


def walk(graph: Graph, row: int, steps: int | None = None) -> np.ndarray:
    """(n,) what of a label of the node `row` reaches each node, see `propagate`. Kept, so that it can be made ahead."""
    steps = walk_length(len(graph.positions)) if steps is None else steps
    reaches = graph.begun.get((row, steps))
    if reaches is None:
        y = np.zeros(len(graph.positions), np.float32)
        y[row] = 1
        reaches = graph.begun[row, steps] = _spread(graph, y, steps)
        for old in list(graph.begun)[:-KEPT]:
            graph.begun.pop(old, None)  # another thread may have been faster
    return reaches


def _spread(graph: Graph, y: np.ndarray, steps: int) -> np.ndarray:
    reaches = y
    for _ in range(steps):
        reaches = 0.99 * (graph.affinity @ reaches) + 0.01 * y
    return reaches


def propagate(
    graph: Graph, rows: np.ndarray, labels: np.ndarray, n_classes: int, steps: int | None = None
) -> np.ndarray:
    """probs (n, C) of every node, from the `labels` of the nodes in `rows`; rows sum to one, uniform out of reach.

    F <- .99 S F + .01 Y, `steps` times (None: `walk_length`), where the labels of a class share one unit of Y between
    them: a class that was asked about often, because it is hard, must not win by the number of its labels. So each
    class is the mean of the walks from its labels; the graph keeps it, and one label more costs one walk at most.
    """
    steps = walk_length(len(graph.positions)) if steps is None else steps
    before = dict(graph.walked)  # another thread may add to it meanwhile
    reaches: dict[int, np.ndarray] = {}
    anew: dict[int, np.ndarray] = {}
    for k in range(n_classes):
        mine = np.sort(rows[labels == k])
        known = before.get(k)
        if known is not None and known.steps == steps and np.array_equal(known.rows, mine):
            reaches[k] = known.reaches
        elif known is not None and known.steps == steps and (row := _one_more(known.rows, mine)) is not None:
            reaches[k] = known.reaches + (walk(graph, row, steps) - known.reaches) / np.float32(len(mine))
            graph.walked[k] = Walks(steps, mine, reaches[k])
        else:
            anew[k] = mine
    y = np.zeros((len(graph.positions), len(anew)), np.float32)  # all together, which is faster than each by itself
    for column, mine in enumerate(anew.values()):
        np.add.at(y[:, column], mine, 1 / max(len(mine), 1))  # two labels of one node count twice
    for (k, mine), column in zip(anew.items(), _spread(graph, y, steps if anew else 0).T, strict=True):
        reaches[k] = column.copy()
        graph.walked[k] = Walks(steps, mine, reaches[k])
    f = np.stack([reaches[k] for k in range(n_classes)], 1)  # (n, C)
    total = f.sum(1, keepdims=True)
    known_share = f / np.maximum(total, 1e-12)
    return np.where(total > 1e-12, known_share, 1 / n_classes).astype(np.float32)


def _one_more(before: np.ndarray, now: np.ndarray) -> int | None:
    """The row that `now` (m + 1,) holds beside `before` (m,), both ascending; None where they differ otherwise."""
    if len(now) != len(before) + 1:
        return None
    other = np.flatnonzero(before != now[:-1])
    at = int(other[0]) if len(other) else len(before)
    return int(now[at]) if np.array_equal(before[at:], now[at + 1 :]) else None


def sharpened(probs: np.ndarray, power: float = 4.0) -> np.ndarray:
    """probs (n, C) raised to a power: what is spread is smooth, its largest share is right far more often."""
    sharp = probs**power
    return sharp / (sharp.sum(1, keepdims=True) + 1e-12)
