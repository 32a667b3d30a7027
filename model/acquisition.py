"""Which image to ask about next. A score is high where a label is wanted; ids go in, ids come out.

`random`, `least_confident`, `margin` and `entropy` need probs (N, C) alone (Settles 2009). `coverage` weighs the
doubt by the distance to what is labeled and by how typical the image is, one pick after the other.
"""

import numpy as np
import torch

from model import ACQUISITIONS
from model.graph import Graph
from model.scores import SCORES, margin, most_wanted


@torch.inference_mode()
def prototypes(graph: Graph, n: int, rng: np.random.Generator, open_rows: np.ndarray) -> np.ndarray:
    """Cold start: rows of the nodes nearest to the centres of n k-means clusters, the largest cluster first.

    Only rows where `open_rows` (n_nodes,) is true are proposed.
    """
    from sklearn.cluster import MiniBatchKMeans

    features = graph.features.cpu().numpy()
    n = min(n, len(features))
    rng_seed = int(rng.integers(2**31))
    kmeans = MiniBatchKMeans(n, n_init=2, batch_size=4096, random_state=rng_seed).fit(features)
    size = np.bincount(kmeans.labels_, minlength=n)
    found = []
    for cluster in np.argsort(-size, kind="stable"):
        members = np.flatnonzero((kmeans.labels_ == cluster) & open_rows)
        if len(members):
            distance = ((features[members] - kmeans.cluster_centers_[cluster]) ** 2).sum(1)
            found.append(members[distance.argmin()])
    return np.array(found, np.int64)


@torch.inference_mode()
def coverage(
    graph: Graph, doubt: np.ndarray, labeled_rows: np.ndarray, open_rows: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """(scores of all nodes, rows of the n to ask): doubt x distance to the nearest labeled x typicality^2.

    Greedy: each row that is picked counts as labeled for the next pick, so that a batch is diverse.
    """
    features = graph.features
    if len(labeled_rows):
        labeled = features[torch.from_numpy(labeled_rows).to(features.device)]
        distance = 1 - (features @ labeled.T).amax(1)  # (n_nodes,) cosine distance
    else:
        distance = torch.ones(len(features), device=features.device)
    wanted = torch.from_numpy((doubt * graph.typicality**2 * open_rows).astype(np.float32)).to(features.device)
    scores = (wanted * distance).cpu().numpy()
    picked: list[int] = []
    for _ in range(min(n, int(open_rows.sum()))):
        row = int((wanted * distance.clamp_min(1e-6)).argmax())
        picked.append(row)
        wanted[row] = -1  # not again
        distance = torch.minimum(distance, 1 - features @ features[row])
    return scores, np.array(picked, np.int64)


def rank(
    acquisition: str,
    probs: np.ndarray,
    open_positions: np.ndarray,
    graph: Graph | None,
    labeled_positions: np.ndarray,
    first: np.ndarray,
    rng: np.random.Generator,
    greedy: int = 32,
) -> tuple[np.ndarray, np.ndarray]:
    """(scores (N,), open positions in the order to ask them) under the acquisition's name.

    probs (N, C); positions are rows of it. `first`: positions that are asked before all others, the cold start.
    """
    if acquisition not in ACQUISITIONS:
        raise ValueError(f"no acquisition {acquisition!r}; there are {', '.join(ACQUISITIONS)}")
    scores = np.zeros(len(probs), np.float32)
    picked = np.empty(0, np.int64)
    if acquisition == "random":
        scores = rng.random(len(probs), dtype=np.float32)
        return scores, most_wanted(scores[open_positions], open_positions)
    if acquisition != "coverage" or graph is None:
        scores = SCORES["margin" if acquisition == "coverage" else acquisition](probs).astype(np.float32)
    else:
        doubt = margin(probs[graph.positions])
        is_open = np.isin(graph.positions, open_positions)
        labeled = graph.rows_of(labeled_positions)
        in_graph, rows = coverage(graph, doubt, labeled[labeled >= 0], is_open, greedy)
        scores[graph.positions] = in_graph
        picked = graph.positions[rows]
    front = np.concatenate([first[np.isin(first, open_positions)], picked])
    front = front[np.sort(np.unique(front, return_index=True)[1])]
    rest = np.setdiff1d(open_positions, front)
    return scores, np.concatenate([front, most_wanted(scores[rest], rest)])
