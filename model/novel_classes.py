"""Classes that nobody has named: which images look like none of the labeled classes, and like each other.

Generalized category discovery (Vaze et al. 2022, arXiv 2201.02609) on the neighbour graph of the learned features.
Linear layers over the features of its nodes, several at once from different starts, are to give a node and its
neighbour the same class (Van Gansbeke et al. 2020, arXiv 2005.12320, eq. 2) and labeled nodes their label. They have
twice the columns wanted: small classes keep one of their own. What is a piece of a known class goes back to it, and
the most entangled of the others are joined (average linkage on the graph).

How even the classes are is not assumed but read off the known ones. Where those are about as large as each other the
others are expected to be, too: the entropy of the mean weighs more, and there are as many columns as give the graph the
highest modularity (Newman & Girvan 2004), beginning with how many fit into what is left.
"""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch

from model.graph import Graph
from model.objective import entropy

HEADS = 6  # starts; the one with the lowest loss is taken
STEPS = 600
PAIRS = 512  # a step
JUDGED = 5000  # nodes, at most, on which the starts are compared
WALK = 2  # steps of the random walk from a node to the neighbour it is to agree with
SCALE = 8.0  # of features of length one, so that the layers' logits can be sure with small weights
SPREAD = 2.0  # weight of the entropy of the mean: a mild wish for columns of one size
SPREAD_EVEN = 5.0  # as published; cuts large classes up to fill every column, so only where classes are even
EVEN = 0.25  # deviation of the sizes of the known classes over their mean up to which they count as even
PIECE = 0.6  # share of a column that has to be of known classes for it to be a piece of one


def novel_classes(
    graph: Graph, rows: np.ndarray, labels: np.ndarray, n_known: int, n_spare: int, rng: np.random.Generator
) -> np.ndarray:
    """probs float32 (n, n_known + n_spare) of the nodes; the spare columns are classes without a name.

    `labels` (m,) of the nodes in `rows` (m,) are below n_known; a known class without a label is left empty, and so
    are spare columns for which the nodes are too few.
    """
    known = np.unique(labels)  # columns of the layers: the classes with a label, then free ones
    y, k = np.searchsorted(known, labels), len(known)
    n = len(graph.positions)
    found = _agreeing(graph, rows, y, k, min(2 * n_spare, n), SPREAD, rng)
    home = _pieces_of_known(graph, found, rows, y, k)
    size = np.bincount(home[found.argmax(1)], minlength=k)[:k]
    if k < 2 or size.std() <= EVEN * size.mean():
        likely = (n - size.sum()) / max(size.mean(), 1) if k > 1 else n_spare
        found = _even(graph, rows, y, k, int(np.clip(np.ceil(likely), 1, n_spare)), n_spare, rng)
        home = np.arange(found.shape[1])
    home = _joined(graph, found, home, k, n_spare)
    probs = np.zeros((n, n_known + n_spare), np.float32)
    for column, at in enumerate(home):
        probs[:, known[at] if at < k else n_known + at - k] += found[:, column]
    return probs


def in_order_of(probs: np.ndarray, before: np.ndarray, n_known: int) -> np.ndarray:
    """probs (n, C) with the spare columns where `before` (n, C), of the same nodes, has most of the same nodes.

    A class without a name keeps its place from one search to the next.
    """
    from scipy.optimize import linear_sum_assignment

    overlap = before[:, n_known:].T @ probs[:, n_known:]  # (n_spare, n_spare)
    places, columns = linear_sum_assignment(-overlap)
    out = probs.copy()
    out[:, n_known + places] = probs[:, n_known + columns]
    return out


def stand_ins(probs: np.ndarray, n_known: int, each: int, rng: np.random.Generator) -> dict[int, int]:
    """row -> spare column: up to `each` nodes of every class without a name, at random, as its labels for now.

    At random and not the surest: what is learned from those alone is only the middle of the class.
    """
    found: dict[int, int] = {}
    column = probs.argmax(1)
    for k in range(n_known, probs.shape[1]):
        for row in rng.permutation(np.flatnonzero(column == k))[:each]:
            found[int(row)] = k
    return found


def _agreeing(
    graph: Graph,
    rows: np.ndarray,
    labels: np.ndarray,
    n_known: int,
    n_free: int,
    spread: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """probs (n, n_known + n_free) of the layer with the lowest loss of

    -E log p(node) . p(neighbour) - spread H(mean p) + E cross-entropy(labeled).
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    x = graph.features.cpu() * SCALE
    (n, width), c = x.shape, n_known + n_free
    at, y = torch.from_numpy(rows), torch.from_numpy(labels)
    weight = (torch.randn(width, HEADS * c, generator=generator) * 0.05).requires_grad_()
    bias = torch.zeros(HEADS * c, requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], 3e-3, weight_decay=1e-3)
    neighbour = _walk(graph.affinity, generator)

    def log_probs(nodes: torch.Tensor) -> torch.Tensor:
        return (x[nodes] @ weight + bias).view(len(nodes), HEADS, c).log_softmax(2)

    def loss(nodes: torch.Tensor, labeled: torch.Tensor) -> torch.Tensor:
        """(HEADS,)"""
        both = log_probs(torch.cat([nodes, neighbour(nodes)]))
        p, q = both.exp().chunk(2)
        value = -((p * q).sum(2) + 1e-8).log().mean(0) - spread * entropy(both.exp().mean(0))
        if len(labeled):
            value = value - log_probs(at[labeled])[torch.arange(len(labeled)), :, y[labeled]].mean(0)
        return value

    for _ in range(STEPS):
        some = torch.randint(n, (min(PAIRS, n),), generator=generator)
        labeled = torch.randint(len(at), (64 if len(at) else 0,), generator=generator) if len(at) else at
        optimizer.zero_grad()
        loss(some, labeled).sum().backward()
        optimizer.step()
    with torch.inference_mode():
        best = int(loss(torch.randperm(n, generator=generator)[:JUDGED], torch.arange(len(at))).argmin())
        own = slice(best * c, (best + 1) * c)
        return (x @ weight[:, own] + bias[own]).softmax(1).numpy()


def _even(
    graph: Graph,
    rows: np.ndarray,
    labels: np.ndarray,
    n_known: int,
    likely: int,
    n_spare: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """probs (n, n_known + n_free) with n_free from `likely` up or down to where the modularity no longer rises."""
    tried: dict[int, tuple[float, np.ndarray]] = {}

    def modularity(n_free: int) -> float:
        if n_free not in tried:
            found = _agreeing(graph, rows, labels, n_known, n_free, SPREAD_EVEN, rng)
            tried[n_free] = _modularity(graph, found.argmax(1)), found
        return tried[n_free][0]

    n_free, best = likely, modularity(likely)
    for step in (1, -1):
        while 1 <= n_free + step <= n_spare and modularity(n_free + step) > best:
            n_free += step
            best = modularity(n_free)
    return tried[n_free][1]


def _modularity(graph: Graph, column: np.ndarray) -> float:
    """Share of the affinity that is inside the columns (n,), less what would be at random (Newman & Girvan 2004)."""
    between = _between(graph, column, column.max() + 1)
    total = max(between.sum(), 1e-12)
    return float(between.trace() / total - ((between.sum(1) / total) ** 2).sum())


def _between(graph: Graph, column: np.ndarray, n: int) -> np.ndarray:
    """Affinity between the nodes of each two columns: float64 (n, n)."""
    member = sp.csr_matrix((np.ones(len(column), np.float32), (np.arange(len(column)), column)), (len(column), n))
    return np.asarray((member.T @ graph.affinity @ member).todense(), np.float64)


def _walk(affinity: sp.csr_matrix, generator: torch.Generator) -> Callable[[torch.Tensor], torch.Tensor]:
    """nodes (B,) -> for each one the node at the end of a random walk of WALK edges; without edges, the node itself."""
    first = torch.from_numpy(affinity.indptr.astype(np.int64))
    neighbours = torch.from_numpy(np.append(affinity.indices, 0).astype(np.int64))
    degree = first[1:] - first[:-1]

    def step(nodes: torch.Tensor) -> torch.Tensor:
        edge = (torch.rand(len(nodes), generator=generator) * degree[nodes]).long()
        return torch.where(degree[nodes] > 0, neighbours[(first[nodes] + edge).clamp(max=len(neighbours) - 1)], nodes)

    def walk(nodes: torch.Tensor) -> torch.Tensor:
        for _ in range(WALK):
            nodes = step(nodes)
        return nodes

    return walk


def _pieces_of_known(graph: Graph, found: np.ndarray, rows: np.ndarray, labels: np.ndarray, n_known: int) -> np.ndarray:
    """home (c,): of each column itself, or the known class that it is a piece of.

    The neighbours of a class's labeled nodes, the labeled ones left out, tell which share of the class lies in which
    column; with the size of its own column that is how many of a column's nodes are of known classes.
    """
    column = found.argmax(1)
    size = np.bincount(column, minlength=found.shape[1])
    home = np.arange(found.shape[1])
    labeled = np.zeros(len(found), bool)
    labeled[rows] = True
    share = np.zeros((n_known, found.shape[1]))
    for k in range(n_known):
        near = graph.affinity[rows[labels == k]].indices
        near = near[~labeled[near]]
        share[k] = np.bincount(column[near], minlength=found.shape[1]) / max(len(near), 1)
    of_class = size[:n_known] / np.maximum(share.diagonal(), 0.2)  # nodes of each known class, wherever they lie
    part = share * of_class[:, None] / np.maximum(size, 1)  # (n_known, c)
    for free in range(n_known, len(home)):
        if n_known and part[:, free].sum() > PIECE:
            home[free] = part[:, free].argmax()
    return home


def _joined(graph: Graph, found: np.ndarray, home: np.ndarray, n_known: int, n_spare: int) -> np.ndarray:
    """`home` with the free columns joined until n_spare are left, renumbered from n_known on.

    Next are always the two with most affinity for their sizes: what is between them over what chance would put there.
    """
    between = _between(graph, home[found.argmax(1)], found.shape[1])
    left = [k for k in range(n_known, found.shape[1]) if home[k] == k]
    home = home.copy()
    while len(left) > n_spare:
        volume = between[left].sum(1)
        link = between[np.ix_(left, left)] / np.maximum(np.outer(volume, volume), 1e-12)
        link[volume == 0] = link[:, volume == 0] = np.inf  # an empty column first
        a, b = sorted(np.unravel_index(np.where(np.eye(len(left), dtype=bool), -1, link).argmax(), link.shape))
        into, gone = left[a], left[b]
        between[into] += between[gone]
        between[:, into] += between[:, gone]
        between[gone] = between[:, gone] = 0
        home[home == gone] = into
        left.remove(gone)
    number = {column: n_known + i for i, column in enumerate(left)}
    return np.array([number.get(column, column) for column in home])
