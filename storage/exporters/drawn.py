"""Drawn images as a zip in the layout of the folder export: a folder for each class, labels.csv, classes.json, and
manifest.json, which says that they are synthetic, as each image does.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from storage.exporters.names import Names
from storage.exporters.rows import COLUMNS, write_table
from storage.images import as_npy
from storage.synthetic import MANIFEST, Origin, as_marked_png, manifest

SYNTHETIC = "synthetic"  # the status in labels.csv
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same drawings make the same zip


def write_drawn(to: IO[bytes], origin: Origin, classes: Iterable[tuple[int, str, np.ndarray]]) -> None:
    """`classes`: id, name and images of each, uint8 (n, H, W) or (n, H, W, 3), or vectors (n, D), which become .npy."""
    names = Names()
    for taken in ("labels.csv", "classes.json", MANIFEST):
        names.unique(taken)
    rows: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    with zipfile.ZipFile(to, "w") as archive:
        for class_id, name, images in classes:
            folder = names.unique(name)
            for i, image in enumerate(images):
                vector = image.ndim == 1
                data = as_npy(image) if vector else as_marked_png(image, origin, **{"class": name, "number": i})
                file = f"{folder}/{i:05d}{'.npy' if vector else '.png'}"
                _put(archive, file, data)
                about = {"status": SYNTHETIC, "class": name, "class_id": class_id, "version": origin.version}
                rows.append({"name": file, "sha256": hashlib.sha256(data).hexdigest(), "file": file, **about})
            listed.append({"id": class_id, "name": name, "folder": folder, "images": len(images)})
        table = io.StringIO()
        write_table(table, rows, (*COLUMNS, "file"))
        _put(archive, "labels.csv", table.getvalue().encode())
        _put(archive, "classes.json", json.dumps({"classes": listed}, ensure_ascii=False, indent=2).encode())
        _put(archive, MANIFEST, manifest(origin, classes=listed, images=len(rows)).encode())


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    how = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
    archive.writestr(zipfile.ZipInfo(name, EPOCH), data, how)
