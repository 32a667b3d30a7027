"""Labeled sets made on the spot, the same on every machine: for tests and benchmarks of data unlike Fashion-MNIST.

glyphs       letters, digits and signs in many fonts, gray 28x28 (any size), 2 to 100 classes
textures     colour 32x32: the pattern tells the class, the colours do not
photos       colour 64x64 (any size): lit objects in front of crops of real photographs, with clutter
vectors      real numbers on curved manifolds, 20 features
table        scikit-learn's wine or breast cancer table: features of very different units
opened       one that is in files already
few_digits   scikit-learn's 8x8 digits, the first class a hundred times as frequent as the last
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from sklearn.datasets import load_breast_cancer, load_digits, load_sample_image, load_wine

from storage.importers import open_source

FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic",
)  # fmt: skip
# The first n make n classes. Pairs that differ in size alone, such as c and C, are left out.
SIGNS = (
    "ABEFGHKRSTabeghnrt23456789DJLMNPQUWXYZdfqyCVO"
    "ΓΔΘΛΞΠΣΦΨΩαβγδεζηλμξπτφψБДЖЛЦЧЩЫЭЮЯ&%@#$?!+=<*§€£¥∞√¶∫÷"
)  # fmt: skip
TEXTURES = ("rows", "columns", "dots", "clouds", "diagonal", "checks", "rings", "grain")
OBJECTS = ("ring", "star", "cube", "ball", "cone", "cross")


class Labeled(NamedTuple):
    xtr: np.ndarray  # uint8 (N, S, S) or (N, S, S, 3), or float32 (N, D)
    ytr: np.ndarray  # int64 (N,)
    xte: np.ndarray
    yte: np.ndarray
    names: list[str]


def opened(source: Path) -> Labeled:
    """A labeled source with a training and a test part, such as a folder of IDX files."""
    found = open_source(source)
    (xtr, ytr), (xte, yte) = (found.load_arrays(part) for part in ("train", "test"))
    if ytr is None or yte is None:
        raise ValueError(f"{source} has no labels")
    names = found.classes or sorted(set(ytr))
    train, test = (np.array([names.index(name) for name in of], np.int64) for of in (ytr, yte))
    return Labeled(np.asarray(xtr), train, np.asarray(xte), test, list(names))


def save(data: Labeled, path: Path) -> Path:
    """An .npz that `labeler simulate` and `labeler import` read."""
    np.savez(path, xtr=data.xtr, ytr=data.ytr, xte=data.xte, yte=data.yte, classes=np.array(data.names))
    return path


def glyphs(n_train: int, n_test: int, n_classes: int = 10, size: int = 28, rng_seed: int = 0) -> Labeled:
    rng = np.random.default_rng(rng_seed)
    return _made(n_train, n_test, list(SIGNS[:n_classes]), lambda k: _glyph(SIGNS[k], size, rng), rng)


def textures(n_train: int, n_test: int, n_classes: int = 8, rng_seed: int = 0) -> Labeled:
    rng = np.random.default_rng(rng_seed)
    return _made(n_train, n_test, list(TEXTURES[:n_classes]), lambda k: _texture(TEXTURES[k], 32, rng), rng)


def photos(n_train: int, n_test: int, n_classes: int = 6, size: int = 64, rng_seed: int = 0) -> Labeled:
    rng = np.random.default_rng(rng_seed)
    return _made(n_train, n_test, list(OBJECTS[:n_classes]), lambda k: _scene(OBJECTS[k], size, rng), rng)


def vectors(n_train: int, n_test: int, n_classes: int = 5, dim: int = 20, rng_seed: int = 0) -> Labeled:
    """Each class is two patches of a plane, bent by a random two-layer network into `dim` features, with noise."""
    rng = np.random.default_rng(rng_seed)
    centres = rng.normal(0, 2.0, (n_classes, 2, 4))
    first, second = rng.normal(0, 0.7, (4, 32)), rng.normal(0, 0.5, (32, dim))
    units = 10.0 ** rng.uniform(-2, 3, dim)

    def vector(k: int) -> np.ndarray:
        place = centres[k, rng.integers(2)] + rng.normal(0, 0.7, 4)
        return (units * (np.tanh(place @ first) @ second + rng.normal(0, 0.3, dim))).astype(np.float32)

    return _made(n_train, n_test, [f"class {k}" for k in range(n_classes)], vector, rng)


def table(name: str, rng_seed: int = 0) -> Labeled:
    """'wine' (178 rows, 13 features, 3 classes) or 'breast_cancer' (569, 30, 2); a third of it is for testing."""
    data = {"wine": load_wine, "breast_cancer": load_breast_cancer}[name]()
    order = np.random.default_rng(rng_seed).permutation(len(data.target))
    x, y = data.data[order].astype(np.float32), data.target[order].astype(np.int64)
    n = len(y) * 2 // 3
    return Labeled(x[:n], y[:n], x[n:], y[n:], [str(one) for one in data.target_names])


def few_digits(rng_seed: int = 0) -> Labeled:
    """Digit k has 100 / 100^(k/9) training images: 100 of 0, one of 9. The test part is all the others, balanced."""
    data = load_digits()
    x, y = (data.images * 255 / 16).round().astype(np.uint8), data.target.astype(np.int64)
    order = np.random.default_rng(rng_seed).permutation(len(y))
    train = np.concatenate([order[y[order] == k][: round(100 ** (1 - k / 9))] for k in range(10)])
    test = np.setdiff1d(order, train)
    return Labeled(x[train], y[train], x[test], y[test], [str(k) for k in range(10)])


def _made(
    n_train: int, n_test: int, names: list[str], make: Callable[[int], np.ndarray], rng: np.random.Generator
) -> Labeled:
    y = rng.integers(len(names), size=n_train + n_test)
    x = np.stack([make(int(k)) for k in y])
    return Labeled(x[:n_train], y[:n_train], x[n_train:], y[n_train:], names)


# ---------- glyphs ----------
@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", size)


def _glyph(sign: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """White on black, drawn three times as large, turned, slanted, scaled and moved, then reduced."""
    side = 3 * size
    font = _font(FONTS[rng.integers(len(FONTS))], int(side * 0.62))
    canvas = Image.new("L", (side, side))
    ImageDraw.Draw(canvas).text((side / 2, side / 2), sign, 255, font, anchor="mm")
    turn, slant, scale = rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2), rng.uniform(0.85, 1.25)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn) + slant], [np.sin(turn), np.cos(turn)]])
    shift = side / 2 - matrix @ (side / 2 + rng.uniform(-0.06, 0.06, 2) * side)
    affine = (*matrix[0], shift[0], *matrix[1], shift[1])
    moved = canvas.transform(canvas.size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    ink = np.asarray(moved.resize((size, size), Image.Resampling.BOX), np.float32) * rng.uniform(0.7, 1)
    return _bytes(ink / 255 + rng.normal(0, 0.02, ink.shape))


# ---------- textures ----------
def _texture(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Two random colours, mixed by a pattern in [0, 1] (size, size), with uneven light and noise."""
    pattern = _pattern(kind, size, rng)[..., None]
    dark, light = _two_colours(rng)
    image = dark + (light - dark) * pattern
    slope = np.linspace(-1, 1, size) * rng.uniform(-0.15, 0.15)
    image = image * (1 + slope[:, None, None]) + rng.normal(0, 0.03, image.shape)
    return _bytes(image)


def _two_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    while True:
        a, b = rng.random((2, 3))
        if np.abs(a - b).mean() > 0.25:
            return a, b


def _pattern(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    row, column = np.mgrid[:size, :size] / size
    if kind == "clouds":
        return _smooth_noise(size, 5, rng)
    if kind == "grain":
        return (rng.random((size, size)) < rng.uniform(0.3, 0.7)).astype(float)
    turn, waves = rng.uniform(-0.15, 0.15), 2 * np.pi * rng.uniform(3, 6)
    a = waves * (column * np.cos(turn) + row * np.sin(turn)) + rng.uniform(0, 7)
    b = waves * (row * np.cos(turn) - column * np.sin(turn)) + rng.uniform(0, 7)
    top, left = rng.uniform(0.25, 0.75, 2)
    wave = {
        "rows": lambda: np.sin(b),
        "columns": lambda: np.sin(a),
        "diagonal": lambda: np.sin((a + b) / np.sqrt(2)),
        "checks": lambda: 2 * np.sign(np.sin(a) * np.sin(b)),
        "dots": lambda: 3 * (np.sin(a) * np.sin(b) + np.sin(a) + np.sin(b) - 1),
        "rings": lambda: np.sin(waves * np.hypot(row - top, column - left)),
    }[kind]()
    return 1 / (1 + np.exp(-rng.uniform(2, 6) * wave))


def _smooth_noise(size: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    coarse = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), float) / 255


# ---------- photos ----------
@cache
def _background(name: str) -> np.ndarray:
    return load_sample_image(name)


def _scene(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """An object of any colour, lit from a side, before a crop of a photograph, with a few small things around."""
    photograph = _background(("china.jpg", "flower.jpg")[rng.integers(2)])
    side = int(rng.integers(size, 3 * size))
    top, left = rng.integers(photograph.shape[0] - side), rng.integers(photograph.shape[1] - side)
    canvas = Image.fromarray(photograph[top : top + side, left : left + side]).resize((2 * size, 2 * size))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(4)):
        x, y, r = *rng.uniform(0, 2 * size, 2).tolist(), rng.uniform(2, size / 6)
        draw.ellipse((x - r, y - r, x + r, y + r), tuple(int(c) for c in rng.integers(0, 256, 3)))
    mask = Image.new("L", canvas.size)
    _object(kind, ImageDraw.Draw(mask), size, rng)
    inside = np.asarray(mask, np.float32)[..., None] / 255
    row, column = np.mgrid[-1 : 1 : 2j * size, -1 : 1 : 2j * size]
    angle = rng.uniform(0, 2 * np.pi)
    light = 0.75 + 0.45 * (np.cos(angle) * row + np.sin(angle) * column)[..., None]
    colour = rng.uniform(0.15, 1, 3)
    image = np.asarray(canvas, np.float32) / 255 * rng.uniform(0.5, 1)
    image = image * (1 - inside) + colour * light * inside
    picture = Image.fromarray(_bytes(image)).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1)))
    return _bytes(np.asarray(picture.resize((size, size), Image.Resampling.BOX), np.float32) / 255)


def _object(kind: str, draw: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    """Its outline, filled with 255, about half as wide as the picture of 2 size x 2 size."""
    centre, r = size + rng.uniform(-0.25, 0.25, 2) * size, size * rng.uniform(0.45, 0.7)
    turn = rng.uniform(-0.3, 0.3)

    def at(radii: list[float], angles: np.ndarray) -> list[tuple[float, float]]:
        return [
            (centre[0] + r * q * np.cos(a + turn), centre[1] + r * q * np.sin(a + turn))
            for q, a in zip(radii, angles, strict=True)
        ]

    box = (centre[0] - r, centre[1] - r, centre[0] + r, centre[1] + r)
    if kind == "ball":
        draw.ellipse(box, 255)
    elif kind == "ring":
        draw.ellipse(box, outline=255, width=int(r / 2.5))
    elif kind == "cube":
        draw.polygon(at([1.15] * 4, np.pi * (np.arange(4) / 2 + 0.25)), 255)
    elif kind == "cone":
        draw.polygon(at([1.2] * 3, np.pi * (np.arange(3) * 2 / 3 - 0.5)), 255)
    elif kind == "cross":
        arm = np.array([(1, -0.35), (1, 0.35), (0.35, 0.35)])
        ends = np.concatenate([arm, arm @ [[0, 1], [-1, 0]], -arm, arm @ [[0, -1], [1, 0]]])
        draw.polygon(at(np.hypot(*ends.T).tolist(), np.arctan2(ends[:, 1], ends[:, 0])), 255)
    else:
        draw.polygon(at([1.25, 0.5] * 5, np.pi * (np.arange(10) / 5 - 0.5)), 255)


def _bytes(image: np.ndarray) -> np.ndarray:
    return (image.clip(0, 1) * 255).round().astype(np.uint8)
