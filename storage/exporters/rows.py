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


def decided(store: Store) -> list[dict[str, Any]]:
    """One row for each sample that is labeled, skipped, unsure or flagged, by sample id. Gold images are no labels.

    A label of a merged class is one of the class it was merged into; one of an archived class has that for a status.
    """
    classes, root = {one.id: one for one in store.classes(archived=True)}, store.roots()
    return [
        {
            "sample_id": sample.id,
            "name": sample.name,
            "sha256": sample.sha256,
            "status": "archived" if one is not None and one.archived else event.kind,
            "class": one.name if one is not None else None,
            "class_id": one.id if one is not None else None,
            "annotator": event.annotator,
            "time": datetime.fromtimestamp(event.time, UTC).isoformat(timespec="milliseconds"),
            "event_id": event.id,
            "purpose": event.purpose,
            "acquisition": event.acquisition,
            "version": event.version,
            "ms": event.ms,
        }
        for sample, event in store.decisions()
        if sample.split != "gold"
        for one in [classes[root[event.class_id]] if event.class_id is not None else None]
    ]


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
