"""What a version takes each image for, by the classes as they are now."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from labeler.published import Published


@dataclass(frozen=True, eq=False)
class Guesses:
    """Rows are those of the version's arrays."""

    class_ids: np.ndarray  # (N,) int64
    probs: np.ndarray  # (N,) float32, of that class


def guesses(published: Published, counted_as: Mapping[int, int]) -> Guesses:
    """Probabilities of classes that were merged since add up, archived ones are left out; see Published.probs_of."""
    now = sorted({counted_as[one] for one in published.class_ids if one in counted_as})
    if now == list(published.class_ids):
        best = published.probs.argmax(1)
        return Guesses(np.array(now, np.int64)[best], published.probs[np.arange(len(best)), best])
    probs = np.zeros((len(published.sample_ids), max(len(now), 1)), np.float32)
    for column, class_id in enumerate(published.class_ids):
        if class_id in counted_as:
            probs[:, now.index(counted_as[class_id])] += published.probs[:, column]
    total = probs.sum(1)
    best = probs.argmax(1)
    top = np.divide(probs[np.arange(len(probs)), best], total, out=np.zeros_like(total), where=total > 0)
    return Guesses(np.array(now or [0], np.int64)[best], top)
