"""How far the neighbour graph, or the network, can be believed, told by labels new to it: prequential, Dawid 1984.

Where the learned features do not hold what the classes are about, such as shapes before busy backgrounds, neighbours
are of one class no oftener than by chance, and what they say of the unlabeled images teaches only wrong things.
"""

from collections import deque
from collections.abc import Iterable

import numpy as np

REMEMBERED = 100  # the newest labels: features change
AT_FIRST = 1.5  # how strongly it is believed while few labels were compared: a prior of share^1.5
NONE, FULL = 0.2, 0.4  # shares up to which nothing and from which everything is believed
SHARES = np.arange(1, 41) / 40


class Trust:
    """`ratios`: for each label what its class was given without it, over what chance would have given it."""

    def __init__(self, ratios: Iterable[float] = ()):
        self.ratios = deque(ratios, maxlen=REMEMBERED)

    def compare(self, probs: np.ndarray, labels: np.ndarray, known: np.ndarray) -> None:
        """probs (m, C) of images before their `labels` (m,) were told; `known`: the classes that had a label then.

        A label of another class tells nothing, and neither does the first class.
        """
        known = np.unique(known)
        if len(known) < 2:
            return
        for p, y in zip(probs, labels, strict=True):
            if y in known:
                self.ratios.append(float(len(known) * p[y] / max(p[known].sum(), 1e-12)))

    @property
    def share(self) -> float:
        """The likeliest share, above 0, of a mixture of the graph's belief and of chance that gave these labels."""
        ratios = np.array(self.ratios)[:, None]
        likelihood = np.log(1 - SHARES + SHARES * ratios + 1e-9).sum(0) + AT_FIRST * np.log(SHARES)
        return float(SHARES[likelihood.argmax()])

    @property
    def weight(self) -> float:
        """From 0, what the graph says is left alone, to 1."""
        return min(1.0, max(0.0, (self.share - NONE) / (FULL - NONE)))
