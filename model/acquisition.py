"""Which image to ask about next. A score is high where a label is wanted; ids go in, ids come out.

`random`, `least_confident`, `margin` and `entropy` need nothing but probs (N, C); the others look at the neighbour
graph too, and rank its nodes before all other images. Whatever the score, the head of a ranking is chosen one by one,
so that it holds no image twice, and images that are practically the same as a labeled one go to the end.
docs/acquisition.md has each formula, its source, and what it is worth beside `random`.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from model import ACQUISITIONS
from model.device import eigh
from model.graph import NONE, Graph
from model.scores import SCORES, margin, most_wanted

GREEDY = 32  # questions at the head of a ranking that are chosen one by one; a newer ranking comes before its end
SHORTLIST = 512  # nodes with the highest scores, among which those are chosen
HEADS = 16  # classification layers drawn for `bald`
MOST_CLUSTERS = 500  # of `typicality`; more of them say nothing about groups (Hacohen 2022)
LEAST_MEMBERS = 5  # of a cluster that `typicality` asks about
CANDIDATES, COVERED = 2000, 6000  # nodes that may become prototypes, nodes that these are to stand for


# ---------- cold start ----------
@torch.inference_mode()
def prototypes(
    graph: Graph, n: int, rng: np.random.Generator, open_rows: np.ndarray, labeled_rows: np.ndarray = NONE
) -> np.ndarray:
    """Rows of the n nodes to ask before anything is known, the one that stands for most others in front.

    Greedy facility location (Nemhauser 1978; for batches: Wei 2015): each makes sum_i max_j cos(i, j)^8 as large as it
    can be. The cosines are those of features averaged over the graph, which belong to a group more clearly than one
    image's own. Only rows where `open_rows` (n_nodes,) is true are proposed; those in `labeled_rows` (m,) stand for
    others already.
    """
    features = _smoothed(graph)
    candidates = np.flatnonzero(open_rows)
    if len(candidates) > CANDIDATES:  # images that few others resemble would not be chosen anyway
        share = graph.typicality[candidates].astype(np.float64) ** 2
        candidates = rng.choice(candidates, CANDIDATES, replace=False, p=share / share.sum())
    covered = rng.permutation(len(features))[:COVERED]
    stands_for = _cosines(features, covered, candidates).clamp_min(0) ** 8  # (n_covered, n_candidates)
    so_far = torch.zeros(len(covered), 1, device=features.device)
    if len(labeled_rows):
        so_far = _cosines(features, covered, labeled_rows).clamp_min(0).amax(1, keepdim=True) ** 8
    found: list[int] = []
    for _ in range(min(n, len(candidates))):
        gain = (stands_for - so_far).clamp_min_(0).sum(0)
        gain[found] = -1
        found.append(int(gain.argmax()))
        so_far = torch.maximum(so_far, stands_for[:, found[-1:]])
    return candidates[found]


def _smoothed(graph: Graph, steps: int = 20, share: float = 0.9) -> torch.Tensor:
    """(n, D), of length one: F <- .9 S F + .1 H (Gasteiger 2019, eq. 4, for features H in place of predictions)."""
    h = graph.features.cpu().numpy()
    f = h
    for _ in range(steps):
        f = share * (graph.affinity @ f) + (1 - share) * h
    return F.normalize(torch.from_numpy(f - f.mean(0)), dim=1).to(graph.features.device)


def _cosines(features: torch.Tensor, rows: np.ndarray, others: np.ndarray) -> torch.Tensor:
    at = [torch.from_numpy(r).to(features.device) for r in (rows, others)]
    return features[at[0]] @ features[at[1]].T  # (len(rows), len(others))


# ---------- what one ranking leaves for the next ----------
@dataclass(frozen=True, eq=False)
class Near:
    """How near each node is to what is labeled. A label more is one column more."""

    graph: Graph
    rows: np.ndarray  # labeled nodes, ascending
    cosine: torch.Tensor  # (n,) with the most similar of them; -1 where nothing is labeled


@dataclass(frozen=True, eq=False)
class Clusters:
    graph: Graph
    of: np.ndarray  # (n,) cluster of each node
    n: int


@dataclass(eq=False)
class Memory:
    """Makes the next ranking on the same graph fast. What it holds is replaced whole: two threads may share it."""

    near: Near | None = None
    clusters: Clusters | None = None


def near(graph: Graph, labeled_positions: np.ndarray, before: Near | None = None) -> Near:
    """Those of the labeled images count that are nodes. What `before` holds of the same graph is not done again."""
    rows = graph.rows_of(labeled_positions)
    rows = new = np.unique(rows[rows >= 0])
    cosine = torch.full((len(graph.features),), -1.0, device=graph.features.device)
    if before is not None and before.graph is graph and np.isin(before.rows, rows, assume_unique=True).all():
        cosine, new = before.cosine, np.setdiff1d(rows, before.rows, assume_unique=True)
    for part in np.array_split(new, -(-len(new) // 256) or 1):
        if len(part):
            labeled = graph.features[torch.from_numpy(part).to(cosine.device)]
            cosine = torch.maximum(cosine, (graph.features @ labeled.T).amax(1))
    return Near(graph, rows, cosine)


# ---------- scores of the nodes ----------
def coverage(graph: Graph, doubt: np.ndarray, known: Near) -> np.ndarray:
    """doubt (n,) -> scores (n,): doubt x distance to the nearest labeled image x typicality^2."""
    return doubt * (1 - known.cosine).clamp_min(1e-6).cpu().numpy() * graph.typicality**2


def bald(
    probs: np.ndarray,
    features: torch.Tensor,
    labeled_rows: np.ndarray,
    rng: np.random.Generator,
    heads: int = HEADS,
) -> np.ndarray:
    """probs (n, C) of the nodes -> scores (n,): mutual information of label and classification layer, in nats.

    Houlsby 2011, eq. 2, by heads drawn from a Laplace approximation of the last layer (Kristiadi 2020): its prior
    gives the logits the spread that they have, each labeled image adds (diag(p) - p p^T) x h h^T to the precision,
    with the mean of the first factor for all, so that both are diagonalised apart and no (C D, C D) matrix is made.
    """
    logits = torch.from_numpy(probs).to(features.device).clamp_min(1e-6).log()
    logits -= logits.mean(1, keepdim=True)
    prior = logits.var(0, correction=0).mean().clamp_min(1e-3)
    variance, turn = prior.expand_as(logits), torch.eye(logits.shape[1], device=logits.device)
    if len(labeled_rows):
        at = torch.from_numpy(labeled_rows).to(features.device)
        p = logits[at].softmax(1)
        curvature, turn = eigh(torch.diag(p.mean(0)) - p.T @ p / len(p))  # (C,), (C, C)
        strength, axes = eigh(features[at].T @ features[at])  # (D,), (D, D)
        strength, axes = strength[-len(at) :].clamp_min(0), axes[:, -len(at) :]  # the others are zero
        seen = prior * strength[:, None] * curvature.clamp_min(0)
        variance = prior * (1 - (features @ axes) ** 2 @ (seen / (1 + seen))).clamp_min(0)  # (n, C), along `turn`
    deviation = variance.sqrt()
    mean, of_each = torch.zeros_like(logits), torch.zeros(len(logits), device=logits.device)
    for noise in rng.standard_normal((heads, logits.shape[1]), np.float32):
        log_p = (logits + (deviation * torch.from_numpy(noise).to(logits.device)) @ turn.T).log_softmax(1)
        p = log_p.exp()
        mean += p / heads
        of_each -= (p * log_p).sum(1) / heads
    return (torch.special.entr(mean).sum(1) - of_each).clamp_min(0).cpu().numpy()


# ---------- from scores to questions ----------
def spread_out(
    features: torch.Tensor,
    weight: torch.Tensor,
    room: torch.Tensor,
    most: float,
    same: float,
    n: int,
    diversity: float = 1.0,
) -> tuple[list[int], list[int]]:
    """(the n to ask, those that are practically the same as one of them): rows of features (m, D).

    One by one the largest weight (m,) x room (m,), where room is the distance 1 - cos to what is labeled or asked, but
    no more than `most`; nothing within `same` of one that is asked, and nothing of a weight below zero. What those that
    are asked leave of the room counts to the power of `diversity`: at 0 it does not matter how alike they are.
    """
    weight, picked, twins = weight.clone(), [], []
    alone = room.clamp_max(most)  # before anything is asked
    for _ in range(min(n, len(weight))):
        left = room.clamp_max(most)
        row = int((weight * (left if diversity == 1 else alone * (left / alone) ** diversity)).argmax())
        if weight[row] < 0:
            break
        picked.append(row)
        weight[row] = -1
        distance = 1 - features @ features[row]
        again = torch.nonzero((distance <= same) & (weight >= 0)).flatten()
        weight[again] = -1
        twins += again.tolist()
        room = torch.minimum(room, distance.clamp_min(1e-6))
    return picked, twins


def badge(
    probs: np.ndarray, features: torch.Tensor, open_rows: np.ndarray, same: float, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[int], list[int]]:
    """(scores (n,), rows to ask, rows within `same`): k-means++ on the gradient of the last layer (Ash 2020).

    For the likeliest class that is g = a x h, a = p - onehot(argmax p), which is never made: |g_i - g_j|^2 = |g_i|^2 +
    |g_j|^2 - 2 (a_i . a_j) (h_i . h_j). The first is the longest, each further one is drawn by its squared distance to
    the nearest one before it. Features of length one.
    """
    a = torch.from_numpy(probs).to(features.device)
    a = a - F.one_hot(a.argmax(1), a.shape[1])
    size = (a**2).sum(1)  # |g|^2
    left = torch.from_numpy(open_rows).to(features.device)
    distance = torch.where(left, size, 0.0)
    picked: list[int] = []
    row = int(distance.argmax())
    while distance[row] > 0:
        picked.append(row)
        cosine = features @ features[row]
        left = left & (1 - cosine > same)
        left[row] = False
        distance = torch.minimum(distance, (size + size[row] - 2 * (a @ a[row]) * cosine).clamp_min(0)) * left
        if len(picked) == n:
            break
        up_to = distance.double().cumsum(0)
        row = int(torch.searchsorted(up_to, up_to[-1] * rng.random(), right=True).clamp_max(len(up_to) - 1))
    twins = np.setdiff1d(np.flatnonzero(open_rows & ~left.cpu().numpy()), picked)
    return size.sqrt().cpu().numpy(), picked, twins.tolist()


def clusters(graph: Graph, labeled: int, rng: np.random.Generator, before: Clusters | None = None) -> Clusters:
    """k-means into at least as many clusters as there are labels and questions; `before` as long as it has enough."""
    from sklearn.cluster import MiniBatchKMeans

    most = min(MOST_CLUSTERS, len(graph.positions))
    if before is not None and before.graph is graph and (before.n >= labeled + GREEDY or before.n == most):
        return before
    n = min(2 * (labeled + GREEDY), most)
    kmeans = MiniBatchKMeans(n, n_init=1, batch_size=4096, random_state=int(rng.integers(2**31)))
    return Clusters(graph, kmeans.fit_predict(graph.features.cpu().numpy()), n)


def typical(graph: Graph, parts: Clusters, labeled_rows: np.ndarray, open_rows: np.ndarray, n: int) -> np.ndarray:
    """The most typical open node of each cluster without a label, the largest cluster in front (Hacohen 2022)."""
    size = np.bincount(parts.of, minlength=parts.n)
    size[parts.of[labeled_rows]] = 0
    best = np.full(parts.n, -1)
    rows = np.flatnonzero(open_rows)
    rows = rows[np.argsort(graph.typicality[rows], kind="stable")]
    best[parts.of[rows]] = rows  # of several the last one stays
    order = np.argsort(-size, kind="stable")
    large = size[order] >= max(min(LEAST_MEMBERS, size.max()), 1)
    return best[order[large & (best[order] >= 0)]][:n]


@torch.inference_mode()
def ask(
    acquisition: str,
    probs: np.ndarray,
    graph: Graph,
    open_rows: np.ndarray,
    labeled_positions: np.ndarray,
    rng: np.random.Generator,
    memory: Memory,
    diversity: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scores (n,), rows to ask, rows to ask last), all of the graph's nodes. probs (n, C), open_rows (n,) bool."""
    features = graph.features
    memory.near = known = near(graph, labeled_positions, memory.near)
    same = graph.twin**2 / 2  # as 1 - cos
    fresh = open_rows & ((1 - known.cosine) > same).cpu().numpy()
    last = np.flatnonzero(open_rows & ~fresh)
    if acquisition == "badge":
        scores, picked, twins = badge(probs, features, fresh, same, GREEDY, rng)
        return scores, np.array(picked, np.int64), np.concatenate([np.array(twins, np.int64), last])
    if acquisition == "typicality":
        memory.clusters = parts = clusters(graph, len(known.rows), rng, memory.clusters)
        return graph.typicality, typical(graph, parts, known.rows, fresh, GREEDY), last
    if acquisition == "coverage":
        doubt = margin(probs)
        scores, weight, most = coverage(graph, doubt, known), doubt * graph.typicality**2, 2.0
        room = (1 - known.cosine).clamp_min(1e-6)
    else:
        scores = bald(probs, features, known.rows, rng) if acquisition == "bald" else SCORES[acquisition](probs)
        weight, most, room = scores, graph.reach**2 / 2, torch.full((len(scores),), 2.0, device=features.device)
    short = _highest(np.where(fresh, scores, -1), SHORTLIST)
    at = torch.from_numpy(short).to(features.device)
    weights = torch.from_numpy(np.where(fresh, weight, -1)[short].astype(np.float32)).to(features.device)
    picked, twins = spread_out(features[at], weights, room[at], most, same, GREEDY, diversity)
    return scores, short[picked], np.concatenate([short[twins], last])


def _highest(scores: np.ndarray, n: int) -> np.ndarray:
    return np.argpartition(-scores, n - 1)[:n] if len(scores) > n else np.arange(len(scores))


def rank(
    acquisition: str,
    probs: np.ndarray,
    open_positions: np.ndarray,
    graph: Graph | None,
    labeled_positions: np.ndarray,
    first: np.ndarray,
    rng: np.random.Generator,
    memory: Memory | None = None,
    diversity: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """(scores (N,), open positions in the order to ask them) under the acquisition's name.

    probs (N, C); positions are rows of it. `first`: positions that are asked before all others, the cold start.
    `memory` is kept by the caller from one ranking to the next. Images outside the graph score 0 where it is needed.
    `diversity`: how much the head of the ranking is spread out, see `spread_out`; `badge` and `typicality` always are.
    """
    if acquisition not in ACQUISITIONS:
        raise ValueError(f"no acquisition {acquisition!r}; there are {', '.join(ACQUISITIONS)}")
    if acquisition == "random":
        scores = rng.random(len(probs), dtype=np.float32)
        return scores, most_wanted(scores[open_positions], open_positions)
    left = np.zeros(len(probs), bool)
    left[open_positions] = True
    front, last = first[left[first]], np.empty(0, np.int64)
    if graph is None:
        scores = SCORES[acquisition if acquisition in SCORES else "margin"](probs)
    else:
        of_nodes, picked, twins = ask(
            acquisition,
            probs[graph.positions],
            graph,
            left[graph.positions],
            labeled_positions,
            rng,
            memory or Memory(),
            diversity,
        )
        scores = SCORES[acquisition](probs) if acquisition in SCORES else np.zeros(len(probs), np.float32)
        scores[graph.positions] = of_nodes
        last = graph.positions[twins]
        front = np.concatenate([front[~np.isin(front, last)], graph.positions[picked]])
        front = front[np.sort(np.unique(front, return_index=True)[1])]
        last = last[~np.isin(last, front)]
    left[front] = left[last] = False
    rest = np.flatnonzero(left)
    scores = scores.astype(np.float32, copy=False)
    ranking = [front, most_wanted(scores[rest], rest), most_wanted(scores[last], last)]
    return scores, np.concatenate(ranking)
