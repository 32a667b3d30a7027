"""The sheet of images decoded as every class, and generation.csv."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labeler import drawings
from model.checkpoint import Model
from model.evaluation import Judge, Seen
from model.generation import from_prior
from model.ssvae import SSVAE, VAEConfig

NAMES = ["zero", "one | two", *"23456789"]
Digits = tuple[np.ndarray, np.ndarray]


def untrained(shape: tuple[int, ...] = (1, 8, 8), names: list[str] = NAMES) -> Model:
    torch.manual_seed(0)
    vae = SSVAE(VAEConfig(shape=shape, n_classes=len(names), h_dim=16, width=4)).requires_grad_(False)
    vae.decoder.get_parameter("0.weight").mul_(5)  # so that classes differ
    return Model(vae, from_prior(vae.prior_mu, vae.prior_logvar), {"classes": names})


def tiles(path: Path, n_rows: int, n_columns: int, tile: int) -> np.ndarray:
    """The centres' pixels of the enlarged images, (rows, columns, ...)."""
    sheet = np.asarray(Image.open(path))
    left = [j * (tile + drawings.GAP) + (3 * drawings.GAP if j else 0) for j in range(n_columns)]
    top = [drawings.HEADER + i * (tile + drawings.GAP) for i in range(n_rows)]
    return np.array([[sheet[y : y + tile, x : x + tile] for x in left] for y in top])


def test_the_sheet_has_a_row_for_each_image_with_its_z_as_every_class_and_frames_its_own(
    digits: Digits, tmp_path: Path
) -> None:
    images, labels = digits[0][:60], digits[1][:60]
    model = untrained()
    drawings.as_class_sheet(tmp_path / "sheet.png", model, Seen(images, labels, np.empty((60, 128))), rows=12)
    found = tiles(tmp_path / "sheet.png", 12, 11, 64)
    shown = [np.flatnonzero(labels == k)[turn] for turn, k in [*((0, k) for k in range(10)), (1, 0), (1, 1)]]
    for i, row in enumerate(shown):
        whole = np.stack([images[row], *(model.as_class(images[row : row + 1], k)[0] for k in range(10))])
        enlarged = whole.repeat(8, axis=1).repeat(8, axis=2)
        np.testing.assert_array_equal(found[i], np.repeat(enlarged[..., None], 3, axis=3))
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    red = (sheet[..., 0] == 255) & (sheet[..., 1] == 0)
    for i, row in enumerate(shown):
        across = red[drawings.HEADER + i * 66 - 1]  # the gap above row i
        own = (labels[row] + 1) * 66 + 3 * drawings.GAP
        assert across[own : own + 64].all()


def test_a_sheet_of_many_classes_and_colours_stays_of_a_size_that_can_be_looked_at(tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(100)]
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    test = Seen(images, np.array([3, 3, 3, 50, 99]), np.empty((5, 128)))
    drawings.as_class_sheet(tmp_path / "sheet.png", untrained((3, 32, 32), names), test)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (101 * 34 + 6, 5 * 34 + 14)
    found = tiles(tmp_path / "sheet.png", 5, 1, 32)[:, 0]
    np.testing.assert_array_equal(found, images[[0, 3, 4, 1, 2]])


def test_the_rows_are_one_of_all_classes_and_one_of_each_and_the_report_shows_them(
    digits: Digits, judge: Judge, tmp_path: Path
) -> None:
    test, train = (
        Seen(digits[0][p], digits[1][p], judge.see(digits[0][p])[1]) for p in (slice(1500, None), slice(300))
    )
    rows = drawings.measure({"rng_seed": 3, "labels": 20}, untrained(), judge, test, train)
    drawings.write_rows(tmp_path / "generation.csv", rows)
    with open(tmp_path / "generation.csv", newline="") as f:
        stored = list(csv.DictReader(f))
    assert tuple(stored[0]) == drawings.COLUMNS
    assert [r["class"] for r in stored] == ["", *NAMES]
    assert {(r["rng_seed"], r["labels"]) for r in stored} == {("3", "20")}
    assert all(np.isfinite(float(v)) for name, v in stored[0].items() if name != "class")
    of_class = [float(r["generated_accuracy"]) for r in stored[1:]]
    assert float(stored[0]["generated_accuracy"]) == pytest.approx(np.mean(of_class), abs=1e-3)
    text = drawings.markdown(rows)
    assert "| 3 | one &#124; two | " in text
    assert f"| {rows[0]['asked_class_seen']:.1%} " in text


def test_what_does_not_exist_of_flat_images_is_left_out_and_shown_as_a_dash(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 1, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    labels = np.arange(40) % 2
    judge = Judge(8, 3, 3)
    seen = Seen(images, labels, judge.see(images)[1])
    rows = drawings.measure({"rng_seed": 3, "labels": 20}, untrained((3, 8, 8), list("abc")), judge, seen, seen)
    assert rows[0]["high_frequency"] is None
    assert rows[0]["checkerboard"] is None
    assert rows[3]["coverage"] is None
    drawings.write_rows(tmp_path / "generation.csv", rows)
    with open(tmp_path / "generation.csv", newline="") as f:
        assert next(csv.DictReader(f))["checkerboard"] == ""
    text = drawings.markdown(rows)
    assert "| – | – | " in text
    assert "nan" not in text
