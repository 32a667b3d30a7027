"""NumPy archives: xtr, ytr, xte, yte (also x_train ...), or x and, where it is labeled, y; `classes` may name them.

x holds images, or vectors (N, D) of real numbers; arrays.py says how they are told apart.
"""

import lzma
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from storage.importers.arrays import ArrayPart, ArraySource

LAYOUTS = (  # name of the part, of its images, of its labels
    ("train", ("xtr", "x_train", "train_images", "X_train"), ("ytr", "y_train", "train_labels")),
    ("val", ("xva", "x_val", "val_images"), ("yva", "y_val", "val_labels")),
    ("test", ("xte", "x_test", "test_images", "X_test"), ("yte", "y_test", "test_labels")),
    ("all", ("x", "X", "images", "arr_0"), ("y", "labels", "arr_1")),
)
# What a damaged file raises: zip (RuntimeError: of a kind, or with a password, that it cannot read) and NumPy's header.
OF_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError)
DAMAGED = (*OF_ZIP, ValueError, EOFError, OSError, MemoryError)


def open_npz(path: Path) -> ArraySource:
    shapes = _shapes(path)
    parts = {}
    for part, image_names, label_names in LAYOUTS:
        images = next((name for name in image_names if name in shapes), None)
        labels = next((name for name in label_names if name in shapes), None)
        if images is not None:
            parts[part] = ArrayPart(
                shapes[images][0], partial(_read, path, images), partial(_read, path, labels) if labels else _no_labels
            )
    if not parts:
        raise ValueError(f"{path} holds {', '.join(shapes) or 'nothing'}; expected x (and y), or xtr, ytr, xte, yte.")
    classes = [str(name) for name in _read(path, "classes")] if "classes" in shapes else None
    return ArraySource("npz", parts, classes, path.stem)


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of each array, from the headers alone."""
    shapes = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".npy"):
                    with archive.open(name) as file:
                        shapes[name.removesuffix(".npy")] = _shape(file)
    except DAMAGED as error:
        raise ValueError(f"{path} is not a readable .npz file: {error}") from error
    return {name: shape for name, shape in shapes.items() if len(shape) > 0}


def _shape(file: IO[bytes]) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return tuple(read(file)[0])


def _read(path: Path, name: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as archive:
            array: np.ndarray = archive[name]
            return array
    except DAMAGED as error:
        raise ValueError(f"{name} in {path} cannot be read: {error}") from error


def _no_labels() -> None:
    return None
