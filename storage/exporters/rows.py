"""What every format writes about a decided sample, and how a table of that is written."""

import contextlib
import csv
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from storage.store import Store
from storage.values import Event, Sample

COLUMNS = (
    "sample_id",
    "name",
    "sha256",
    "status",
    "class",
    "class_id",
    "annotator",
    "time",
    "event_id",
    "purpose",
    "acquisition",
    "version",
    "ms",
)


def decided(store: Store, at: int) -> Iterator[tuple[Sample, dict[str, Any]]]:
    """Each sample that was labeled, skipped, unsure or flagged at an event, and its row, by id. Gold images are none.

    Read while they are written, so that a million rows take no more memory than a thousand.
    """
    names = {one.id: one.name for one in store.classes(archived=True)}
    for sample, event in store.decisions(at):
        if sample.split != "gold":
            yield sample, _row(sample, event, names)


def _row(sample: Sample, event: Event, names: dict[int, str]) -> dict[str, Any]:
    return {
        "sample_id": sample.id,
        "name": sample.name,
        "sha256": sample.sha256,
        "status": event.kind,
        "class": names.get(event.class_id) if event.class_id is not None else None,
        "class_id": event.class_id,
        "annotator": event.annotator,
        "time": iso(event.time),
        "event_id": event.id,
        "purpose": event.purpose,
        "acquisition": event.acquisition,
        "version": event.version,
        "ms": event.ms,
    }


def iso(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def write_csv(path: Path, rows: Iterable[dict[str, Any]], columns: Iterable[str] = COLUMNS) -> None:
    """UTF-8 with a header. An empty cell is a value that is not there."""
    with whole_file(path) as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line."""
    with whole_file(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """A text file that appears under its name only when all of it is written."""
    draft = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
