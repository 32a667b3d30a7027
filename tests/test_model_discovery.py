"""The learner with spare columns, on 8x8 digits: it finds the classes that nobody has named, and heeds people first."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model import evaluation, novel_classes
from model.discovery import Discoverer
from model.learner import FRESH, LearnerConfig

SMALL = LearnerConfig(warm_up_steps=1, graph_size=120, batch=32, labeled_batch=8, partial_batch=4)


@pytest.fixture
def quick(monkeypatch):
    """A search of a few steps: enough to see what becomes of it, not to find the classes."""
    monkeypatch.setattr(novel_classes, "STEPS", 20)


@pytest.fixture(scope="module")
def three(digits):
    """Digits 0, 1 and 2 alone: 0 has twenty labels of 300 images, the others none. The last 100 are held out."""
    images, labels = digits
    of = np.flatnonzero(labels < 3)[:400]
    images, labels = images[of], labels[of]
    config = LearnerConfig(warm_up_steps=70, graph_size=300, batch=64)
    learner = Discoverer(images, 1, 2, held_out=np.arange(400) >= 300, config=config)
    learner.set_labels({int(i): 0 for i in np.flatnonzero(labels == 0)[:20]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(novel_classes, "STEPS", 150)
        patch.setattr(novel_classes, "PAIRS", 128)
        for _ in range(85):
            learner.take_step()
    return learner, images, labels


def some_labeled(images: np.ndarray, labels: np.ndarray) -> tuple[Discoverer, dict[int, int]]:
    """100 images, of which the first digits 0 and 1 have their label, and three spare columns."""
    learner = Discoverer(images[:100], 2, 3, config=SMALL)
    given = {i: int(y) for i, y in enumerate(labels[:40]) if y < 2}
    learner.set_labels(given)
    return learner, given


def test_digits_that_nobody_named_are_found_and_told_apart_on_held_out_images(three):
    learner, _, labels = three
    which, sure = learner.unnamed(np.arange(300, 400))
    assert which.shape == sure.shape == (100,)
    assert set(which.tolist()) == {-1, 0, 1}
    assert (sure > 0).all()
    assert (sure <= 1).all()
    true = labels[300:]
    straight = np.array([-1, 0, 1])[true]
    swapped = np.array([-1, 1, 0])[true]
    assert max((which == straight).mean(), (which == swapped).mean()) > 0.9
    right = which == (straight if (which == straight).mean() > (which == swapped).mean() else swapped)
    assert right.all() or sure[right].mean() > sure[~right].mean()


def test_the_published_model_has_the_spare_columns_and_counts_only_labels_of_people(three):
    learner, images, _ = three
    model = learner.as_model(["0", "spare 1", "spare 2"])
    which, _ = learner.unnamed(np.arange(300, 400))
    assert evaluation.accuracy(model.predict_proba(images[300:]), which + 1) > 0.95
    assert model.header["labels"] == 20


def test_held_out_images_never_stand_in_for_a_class(three):
    learner, *_ = three
    assert set(learner.stand_ins.values()) == {1, 2}
    assert not learner.held_out[list(learner.stand_ins)].any()


def test_a_label_of_a_person_takes_the_place_of_a_stand_in_and_of_what_the_search_said(digits, quick):
    learner, _ = some_labeled(*digits)
    learner.take_step()
    learner.take_step()
    assert learner.stand_ins
    assert not set(learner.stand_ins) & set(learner.given)
    one = next(iter(learner.stand_ins))
    learner.set_labels({**learner.given, one: 1})
    assert (learner.labels[one], learner.steps_with[one]) == (1, 0)
    learner.take_step()
    row = learner.graph.rows_of(np.array([one]))[0]
    assert learner.pseudo_labels.probs[row].tolist() == [0, 1, 0, 0, 0]


def test_what_a_search_found_is_published_before_the_network_has_learned_it(three, monkeypatch):
    """The layer in training knows nothing of the classes yet; the refitted one says what the graph says."""
    monkeypatch.setattr(novel_classes, "STEPS", 150)
    monkeypatch.setattr(novel_classes, "PAIRS", 128)
    trained, images, _ = three
    learner = Discoverer(images, 1, 2, config=trained.config)
    learner.resume(trained.ema, trained.step)
    with torch.no_grad():
        learner.ema.classifier.weight.mul_(0)
    learner.set_labels(trained.given)
    learner.build_graph()
    which, _ = learner.unnamed()
    found = learner.pseudo_labels.probs.argmax(1)
    assert evaluation.accuracy(np.eye(3)[which[learner.graph.positions] + 1], found) > 0.95


def test_labels_of_people_outlive_every_new_search(digits, quick):
    learner, given = some_labeled(*digits)
    for _ in range(3):
        learner.build_graph()
        assert {i: learner.labels[i] for i in given} == given
        assert {y for i, y in learner.labels.items() if i not in given} <= {2, 3, 4}


def test_a_label_that_is_taken_back_leaves_no_trace_in_what_the_graph_says(digits, quick):
    learner, given = some_labeled(*digits)
    learner.build_graph()
    before = learner.pseudo_labels.probs.copy()
    open_row = learner.graph.rows_of(np.setdiff1d(np.arange(100), list(learner.labels))[:1])[0]
    position = int(learner.graph.positions[open_row])
    learner.set_labels({**given, position: 0})
    learner.spread_labels()
    assert learner.pseudo_labels.probs[open_row, 0] == 1
    learner.set_labels(given)
    learner.spread_labels()
    np.testing.assert_array_equal(learner.pseudo_labels.probs, before)


def test_stand_ins_are_not_waited_for_as_new_labels_are(digits, quick):
    learner, _ = some_labeled(*digits)
    learner.build_graph()
    assert {learner.steps_with[i] for i in learner.stand_ins} == {FRESH}
    assert learner.unlearned() == FRESH


def test_before_the_first_search_nothing_is_trusted_and_nothing_is_said_of_spare_classes(digits, quick):
    learner = Discoverer(digits[0][:60], 2, 3, config=SMALL)
    learner.set_labels({0: 0, 1: 1})
    assert learner.finding_classes
    with pytest.raises(ValueError, match="1 steps of the warm-up are left"):
        learner.unnamed()
    learner.take_step()
    assert set(learner.losses) == {"elbo", "contrast", "supervised"}
    learner.take_step()
    assert not learner.finding_classes
    assert {"consistency", "propagation", "cycle"} <= set(learner.losses)


@pytest.mark.parametrize(
    ("n_images", "n_known", "n_labels"), [(60, 0, 0), (60, 1, 1), (5, 2, 5), (60, 2, 60), (3, 0, 0)]
)
def test_no_label_one_label_few_images_and_everything_labeled_all_train(n_images, n_known, n_labels, digits, quick):
    learner = Discoverer(digits[0][:n_images], n_known, 4, config=SMALL)
    learner.set_labels({i: i % n_known for i in range(n_labels)})
    for _ in range(3):
        learner.take_step()
    assert np.isfinite(list(learner.losses.values())).all()
    assert len(learner.given) == n_labels
    which, sure = learner.unnamed()
    assert np.isfinite(sure).all()
    assert set(which.tolist()) <= set(range(-1 if n_known else 0, 4))


def test_a_label_of_an_image_that_was_never_seen_goes_to_the_node_most_like_it(digits, quick):
    learner, given = some_labeled(*digits)
    learner.config = replace(SMALL, graph_size=60)
    learner.build_graph()
    new = next(i for i in range(99, 0, -1) if i not in learner.graph.positions)
    learner.set_labels({**given, new: 1})
    learner.spread_labels()
    assert learner.features.refreshed_at[new] == learner.step
    assert learner.graph.stand_ins[new] == int(learner.graph.nearest(learner.features.h[[new]])[0])


def test_a_spare_column_is_demanded_and_labels_belong_to_classes_with_a_name(digits):
    with pytest.raises(ValueError, match="needs a spare column"):
        Discoverer(digits[0][:20], 2, 0)
    with pytest.raises(ValueError, match="a label is 2; the classes with a name are below 2"):
        Discoverer(digits[0][:20], 2, 1).set_labels({0: 1, 1: 2})
