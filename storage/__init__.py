"""The record: SQLAlchemy tables, the store over them, what comes in (importers) and goes out (exporters)."""

from storage.store import Store
from storage.values import (
    Account,
    AlreadyRunning,
    Answer,
    Class,
    ClassEvent,
    Entry,
    Event,
    Given,
    Import,
    Moment,
    NewEvent,
    NewSample,
    Overlap,
    Reject,
    Sample,
    State,
    Version,
)

__all__ = [
    "Account",
    "AlreadyRunning",
    "Answer",
    "Class",
    "ClassEvent",
    "Entry",
    "Event",
    "Given",
    "Import",
    "Moment",
    "NewEvent",
    "NewSample",
    "Overlap",
    "Reject",
    "Sample",
    "State",
    "Store",
    "Version",
]
