"""Scores that need nothing but probabilities: probs (N, C) -> scores (N,), high where a label is wanted (Settles 2009).

Numpy alone, so that the page can rank by another score at once, without the trainer and without torch.
"""

from collections.abc import Callable

import numpy as np


def least_confident(probs: np.ndarray) -> np.ndarray:
    """probs (N, C) -> scores (N,): one minus the largest probability."""
    return 1 - probs.max(1)


def margin(probs: np.ndarray) -> np.ndarray:
    """probs (N, C) -> scores (N,): one minus the lead of the first class over the second."""
    if probs.shape[1] < 2:
        return np.zeros(len(probs), probs.dtype)
    top = np.partition(probs, -2, axis=1)
    return 1 - (top[:, -1] - top[:, -2])


def entropy(probs: np.ndarray) -> np.ndarray:
    """probs (N, C) -> scores (N,) in nats."""
    return -(probs * np.log(probs.clip(1e-12))).sum(1)


SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "least_confident": least_confident,
    "margin": margin,
    "entropy": entropy,
}


def most_wanted(scores: np.ndarray, pool: np.ndarray, n: int | None = None) -> np.ndarray:
    """The n ids of `pool` (N,) with the highest scores (N,), the highest in front; all of them for None."""
    return pool[np.argsort(-scores, kind="stable")[:n]]
