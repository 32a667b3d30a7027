"""The record: SQLAlchemy tables, the store over them, what comes in (importers) and goes out (exporters)."""

from storage.store import Store
from storage.values import (
    AlreadyRunning,
    Class,
    ClassEvent,
    Event,
    Import,
    NewEvent,
    NewSample,
    Reject,
    Sample,
    State,
    Version,
)

__all__ = [
    "AlreadyRunning",
    "Class",
    "ClassEvent",
    "Event",
    "Import",
    "NewEvent",
    "NewSample",
    "Reject",
    "Sample",
    "State",
    "Store",
    "Version",
]
