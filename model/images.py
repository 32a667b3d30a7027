"""Images as the network sees them: square, of the working size, gray or colour, uint8."""

from collections.abc import Sequence

import numpy as np
from PIL import Image


def working_size(sizes: Sequence[int]) -> int:
    """Side in pixels that holds the median of the longer sides: a multiple of 4 from 8 to 32, else of 8 up to 64."""
    median = int(np.median(sizes)) if len(sizes) else 28
    for size in (*range(8, 33, 4), *range(40, 65, 8)):
        if size >= median:
            return size
    return 64


def fit(image: np.ndarray, size: int, channels: int) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) -> uint8 (size, size) or (size, size, 3).

    Its longer side becomes `size`, and the median of its border fills the square (so that nothing is stretched); an
    image smaller than the working size is enlarged.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(f"expected uint8 (H, W) or (H, W, 3), got {image.dtype} {image.shape}")
    image = _with_channels(image, channels)
    h, w = image.shape[:2]
    if (h, w) == (size, size):
        return image
    high, wide = (max(1, round(side * size / max(h, w))) for side in (h, w))
    resized = Image.fromarray(image).resize((wide, high), Image.Resampling.BILINEAR, reducing_gap=3.0)
    if h == w:
        return np.asarray(resized)
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    square = np.empty((size, size, *image.shape[2:]), np.uint8)
    square[:] = np.median(border, axis=0).astype(np.uint8)
    top, left = (size - high) // 2, (size - wide) // 2
    square[top : top + high, left : left + wide] = np.asarray(resized)
    return square


def fit_all(images: Sequence[np.ndarray] | np.ndarray, size: int, channels: int) -> np.ndarray:
    """Any images -> uint8 (N, size, size) or (N, size, size, 3); vectors, with 0 channels, -> float64 (N, size)."""
    if channels == 0:
        return np.asarray(images, np.float64)
    want = (size, size) if channels == 1 else (size, size, 3)
    if isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.shape[1:] == want:
        return images
    out = np.empty((len(images), *want), np.uint8)
    for i, image in enumerate(images):
        out[i] = fit(image, size, channels)
    return out


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    colour = image.ndim == 3
    if colour and image.shape[2] == 1:
        image, colour = image[..., 0], False
    if channels == 3 and not colour:
        return np.repeat(image[..., None], 3, axis=2)
    if channels == 1 and colour:
        return np.asarray(Image.fromarray(image).convert("L"))
    return image
