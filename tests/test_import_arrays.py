"""Importing IDX files and .npz: whatever their layout, the same images and labels come out."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from labeler import Project
from storage.images import read_image
from storage.importers import open_source

X = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
COLOUR = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def idx(path: Path, array: np.ndarray) -> Path:
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A folder with the four standard names, half of them gzipped."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    idx(folder / "train-images-idx3-ubyte.gz", X)
    idx(folder / "train-labels-idx1-ubyte.gz", Y)
    idx(folder / "t10k-images-idx3-ubyte", X[::-1])
    idx(folder / "t10k-labels-idx1-ubyte", Y[::-1])
    return folder


def test_a_folder_of_idx_files_has_a_train_and_a_test_part(mnist: Path) -> None:
    source = open_source(mnist)
    assert (source.kind, source.parts, source.classes) == ("idx", {"train": 6, "test": 6}, None)
    images, labels = source.load_arrays("test")
    assert np.array_equal(images, X[::-1])
    assert labels == ["2", "1", "0", "2", "1", "0"]
    items = list(source.items("train"))
    assert [(item.name, item.row, item.label) for item in items[:2]] == [
        ("mnist-train-00000", 0, "0"),
        ("mnist-train-00001", 1, "1"),
    ]


def test_one_idx_file_finds_its_labels_beside_it(mnist: Path) -> None:
    for name in ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte"):
        source = open_source(mnist / name)
        assert sum(source.parts.values()) == 6
        assert source.load_arrays(next(iter(source.parts)))[1] is not None
    alone = idx(mnist / "whatever.idx", X)
    assert open_source(alone).load_arrays("all")[1] is None


def test_idx_files_of_four_dimensions_are_colour(tmp_path: Path) -> None:
    idx(tmp_path / "train-images-idx4-ubyte", COLOUR)
    assert np.array_equal(open_source(tmp_path).load_arrays("train")[0], COLOUR)


@pytest.mark.parametrize("cut", [3, 12, 40])
def test_a_damaged_idx_file_is_one_clear_error(mnist: Path, tmp_path: Path, cut: int) -> None:
    for name in ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte"):
        path = mnist / name
        path.write_bytes(path.read_bytes()[:cut])
        with Project.create(tmp_path / f"p-{name}", ["a", "b", "c"]) as p:
            with pytest.raises(ValueError, match=r"IDX|damaged"):
                p.import_(path)
            assert p.store.counts()["samples"] == 0


@pytest.mark.parametrize(
    ("arrays", "parts"),
    [
        ({"x": X, "y": Y}, {"all": 6}),
        ({"x": X}, {"all": 6}),
        ({"xtr": X, "ytr": Y, "xte": X[:2], "yte": Y[:2]}, {"train": 6, "test": 2}),
        ({"x_train": X, "y_train": Y, "x_test": X[:2], "y_test": Y[:2]}, {"train": 6, "test": 2}),
    ],
)
def test_npz_layouts(tmp_path: Path, arrays: dict[str, np.ndarray], parts: dict[str, int]) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    source = open_source(tmp_path / "a.npz")
    assert source.parts == parts
    images, labels = source.load_arrays(next(iter(parts)))
    assert np.array_equal(images, X)
    assert labels == (["0", "1", "2", "0", "1", "2"] if len(arrays) > 1 else None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (X[..., None], X),
        (X.reshape(6, 64), X),
        (X / 255.0, X),
        ((X / 255.0).astype(np.float32), X),
        (X.astype(np.float64), X),
        (X.astype(np.int64), X),
        (X > 127, np.where(X > 127, 255, 0)),
        (COLOUR, COLOUR),
        (np.moveaxis(COLOUR, 3, 1), COLOUR),
        (np.repeat(X[..., None], 3, axis=3), X),
        (np.concatenate([COLOUR, np.full((6, 8, 8, 1), 255, np.uint8)], axis=3), COLOUR),
    ],
)
def test_whatever_shape_and_type_becomes_uint8_images(tmp_path: Path, given: np.ndarray, expected: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", x=given)
    images = open_source(tmp_path / "a.npz").load_arrays("all")[0]
    assert isinstance(images, np.ndarray)
    assert images.dtype == np.uint8
    assert np.array_equal(images, expected)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": X.astype(np.int64) * 2}, "from 0 to 255"),
        ({"x": np.full((2, 8, 8), np.nan)}, "from 0 to 255"),
        ({"x": X.astype(str)}, "pixels are numbers"),
        ({"x": X[0, 0]}, "shape"),
        ({"x": X[:, :0]}, "without pixels"),
        ({"x": X, "y": Y[:3]}, "6 images in all but 3 labels"),
        ({"x": X, "y": Y + 0.5}, "whole numbers"),
        ({"z": X}, "holds z"),
        ({"x": X, "y": Y, "classes": np.array(["a", "b"])}, "beyond the 2 class names"),
    ],
)
def test_arrays_that_are_no_images_are_one_clear_error(
    tmp_path: Path, arrays: dict[str, np.ndarray], reason: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with Project.create(tmp_path / "p", ["a"]) as p:
        with pytest.raises(ValueError, match=reason):
            p.import_(tmp_path / "a.npz", labels=True)
        assert p.store.counts()["samples"] == 0


def test_a_file_that_is_no_npz_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 but not really")
    with pytest.raises(ValueError, match=r"not a readable \.npz"):
        open_source(tmp_path / "a.npz")


def test_an_array_that_would_run_code_is_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}] * 3, dtype=object))
    with pytest.raises(ValueError, match=r"cannot be read|not a readable|shape"):
        open_source(tmp_path / "a.npz").load_arrays("all")


def test_the_array_is_the_original_and_its_rows_are_the_samples(tmp_path: Path, mnist: Path) -> None:
    with Project.create(tmp_path / "p", ["a", "b", "c"]) as p:
        assert p.import_(mnist, measure_share=0).added == 6
        samples = p.store.samples()
        assert len({sample.file for sample in samples}) == 1
        assert np.array_equal(np.load(p.folder / samples[0].file), X)
        for sample, image in zip(samples, X, strict=True):
            assert np.array_equal(read_image(p.folder, sample), image)
        assert p.import_(mnist).duplicates == 6


def test_numbers_mean_the_projects_classes_in_their_order(tmp_path: Path, mnist: Path) -> None:
    with Project.create(tmp_path / "p", ["shirt", "shoe", "bag"]) as p:
        report = p.import_(mnist, labels=True)
        assert (report.labels, report.split) == (6, "pool")
        assert list(p.store.labels().values()) == [1, 2, 0 + 3, 1, 2, 3]
        gold = p.import_(mnist, gold=True)
        assert (gold.duplicates, gold.stay_in_pool) == (6, 6)  # the same images: they stay where they are
        assert p.store.counts()["gold"] == 0


def test_numbers_beyond_the_projects_classes_are_refused(tmp_path: Path, mnist: Path) -> None:
    with Project.create(tmp_path / "p", ["shirt", "shoe"]) as p:
        with pytest.raises(ValueError, match="Labels go up to 2, but there are 2 classes"):
            p.import_(mnist, labels=True)
        assert p.store.counts()["samples"] == 0


def test_without_classes_the_numbers_become_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=np.array([10, 9, 2, 10, 9, -1]))
    with Project.create(tmp_path / "p", []) as p:
        assert p.import_(tmp_path / "a.npz", labels=True, measure_share=0).labels == 5
        assert [one.name for one in p.store.classes()] == ["2", "9", "10"]


def test_names_in_the_file_are_the_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y, classes=np.array(["dog", "cat", "été"]))
    with Project.create(tmp_path / "p", ["cat"]) as p:
        p.import_(tmp_path / "a.npz", gold=True)
        assert [one.name for one in p.store.classes()] == ["cat", "dog", "été"]
        assert list(p.store.gold().values()) == [2, 1, 3, 2, 1, 3]


def test_fashion_mnists_size_imports_in_seconds(tmp_path: Path) -> None:
    """A sixth of it, so that the test stays small."""
    x = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=x)
    seen: list[tuple[int, int]] = []
    with Project.create(tmp_path / "p", ["a"]) as p:
        report = p.import_(tmp_path / "a.npz", on_progress=lambda done, total: seen.append((done, total)))
        assert report.added == 10_000
        assert seen == [(n, 10_000) for n in range(1_000, 10_001, 1_000)]
        assert p.store.counts()["measure"] == 500


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_that_is_damaged_anywhere_is_one_clear_error(save: Callable[..., None], tmp_path: Path) -> None:
    file, changed = tmp_path / "whole.npz", tmp_path / "changed.npz"
    save(file, x=X[:3], y=Y[:3])
    whole, refused = file.read_bytes(), 0
    for at in range(0, len(whole), 3):
        changed.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            source = open_source(changed)
            for part in source.parts:
                list(source.items(part))
        except ValueError:
            refused += 1
    assert refused > len(whole) // 6
