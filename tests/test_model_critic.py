"""The critic: it tells drawings from images by the encoder's layers, and what it drives is no longer blurred."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from model.critic import Critic, shifted
from model.learner import Learner, LearnerConfig
from model.networks import perceptual_layers
from model.objective import RECIPE, perceptual

SIDE = 8


def noise(n: int, generator: torch.Generator) -> torch.Tensor:
    """Real images whose details nobody can foresee."""
    return torch.rand(n, 1, SIDE, SIDE, generator=generator)


@pytest.fixture
def trunk() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.PixelUnshuffle(2), nn.Conv2d(4, 32, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 32), nn.ReLU()]
    return nn.Sequential(*layers).requires_grad_(False)


def drawn_by(trunk: nn.Module, weight: float) -> torch.Tensor:
    """Eight images (8, 1, 8, 8) that learn to be what real ones are, by the layers' distance and by a critic."""
    generator = torch.Generator().manual_seed(0)
    critic = Critic([32, 32], lr=0.01)
    images = nn.Parameter(torch.zeros(8, 1, SIDE, SIDE))
    optimizer = torch.optim.Adam([images], 0.05)
    for _ in range(150):
        drawn, real = shifted(images.sigmoid(), noise(8, generator), generator=generator)
        of_drawn, of_real = perceptual_layers(trunk, drawn), perceptual_layers(trunk, real)
        loss = perceptual(of_drawn, of_real) + (weight * critic.doubt(of_drawn, of_real) if weight else 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return images.detach().sigmoid()


def test_a_critic_takes_away_the_blur_that_a_distance_leaves(trunk):
    real = noise(8, torch.Generator().manual_seed(1)).std()
    assert drawn_by(trunk, 0).std() < 0.4 * real
    assert drawn_by(trunk, 1).std() > 0.7 * real


def test_it_learns_to_tell_and_leaves_the_drawings_alone_meanwhile(trunk):
    generator = torch.Generator().manual_seed(0)
    critic = Critic([32, 32], lr=0.01)
    gray = torch.full((16, 1, SIDE, SIDE), 0.5, requires_grad=True)
    of_gray = perceptual_layers(trunk, gray)
    doubts = [critic.doubt(of_gray, perceptual_layers(trunk, noise(16, generator))) for _ in range(60)]
    assert doubts[-1] > doubts[0] + 1
    passes, fails = critic(perceptual_layers(trunk, noise(16, generator))), critic(of_gray)
    assert passes.shape == (2, 16)
    assert (passes.mean(1) > fails.mean(1) + 1).all()
    assert gray.grad is None
    before = [weight.grad.clone() for weight in critic.parameters()]
    doubts[-1].backward()
    assert gray.grad is not None
    assert gray.grad.abs().sum() > 0
    assert all(torch.equal(weight.grad, b) for weight, b in zip(critic.parameters(), before, strict=True))


def test_both_batches_are_moved_alike_by_no_pixel_or_one():
    generator = torch.Generator().manual_seed(0)
    x = torch.arange(64.0).reshape(1, 1, SIDE, SIDE)
    seen = set()
    for _ in range(40):
        a, b = shifted(x, x + 100, generator=generator)
        torch.testing.assert_close(a + 100, b)
        seen.add(tuple((a == 0).nonzero()[0, 2:].tolist()))
    assert seen == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_the_learner_has_a_critic_for_images_where_the_objective_asks_for_one(digits):
    sharp = LearnerConfig(objective=replace(RECIPE, critic=10.0), warm_up_steps=0, graph_size=50, partial_batch=16)
    learner = Learner(digits[0][:100], 2, config=sharp)
    learner.set_labels({0: 0, 1: 1})
    learner.take_step()
    first = learner.losses["critic"]
    assert np.isfinite(first)
    assert first != 0
    plain = Learner(digits[0][:100], 2, config=replace(sharp, objective=replace(RECIPE, critic=0.0)))
    plain.set_labels({0: 0, 1: 1})
    plain.take_step()
    assert set(learner.losses) == {*plain.losses, "critic"}
    vectors = np.random.default_rng(0).normal(size=(100, 12)).astype(np.float32)
    assert Learner(vectors, 2, config=sharp).critic is None
