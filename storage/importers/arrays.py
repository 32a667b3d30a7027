"""Sources that are arrays (IDX, .npz): images of any shape and type become uint8 rows, vectors stay as they are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from storage.classes import composed
from storage.images import without_colour
from storage.importers.source import Item, must_be_part


@dataclass(frozen=True)
class ArrayPart:
    """A part not yet read: how many images, and how to get them and their labels."""

    n: int
    images: Callable[[], np.ndarray]
    labels: Callable[[], np.ndarray | None]


class ArraySource:
    """Rows in memory. Labels are names; whole numbers are written as such, and a negative one means no label."""

    def __init__(self, kind: str, parts: dict[str, ArrayPart], classes: list[str] | None, name: str) -> None:
        self.kind = kind
        self.classes = None if classes is None else [composed(name) for name in classes]
        self.parts = {part: found.n for part, found in parts.items()}
        self._parts = parts
        self._name = name
        self._read: dict[str, tuple[np.ndarray, list[str | None] | None]] = {}

    def items(self, part: str) -> Iterator[Item]:
        images, labels = self._arrays(part)
        prefix = self._name if part == "all" else f"{self._name}-{part}"
        for row in range(len(images)):
            yield Item(f"{prefix}-{row:05d}", row=row, image=images[row], label=labels[row] if labels else None)

    def load_arrays(self, part: str) -> tuple[np.ndarray, list[str] | None]:
        images, labels = self._arrays(part)
        if labels is not None and None in labels:
            raise ValueError(f"{labels.count(None)} images of {part} have no label. Give every image one.")
        return images, [label for label in labels if label is not None] if labels is not None else None

    def images(self, part: str) -> np.ndarray:
        """All of a part as one array."""
        return self._arrays(part)[0]

    def _arrays(self, part: str) -> tuple[np.ndarray, list[str | None] | None]:
        must_be_part(self, part)
        if part not in self._read:
            images = as_rows(self._parts[part].images(), self._name)
            labels = self._parts[part].labels()
            names = label_names(labels, self.classes) if labels is not None else None
            if names is not None and len(names) != len(images):
                raise ValueError(f"{self._name} has {len(images)} images in {part} but {len(names)} labels.")
            self._read = {part: (images, names)}  # one part at a time: they can be large
        return self._read[part]


def as_rows(array: np.ndarray, name: str) -> np.ndarray:
    """Images as uint8 (N, H, W) or (N, H, W, 3), or vectors (N, D) as they are. ValueError for what is neither."""
    return checked_vectors(array, name) if are_vectors(array) else as_images(array, name)


def are_vectors(array: np.ndarray) -> bool:
    """Two dimensions, and no square images of at least 8x8 pixels written as one row each."""
    if array.ndim != 2 or array.dtype.kind not in "iuf" or array.dtype == np.uint8 or array.size == 0:
        return False
    side = round(array.shape[1] ** 0.5)
    if side < 8 or side * side != array.shape[1]:
        return True
    low, high = float(array.min()), float(array.max())
    pixels = low >= 0 and (high <= 1 or (high <= 255 and np.array_equal(array, np.rint(array))))
    return not pixels


def checked_vectors(array: np.ndarray, name: str) -> np.ndarray:
    """The array itself. ValueError where a number is missing: nobody but its owner knows what to put there."""
    with np.errstate(over="ignore"):
        whole = np.isfinite(array.astype(np.float32, copy=False)).all(axis=1)  # as the model takes them
    if not whole.all():
        raise ValueError(
            f"{name}: {(~whole).sum():,} of {len(array):,} vectors hold NaN or infinite numbers, or beyond 3.4e38. "
            "Fill them in first."
        )
    return array


def as_images(array: np.ndarray, name: str) -> np.ndarray:
    """Any usual layout -> uint8 (N, H, W) or (N, H, W, 3). ValueError for one that is not images."""
    array = _as_stack(array, name)
    if 0 in array.shape[1:]:
        raise ValueError(f"{name} holds images without pixels: shape {array.shape}.")
    array = _as_uint8(array, name)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim == 4 and array.shape[3] == 4:
        alpha = array[..., 3:].astype(np.uint16)
        array = ((array[..., :3] * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
    return without_colour(array) if array.ndim == 4 and len(array) else array


def _as_stack(array: np.ndarray, name: str) -> np.ndarray:
    """-> (N, H, W) or (N, H, W, 1, 3 or 4), from channels first and from square images written as one row each."""
    if array.ndim == 2 and (side := round(array.shape[1] ** 0.5)) ** 2 == array.shape[1]:
        return array.reshape(len(array), side, side)
    if array.ndim == 3:
        return array
    if array.ndim == 4 and array.shape[3] in (1, 3, 4):
        return array
    if array.ndim == 4 and array.shape[1] in (1, 3, 4):
        return np.moveaxis(array, 1, 3)
    raise ValueError(f"{name} has shape {array.shape}; images are (N, H, W), (N, H, W, 3) or (N, 3, H, W).")


def _as_uint8(array: np.ndarray, name: str) -> np.ndarray:
    """Real numbers up to 1 are shares of 255; whole numbers must be 0 to 255, as must other real ones."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} holds {array.dtype} values; pixels are numbers from 0 to 255, or from 0 to 1.")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if not (low >= 0 and high <= 255):  # also true of NaN
        raise ValueError(f"{name} has pixels from {low:g} to {high:g}; they must be from 0 to 255, or from 0 to 1.")
    scale = 255 if array.dtype.kind == "f" and high <= 1 else 1
    return np.rint(array * scale).astype(np.uint8)


def label_names(labels: np.ndarray, classes: list[str] | None) -> list[str | None]:
    """Labels as names: text as it is, whole numbers by `classes` where the source names them."""
    if labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "iufb":
        labels = labels.argmax(1)  # one-hot rows
    labels = labels.reshape(-1)
    if labels.dtype.kind in "US":
        texts = np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels
        return [composed(str(text)) or None for text in texts]
    if labels.dtype.kind not in "iufb" or not np.array_equal(labels, np.rint(labels)):
        raise ValueError(f"Labels are class names or whole numbers; these are {labels.dtype}.")
    numbers = [int(number) for number in labels]
    if classes is None:
        return [str(number) if number >= 0 else None for number in numbers]
    if numbers and max(numbers) >= len(classes):
        raise ValueError(f"Label {max(numbers)} is beyond the {len(classes)} class names of this source.")
    return [classes[number] if number >= 0 else None for number in numbers]
