"""One folder of images for each class, as torchvision's ImageFolder reads it, with labels.csv and classes.json beside.

Folder names are made safe for every system; classes.json says which class each one is, and an import reads it back.
"""

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.exporters.names import Names
from storage.exporters.rows import COLUMNS, whole_file, write_csv
from storage.images import as_png, read_image
from storage.store import Store
from storage.values import Sample

READ_BY_TRAINING_CODE = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
Progress = Callable[[int, int], None]


def write_tree(store: Store, folder: Path, out: Path, rows: list[dict[str, Any]], on_progress: Progress) -> int:
    """Returns how many originals are missing. `out` appears, or is filled, only when the rest is written."""
    draft = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.part")
    draft.mkdir(parents=True)
    try:
        missing = _write(store, folder, draft, rows, on_progress)
        if out.exists():  # an empty folder, perhaps the current one: it stays, and what is in it changes
            for entry in draft.iterdir():
                entry.rename(out / entry.name)
        else:
            draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return missing


def _write(store: Store, folder: Path, out: Path, rows: list[dict[str, Any]], on_progress: Progress) -> int:
    labeled = [row for row in rows if row["status"] == "label"]
    classes = store.classes(archived=True)
    present = {row["class_id"] for row in labeled}
    names = Names()
    names.unique("labels.csv")
    names.unique("classes.json")
    folders = {one.id: names.unique(one.name) for one in classes if one.id in present}
    samples = {sample.id: sample for sample in store.samples(ids=(row["sample_id"] for row in labeled))}
    inside = {class_id: Names() for class_id in folders}
    for name in folders.values():
        (out / name).mkdir()
    for done, row in enumerate(labeled, start=1):
        class_id = row["class_id"]
        try:
            file = _copy(folder, samples[row["sample_id"]], out / folders[class_id], inside[class_id])
            row["file"] = f"{folders[class_id]}/{file}"
        except FileNotFoundError:  # an original that was never copied and is gone: its label is not
            row["file"] = None
        on_progress(done, len(labeled))
    for name in folders.values():
        if not any((out / name).iterdir()):  # ImageFolder takes a class folder without images for an error
            (out / name).rmdir()
    write_csv(out / "labels.csv", rows, (*COLUMNS, "file"))
    listed = [{"id": one.id, "name": one.name, "folder": folders.get(one.id)} for one in classes]
    with whole_file(out / "classes.json") as text:
        json.dump({"classes": listed}, text, ensure_ascii=False, indent=2)
    return sum(row["file"] is None for row in labeled)


def _copy(folder: Path, sample: Sample, target: Path, names: Names) -> str:
    """The original's own bytes where training code reads such files, else a PNG. Returns the file's name."""
    original = folder / sample.file
    stem = Path(sample.name.replace("\\", "/")).stem or sample.name
    if sample.row is None and original.suffix.lower() in READ_BY_TRAINING_CODE:
        name = names.unique(stem, original.suffix.lower())
        shutil.copyfile(original, target / name)
        return name
    name = names.unique(stem, ".png")
    (target / name).write_bytes(as_png(read_image(folder, sample)))
    return name
