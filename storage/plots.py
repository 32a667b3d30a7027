"""A vector as a small gray picture, so that a person can look at it: bars of few features, a line of many."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT, EDGE = 192, 128, 6  # pixels
MOST_BARS = 40
LOOKED_AT = 5_000  # rows that the scale is taken from
ALIKE = 20.0  # features whose spreads differ by less than this factor share one scale: a curve stays a curve
PAPER, INK, RULE = 255, 40, 190


@dataclass(frozen=True, eq=False)
class Scale:
    """What is drawn at the lower and at the upper edge: (D,) each."""

    low: np.ndarray
    high: np.ndarray


def scale_of(vectors: np.ndarray) -> Scale:
    """By the 1st and 99th percentile of some rows of vectors (N, D); one for all features where they are alike."""
    step = max(1, len(vectors) // LOOKED_AT)
    low, high = np.percentile(np.asarray(vectors[::step], np.float64), [1, 99], axis=0)
    spread = high - low
    varied = spread[spread > 0]
    if len(varied) and varied.max() <= ALIKE * np.median(varied):
        low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
    flat = high <= low
    return Scale(np.where(flat, low - 1, low), np.where(flat, high + 1, high))


@lru_cache(maxsize=32)
def scale_of_file(path: str) -> Scale:
    """The scale of a pack of vectors."""
    return scale_of(np.load(path, mmap_mode="r", allow_pickle=False))


def plot(vector: np.ndarray, scale: Scale) -> np.ndarray:
    """vector (D,) -> uint8 (HEIGHT, WIDTH). What is beyond the scale ends at the edge."""
    share = ((vector - scale.low) / (scale.high - scale.low)).clip(0, 1)  # (D,)
    picture = Image.new("L", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(picture)
    bottom, inner = HEIGHT - EDGE, HEIGHT - 2 * EDGE
    heights = bottom - share * inner
    pen.line((EDGE, bottom - inner / 2, WIDTH - EDGE, bottom - inner / 2), RULE)
    if len(vector) <= MOST_BARS:
        edges = np.linspace(EDGE, WIDTH - EDGE, len(vector) + 1)
        for left, right, top in zip(edges[:-1], edges[1:], heights, strict=True):
            pen.rectangle((left + 1, top, max(right - 1, left + 1), bottom), INK)
    else:
        places = np.linspace(EDGE, WIDTH - EDGE, len(vector))
        pen.line(list(zip(places.tolist(), heights.tolist(), strict=True)), INK)
    return np.array(picture)
