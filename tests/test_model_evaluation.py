"""Figures against hand-made cases, and the judge."""

import numpy as np
import pytest

from model import evaluation


def test_calibration_error_of_a_classifier_that_says_what_it_knows_is_small():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 50_000)
    probs = np.stack([confidence, 1 - confidence], 1)
    labels = (rng.random(50_000) > confidence).astype(int)
    assert evaluation.calibration_error(probs, labels) < 0.01
    sure = np.stack([np.full(50_000, 0.99), np.full(50_000, 0.01)], 1)
    assert evaluation.calibration_error(sure, labels) == pytest.approx(0.99 - 0.75, abs=0.01)


def test_frechet_distance_of_known_gaussians():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, (100_000, 4))
    assert evaluation.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    b = rng.normal((3, 0, 0, 0), 2, (100_000, 4))
    assert evaluation.frechet_distance(a, b) == pytest.approx(9 + 4 * (2 - 1) ** 2, rel=0.03)


def test_negative_log_likelihood_is_in_nats():
    assert evaluation.negative_log_likelihood(np.array([[0.5, 0.5]]), np.array([1])) == pytest.approx(np.log(2))


def test_the_judge_is_small_and_right_on_digits_it_has_not_seen(digits, judge):
    images, labels = digits
    probs, features = judge.see(images[1200:])
    assert evaluation.accuracy(probs, labels[1200:]) > 0.93
    assert features.shape == (597, 128)
    assert sum(p.numel() for p in judge.net.parameters()) < 300_000


def test_a_judge_comes_back_from_its_cache(digits, tmp_path):
    images, labels = digits[0][:40], digits[1][:40]
    first = evaluation.judge_for(images, labels, 10, cache=tmp_path)
    again = evaluation.judge_for(images, labels, 10, cache=tmp_path)
    np.testing.assert_array_equal(again.see(images)[0], first.see(images)[0])
    other = evaluation.judge_for(images, labels[::-1].copy(), 10, cache=tmp_path)
    assert (other.see(images)[0] != first.see(images)[0]).any()
    assert len(list(tmp_path.iterdir())) == 2
