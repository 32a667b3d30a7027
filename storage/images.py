"""Images on disk: decoding whatever Pillow reads into uint8, and the project's own copies of the originals.

An original is `images/ab/<sha256>.<ext>`, or a row of `images/<sha256>.npy` (a pack) where the source was an array.
A pack may also hold vectors; their picture is a plot.
"""

import contextlib
import hashlib
import io
import os
import re
import threading
import uuid
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from storage.plots import plot, scale_of_file
from storage.processes import runs
from storage.values import Sample

DEFAULT_MEGAPIXELS = 50
INCOMING, DAMAGED = ".incoming", ".damaged"  # inside images/: being written; found to be something else
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
PLAIN_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}")  # right on every system, and in a backup
BROWSER_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
}

# Pillow only warns about a decompression bomb up to twice its limit. Here that is an error too, and the limit is
# ours: it is raised when somebody asks for larger images, never lowered.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
_limit = threading.Lock()


def decode(data: bytes, max_megapixels: float = DEFAULT_MEGAPIXELS) -> tuple[np.ndarray, str]:
    """Bytes of an image file -> (uint8 (H, W) or (H, W, 3), format). ValueError with a short reason."""
    if not data:
        raise ValueError("the file is empty (zero bytes)")
    _raise_pillow_limit(max_megapixels)
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > max_megapixels * 1e6:
                raise TooLarge
            format_ = image.format or ""
            image.load()  # everything: a truncated file shows itself only here
            return to_array(ImageOps.exif_transpose(image)), format_
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, TooLarge) as error:
        raise ValueError(f"more than {max_megapixels:g} megapixels (a larger limit can be given)") from error
    except Image.UnidentifiedImageError as error:
        raise ValueError("not an image that Pillow reads") from error
    except MemoryError as error:
        raise ValueError("too large for the memory of this machine") from error
    except Exception as error:  # Pillow's plugins raise whatever their parsers meet: OSError, SyntaxError, struct.error
        raise ValueError(f"damaged: {' '.join(str(error).split()) or type(error).__name__}") from error


class TooLarge(ValueError):
    """The header promises more pixels than we were told to take."""


def to_array(image: Image.Image) -> np.ndarray:
    """uint8 (H, W) where every pixel is gray, else (H, W, 3). Transparency is laid over white."""
    if image.mode == "1":
        image = image.convert("L")
    if image.mode == "L" and "transparency" not in image.info:
        return np.array(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _to_8_bits(np.array(image), image.mode)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return without_colour(np.array(image.convert("RGB")))


def without_colour(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W) when its three channels are the same; also for a stack (N, H, W, 3)."""
    red = image[..., 0]
    if np.array_equal(red, image[..., 1]) and np.array_equal(red, image[..., 2]):
        return np.ascontiguousarray(red)
    return image


def _to_8_bits(values: np.ndarray, mode: str) -> np.ndarray:
    """16-bit gray by its full range; 32-bit whole or real numbers have no agreed range, so by what is there."""
    if mode.startswith("I;16"):
        return (values.astype(np.uint32) // 257).astype(np.uint8)
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if mode == "I" and values.min() >= 0 and values.max() <= 65_535:  # Pillow gives some 16-bit files as 32-bit
        return (values / (257 if values.max() > 255 else 1)).astype(np.uint8)
    low, high = values.min(), values.max()
    return np.rint((values - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)


def read_image(project_folder: Path, sample: Sample) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3); of a vector its plot. FileNotFoundError or ValueError when it is gone or damaged."""
    path = Path(project_folder) / sample.file
    if sample.row is not None:
        row = np.array(pack(str(path))[sample.row])
        return row if row.ndim > 1 else plot(row, scale_of_file(str(path)))
    return decode(path.read_bytes(), _most_megapixels(sample))[0]


def is_as_imported(project_folder: Path, sample: Sample) -> bool:
    """Whether the original has the hash of the record. OSError, ValueError or IndexError where it cannot be read."""
    path = Path(project_folder) / sample.file
    if sample.row is not None:
        return sha256_of_row(np.array(pack(str(path))[sample.row])) == sample.sha256
    return hashlib.sha256(path.read_bytes()).hexdigest() == sample.sha256


def encoded(project_folder: Path, sample: Sample) -> tuple[bytes, str]:
    """What a browser can show, and its media type: the original's own bytes where it can show them, else PNG."""
    path = Path(project_folder) / sample.file
    if sample.row is None:
        data = path.read_bytes()
        media_type = _browser_type(data, sample)
        if media_type is not None:
            return data, media_type
    return as_png(read_image(project_folder, sample)), "image/png"


def _browser_type(data: bytes, sample: Sample) -> str | None:
    """None for what browsers do not show, or would show moving while the model sees the first frame."""
    with _opened(data, sample) as image:
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            return None
        return BROWSER_TYPES.get(image.format or "")


def fitting_suffix(data: bytes, sample: Sample, suffix: str) -> str:
    """For a file with these bytes: this suffix where it is one of their format, else the usual one, '' for none."""
    try:
        with _opened(data, sample) as image:
            format_ = image.format or ""
    except Image.UnidentifiedImageError:  # it was imported where Pillow could read it
        return suffix
    fits = Image.registered_extensions().get(suffix) == format_
    return suffix if fits else SUFFIXES.get(format_, "")


def _opened(data: bytes, sample: Sample) -> Image.Image:
    """An original, of which Pillow reads no more than the header yet."""
    _raise_pillow_limit(_most_megapixels(sample))
    return Image.open(io.BytesIO(data))


def _most_megapixels(sample: Sample) -> float:
    """Of an original: as many as were let in when it was imported."""
    return max(DEFAULT_MEGAPIXELS, sample.width * sample.height / 1e6)


def as_png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def as_npy(vector: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, vector, allow_pickle=False)
    return buffer.getvalue()


@lru_cache(maxsize=32)
def pack(path: str) -> np.ndarray:
    """A pack's rows, memory-mapped: uint8 (N, H, W) or (N, H, W, 3), or vectors (N, D) of any kind of number."""
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def sha256_of_row(image: np.ndarray) -> str:
    """What names a row of an array, as a file's own bytes name the file: its pixels and its shape."""
    if image.ndim == 1:
        return hashlib.sha256(f"{len(image)} {image.dtype.str}:".encode() + image.tobytes()).hexdigest()
    height, width, *channels = image.shape
    return hashlib.sha256(f"{height}x{width}x{channels or 1}:".encode() + image.tobytes()).hexdigest()


def keep_original(project_folder: Path, data: bytes, sha256: str, format_: str, suffix: str) -> str:
    """Copy an original into the project by its content; returns its path relative to the project folder."""
    suffix = SUFFIXES.get(format_, suffix.lower() if PLAIN_SUFFIX.fullmatch(suffix) else "")
    file = f"images/{sha256[:2]}/{sha256}{suffix}"
    target = project_folder / file
    if not target.exists() or target.stat().st_size != len(data):
        _write(project_folder, target, data)
    return file


def put_back(project_folder: Path, file: str, data: bytes) -> None:
    """An original that was gone or damaged, whole again. What was in its place is moved aside, never deleted."""
    move_aside(project_folder, file)
    _write(project_folder, project_folder / file, data)


def move_aside(project_folder: Path, file: str) -> None:
    """What is in the place of an original and is not it goes into images/.damaged."""
    target, aside = project_folder / file, project_folder / "images" / DAMAGED
    if target.exists():
        aside.mkdir(parents=True, exist_ok=True)
        os.replace(target, aside / f"{uuid.uuid4().hex[:8]}-{target.name}")


def keep_pack(project_folder: Path, images: np.ndarray) -> str:
    """Store an array of images as one file; returns its path relative to the project folder."""
    with _incoming(project_folder) as (file, unfinished):
        hashed = _Hashed(file)
        np.save(hashed, np.ascontiguousarray(images), allow_pickle=False)
        name = f"images/{hashed.sha256.hexdigest()}.npy"
        _on_disk(file)
        os.replace(unfinished, project_folder / name)
    return name


def sha256_of_pack(images: np.ndarray) -> str:
    """The hash that `keep_pack` would name this array by."""
    with open(os.devnull, "wb") as nowhere:
        hashed = _Hashed(nowhere)
        np.save(hashed, np.ascontiguousarray(images), allow_pickle=False)
    return hashed.sha256.hexdigest()


class _Hashed:
    """A file that hashes what is written to it, so that a large array is neither copied nor read again."""

    def __init__(self, file: BinaryIO) -> None:
        self.sha256 = hashlib.sha256()
        self._file = file

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)


def clear_incoming(project_folder: Path) -> None:
    """Remove what imports left half written that were killed."""
    for unfinished in left_incoming(project_folder):
        unfinished.unlink(missing_ok=True)


def left_incoming(project_folder: Path) -> list[Path]:
    """Half-written originals of processes that run no more."""
    named = [(path, path.name.partition("-")[0]) for path in (project_folder / "images" / INCOMING).glob("*-*")]
    return [path for path, pid in named if not pid.isdecimal() or not runs(int(pid))]


def _write(project_folder: Path, target: Path, data: bytes) -> None:
    """All of the file or none of it, on disk before its name is: a sample's row is written after this returns."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _incoming(project_folder) as (file, unfinished):
        file.write(data)
        _on_disk(file)
        os.replace(unfinished, target)


@contextlib.contextmanager
def _incoming(project_folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file to be written and then renamed; gone when that does not come to pass."""
    incoming = project_folder / "images" / INCOMING
    incoming.mkdir(parents=True, exist_ok=True)
    unfinished = incoming / f"{os.getpid()}-{uuid.uuid4().hex}"
    try:
        with unfinished.open("wb") as file:
            yield file, unfinished
    finally:
        unfinished.unlink(missing_ok=True)


def _on_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _raise_pillow_limit(megapixels: float) -> None:
    with _limit:
        pixels = int(megapixels * 1e6)
        if Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:
            Image.MAX_IMAGE_PIXELS = pixels
