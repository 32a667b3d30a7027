"""Why an image is asked, in words a person reads beside it. Each says what the acquisition did measure, and no more."""

import math
from collections.abc import Mapping

from model.scores import SCORES

BOTH_LIKELY, SECOND_LIKELY = 0.6, 0.2  # a doubt between two: together this likely, and the second one this likely
NEXT_TO_NOTHING = 1e-5  # a score that is no reason: outside the graph, or practically the same as a labeled image


def why(
    purpose: str,
    acquisition: str,
    score: float | None,
    labels: int | None,
    probs: Mapping[int, float] | None,
    names: Mapping[int, str],
) -> str:
    """One phrase, after 'asked because it is'. One that begins with 'between' names classes, which is a hint.

    `labels`: how many the model learned from, None without a model; `score`: the acquisition's, where it has one.
    """
    if purpose == "measure":
        return "drawn at random to measure accuracy"
    acquisition = acquisition.partition(" among ")[0]  # a narrowing is the person's own reason
    if acquisition == "newest":
        return "the newest of those that are open"
    if acquisition in ("random", "overlap") or labels is None:
        return "drawn at random"
    if acquisition.startswith("grid"):
        return "on a grid of images that look alike to the model"
    if labels == 0:
        return "typical of a group nothing is labeled in yet"
    if score is not None and score <= NEXT_TO_NOTHING and acquisition not in SCORES:
        return "one of those that are left"
    top = sorted(probs.items(), key=lambda pair: -pair[1])[:2] if probs else []
    if acquisition == "typicality":
        return "the most typical of a group without a label"
    if len(top) == 2 and top[0][1] + top[1][1] >= BOTH_LIKELY and top[1][1] >= SECOND_LIKELY:
        return f"between {names.get(top[0][0], '?')} and {names.get(top[1][0], '?')}"
    if acquisition == "coverage":
        return "unlike anything labeled so far"
    if acquisition == "bald":
        return "of a class that depends on what the model has yet to learn"
    if acquisition == "badge":
        return "unsure, and unlike the others asked now"
    if acquisition == "entropy" and probs:
        return f"spread over about {_spread(probs)} classes"
    if top and top[0][1] < BOTH_LIKELY:
        return f"not clearly of any class: the best guess has {top[0][1]:.0%}"
    return "the least certain of those that are left"


def _spread(probs: Mapping[int, float]) -> int:
    """How many equally likely classes would leave as much open: exp of the entropy."""
    return max(2, round(math.exp(-sum(p * math.log(p) for p in probs.values() if p > 0))))
