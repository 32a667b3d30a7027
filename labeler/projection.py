"""Features laid out in the plane: t-SNE that goes on from where the points were. A process of its own runs it.

    python -P -m labeler.projection DRAFT

reads DRAFT/features.npy (N, D), and DRAFT/before.npy (N, 2) where there was a map, and writes DRAFT/map.npz. It ends
when its standard input closes: the trainer that started it is gone then.
"""

import importlib.util
import os
import sys
import threading
import warnings
from pathlib import Path

import numpy as np

from labeler.gentle import give_way

FEWEST = 12  # points that t-SNE makes sense for
MOST = 100_000  # points that are laid out; others are put among those they are most like
NEIGHBOURS = 15
EXAGGERATED, FROM_START, GO_ON = 125, 375, 100  # iterations: of a first map, and of one that goes on
TSNE, PCA, PCA_FOR_NOW = "t-SNE", "PCA", "PCA for now"


def project(features: np.ndarray, before: np.ndarray | None = None, rng_seed: int = 0) -> tuple[np.ndarray, str]:
    """(places (N, 2) float32, the method). features (N, D); `before` (N, 2): where the points were, NaN for new ones.

    Points that were somewhere stay near it. Where t-SNE is not installed, or there are few points, it is principal
    components. ValueError for features that are not finite.
    """
    features = np.ascontiguousarray(features, np.float32)
    if not np.isfinite(features).all():
        raise ValueError("a feature is not finite")
    if len(features) < FEWEST or not (features.std(0) > 0).any():
        return _components(features, _known(before)), PCA
    try:
        import openTSNE  # noqa: F401
    except ImportError:
        return _components(features, _known(before)), PCA
    if len(features) <= MOST:
        return _tsne(features, _known(before), rng_seed), TSNE
    some = np.sort(np.random.default_rng(rng_seed).choice(len(features), MOST, replace=False))
    then = None if before is None else before[some]
    return _among(features, some, _tsne(features[some], _known(then), rng_seed)), TSNE


def _known(before: np.ndarray | None) -> np.ndarray | None:
    """None where no point was anywhere."""
    return None if before is None or not np.isfinite(before).all(1).any() else before


def at_once(features: np.ndarray) -> tuple[np.ndarray, str]:
    """As `project`, without the time that t-SNE takes: principal components, until then or for good."""
    wanted = len(features) >= FEWEST and importlib.util.find_spec("openTSNE") is not None
    return _components(np.asarray(features, np.float32), None), PCA_FOR_NOW if wanted else PCA


def _tsne(features: np.ndarray, before: np.ndarray | None, rng_seed: int) -> np.ndarray:
    """t-SNE on a graph of equal weights: as good to look at as with a perplexity, and a third of the time."""
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import Uniform

    k = min(NEIGHBOURS, len(features) - 1)
    affinities = Uniform(features, k_neighbors=k, random_state=rng_seed, n_jobs=1, verbose=False)
    begun = _start(features) if before is None else _goes_on(before, affinities.P)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a start which is spread out is unusual
        embedding = TSNEEmbedding(begun, affinities, random_state=rng_seed, n_jobs=1)
    if before is None:
        embedding = embedding.optimize(EXAGGERATED, exaggeration=12, momentum=0.5)
    embedding = embedding.optimize(FROM_START if before is None else GO_ON, momentum=0.8)
    return np.asarray(embedding, np.float32)


def _start(features: np.ndarray) -> np.ndarray:
    """Principal components, small, as t-SNE wants them."""
    places = _components(features, None).astype(np.float64)
    return 1e-4 * places / max(places[:, 0].std(), 1e-12)


def _goes_on(before: np.ndarray, near: "np.ndarray") -> np.ndarray:
    """Where the points were; a new one in the middle of those it is most like, or of all."""
    places = before.astype(np.float64)
    known = np.isfinite(places).all(1)
    if known.all():
        return places
    places[~known] = 0
    weight = near @ known.astype(np.float64)
    middle = (near @ places) / np.maximum(weight, 1e-12)[:, None]
    found = weight > 0
    places[~known & found] = middle[~known & found]
    places[~known & ~found] = places[known].mean(0)
    spread = places[known].std() / 1000
    places[~known] += spread * np.random.default_rng(0).standard_normal((int((~known).sum()), 2))
    return places


def _among(features: np.ndarray, some: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Places of all points: of `some` as given, of every other one that of the one it is most like, a little beside."""
    from sklearn.neighbors import NearestNeighbors

    found = np.empty((len(features), 2), np.float32)
    found[some] = places
    others = np.setdiff1d(np.arange(len(features)), some)
    nearest = NearestNeighbors(n_neighbors=1).fit(features[some]).kneighbors(features[others], return_distance=False)
    beside = np.random.default_rng(0).normal(0, places.std() / 500, (len(others), 2))
    found[others] = places[nearest[:, 0]] + beside
    return found


def _components(features: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """The first two principal components, turned to where the points were. Points that are all alike lie in a disc."""
    centred = features - features.mean(0)
    places = np.zeros((len(features), 2), np.float32)
    if len(features) and np.abs(centred).max(initial=0) > 0:
        _, axes = np.linalg.eigh(centred.T @ centred)  # eigenvalues ascend
        first = axes[:, ::-1][:, :2]
        places[:, : first.shape[1]] = centred @ first
    else:
        i = np.arange(len(features))
        turn, radius = i * np.pi * (3 - np.sqrt(5)), np.sqrt(i)
        return np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1).astype(np.float32)
    if before is not None:
        from scipy.linalg import orthogonal_procrustes  # the page's process reads maps, and makes none

        known = np.isfinite(before).all(1)
        rotation, _ = orthogonal_procrustes(places[known], before[known] - before[known].mean(0))
        places = (places @ rotation).astype(np.float32)
    return places


# ---------- the process ----------


def main(draft: Path) -> int:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    give_way(5)  # it began as low as its parent
    before = draft / "before.npy"
    try:
        places, method = project(np.load(draft / "features.npy"), np.load(before) if before.exists() else None)
    except ValueError as problem:
        print(f"labeler projection: {problem}", file=sys.stderr)
        return 1
    with open(draft / "writing.npz", "wb") as f:
        np.savez(f, places=places, method=np.array(method))
    (draft / "writing.npz").replace(draft / "map.npz")
    return 0


def _end_with_parent() -> None:
    while os.read(0, 1):  # not through sys.stdin, whose lock would be held while this process ends
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
