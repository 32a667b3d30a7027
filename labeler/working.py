"""Images at working size, or vectors, for the model: one memory-mapped array in cache/, to be deleted at any time."""

import logging
import os
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.images import fit, working_size
from storage import Sample, Store
from storage.images import is_as_imported, pack, read_image
from storage.plots import plot, scale_of

COLOUR_SHARE = 0.01  # more colour images than this, and the model sees colour
STALE_SECONDS = 3_600
LOOKED_AT = 200  # rows of a cache that are compared with their images
ALIKE = 4  # gray levels, in the mean: another version of Pillow resizes a little otherwise
Progress = Callable[[int, int], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class WorkingImages:
    """Every sample of the project: `sample_ids` int64 (N,) ascending, `array` uint8 (N, S, S) or (N, S, S, 3).

    Of vectors the array is float64 (N, D), with 0 channels and D as their size: the seconds of a time stamp do not
    fit into float32.
    """

    sample_ids: np.ndarray
    array: np.ndarray
    size: int
    channels: int


def working_images(folder: Path, store: Store, on_progress: Progress | None = None) -> WorkingImages:
    """From the cache where it is complete; what is missing there is added to what it has."""
    sample_ids = store.sample_ids()
    if len(sample_ids) == 0:
        raise ValueError("This project has no images yet. Import some: labeler import PROJECT SOURCE")
    size, channels = _shape(store)
    cache = folder / "cache"
    path = cache / f"images-{size}x{channels}-{sample_ids[-1]}.npy"  # ids only grow, so the last one tells them all
    array = _load(path, len(sample_ids), size, channels)
    if array is None:
        cache.mkdir(exist_ok=True)
        _build(path, folder, store, sample_ids, size, channels, on_progress or (lambda done, total: None))
        array = _load(path, len(sample_ids), size, channels)
    if array is None:  # more was imported meanwhile, and another process has put a longer one in its place
        return working_images(folder, store, on_progress)
    return WorkingImages(sample_ids, array, size, channels)


def cached_image(folder: Path, sample_ids: np.ndarray, sample_id: int, size: int, channels: int) -> np.ndarray | None:
    """One image as the cache has it; None where it has not. `sample_ids`: of all samples, or the first of them."""
    row = int(np.searchsorted(sample_ids, sample_id))
    for path in sorted((folder / "cache").glob(f"images-{size}x{channels}-*.npy"), key=_last_id, reverse=True):
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            continue
        if row < min(len(array), len(sample_ids)) and sample_ids[row] == sample_id:
            return np.array(array[row])
    return None


def _shape(store: Store) -> tuple[int, int]:
    """Working size and channels: chosen when first asked for, then kept, because a trained model depends on them.

    Vectors bring theirs with the import.
    """
    size, channels = store.setting("working_size"), store.setting("channels")
    if size is None or channels is None:
        samples = [sample for sample in store.samples() if sample.split != "gold"] or store.samples()
        size = working_size([max(sample.width, sample.height) for sample in samples])
        coloured = sum(sample.channels == 3 for sample in samples)
        channels = 3 if coloured > COLOUR_SHARE * len(samples) else 1
        store.set_setting("working_size", size)
        store.set_setting("channels", channels)
    return int(size), int(channels)


def _load(path: Path, n: int, size: int, channels: int) -> np.ndarray | None:
    """None where the file is missing, torn or of another shape."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.shape == _array_shape(n, size, channels) and array.dtype == _dtype(channels) else None


def _array_shape(n: int, size: int, channels: int) -> tuple[int, ...]:
    return {0: (n, size), 1: (n, size, size), 3: (n, size, size, 3)}[channels]


def _dtype(channels: int) -> type[np.generic]:
    return np.uint8 if channels else np.float64


def _build(
    path: Path, folder: Path, store: Store, sample_ids: np.ndarray, size: int, channels: int, on_progress: Progress
) -> None:
    """Written under another name and renamed, so that two processes may build at once and neither reads half."""
    _sweep(path.parent)
    before = _earlier(path, sample_ids, size, channels)
    known = 0 if before is None else len(before)
    draft = path.parent / f".building-{uuid.uuid4().hex}.npy"
    try:
        array = np.lib.format.open_memmap(draft, "w+", _dtype(channels), _array_shape(len(sample_ids), size, channels))
        _reserve(draft)
        if before is not None:
            array[:known] = before
        samples = store.samples() if known == 0 else store.samples(ids=sample_ids[known:].tolist())
        _fill(array, known, folder, samples, on_progress)
        array.flush()
        del array, before
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    for older in path.parent.glob(f"images-{size}x{channels}-*.npy"):
        if older != path and _last_id(older) < _last_id(path):
            _remove(older)


def stale_caches(folder: Path, store: Store) -> list[tuple[Path, str, bool]]:
    """Files of the cache that are of no use, why, and whether they mislead: show other images than the project's.

    Compared are some rows spread over each file, and those that are black, as an image is that could not be read.
    """
    size, channels = store.setting("working_size"), store.setting("channels")
    sample_ids, stale = store.sample_ids(), []
    for path in sorted((folder / "cache").glob("images-*.npy")):
        here = path.name.startswith(f"images-{size}x{channels}-") and _last_id(path) in sample_ids
        n = int(np.searchsorted(sample_ids, _last_id(path), side="right"))
        array = _load(path, n, size, channels) if here else None
        if array is None:
            stale.append((path, "is torn" if here else "is of no use any more", False))
        elif unlike := _rows_unlike(
            array, folder, store.samples(ids=sample_ids[_looked_at(array)].tolist()), sample_ids
        ):
            stale.append((path, f"shows something else than the images, in {unlike:,} rows looked at", True))
    return stale


def drafts(folder: Path) -> list[Path]:
    """What is being built in the cache, or was."""
    return sorted((folder / "cache").glob(".building-*"))


def _looked_at(array: np.ndarray) -> np.ndarray:
    dark = np.flatnonzero(~array.reshape(len(array), -1).any(1))[:LOOKED_AT]
    return np.union1d(dark, np.linspace(0, len(array) - 1, min(LOOKED_AT, len(array))).astype(int))


def _rows_unlike(array: np.ndarray, folder: Path, samples: list[Sample], sample_ids: np.ndarray) -> int:
    """How many of these samples are not what their rows hold. An original that is gone or changed tells nothing."""
    unlike = 0
    for sample in samples:
        row = array[np.searchsorted(sample_ids, sample.id)]
        try:
            if not is_as_imported(folder, sample):
                continue
            if array.ndim == 2 and sample.row is not None:
                unlike += not np.array_equal(row, np.asarray(pack(str(folder / sample.file))[sample.row], row.dtype))
            else:
                image = fit(read_image(folder, sample), array.shape[1], 3 if array.ndim == 4 else 1)
                unlike += bool(np.abs(image.astype(int) - row).mean() > ALIKE)
        except (OSError, ValueError, IndexError):
            continue
    return unlike


def _reserve(path: Path) -> None:
    """OSError now where the disk is too full: writing to a mapped file without room ends a process without a word."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as f:
            os.posix_fallocate(f.fileno(), 0, path.stat().st_size)


def _earlier(path: Path, sample_ids: np.ndarray, size: int, channels: int) -> np.ndarray | None:
    """The longest cache of fewer samples; its rows are the first rows of the new one."""
    for older in sorted(path.parent.glob(f"images-{size}x{channels}-*.npy"), key=_last_id, reverse=True):
        n = int(np.searchsorted(sample_ids, _last_id(older), side="right"))
        array = _load(older, n, size, channels)
        if array is not None and n < len(sample_ids):
            return array
    return None


def _fill(array: np.ndarray, first: int, folder: Path, samples: list[Sample], on_progress: Progress) -> None:
    """Rows from `first` on. Packs of just the working size are copied as arrays; all else is fitted one by one."""
    total, done = len(samples), 0
    singles: list[int] = []
    packs: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        if sample.row is not None and _fits(sample, array):
            packs.setdefault(sample.file, []).append(i)
        else:
            singles.append(i)
    for file, places in packs.items():
        rows = np.array([samples[i].row for i in places])
        try:
            array[first + np.array(places)] = pack(str(folder / file))[rows]
            done += len(places)
            on_progress(done, total)
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read, its images are left black, its vectors zero: %s", file, error)

    def fill_one(i: int) -> None:
        try:
            image = read_image(folder, samples[i])
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read, it is left black: %s", samples[i].name, error)
            return
        array[first + i] = fit(image, array.shape[1], 3 if array.ndim == 4 else 1)

    with ThreadPoolExecutor(4, thread_name_prefix="working") as workers:
        for n, _ in enumerate(workers.map(fill_one, singles), start=1):
            if n % 50 == 0 or n == len(singles):
                on_progress(done + n, total)


def _fits(sample: Sample, array: np.ndarray) -> bool:
    if array.ndim == 2:
        return True  # a project of vectors holds nothing else
    return (sample.height, sample.width) == array.shape[1:3] and sample.channels == (3 if array.ndim == 4 else 1)


def _last_id(path: Path) -> int:
    number = path.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _sweep(cache: Path) -> None:
    """Remove what a process that was killed left unfinished. Another one that builds may finish its own meanwhile."""
    for draft in cache.glob(".building-*"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > STALE_SECONDS:
                _remove(draft)


def _remove(*paths: Path) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except PermissionError:  # Windows, while another process still has it mapped: the next build removes it
            log.debug("%s is in use and stays for now", path)


def as_pictures(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """What a model made, for the eye: images as they are, vectors (..., D) as plots on the scale of the `real` ones."""
    if made.dtype == np.uint8:
        return made
    scale = scale_of(real)
    plots = np.stack([plot(vector, scale) for vector in made.reshape(-1, made.shape[-1])])
    return plots.reshape(*made.shape[:-1], *plots.shape[1:])
