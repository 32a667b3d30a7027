"""Classes that a mirrored image keeps are found out, and only images of those are mirrored."""

import numpy as np
import pytest
import torch

from model import baselines
from model.augment import augment
from model.learner import Learner, LearnerConfig


@pytest.fixture(scope="module")
def arrows() -> tuple[np.ndarray, np.ndarray]:
    """Arrows to the left (0), to the right (1), and bars (2) that are the same from both sides: uint8 (360, 12, 12)."""
    rng = np.random.default_rng(0)
    labels = np.arange(360) % 3
    images = rng.integers(0, 30, (360, 12, 12))
    row, column = np.mgrid[:12, :12]
    for image, label in zip(images, labels, strict=True):
        middle = 6 + rng.integers(-1, 2)
        left = np.abs(row - middle) <= column / 2.5
        bar = np.abs(row - middle) <= 1 + rng.integers(2)
        image[(left, left[:, ::-1], bar)[label]] += rng.integers(120, 200)
    return images.astype(np.uint8), labels


def taught(arrows: tuple[np.ndarray, np.ndarray], flip: bool | None = None, steps: int = 101) -> Learner:
    images, labels = arrows
    config = LearnerConfig(
        batch=48, labeled_batch=16, partial_batch=8, warm_up_steps=20, graph_every=40, flip=flip, lr=3e-3, ema=0.9
    )
    learner = Learner(images, 3, config=config)
    learner.set_labels({i: int(labels[i]) for i in range(60)})
    for _ in range(steps):
        learner.take_step()
    return learner


def test_a_class_is_mirrored_where_the_network_takes_the_mirrored_image_for_the_same(arrows):
    assert taught(arrows).mirrored.tolist() == [False, False, True]


def test_who_says_so_mirrors_all_or_none(arrows):
    assert taught(arrows, True, 22).mirrored.all()
    assert not taught(arrows, False, 22).mirrored.any()


def test_the_network_on_labels_alone_mirrors_the_classes_that_its_labels_show_to_stay(arrows, monkeypatch):
    images, labels = arrows
    asked = []
    monkeypatch.setattr(
        baselines, "augment", lambda x, generator, flip: asked.append(flip) or augment(x, generator, flip)
    )
    config = LearnerConfig(batch=48, labeled_batch=16, lr=3e-3, ema=0.9)
    learner = Learner(images, 3, config=config)
    given = {i: int(y) for i, y in enumerate(labels[:180])}
    baselines.labels_alone(learner, given, ["left", "right", "bar"], 0, 310, lambda done, of: None)
    assert not torch.cat(asked[:299]).any()
    assert 0.2 < torch.cat(asked[299:]).float().mean() < 0.5, "bars, a third"


def test_an_image_that_may_not_be_mirrored_is_moved_as_if_no_other_were():
    """About half of those that may be are."""
    x = torch.zeros(400, 1, 8, 8)
    x[..., :4] = 1  # bright on the left
    may = torch.arange(400) % 2 == 0
    moved = augment(x, torch.Generator().manual_seed(0), may)
    on_the_right = moved[:, 0, :, 4:].mean((1, 2)) > moved[:, 0, :, :4].mean((1, 2))
    assert not on_the_right[~may].any()
    assert 0.35 < on_the_right[may].float().mean() < 0.65


def test_too_few_sure_images_mirror_nothing(arrows):
    images, labels = arrows
    learner = Learner(images[:12], 3, config=LearnerConfig(batch=16, labeled_batch=8, partial_batch=4, warm_up_steps=1))
    learner.set_labels({i: int(labels[i]) for i in range(12)})
    for _ in range(5):
        learner.take_step()
    assert not learner.mirrored.any()
