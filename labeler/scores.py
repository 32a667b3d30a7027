"""How the model does class by class, on images it has never learned from: confusion counts, precision, recall, F1.

Gold images and those that measure are told apart: the former are what was imported as such, the latter drawn at random.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from labeler.guesses import taken_for
from labeler.published import Published
from storage import Store

FEW = 5  # images of a class below which its scores say next to nothing


def measured_labels(store: Store) -> dict[int, int]:
    """Sample id -> class id, to measure accuracy with. Where people do not agree yet, or never, the first label.

    Without those just the hard images would be left out, and the accuracy would flatter.
    """
    first = {sample_id: given[0] for sample_id, given in store.labels_without_agreement("measure").items()}
    return first | store.labels(purpose=None, split="measure")


def scores(store: Store, published: Published | None) -> dict[str, Any]:
    """{"gold": ..., "measured": ...} as the newest ranking has it, each {"n", "accuracy", "class_ids", "confusion",
    "classes"}; without what there is nothing of. `confusion` has rows of the given class, columns of the predicted one.
    """
    if published is None or not published.labels:
        return {}
    class_ids = [one.id for one in store.classes()]
    counted_as = store.counted_as()
    taken = taken_for(published, counted_as)
    labels = {"gold": store.gold(), "measured": measured_labels(store)}
    found = {}
    for kind, of_kind in labels.items():
        in_use = {sample_id: counted_as[given] for sample_id, given in of_kind.items() if given in counted_as}
        ids, given = np.array(list(in_use), np.int64), np.array(list(in_use.values()), np.int64)
        at = np.searchsorted(published.sample_ids, ids).clip(max=len(taken) - 1)
        known = published.sample_ids[at] == ids  # the others were imported since
        if known.any():
            found[kind] = _scored(given[known], taken[at[known]], class_ids)
    return found


def cell(store: Store, published: Published | None, given: int, taken: int) -> dict[str, Any]:
    """Images of class `given` that the model takes for `taken` now: ids of labeled ones it learned from and of gold
    ones, ascending, and how many measuring ones there are. Which those are nobody is told: corrected towards the
    model's belief, they would flatter it; gold ones nobody corrects here."""
    if published is None or not published.labels:
        return {"learned": [], "gold": [], "measuring": 0}
    counted_as = store.counted_as()
    mine = published.sample_ids[taken_for(published, counted_as) == taken]
    labels = {"learned": store.labels(split="pool"), "gold": store.gold(), "measuring": measured_labels(store)}
    found = {kind: [i for i, c in given_to.items() if counted_as.get(c) == given] for kind, given_to in labels.items()}
    behind = {kind: np.intersect1d(np.array(ids, np.int64), mine).tolist() for kind, ids in found.items()}
    return {**behind, "measuring": len(behind["measuring"])}


def interval(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of k in n."""
    from scipy.stats import binomtest

    found = binomtest(k, n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _scored(given: np.ndarray, taken: np.ndarray, class_ids: Sequence[int]) -> dict[str, Any]:
    from sklearn.metrics import accuracy_score, confusion_matrix

    right = int(accuracy_score(given, taken, normalize=False))
    counts = confusion_matrix(given, taken, labels=class_ids)
    return {
        "n": len(given),
        "accuracy": _share(right, len(given)),
        "class_ids": list(class_ids),
        "confusion": counts.tolist(),
        "classes": [_of_class(counts, i, class_id) for i, class_id in enumerate(class_ids)],
    }


def _of_class(counts: np.ndarray, i: int, class_id: int) -> dict[str, Any]:
    """Precision, recall and F1 of one class. F1 = 2 J / (1 + J) with J = hits / (hits + misses + false alarms), a share
    as the others are, whose interval is carried over."""
    hits, n, predicted = int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum())
    return {
        "class_id": class_id,
        "n": n,
        "predicted": predicted,
        "precision": _share(hits, predicted),
        "recall": _share(hits, n),
        "f1": _share(hits, n + predicted - hits, lambda jaccard: 2 * jaccard / (1 + jaccard)),
        "few": n < FEW,
    }


def _share(k: int, n: int, of: Callable[[float], float] = float) -> dict[str, float] | None:
    """k in n with its interval, or what rises with that share."""
    if not n:
        return None
    low, high = interval(k, n)
    return {"value": round(of(k / n), 4), "low": round(of(low), 4), "high": round(of(high), 4), "n": n}


def by_name(found: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    """The same for a person to read: with the names of the classes."""
    return {
        kind: {
            **{name: value for name, value in one.items() if name not in ("class_ids", "classes")},
            "classes": [{"name": names[c["class_id"]], **c} for c in one["classes"]],
        }
        for kind, one in found.items()
    }
