"""Agreement: the coefficients against published examples and scikit-learn, and what the report says of people."""

import json
import tracemalloc
from collections.abc import Callable

import krippendorff
import numpy as np
import pytest
from conftest import Ended
from sklearn.metrics import cohen_kappa_score

from labeler import Project
from labeler.agreement import alpha, cohen, compared, fleiss, percent
from storage import NewEvent

Command = Callable[..., Ended]

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): examples A, B and C, one row an observer.
TWO_BINARY = ["0100000010", "1110010000"], 0.095
TWO_NOMINAL = ["aabbdcccedda", "babbbcccedd" + "d"], 0.692
FOUR_WITH_GAPS = ["123321412...", "1233224125.3", ".33323422" + "51.", "123324412" + "51."], 0.743
# Fleiss, Measuring nominal scale agreement among many raters (1971), table 1: 30 patients, 6 raters, 5 diagnoses.
DIAGNOSES = """00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006"""


def counts_of(observers: list[str]) -> np.ndarray:
    """(units, values) of the units that two observers or more judged."""
    values = sorted(set("".join(observers)) - {"."})
    counts = np.array([[unit.count(value) for value in values] for unit in zip(*observers, strict=True)])
    return counts[counts.sum(1) > 1]


@pytest.mark.parametrize("example", [TWO_BINARY, TWO_NOMINAL, FOUR_WITH_GAPS])
def test_alpha_is_that_of_krippendorffs_examples(example: tuple[list[str], float]) -> None:
    observers, expected = example
    counts = counts_of(observers)
    assert float(alpha(counts, np.ones(len(counts)))) == pytest.approx(expected, abs=0.0006)


@pytest.mark.parametrize("rng_seed", range(5))
def test_alpha_is_that_of_the_library_where_labels_are_missing(rng_seed: int) -> None:
    rng = np.random.default_rng(rng_seed)
    truth = rng.integers(0, 5, 80)
    said = np.where(rng.random((6, 80)) < 0.7, truth, rng.integers(0, 5, (6, 80))).astype(float)
    said[rng.random(said.shape) < 0.5] = np.nan
    counts = np.stack([(said == value).sum(0) for value in range(5)], 1)
    counts = counts[counts.sum(1) > 1]
    expected = krippendorff.alpha(said, level_of_measurement="nominal")
    assert float(alpha(counts, np.ones(len(counts)))) == pytest.approx(expected)


def test_kappa_is_that_of_fleiss_example() -> None:
    counts = np.array([[int(n) for n in row] for row in DIAGNOSES.split()])
    assert counts.sum(1).tolist() == [6] * 30
    assert float(fleiss(counts, np.ones(30))) == pytest.approx(0.430, abs=0.0006)


def test_cohens_kappa_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4, 200)
    second = np.where(rng.random(200) < 0.6, first, rng.integers(0, 4, 200))
    expected = pytest.approx(cohen_kappa_score(first, second))
    said, n = np.unique(np.stack([first, second], 1), axis=0, return_counts=True)
    assert float(cohen(said, n)) == expected
    assert cohen(said, np.stack([n, 2 * n])).tolist() == [expected, expected]


def test_kinds_of_images_with_their_number_are_as_good_as_all_images() -> None:
    counts = np.random.default_rng(1).multinomial(3, [0.6, 0.3, 0.1], 500)
    kinds, n = np.unique(counts, axis=0, return_counts=True)
    for coefficient in (percent, alpha, fleiss):
        assert coefficient(kinds, n) == pytest.approx(coefficient(counts, np.ones(500)))


def some_labels(accuracy: dict[str, float], images: int = 400, rng_seed: int = 2) -> list[tuple[int, str, int]]:
    rng = np.random.default_rng(rng_seed)
    true = rng.integers(1, 4, images)
    said = {
        who: np.where(rng.random(images) < right, true, rng.integers(1, 4, images)) for who, right in accuracy.items()
    }
    return [(i, who, int(said[who][i])) for i in range(images) for who in accuracy]


NAMES = {1: "cat", 2: "dog", 3: "owl"}


def test_an_interval_holds_the_true_agreement() -> None:
    """Two people who are right with 0.8 each, else guess: both the same with 0.64 + 0.36 / 3."""
    report = compared(some_labels({"ann": 0.8, "bob": 0.8}), ["ann", "bob"], NAMES)
    low, high = report["percent"]["interval"]
    assert low < 0.76 < high
    assert 0.05 < high - low < 0.12  # 2 * 1.96 * sqrt(0.76 * 0.24 / 400) = 0.084
    low, high = report["alpha"]["interval"]
    assert low < 0.64 < high


def test_hundreds_of_classes_take_little_memory() -> None:
    rng = np.random.default_rng(0)
    n_classes, n_images = 300, 1_000
    said = rng.integers(n_classes, size=(n_images, 1)).repeat(2, 1)
    said[: n_images // 4, 1] = rng.integers(n_classes, size=n_images // 4)
    labels = [(i, who, int(said[i, k])) for i in range(n_images) for k, who in enumerate(("ann", "bob"))]
    tracemalloc.start()
    report = compared(labels, ["ann", "bob"], {k: str(k) for k in range(n_classes)})
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 50e6  # a resample of every pair of classes would be 720e6
    [pair] = report["pairs"]
    assert pair["percent"]["value"] == pytest.approx(report["percent"]["value"]) == pytest.approx(0.75, abs=0.01)
    assert pair["cohen_kappa"]["interval"][0] < pair["cohen_kappa"]["value"] < pair["cohen_kappa"]["interval"][1]


def test_who_agrees_less_than_the_others_stands_out() -> None:
    report = compared(some_labels({"ann": 0.95, "bob": 0.95, "cat": 0.5}), ["ann", "bob", "cat"], NAMES)
    assert {person["name"]: person["outlier"] for person in report["people"]} == {
        "ann": False, "bob": False, "cat": True,
    }  # fmt: skip
    assert [pair["people"] for pair in report["pairs"]] == [["ann", "bob"], ["ann", "cat"], ["bob", "cat"]]
    assert report["fleiss_kappa"]["answers"] == 3


def test_nobody_of_three_who_are_alike_stands_out_but_by_chance() -> None:
    alike = {"ann": 0.7, "bob": 0.7, "cat": 0.7}
    accused = 0
    for rng_seed in range(60):
        people = compared(some_labels(alike, 40, rng_seed), list(alike), NAMES)["people"]
        accused += any(person["outlier"] for person in people)
    assert accused <= 5  # 1.5 are expected


def test_of_few_images_and_of_one_class_nothing_is_said() -> None:
    few = compared(some_labels({"ann": 0.9, "bob": 0.9}, images=9), ["ann", "bob"], NAMES)
    assert (few["images"], few["alpha"]) == (9, {"value": None, "interval": None, "n": 9})
    alike = compared([(i, who, 1) for i in range(20) for who in ("ann", "bob")], ["ann", "bob"], NAMES)
    assert alike["percent"]["value"] == 1
    assert alike["alpha"]["value"] is None
    assert compared([], [], NAMES)["images"] == 0


def test_confusions_say_who_said_which_class() -> None:
    labels = [(1, "ann", 2), (1, "bob", 1), (2, "ann", 1), (2, "bob", 2), (3, "ann", 2), (3, "bob", 1), (4, "ann", 3)]
    report = compared(labels, ["ann", "bob"], NAMES)
    assert report["confusions"] == [
        {
            "classes": ["cat", "dog"],
            "n": 3,
            "who": [{"said": ["bob", "ann"], "n": 2}, {"said": ["ann", "bob"], "n": 1}],
        }
    ]


def test_the_command_tells_it_now_and_then(project: Project, labeler: Command) -> None:
    assert "labeler overlap" in labeler("agreement", project.folder).out
    project.set_overlap(1, 2)
    for who in ("ann", "bob"):
        for i in range(1, 13):
            class_id = 1 if i % 2 and (who, i) != ("bob", 1) else 2
            project.store.record([NewEvent(f"{who}{i}", "label", i, class_id, who, "tab")])
    project.store.record([NewEvent("eve", "label", 1, 2, "eve", "tab", review=True)])
    report = json.loads(labeler("agreement", project.folder, "--json").out)
    assert report["images"] == 12
    assert report["percent"]["value"] == pytest.approx(11 / 12, abs=1e-4)
    assert [pair["cohen_kappa"]["value"] for pair in report["pairs"]] == pytest.approx([0.8333], abs=1e-3)
    told = labeler("agreement", project.folder).out
    assert "12 images with labels of two or more people" in told
    assert "cat or dog: 1 time (ann cat and bob dog 1)" in told
    assert json.loads(labeler("agreement", project.folder, "--json", "--at", "14").out)["images"] == 2
