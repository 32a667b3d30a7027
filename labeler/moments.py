"""Moments of the past as people name them: the number of an event, a time, a number of labels."""

import time
from dataclasses import dataclass
from datetime import datetime

from storage import Moment, Store

LABELS = "labels:"
EVER = 2**62  # numbers beyond do not fit into the database


@dataclass(frozen=True)
class At:
    """A moment as it was named: exactly one of the three is there. `time` is seconds since 1970."""

    text: str
    event_id: int | None = None
    labels: int | None = None
    time: float | None = None


def parse_at(text: str) -> At:
    """'1234' is an event, 'labels:100' a number of labels, anything else a time. ValueError in one line."""
    text = text.strip()
    number = text.removeprefix(LABELS)
    if number.isascii() and number.isdecimal() and int(number) < EVER:
        return At(text, labels=int(number)) if text.startswith(LABELS) else At(text, event_id=int(number))
    try:
        if number.isdecimal():  # datetime takes some of them for a date without hyphens
            raise ValueError
        return At(text, time=parse_time(text))
    except ValueError:
        raise ValueError(
            f"{text!r} is no event such as 1234, no time such as 2026-11-24T10:00, and no number such as labels:100"
        ) from None


def parse_time(text: str) -> float:
    """ISO 8601 -> seconds since 1970. Without a zone it is this machine's time; a date alone is when that day began."""
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{text!r} is no time such as 2026-11-24, 2026-11-24T10:00 or 2026-11-24T10:00+01:00"
        ) from None


def find(store: Store, at: At) -> Moment:
    """The moment meant, in this record. ValueError where it never was, or is still to come."""
    if at.event_id is not None:
        return store.moment_after(at.event_id)
    if at.labels is not None:
        return store.moment_with_labels(at.labels)
    assert at.time is not None
    if at.time > time.time():
        raise ValueError(f"{at.text} is still to come. Name a time that has passed.")
    return store.moment_at(at.time + shown_as_one(at.time))


def shown_as_one(when: float) -> float:
    """Seconds until another time would be shown: who copies a time from a log or an export means what stands beside it.

    A log in words has seconds, in JSON and in exports milliseconds.
    """
    microseconds = round(when % 1 * 1e6)
    return 1 - 1e-6 if microseconds in (0, 10**6) else 1e-3 - 1e-6 if microseconds % 1000 == 0 else 1e-6


def told(seconds: float) -> str:
    """A time as people here read it: local, to the second."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
