"""What a model draws, for eyes and in figures: the sheet of images decoded as every class, and generation.csv."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from labeler import curve
from labeler.curve import rounded, shown
from labeler.working import as_pictures
from model.checkpoint import Model
from model.evaluation import Judge, Seen, generation_figures
from storage.classes import short

COLUMNS = (
    "rng_seed", "labels", "class", "generated_accuracy", "coverage", "coverage_floor", "asked_class_seen",
    "true_class_seen", "style_moved", "style_moved_floor", "variety", "high_frequency", "checkerboard",
    "generated_frechet", "reconstructed_frechet", "frechet_floor",
)  # fmt: skip
FIGURES = COLUMNS[3:]
ROWS = 20  # test images of a sheet
GAP, HEADER = 2, 14  # pixels of a sheet
SIDE, WIDTH = 64, 1600  # pixels of an image and of a sheet that enlarging may reach


def measure(about: dict[str, Any], model: Model, judge: Judge, test: Seen, train: Seen) -> list[dict[str, Any]]:
    """Rows of generation.csv: one of all classes, whose class is empty, and one for each class.

    A figure that does not exist is None: of flat images the frequencies, of a class without test images its coverage.
    """
    whole, of_class = generation_figures(model, judge, test, train)
    named = zip(["", *model.classes], [whole, *of_class], strict=True)
    return [{**about, "class": name, **rounded(figures)} for name, figures in named]


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    curve.write_rows(path, rows, COLUMNS)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A section for a report: what y and z mean to the decoder, and how near the drawings come to real images."""
    lines = [
        "## Drawings",
        "",
        "Test images decoded as another class: the judge sees the class asked for, or still the true one; style moved "
        "is the squared distance in z of image and drawing over that of two images (0 kept, 0.5 or more when z is "
        "ignored), beside plain reconstructions; variety the variance among drawings of one class over that among its "
        "real images (0 when z is ignored). Coverage: share of real test images that a drawing is nearer to than "
        "their 5th nearest real one, beside real training images in the place of drawings. High "
        "frequencies (below 1 blur, above 1 speckle) and the checkerboard are relative to real images. Frechet beside "
        "plain reconstructions and real training images.",
        "",
        "| seed | labels | class seen: asked | true | style moved | variety | coverage | high frequencies "
        "| checkerboard | Frechet |",
        "| ---: " * 10 + "|",
    ]
    for row in rows:
        if row["class"] == "":
            share, two, three = (_cells(row, how) for how in (".1%", ".2f", ".3g"))
            lines.append(
                f"| {row['rng_seed']} | {row['labels']:,} | {share['asked_class_seen']} "
                f"| {share['true_class_seen']} | {two['style_moved']} ({two['style_moved_floor']}) "
                f"| {two['variety']} | {two['coverage']} ({two['coverage_floor']}) | {two['high_frequency']} "
                f"| {two['checkerboard']} | {three['generated_frechet']} ({three['reconstructed_frechet']}, "
                f"{three['frechet_floor']}) |"
            )
    lines += ["", "By class:", "", "| seed | class | generated accuracy | coverage | asked class seen |"]
    lines.append("| ---: | :--- " + "| ---: " * 3 + "|")
    for row in rows:
        if row["class"] != "":
            share, two = _cells(row, ".1%"), _cells(row, ".2f")
            lines.append(
                f"| {row['rng_seed']} | {short(row['class']).replace('|', '&#124;')} | {share['generated_accuracy']} "
                f"| {two['coverage']} ({two['coverage_floor']}) | {share['asked_class_seen']} |"
            )
    return "\n".join([*lines, ""])


def _cells(row: dict[str, Any], how: str) -> dict[str, str]:
    """The figures of a row in one format."""
    return {name: shown(value, how) for name, value in row.items() if name in FIGURES}


def as_class_sheet(path: Path, model: Model, test: Seen, rows: int = ROWS) -> None:
    """A picture: test images, the classes in turn, each beside its z decoded as every class. Its own is framed."""
    chosen = _in_turn(test.labels, rows)
    images, labels = test.images[chosen], test.labels[chosen]
    decoded = [model.as_class(images, k) for k in range(len(model.classes))]
    columns = [as_pictures(column, test.images) for column in (images, *decoded)]
    scale = max(1, min(SIDE, WIDTH // len(columns)) // columns[0].shape[1])
    tile = columns[0].shape[1] * scale + GAP
    sheet = Image.new("RGB", (len(columns) * tile + 3 * GAP, len(images) * tile + HEADER), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    for j, (name, column) in enumerate(zip(["image", *model.classes], columns, strict=True)):
        left = j * tile + (3 * GAP if j else 0)
        pen.text((left, 1), _cut(name, tile - GAP, font), "black", font)
        for i, image in enumerate(column):
            top = HEADER + i * tile
            if j - 1 == labels[i]:
                pen.rectangle((left - GAP, top - GAP, left + tile - 1, top + tile - 1), "red")
            enlarged = Image.fromarray(image).resize((tile - GAP, tile - GAP), Image.Resampling.NEAREST)
            sheet.paste(enlarged.convert("RGB"), (left, top))
    sheet.save(path)


def _in_turn(labels: np.ndarray, n: int) -> np.ndarray:
    """Positions of n images, the first of each class, then the second of each, and so on."""
    turn = np.zeros(len(labels), int)
    for k in np.unique(labels):
        turn[labels == k] = np.arange((labels == k).sum())
    return np.lexsort((labels, turn))[:n]


def _cut(name: str, width: int, font: Any) -> str:
    """As much of a name as fits over its column."""
    text = short(name)
    while len(text) > 1 and font.getlength(text) > width:
        text = text[:-1]
    return text
