"""IDX files, MNIST's format: plain or gzipped; a folder with train- and t10k- names, or one file of images."""

import gzip
import re
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from storage.importers.arrays import ArrayPart, ArraySource

TYPES: dict[int, np.dtype[Any]] = {
    8: np.dtype("u1"),
    9: np.dtype("i1"),
    11: np.dtype(">i2"),
    12: np.dtype(">i4"),
    13: np.dtype(">f4"),
}
IMAGES = re.compile(r"^(?P<before>.*)images?(?P<middle>[-.]idx)[34](?P<after>.*)$", re.IGNORECASE)
PARTS = {"train": "train", "t10k": "test", "test": "test", "val": "val"}


def find(path: Path) -> dict[str, Path]:
    """Part -> file of images: of a folder by name, of a single file whatever it is called; empty when none is."""
    if path.is_file():
        return {_part_of(path): path} if _shape(path) is not None else {}
    files = sorted(file for file in path.iterdir() if IMAGES.match(file.name) and file.is_file())
    found: dict[str, Path] = {}
    for file in files:
        found.setdefault(_part_of(file), file)  # the plain one before the gzipped one
    return found


def open_idx(path: Path) -> ArraySource:
    found = find(path)
    if not found:
        raise ValueError(f"{path} is not an IDX file of images (such as train-images-idx3-ubyte.gz).")
    parts = {}
    for part, file in found.items():
        shape = _shape(file)
        if shape is None or len(shape) < 3:
            raise ValueError(f"{file} is not an IDX file of images: it should have 3 or 4 dimensions.")
        beside = labels_beside(file)
        parts[part] = ArrayPart(shape[0], partial(read, file), partial(read, beside) if beside else _no_labels)
    return ArraySource("idx", parts, None, path.name.split(".")[0] if path.is_file() else path.resolve().name)


def labels_beside(images: Path) -> Path | None:
    """The labels of a file of images, by its name: train-images-idx3-ubyte -> train-labels-idx1-ubyte, gz or not."""
    named = IMAGES.match(images.name)
    if named is None:
        return None
    name = f"{named['before']}labels{named['middle']}1{named['after']}"
    bare = name.removesuffix(".gz")
    for candidate in (name, bare, f"{bare}.gz"):
        if (images.parent / candidate).is_file():
            return images.parent / candidate
    return None


def read(path: Path) -> np.ndarray:
    """The whole array of an IDX file. ValueError where the file is damaged or shorter than its header says."""
    try:
        with _open(path) as file:
            dtype, shape = _header(file)
            data = file.read()
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise ValueError(f"{path} is damaged: {error}. Fetch it again.") from error
    expected = int(np.prod(shape)) * dtype.itemsize
    if len(data) != expected:
        raise ValueError(f"{path} is damaged: {len(data):,} bytes of data where {expected:,} are due. Fetch it again.")
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _shape(path: Path) -> tuple[int, ...] | None:
    """The shape in the header; None where this is no IDX file."""
    try:
        with _open(path) as file:
            return _header(file)[1]
    except (ValueError, EOFError, zlib.error, struct.error, gzip.BadGzipFile):
        return None


def _header(file: BinaryIO) -> tuple[np.dtype[Any], tuple[int, ...]]:
    zero, code, dimensions = struct.unpack(">HBB", file.read(4))
    if zero != 0 or code not in TYPES or not 1 <= dimensions <= 4:
        raise ValueError("not an IDX file")
    return TYPES[code], struct.unpack(f">{dimensions}I", file.read(4 * dimensions))


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")  # type: ignore[return-value]


def _part_of(file: Path) -> str:
    return PARTS.get(re.split(r"[-_.]", file.name.lower())[0], "all")


def _no_labels() -> None:
    return None
