"""How fast people label: labels an hour along the newest sitting, seconds an answer, pauses left out."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from storage import Given, Store
from storage.values import PAUSE_MS

NEWEST = 20_000  # answers that are looked at
APART = 30 * 60  # seconds without an answer that end a sitting
BARS = 30  # of a sitting, at most
MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 240)  # that a bar may stand for


def pace(store: Store) -> dict[str, Any]:
    """{"answers": how many were looked at, "people": [...], "sitting": {...} or None}, of the newest answers."""
    given = store.given(NEWEST)
    by_person: dict[str, list[Given]] = defaultdict(list)
    for one in given:
        by_person[one.annotator].append(one)
    people = [_person(name, theirs) for name, theirs in by_person.items()]
    people.sort(key=lambda one: (-one["labels"], one["annotator"]))
    return {"answers": len(given), "newest": NEWEST, "people": people, "sitting": _sitting(given)}


def _person(name: str, given: Sequence[Given]) -> dict[str, Any]:
    """Seconds are of answers given one by one: those of one action share its time. A pause is no time spent."""
    alone = [one for one in given if one.ms is not None and not one.in_group]
    seconds = [one.ms / 1000 for one in alone if one.ms is not None and not one.paused]
    gaps = _gaps(given)
    hours = float(gaps[gaps <= PAUSE_MS / 1000].sum()) / 3600
    labels = sum(one.kind == "label" for one in given)
    return {
        "annotator": name,
        "answers": len(given),
        "labels": labels,
        "seconds_per_answer": round(float(np.median(seconds)), 2) if seconds else None,
        "seconds_n": len(seconds),
        "pauses": sum(one.paused for one in alone),
        "hours": round(hours, 3),
        "labels_per_hour": round(labels / hours) if hours > 1 / 60 else None,
    }


def _gaps(given: Sequence[Given]) -> np.ndarray:
    """Seconds from each answer to the next, in the order of the record. A clock that was set back took no time."""
    return np.maximum(np.diff([one.time for one in given]), 0)


def _sitting(given: Sequence[Given]) -> dict[str, Any] | None:
    """The newest spell of labels of anybody: how many in each stretch of time, and how many an hour that is."""
    labels = [one for one in given if one.kind == "label"]
    if not labels:
        return None
    gaps = _gaps(labels)
    breaks = np.flatnonzero(gaps > APART)
    gaps = gaps[breaks[-1] + 1 :] if len(breaks) else gaps
    elapsed = np.cumsum([0, *gaps])
    ended = labels[-1].time
    begun = ended - float(elapsed[-1])
    minutes = next((m for m in MINUTES if (ended - begun) / 60 / m < BARS), MINUTES[-1])
    seconds = 60 * minutes
    counts = np.bincount((elapsed // seconds).astype(int))
    covered = np.full(len(counts), float(seconds))
    covered[-1] = max(ended - begun - seconds * (len(counts) - 1), seconds / 4)  # the last one is not over
    return {
        "begun": begun,
        "ended": ended,
        "labels": len(elapsed),
        "minutes": minutes,
        "bars": [
            {"time": begun + seconds * i, "labels": int(n), "per_hour": round(3600 * int(n) / float(covered[i]))}
            for i, n in enumerate(counts)
        ],
    }
