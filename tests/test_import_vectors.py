"""Vectors at the door: rows of numbers are told from images, kept as they are, and shown as plots."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labeler import Project
from labeler.check import check
from labeler.working import as_pictures
from model.learner import Learner
from storage.exporters import export
from storage.images import encoded, read_image
from storage.importers import open_source
from storage.plots import HEIGHT, PAPER, WIDTH, plot, scale_of

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(30, 7)) * 10.0 ** np.arange(-3, 4)  # features of very different units
LABELS = np.arange(30) % 3


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    return save(tmp_path / "v.npz", x=ROWS, y=LABELS, classes=np.array(["a", "b", "c"]))


@pytest.mark.parametrize(
    ("given", "are_images"),
    [
        (RNG.normal(size=(5, 64)), False),  # a square number, but negative
        (RNG.random((5, 13)), False),
        (RNG.random((5, 16)), False),  # 4x4 is no picture
        (RNG.random((5, 64)) * 99, False),  # not whole, and above 1
        (RNG.integers(0, 9, (5, 10)), False),
        (RNG.random((5, 64)), True),
        (RNG.integers(0, 17, (5, 64)), True),
        (RNG.integers(0, 256, (5, 16), dtype=np.uint8), True),
    ],
)
def test_rows_of_numbers_are_vectors_unless_they_can_be_square_pictures(tmp_path, given, are_images):
    rows, _ = open_source(save(tmp_path / "a.npz", x=given)).load_arrays("all")
    if are_images:
        side = round(given.shape[1] ** 0.5)
        assert (rows.shape, rows.dtype) == ((5, side, side), np.uint8)
    else:
        np.testing.assert_array_equal(rows, given)
        assert rows.dtype == given.dtype


def test_the_pack_is_the_original_and_the_model_gets_its_numbers(tmp_path, vectors):
    with Project.create(tmp_path / "p", []) as p:
        report = p.import_(vectors, labels=True, measure_share=0)
        assert (report.added, report.labels) == (30, 30)
        sample = p.store.samples()[4]
        assert (sample.row, sample.width, sample.height) == (4, 7, 1)
        np.testing.assert_array_equal(np.load(p.folder / sample.file), ROWS)
        images = p.images()
        assert (images.size, images.channels, images.array.dtype) == (7, 0, np.float64)
        np.testing.assert_array_equal(images.array, ROWS)
        again = p.import_(vectors, measure_share=0)
        assert (again.added, again.duplicates) == (0, 30)
        more = save(tmp_path / "more.npz", x=np.concatenate([ROWS[:2], ROWS[:3] + 1]))
        assert p.import_(more, measure_share=0).added == 3
        np.testing.assert_array_equal(p.images().array[30:], ROWS[:3] + 1)
        assert check(p.folder, p.store) == []


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_time_stamp_is_a_feature_like_others(tmp_path, dtype):
    seconds = 1.7e9 + np.linspace(0, 60, 30)
    save(tmp_path / "v.npz", x=np.column_stack([np.random.default_rng(0).normal(size=(30, 6)), seconds]).astype(dtype))
    with Project.create(tmp_path / "p", ["a", "b"]) as p:
        p.import_(tmp_path / "v.npz", measure_share=0)
        learner = Learner(p.images().array, 2)
    of_time = learner.images[:, 6]
    if dtype is np.float64:
        assert len(np.unique(of_time)) == 30
        assert abs(of_time.std() - 1) < 0.01
    else:  # what the file has lost is not made up for by a rounding blown up
        assert of_time.std() < 0.5


def test_a_vector_is_shown_as_its_plot(tmp_path, vectors):
    with Project.create(tmp_path / "p", ["a"]) as p:
        p.import_(vectors, measure_share=0)
        sample = p.store.samples()[0]
        data, media_type = encoded(p.folder, sample)
        assert media_type == "image/png"
        shown = np.asarray(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(shown, plot(ROWS[0], scale_of(ROWS)))
        np.testing.assert_array_equal(shown, read_image(p.folder, sample))


def test_vectors_leave_as_npy_files_with_their_numbers(tmp_path, vectors):
    with Project.create(tmp_path / "p", []) as p:
        p.import_(vectors, labels=True, measure_share=0)
        export(p.store, p.folder, tmp_path / "out", "folder")
    files = sorted((tmp_path / "out").glob("*/*"))
    assert [file.parent.name for file in files] == ["a"] * 10 + ["b"] * 10 + ["c"] * 10
    np.testing.assert_array_equal([np.load(file) for file in files[:10]], ROWS[::3])


@pytest.mark.parametrize("order", ["vectors first", "images first"])
def test_vectors_and_images_do_not_mix(tmp_path, vectors, image_folder, order):
    sources = [vectors, image_folder]
    with Project.create(tmp_path / "p", ["a"]) as p:
        first, second = sources if order == "vectors first" else reversed(sources)
        p.import_(first, measure_share=0)
        n = p.store.counts()["samples"]
        with pytest.raises(ValueError, match=r"This project holds .* Make a new project"):
            p.import_(second, measure_share=0)
        assert p.store.counts()["samples"] == n
        assert len(p.images().array) == n


def test_a_model_gives_no_probability_of_what_is_not_a_number(tmp_path, vectors):
    with Project.create(tmp_path / "p", ["a", "b"]) as p:
        p.import_(vectors, measure_share=0)
        model = Learner(p.images().array, 2).as_model(["a", "b"])
    assert np.isfinite(model.predict_proba(ROWS[:2])).all()
    with pytest.raises(ValueError, match="NaN or infinite"):
        model.predict_proba(np.full((2, 7), np.nan))


def test_vectors_of_another_length_are_refused(tmp_path, vectors):
    with Project.create(tmp_path / "p", ["a"]) as p:
        p.import_(vectors, measure_share=0)
        with pytest.raises(ValueError, match=r"vectors of 7 numbers, the source vectors of 6"):
            p.import_(save(tmp_path / "w.npz", x=ROWS[:, :6]), measure_share=0)


def test_vectors_with_missing_numbers_are_refused_with_their_count(tmp_path):
    x = ROWS.copy()
    x[3, 1], x[5, 2] = np.nan, np.inf
    with Project.create(tmp_path / "p", ["a"]) as p, pytest.raises(ValueError, match="2 of 30 vectors hold NaN"):
        p.import_(save(tmp_path / "v.npz", x=x))


def test_vectors_with_numbers_beyond_float32_are_refused_with_their_count(tmp_path):
    x = ROWS.copy()
    x[3, 1], x[5, 2] = 1e300, -1e39
    with Project.create(tmp_path / "p", ["a"]) as p, pytest.raises(ValueError, match="2 of 30 vectors hold NaN"):
        p.import_(save(tmp_path / "v.npz", x=x))
    x[3, 1], x[5, 2] = 1e38, -1e38
    assert len(open_source(save(tmp_path / "w.npz", x=x)).load_arrays("all")[0]) == 30


def test_a_plot_shows_each_feature_by_its_own_spread_or_a_curve_by_one():
    low = plot(np.percentile(ROWS, 1, axis=0), scale_of(ROWS))
    high = plot(np.percentile(ROWS, 99, axis=0), scale_of(ROWS))
    assert low.shape == (HEIGHT, WIDTH)
    assert (low[: HEIGHT // 2 - 1] == PAPER).all()  # all bars at the bottom
    assert (high[10:-10] < PAPER).mean() > 0.8
    curves = np.sin(np.arange(50) / 5) + RNG.normal(0, 0.1, (20, 1)) * np.ones(50)
    scale = scale_of(curves)
    assert len(set(scale.low)) == len(set(scale.high)) == 1
    ink = np.argmax(plot(curves[0], scale) < 100, axis=0)[8:-8]  # the upmost dark pixel of each column
    wave = np.interp(np.linspace(0, 49, len(ink)), np.arange(50), curves[0])
    assert np.corrcoef(ink, wave)[0, 1] < -0.9


def test_a_feature_that_never_changes_does_not_break_the_plot():
    assert (plot(np.full(5, 3.0), scale_of(np.full((9, 5), 3.0))) < PAPER).any()


def test_drawn_vectors_are_shown_on_the_scale_of_the_real_ones():
    made = ROWS[:6].reshape(2, 3, 7).astype(np.float32)
    pictures = as_pictures(made, ROWS)
    assert pictures.shape == (2, 3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(pictures[1, 2], plot(made[1, 2], scale_of(ROWS)))
    images = np.zeros((2, 3, 8, 8), np.uint8)
    assert as_pictures(images, images) is images
