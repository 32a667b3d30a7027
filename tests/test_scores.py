"""Scores class by class, on images that nothing was learned from; the labels behind a cell; what a person is told."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Ended
from pages import small_project
from sklearn.metrics import precision_recall_fscore_support
from test_loop import array_project, publish_version

from labeler import Project
from labeler.scores import cell, interval, measured_labels, scores

CLASSES = {1: "cat", 2: "dog", 3: "owl"}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """100 images, 40 of them measure; all labeled but two. What the model takes each for is drawn."""
    rng = np.random.default_rng(0)
    with array_project(tmp_path, 100, measure_share=0.4) as p:
        ids = p.store.sample_ids().tolist()
        p.loop("ann").answer_many({i: int(rng.integers(0, 2)) for i in ids[:98]})
        taken = {i: np.eye(3)[rng.integers(0, 3)].tolist() for i in ids}
        publish_version(p, 1, p.store.sample_ids("pool").tolist(), probs=taken)
        yield p


def pairs(p: Project) -> tuple[list[int], list[int]]:
    published, labels = p.published(), measured_labels(p.store)
    assert published is not None
    given = [labels[i] for i in labels]
    taken = [int(published.probs[published.position(i)].argmax()) + 1 for i in labels]
    return given, taken


def test_precision_recall_and_f1_are_scikit_learns_on_the_measuring_images_alone(project: Project) -> None:
    found = scores(project.store, project.published())
    assert set(found) == {"measured"}
    given, taken = pairs(project)
    measured = found["measured"]
    assert (
        measured["n"]
        == len(given)
        == len(set(project.store.sample_ids("measure")) & set(measured_labels(project.store)))
    )
    assert measured["accuracy"]["value"] == pytest.approx(np.mean(np.array(given) == taken), abs=1e-4)
    expected = precision_recall_fscore_support(given, taken, labels=[1, 2, 3], zero_division=0)
    for i, one in enumerate(measured["classes"]):
        for name, truth in zip(("precision", "recall", "f1"), expected[:3], strict=True):
            if one[name] is None:
                assert (one["n"], one["predicted"])[name == "precision"] == 0
            else:
                assert one[name]["value"] == pytest.approx(truth[i], abs=5.1e-5), name  # rounded
                assert one[name]["low"] <= one[name]["value"] <= one[name]["high"]
        assert (one["class_id"], one["n"]) == (i + 1, expected[3][i])
    assert [one["few"] for one in measured["classes"]] == [False, False, True]
    assert np.array(measured["confusion"]).sum(1).tolist() == expected[3].tolist()


def test_the_interval_of_f1_covers_the_truth_as_often_as_it_says() -> None:
    """Draws of 60 images from a known confusion: F1 of the first class is known, too."""
    joint = np.array([[0.3, 0.1], [0.15, 0.45]])
    truth, rng, covered = 2 * 0.3 / (2 * 0.3 + 0.1 + 0.15), np.random.default_rng(0), 0
    for _ in range(300):
        hits, misses, alarms, _ = rng.multinomial(60, joint.ravel())
        low, high = interval(int(hits), int(hits + misses + alarms))
        covered += 2 * low / (1 + low) <= truth <= 2 * high / (1 + high)
    assert 0.92 <= covered / 300 <= 0.98


def test_nothing_is_scored_before_the_model_knows_a_label(tmp_path: Path) -> None:
    with array_project(tmp_path, 20, measure_share=0.5) as p:
        assert scores(p.store, p.published()) == {}
        p.loop().answer(int(p.store.sample_ids("measure")[0]), "cat")
        publish_version(p, 1, [], labels=0)
        assert scores(p.store, p.published()) == {}
        publish_version(p, 2, [], labels=1)
        assert scores(p.store, p.published())["measured"]["n"] == 1


def test_merged_classes_are_scored_as_one_and_archived_ones_are_left_out(project: Project) -> None:
    project.classes.merge(["dog"], into="cat")
    measured = scores(project.store, project.published())["measured"]
    assert measured["class_ids"] == [1, 3]
    assert measured["confusion"][0] == [
        sum(measured["confusion"][0]) - measured["confusion"][0][1],
        measured["confusion"][0][1],
    ]
    assert measured["classes"][0]["n"] == measured["n"]
    project.classes.archive(["cat"])
    assert scores(project.store, project.published()) == {}


def test_behind_a_cell_are_the_labels_that_were_learned_from_and_no_measuring_one_is_named(project: Project) -> None:
    published = project.published()
    assert published is not None
    measure, labels = set(project.store.sample_ids("measure").tolist()), project.store.labels(purpose=None)
    counts = np.array(scores(project.store, published)["measured"]["confusion"])
    for given in (1, 2):
        for taken in (1, 2, 3):
            found = cell(project.store, published, given, taken)
            alike = [i for i, c in labels.items() if c == given]
            alike = [i for i in alike if published.probs[published.position(i)].argmax() == taken - 1]
            assert found["learned"] == [i for i in alike if i not in measure]
            assert found["gold"] == []
            assert found["measuring"] == counts[given - 1, taken - 1] == sum(i in measure for i in alike)


def test_behind_a_cell_are_the_very_gold_images_that_it_counts(tmp_path: Path) -> None:
    with small_project(tmp_path / "project", n=20, classes=["cat", "dog", "owl"]) as p:
        images = np.random.default_rng(1).integers(0, 256, (12, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / "gold.npz", x=images, y=np.array(["cat", "dog", "cat"] * 4))
        p.import_(tmp_path / "gold.npz", gold=True)
        gold = p.store.gold()
        probs = {i: [0.8, 0.1, 0.1] if k % 2 else [0.1, 0.1, 0.8] for k, i in enumerate(gold)}
        publish_version(p, 1, [], probs=probs)
        published = p.published()
        counts = np.array(scores(p.store, published)["gold"]["confusion"])
        assert counts.sum() == 12
        for given in (1, 2, 3):
            for taken in (1, 2, 3):
                found = cell(p.store, published, given, taken)
                assert len(found["gold"]) == counts[given - 1, taken - 1]
                assert all(gold[i] == given and np.argmax(probs[i]) == taken - 1 for i in found["gold"])
                assert (found["learned"], found["measuring"]) == ([], 0)


def test_status_tells_scores_and_confusion_as_json(project: Project, labeler: Callable[..., Ended]) -> None:
    told = json.loads(labeler("status", project.folder, "--json").out)["scores"]["measured"]
    found = scores(project.store, project.published())["measured"]
    assert told["confusion"] == found["confusion"]
    assert [one["name"] for one in told["classes"]] == list(CLASSES.values())
    assert told["classes"][0]["recall"] == found["classes"][0]["recall"]
