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
    doubts: np.ndarray  # (N,) float32: 1 less what the likeliest class is ahead of the second


def guesses(published: Published, counted_as: Mapping[int, int]) -> Guesses:
    """Probabilities of classes that were merged since add up, archived ones are left out; see Published.probs_of."""
    now, probs = _as_now(published, counted_as)
    total = probs.sum(1)
    best = probs.argmax(1)
    two = np.sort(probs, axis=1)[:, -2:] if probs.shape[1] > 1 else np.pad(probs, ((0, 0), (1, 0)))
    second, top = np.divide(two, total[:, None], out=np.zeros_like(two), where=total[:, None] > 0).T
    return Guesses(now[best], top, 1 - (top - second))


def taken_for(published: Published, counted_as: Mapping[int, int]) -> np.ndarray:
    """Class ids (N,) int64 alone, which is quicker."""
    now, probs = _as_now(published, counted_as)
    return now[probs.argmax(1)]


def _as_now(published: Published, counted_as: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the classes in use (C,), and what the version believes of each image (N, C); rows need not sum to one."""
    now = sorted({counted_as[one] for one in published.class_ids if one in counted_as})
    if now == sorted(published.class_ids):  # nothing was merged or archived since
        return np.array(published.class_ids, np.int64), published.probs
    probs = np.zeros((len(published.sample_ids), max(len(now), 1)), np.float32)
    for column, class_id in enumerate(published.class_ids):
        if class_id in counted_as:
            probs[:, now.index(counted_as[class_id])] += published.probs[:, column]
    return np.array(now or [0], np.int64), probs
