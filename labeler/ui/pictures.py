"""Pictures for the browser: originals, thumbnails, and the sheet of what the model draws."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from storage import Sample
from storage.images import encoded, read_image

THUMBNAIL = 128  # pixels of the longer side, enough for a sharp tile on a dense screen


def original(folder: Path, sample: Sample) -> tuple[bytes, str]:
    """(bytes, media type) of the image as it was imported."""
    return encoded(folder, sample)


def is_large(sample: Sample) -> bool:
    """Worth a thumbnail of its own."""
    return max(sample.width, sample.height) > THUMBNAIL


def thumbnail(folder: Path, sample: Sample) -> tuple[bytes, str]:
    """A small picture; an image that is small already stays as it is."""
    if not is_large(sample):
        return encoded(folder, sample)
    image = Image.fromarray(read_image(folder, sample))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=82)
    return out.getvalue(), "image/jpeg"


def sheet(path: Path) -> bytes | None:
    """The file's images (C, n, H, W[, 3]) side by side in one PNG: a row for each class. None when it is gone."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)  # (C, n, H, W) or (C, n, H, W, 3)
    except (OSError, ValueError):
        return None
    rows = [np.concatenate(list(row), axis=1) for row in images]  # each (H, n * W[, 3])
    out = io.BytesIO()
    Image.fromarray(np.concatenate(rows, axis=0)).save(out, "PNG")
    return out.getvalue()
