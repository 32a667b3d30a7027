"""What can be written: csv, jsonl, folder. Each says of every decided sample which class it has, or why none."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.exporters.rows import decided, write_csv, write_jsonl
from storage.exporters.tree import LeftOut, write_tree
from storage.store import Store
from storage.values import STATE_KINDS

FORMATS = ("csv", "jsonl", "folder")


def export(
    store: Store, folder: Path, out: Path, format: str, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Write the labels of the project in `folder` to `out`; returns how many of each status and class.

    csv and jsonl: `out` is the file, or a folder in which labels.csv or labels.jsonl is written. folder: `out` is a new
    or empty folder. Nothing is ever overwritten. Labels that were undone are not there; skipped, unsure and flagged
    samples are in the table with an empty class, never in a class folder, and so are those labeled as a class that is
    archived now, with its name. A labeled image whose original is
    gone, or is not what was imported, has its label in the table and no file: with the folder format `left_out` lists
    them, and `missing` and `changed` count them.
    """
    if format not in FORMATS:
        raise ValueError(f"There is no format {format!r}; there are {', '.join(FORMATS)}.")
    out = Path(out).expanduser().absolute()
    if format != "folder" and out.is_dir():
        out = out / f"labels.{format}"
    _must_be_free(out, format)
    rows = decided(store)
    out.parent.mkdir(parents=True, exist_ok=True)
    more: dict[str, Any] = {}
    if format == "csv":
        write_csv(out, rows)
    elif format == "jsonl":
        write_jsonl(out, rows)
    else:
        left_out = write_tree(store, Path(folder), out, rows, on_progress or (lambda done, total: None))
        changed = sum(one.changed for one in left_out)
        more = {"missing": len(left_out) - changed, "changed": changed, "left_out": [_told(one) for one in left_out]}
    kinds = Counter(row["status"] for row in rows)
    classes = Counter(row["class"] for row in rows if row["status"] == "label")
    return {
        **{kind: kinds[kind] for kind in (*STATE_KINDS, "archived")},
        "open": store.counts()["open"],
        **more,
        "classes": {one.name: classes[one.name] for one in store.classes()},
        "out": str(out),
    }


def _told(one: LeftOut) -> dict[str, Any]:
    return {"sample_id": one.sample.id, "name": one.sample.name, "file": one.sample.file, "reason": one.reason}


def _must_be_free(out: Path, format: str) -> None:
    if format == "folder" and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder. Choose a new one, or empty it first.")
    if format != "folder" and out.exists() and out.stat().st_size > 0:
        raise ValueError(f"{out} exists already. Choose another name, or delete it first.")
