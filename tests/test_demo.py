"""The embedded data sets and `labeler demo`."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from labeler import Project
from labeler.demo import CLASSES, FASHION_CLASSES, FASHION_GOLD, FASHION_POOL, make_data, prepare


def test_the_embedded_subset_is_small_distinct_and_holds_no_label_of_the_pool() -> None:
    with np.load(FASHION_POOL) as pool, np.load(FASHION_GOLD) as gold:
        assert {name: array.shape for name, array in pool.items()} == {"x": (6_000, 28, 28)}
        assert {name: array.shape for name, array in gold.items()} == {"x": (1_000, 28, 28), "y": (1_000,)}
        assert set(gold["y"]) == set(FASHION_CLASSES)
        images = np.concatenate([pool["x"], gold["x"]])
    assert len({image.tobytes() for image in images}) == 7_000
    assert FASHION_POOL.stat().st_size + FASHION_GOLD.stat().st_size < 3.2e6
    assert "Zalando" in FASHION_POOL.with_name("LICENSE.fashion-mnist").read_text("utf-8")


def test_the_script_that_draws_the_subset_gives_the_same_bytes_each_time_and_labels_that_belong_to_the_images(
    tmp_path: Path,
) -> None:
    labels = np.arange(10_000, dtype=np.uint8) % 10
    test = np.zeros((10_000, 2, 2), np.uint8)
    test[:, 0, 0] = labels
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((60_000, 2, 2), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(60_000, dtype=np.uint8) % 10)
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", test)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", labels)
    files = [(tmp_path / f"pool-{i}.npz", tmp_path / f"gold-{i}.npz") for i in range(2)]
    for pool_file, gold_file in files:
        make_data.make(tmp_path, pool_file, gold_file)

    assert files[0][0].read_bytes() == files[1][0].read_bytes()
    assert files[0][1].read_bytes() == files[1][1].read_bytes()
    with np.load(files[0][1]) as gold:
        assert [FASHION_CLASSES[i] for i in gold["x"][:, 0, 0]] == list(gold["y"])


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), 1))


@pytest.mark.parametrize(("dataset", "pool", "gold"), [("fashion", 6_000, 1_000), ("digits", 1_297, 500)])
def test_the_demo_project_has_unlabeled_images_to_ask_and_gold_ones_to_measure_on(
    dataset: str, pool: int, gold: int, tmp_path: Path
) -> None:
    prepare(tmp_path / "demo", dataset)
    with Project.open(tmp_path / "demo") as p:
        counts = p.store.counts()
        assert (counts["pool"], counts["gold"], counts["measure"], counts["labeled"]) == (pool, gold, 0, 0)
        names = {c.id: c.name for c in p.store.classes()}
        assert list(names.values()) == CLASSES[dataset]
        assert {names[c] for c in p.store.gold().values()} == set(CLASSES[dataset])
        assert p.store.events() == []


def test_a_second_start_of_the_demo_keeps_what_was_labeled(tmp_path: Path) -> None:
    prepare(tmp_path, "digits")
    with Project.open(tmp_path) as p:
        question = p.loop(annotator="ann").ask()
        assert question is not None
        p.loop(annotator="ann").answer(question.sample_id, "7")
    prepare(tmp_path, "digits")
    with Project.open(tmp_path) as p:
        assert list(p.store.labels()) == [question.sample_id]
        assert p.store.counts()["samples"] == 1_797


def test_a_demo_that_was_cut_short_is_completed_by_the_next_start(tmp_path: Path) -> None:
    def cut_short(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, "digits", cut_short)
    prepare(tmp_path, "digits")
    with Project.open(tmp_path) as p:
        counts = p.store.counts()
        assert (counts["pool"], counts["gold"]) == (1_297, 500)


def test_the_demo_never_fills_somebody_elses_project(tmp_path: Path) -> None:
    prepare(tmp_path / "digits", "digits")
    Project.create(tmp_path / "pets", ["cat", "dog"]).close()
    for folder in ("digits", "pets"):
        with pytest.raises(ValueError, match="--dir"):
            prepare(tmp_path / folder, "fashion")
