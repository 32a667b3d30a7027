"""Where neighbours are of one class no oftener than by chance, nothing is learned from what they say."""

import numpy as np
import pytest
import torch

from model import graph
from model.head import Head
from model.instant import Instant
from model.learner import Learner, LearnerConfig
from model.trust import REMEMBERED, Trust

KNOWN = np.arange(4)


def after(n: int, right: float, sure: float = 0.9) -> Trust:
    """n labels; a belief that gives `sure` to one class, which is the label's in a share `right` of them."""
    trust, rng = Trust(), np.random.default_rng(0)
    labels = rng.integers(4, size=n)
    said = np.where(np.arange(n) < right * n, labels, (labels + rng.integers(1, 4, n)) % 4)
    probs = np.full((n, 4), (1 - sure) / 3, np.float32)
    probs[np.arange(n), said] = sure
    trust.compare(probs, labels, KNOWN)
    return trust


def test_a_belief_that_is_right_by_chance_alone_weighs_nothing_soon_and_a_good_one_all() -> None:
    assert Trust().weight == 1
    assert after(3, right=0).weight > 0.5  # three labels say little
    for n in (25, 100):
        assert after(n, right=0.25).weight == 0
        assert after(n, right=0.6).weight == 1
    assert after(100, right=0.9).share > 0.9
    assert after(100, right=0.6).share == pytest.approx((0.6 - 0.4 / 3) / (0.9 - 0.1 / 3), abs=0.06)


def test_a_belief_that_decides_nothing_is_no_reason_against_it() -> None:
    """As between two classes whose most doubtful images are asked."""
    assert after(100, right=0.25, sure=0.26).weight == 1


def test_a_class_that_nobody_had_named_says_nothing_and_what_is_old_is_forgotten() -> None:
    trust = Trust()
    probs = np.array([[0.5, 0.5, 0, 0]], np.float32)
    trust.compare(probs, np.array([3]), KNOWN[:2])
    trust.compare(probs, np.array([0]), KNOWN[:1])
    assert not trust.ratios
    trust.compare(probs, np.array([1]), KNOWN[:2])
    assert list(trust.ratios) == [1]
    trust.ratios.extend(after(REMEMBERED, right=0.25).ratios)
    assert len(trust.ratios) == REMEMBERED
    trust.ratios.extend(after(REMEMBERED, right=0.9).ratios)
    assert trust.weight == 1


@pytest.mark.parametrize("at_once", [True, False])
def test_labels_that_have_nothing_to_do_with_the_features_are_learned_without_the_graph(
    digits: tuple[np.ndarray, np.ndarray], at_once: bool
) -> None:
    """Not even once the network knows them by heart; and the true labels of the same images are believed."""
    images, truth = digits[0][:800], digits[1][:800]
    weights = {}
    for name, labels in (("true", truth), ("drawn", np.random.default_rng(0).integers(10, size=800))):
        learner = Learner(images, 10, config=LearnerConfig(warm_up_steps=100))
        for _ in range(100):
            learner.take_step()
        for n in [80] if at_once else range(20, 84, 4):
            learner.set_labels({i: int(labels[i]) for i in range(n)})
            for _ in range(4):
                learner.take_step()
        weights[name] = learner.pseudo_labels.trust.weight
        terms = learner._terms(False)
        for term in ("consistency", "propagation"):
            assert (terms[term][0] > 0) == (name == "true")
        if name == "drawn" and not at_once:  # the network was sure of its guesses, and they were wrong
            instant = learner.look()
            assert instant is not None
            assert instant.probs().max(1).mean() < learner.own_layer.probs(instant.h).max(1).mean() - 0.1
    assert weights == {"true": 1, "drawn": 0}


def test_what_is_published_goes_by_the_network_where_the_graph_is_not_believed() -> None:
    rng = np.random.default_rng(0)
    h = torch.from_numpy(rng.normal(size=(200, 8)).astype(np.float32))
    nodes = graph.build(np.arange(200), h)
    network = Head(torch.from_numpy(rng.normal(size=(3, 8)).astype(np.float32)), torch.zeros(3))
    agree = []
    for trust in (0.0, 1.0):
        instant = Instant(nodes, h, network, trust)
        instant.learn({i: i % 3 for i in range(6)})
        agree.append((instant.probs().argmax(1) == network.probs(h).argmax(1)).mean())
    assert agree[0] == 1
    assert agree[1] < 0.7


def test_a_network_that_was_sure_of_wrong_classes_is_published_less_sure() -> None:
    rng = np.random.default_rng(0)
    h = torch.from_numpy(rng.normal(size=(200, 8)).astype(np.float32))
    nodes = graph.build(np.arange(200), h)
    network = Head(torch.from_numpy(5 * rng.normal(size=(3, 8)).astype(np.float32)), torch.zeros(3))
    sure = []
    for share in (0.1, 0.5, 1.0):
        instant = Instant(nodes, h, network, trust=0.0, network_share=share)
        instant.learn({i: i % 3 for i in range(6)})
        sure.append(instant.probs().max(1).mean())
    assert sure[0] < 0.5 < sure[1] < 0.8 < sure[2]
