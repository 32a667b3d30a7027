"""Training that never starts over: it ends where training from scratch would, and corrected labels leave no trace."""

from collections.abc import Callable

import numpy as np
import pytest

from model import evaluation
from model.learner import Learner, LearnerConfig

QUICK = LearnerConfig(warm_up_steps=120, batch=48, labeled_batch=16, partial_batch=16, graph_size=600)
LABELED, WRONG, STEPS = 60, 20, 60
MARGIN = 0.03  # on 597 images the accuracies of two runs that differ in their draws alone spread by about 0.01


@pytest.fixture(scope="module")
def arm(digits) -> Callable[..., tuple[float, Learner]]:
    """Lessons, STEPS steps each, one after another, from one warmed-up network -> accuracy on 597 digits."""
    images, labels = digits
    held_out = np.arange(len(images)) >= 1200
    warm = Learner(images, 10, held_out, QUICK, rng_seed=0)
    for _ in range(QUICK.warm_up_steps):
        warm.take_step()

    def run(*lessons: dict[int, int], rng_seed: int = 1) -> tuple[float, Learner]:
        learner = Learner(images, 10, held_out, QUICK, rng_seed=rng_seed)
        learner.resume(warm.ema, warm.step)
        for lesson in lessons:
            learner.set_labels(lesson)
            for _ in range(STEPS):
                learner.take_step()
        learner.features.refresh(learner.ema, np.arange(len(images)), learner.step)
        return evaluation.accuracy(learner.features.probs(learner.ema)[1200:], labels[1200:]), learner

    return run


@pytest.fixture(scope="module")
def truth(digits) -> dict[int, int]:
    return {i: int(digits[1][i]) for i in range(LABELED)}


@pytest.fixture(scope="module")
def from_the_start(arm, truth) -> float:
    """Accuracy with the true labels all the time, rng seed 1."""
    return arm(truth, truth, truth)[0]


def test_corrected_labels_are_unlearned(arm, truth, from_the_start):
    wrong_ones = {i: (truth[i] + 1 + i % 9) % 10 for i in range(WRONG)}
    wrong = {**truth, **wrong_ones}
    assert arm(wrong, wrong, wrong)[0] < from_the_start - MARGIN
    accuracy, learner = arm(wrong, truth, truth)
    assert accuracy > from_the_start - MARGIN
    said = learner.features.probs(learner.ema)[:WRONG].argmax(1)
    assert not (said == list(wrong_ones.values())).any()


def test_when_the_last_label_is_taken_back_nothing_is_known_of_any_class(arm, truth):
    wrong = {i: (y + 1) % 10 for i, y in truth.items()}
    _, learner = arm(wrong, {})
    assert learner.as_model([str(k) for k in range(10)]).predict_proba(learner.images).max() < 0.2
    assert arm(wrong, {}, truth)[0] > arm(wrong, wrong)[0] + 0.3


def test_labels_that_come_in_portions_end_where_all_at_once_do(arm, truth, from_the_start):
    first = {i: truth[i] for i in range(LABELED // 3)}
    portions = [arm(first, truth, truth, rng_seed=s)[0] for s in (1, 2, 3)]
    at_once = [from_the_start, *(arm(truth, truth, truth, rng_seed=s)[0] for s in (2, 3))]
    assert abs(np.mean(portions) - np.mean(at_once)) < MARGIN
