"""What can be written: csv, jsonl, folder. Each says of every decided sample which class it has, or why none."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from storage.exporters.rows import COLUMNS, Row, annotated, decided, iso, write_csv, write_jsonl
from storage.exporters.tree import LeftOut, write_tree
from storage.samples import CHUNK
from storage.store import Store
from storage.values import DISPUTED, STATE_KINDS, Moment

FORMATS = ("csv", "jsonl", "folder")
OWN = ("images", "models", "cache")  # in a project's folder: whatever else lies there is a stranger to `check`
DECIDED = ("labeled", "skipped", "unsure", "flagged", "archived", DISPUTED)  # as counts() names them


def export(
    store: Store,
    folder: Path,
    out: Path,
    format: str,
    on_progress: Callable[[int, int], None] | None = None,
    at: Moment | None = None,
    annotations: bool = False,
) -> dict[str, Any]:
    """Write the labels of the project in `folder` to `out`; returns how many of each status and class.

    csv and jsonl: `out` is the file, or a folder in which labels.csv or labels.jsonl is written. folder: `out` is a new
    or empty folder. Nothing is ever overwritten, no device or pipe is written to, nor the project's own folders:
    ValueError.

    Labels that were undone are not there; skipped, unsure, flagged and disputed samples are in the table with an empty
    class, never in a class folder, and so are those labeled as a class that is archived now, with its name. A labeled
    image whose original is gone, or is not what was imported, has its label in the table and no file: with the folder
    format `left_out` lists them, `missing` and `changed` count.

    With `at` everything is as it was at that moment, but for the classes, which are those of now (docs/decisions/0015).
    Without, it is as it is when this begins, however much is labeled meanwhile.

    `annotations`: a row for each person's newest answer instead of one for each sample, reviewers' decisions among
    them, told by the column `review`. Only csv and jsonl.
    """
    if format not in FORMATS:
        raise ValueError(f"There is no format {format!r}; there are {', '.join(FORMATS)}.")
    if annotations and format == "folder":
        raise ValueError("A folder holds each image once. Write annotations as csv or jsonl.")
    out = Path(out).expanduser().absolute()
    if out.is_symlink():
        out = out.resolve()  # what it points to is written, and the link stays
    if format != "folder" and out.is_dir():
        out = out / f"labels.{format}"
    _must_be_free(out, format)
    _must_be_outside(out, Path(folder).resolve())
    moment = at or store.moment_after(store.last_event_id())
    classes = store.classes(archived=True)  # after the moment: whatever was labeled by then is of one of these
    counts = store.counts(moment)
    written: Counter[tuple[str, int | None]] = Counter()  # (status, class id) -> rows
    rows = _counted((annotated if annotations else decided)(store, moment.event_id, classes), written)
    on_progress = on_progress or (lambda done, total: None)
    out.parent.mkdir(parents=True, exist_ok=True)
    more: dict[str, Any] = {}
    if format == "folder":
        left_out = write_tree(Path(folder), out, rows, classes, counts["labeled"], on_progress)
        changed = sum(one.changed for one in left_out)
        more = {"missing": len(left_out) - changed, "changed": changed, "left_out": [_told(one) for one in left_out]}
    else:
        total = sum(counts[name] for name in DECIDED)
        write = write_csv if format == "csv" else write_jsonl
        columns = (*COLUMNS, "review") if annotations else COLUMNS
        write(out, _shown(rows, total, on_progress), columns)
    statuses: Counter[str] = Counter()
    for (status, _), n in written.items():
        statuses[status] += n
    return {
        **{status: statuses[status] for status in (*STATE_KINDS, "archived", DISPUTED)},
        "open": counts["open"],
        **more,
        "classes": {one.name: written["label", one.id] for one in classes if one.active},
        **({"at": {"event_id": at.event_id, "time": iso(at.time)}} if at is not None else {}),
        "out": str(out),
    }


def _counted(rows: Iterable[Row], written: Counter[tuple[str, int | None]]) -> Iterator[Row]:
    """The same rows. What they count up to is then what was written, whatever became of the classes meanwhile."""
    for sample, row in rows:
        written[row["status"], row["class_id"]] += 1
        yield sample, row


def _shown(rows: Iterable[Row], total: int, on_progress: Callable[[int, int], None]) -> Iterator[dict[str, Any]]:
    for done, (_, row) in enumerate(rows, start=1):
        yield row
        if done % CHUNK == 0:
            on_progress(done, total)


def _told(one: LeftOut) -> dict[str, Any]:
    return {"sample_id": one.sample.id, "name": one.sample.name, "file": one.sample.file, "reason": one.reason}


def _must_be_free(out: Path, format: str) -> None:
    """ValueError where something is in the way. The whole file takes the place of `out`: that of a device, too."""
    if out.name == "-" or (out.exists() and not (out.is_file() or out.is_dir())):
        raise ValueError(f"{out} is no ordinary file. Name one; another program can read it from there.")
    if format == "folder" and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder. Choose a new one, or empty it first.")
    if format != "folder" and out.exists() and out.stat().st_size > 0:
        raise ValueError(f"{out} exists already. Choose another name, or delete it first.")


def _must_be_outside(out: Path, folder: Path) -> None:
    if any(out.resolve().is_relative_to(folder / own) for own in OWN):
        raise ValueError(f"{out} is in a folder that the project keeps its own files in. Choose another one.")
