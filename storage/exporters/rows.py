"""What every format writes about a decided sample, and how a table of that is written."""

import contextlib
import csv
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from storage.classes import roots_of
from storage.store import Store
from storage.values import Class, Event, Sample

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
Row = tuple[Sample, dict[str, Any]]  # of a decided sample: what stands in COLUMNS


def decided(store: Store, at: int, classes: Sequence[Class]) -> Iterator[Row]:
    """Each sample that was labeled, skipped, unsure or flagged at an event, and its row, by id. Gold images are none.

    A label of a merged class is one of the class it was merged into; one of an archived class has that for a status.
    `classes`: all there are. Read while they are written, so that a million rows take no more memory than a thousand.
    """
    for sample, _, row in _rows(store.decisions(at), classes):
        yield sample, row


def annotated(store: Store, at: int, classes: Sequence[Class]) -> Iterator[Row]:
    """Each person's newest answer to each sample, as `decided` has the one of all of them, and whether a review."""
    for sample, event, row in _rows(store.annotations(at), classes):
        yield sample, {**row, "review": int(event.review)}


def _rows(
    answers: Iterable[tuple[Sample, Event]], classes: Sequence[Class]
) -> Iterator[tuple[Sample, Event, dict[str, Any]]]:
    by_id = {one.id: one for one in classes}
    counts_as = {class_id: by_id[root] for class_id, root in roots_of(classes).items()}
    for sample, event in answers:
        if sample.split != "gold":
            yield sample, event, _row(sample, event, None if event.class_id is None else counts_as[event.class_id])


def _row(sample: Sample, event: Event, one: Class | None) -> dict[str, Any]:
    return {
        "sample_id": sample.id,
        "name": sample.name,
        "sha256": sample.sha256,
        "status": "archived" if one is not None and one.archived else event.kind,
        "class": one.name if one is not None else None,
        "class_id": one.id if one is not None else None,
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
        write_table(file, rows, columns)


def write_table(file: IO[str], rows: Iterable[dict[str, Any]], columns: Iterable[str]) -> None:
    """Lines that end with a line feed, in a file that translates none."""
    writer = csv.DictWriter(_Lines(file), list(columns), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)


class _Lines:
    """Lines of csv that ended with CR LF: it quotes a CR in a name only where lines end so too (until Python 3.13)."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix("\r\n") + "\n")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]], columns: Iterable[str] = COLUMNS) -> None:
    """One JSON object a line."""
    names = list(columns)
    with whole_file(path) as file:
        for row in rows:
            file.write(json.dumps({name: row[name] for name in names}, ensure_ascii=False) + "\n")


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
