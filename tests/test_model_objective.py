"""Each term of the objective against a slower truth."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

from model import objective


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_log_px_is_the_bernoulli_log_likelihood_summed_over_pixels(generator):
    logits = torch.randn(5, 1, 8, 8, generator=generator)
    x = (torch.rand(5, 1, 8, 8, generator=generator) > 0.5).float()
    truth = Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(objective.log_px(logits, x), truth)


def test_kl_z_is_the_expected_divergence_from_each_class_prior(generator):
    mu, logvar = torch.randn(6, 4, generator=generator), torch.randn(6, 4, generator=generator)
    prior_mu, prior_logvar = torch.randn(3, 4, generator=generator), torch.randn(3, 4, generator=generator)
    y = torch.rand(6, 3, generator=generator).softmax(1)
    truth = torch.zeros(6)
    for k in range(3):
        prior = Normal(prior_mu[k], (prior_logvar[k] / 2).exp())
        truth += y[:, k] * kl_divergence(Normal(mu, (logvar / 2).exp()), prior).sum(1)
    torch.testing.assert_close(objective.kl_z(mu, logvar, y, prior_mu, prior_logvar), truth)


def test_kl_y_is_the_divergence_from_the_uniform_distribution(generator):
    probs = torch.randn(7, 5, generator=generator).softmax(1)
    truth = kl_divergence(Categorical(probs), Categorical(torch.full((7, 5), 0.2)))
    torch.testing.assert_close(objective.kl_y(probs), truth)
    torch.testing.assert_close(objective.kl_y(torch.eye(5)), torch.full((5,), math.log(5)))


def test_contrast_is_lowest_when_each_row_is_most_like_its_own(generator):
    a = torch.randn(16, 8, generator=generator)
    own, shuffled = objective.contrast(a, a), objective.contrast(a, a.roll(1, 0))
    assert own < 0.5 < shuffled


def test_consistency_counts_only_rows_above_the_threshold():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]], requires_grad=True)
    probs = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    loss = objective.consistency(logits, probs, torch.tensor(0.7))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)) / 2)
    assert logits.grad is not None
    assert logits.grad[1].abs().sum() == 0


def test_propagation_weighs_each_row():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = objective.propagation(logits, torch.tensor([0, 0]), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)) / 2)


def test_perceptual_is_zero_for_the_same_layers_and_relative_otherwise(generator):
    layers = [torch.randn(2, 3, 4, 4, generator=generator), torch.randn(2, 9, generator=generator)]
    assert objective.perceptual(layers, layers).item() == 0
    assert objective.perceptual([torch.zeros_like(a) for a in layers], layers).item() == pytest.approx(2)
