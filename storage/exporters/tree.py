"""One folder of images for each class, as torchvision's ImageFolder reads it, with labels.csv and classes.json beside.

Folder names are made safe for every system; classes.json says which class each one is, and an import reads it back.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from storage.exporters.names import Names
from storage.exporters.rows import COLUMNS, Row, whole_file, write_csv
from storage.images import as_npy, as_png, fitting_suffix, pack, read_image, sha256_of_row
from storage.values import Class, Sample

READ_BY_TRAINING_CODE = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LeftOut:
    """A labeled image whose original is not there as it was imported: its label is in the table, its file is not."""

    sample: Sample
    reason: str
    changed: bool


class Unlike(ValueError):
    """An original is no longer what was imported."""


def write_tree(
    folder: Path, out: Path, rows: Iterable[Row], classes: Sequence[Class], labels: int, on_progress: Progress
) -> list[LeftOut]:
    """What was decided, of which so many are `labels`, each of one of these classes. Returns what is left out.

    `out` appears, or is filled, when all the others are written.
    """
    draft = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.part")
    draft.mkdir(parents=True)
    try:
        left_out = _write(folder, draft, rows, [one for one in classes if one.active], labels, on_progress)
        if out.exists():  # an empty folder, perhaps the current one: it stays, and what is in it changes
            for entry in draft.iterdir():
                entry.rename(out / entry.name)
        else:
            draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return left_out


def _write(
    folder: Path, out: Path, rows: Iterable[Row], classes: Sequence[Class], labels: int, on_progress: Progress
) -> list[LeftOut]:
    names = Names()
    names.unique("labels.csv")
    names.unique("classes.json")
    folders = {one.id: names.unique(one.name) for one in classes}
    inside: dict[int, Names] = {}  # ImageFolder takes a class folder without images for an error: only those with some
    left_out: list[LeftOut] = []

    def filed() -> Iterator[dict[str, Any]]:
        """Each row once its file is written, so that neither rows nor samples pile up."""
        done = 0
        for sample, row in rows:
            if row["status"] == "label":
                row["file"] = write_original(sample, row["class_id"])
                done += 1
                on_progress(done, labels)
            yield row

    def write_original(sample: Sample, class_id: int) -> str | None:
        found = _original(folder, sample)
        if isinstance(found, LeftOut):
            left_out.append(found)
            return None
        suffix, data = found
        if class_id not in inside:
            inside[class_id] = Names()
            (out / folders[class_id]).mkdir()
        stem = Path(sample.name.replace("\\", "/")).stem or sample.name
        file = inside[class_id].unique(stem, suffix)
        (out / folders[class_id] / file).write_bytes(data)
        return f"{folders[class_id]}/{file}"

    write_csv(out / "labels.csv", filed(), (*COLUMNS, "file"))
    listed = [
        {"id": one.id, "name": one.name, "folder": folders[one.id] if one.id in inside else None} for one in classes
    ]
    with whole_file(out / "classes.json") as text:
        json.dump({"classes": listed}, text, ensure_ascii=False, indent=2)
    return left_out


def _original(folder: Path, sample: Sample) -> tuple[str, bytes] | LeftOut:
    """Suffix and bytes of the file to be: the original's own where training code reads such files, else PNG or .npy."""
    try:
        return _row(folder, sample) if sample.row is not None else _file(folder, sample)
    except FileNotFoundError:
        return LeftOut(sample, "the file is gone", changed=False)
    except OSError as error:
        return LeftOut(sample, f"the file cannot be read ({error.strerror})", changed=False)
    except Unlike:
        return LeftOut(sample, "the file is not what was imported", changed=True)


def _file(folder: Path, sample: Sample) -> tuple[str, bytes]:
    original = folder / sample.file
    data = original.read_bytes()
    if hashlib.sha256(data).hexdigest() != sample.sha256:
        raise Unlike
    suffix = fitting_suffix(data, sample, original.suffix.lower())
    if suffix in READ_BY_TRAINING_CODE:
        return suffix, data
    return ".png", as_png(read_image(folder, sample))


def _row(folder: Path, sample: Sample) -> tuple[str, bytes]:
    try:
        images = pack(str(folder / sample.file))
        image = images[sample.row]
    except (ValueError, EOFError, IndexError) as error:  # no array any more, or one with fewer rows
        raise Unlike from error
    if sha256_of_row(image) != sample.sha256:
        raise Unlike
    return (".npy", as_npy(image)) if image.ndim == 1 else (".png", as_png(np.array(image)))
