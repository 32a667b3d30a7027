"""What the semi-supervised model is measured against, on digits."""

import numpy as np
import pytest
import torch

from model import baselines, evaluation
from model.learner import Learner, LearnerConfig
from model.objective import PAPER

NAMES = list("0123456789")
QUICK = {"warm_up_steps": 30, "batch": 96}
Digits = tuple[np.ndarray, np.ndarray]


def begun(digits: Digits, steps: int = 30, **settings: object) -> Learner:
    learner = Learner(digits[0][:400], 10, config=LearnerConfig(**(QUICK | settings)))
    for _ in range(steps):
        learner.take_step()
    return learner


def test_the_trunk_learns_from_labels_alone_and_leaves_the_decoder(digits: Digits) -> None:
    images, labels = digits
    learner = begun(digits, steps=0)
    decoder = {name: t.clone() for name, t in learner.vae.decoder.state_dict().items()}
    told: list[tuple[int, int]] = []
    model = baselines.labels_alone(
        learner, {i: int(labels[i]) for i in range(200)}, NAMES, 0, 150, lambda done, of: told.append((done, of))
    )
    assert evaluation.accuracy(model.predict_proba(images[1200:]), labels[1200:]) > 0.85
    assert model.header["steps"] == 150
    assert told == [(i, 150) for i in range(1, 151)]
    for name, t in model.vae.decoder.state_dict().items():
        torch.testing.assert_close(t, decoder[name])


def test_without_labels_the_model_is_the_vae_that_saw_one_constant_y(digits: Digits) -> None:
    learner = begun(digits)
    model = baselines.without_labels(learner, NAMES, 0)
    z = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    as_trained = learner.ema.decode(z, torch.full((5, 10), 0.1))
    for k in range(10):
        as_one = model.vae.decode(z, model.vae.one_hot(torch.full((5,), k)))
        torch.testing.assert_close(as_one, as_trained, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.predict_proba(digits[0][:5]), 0.1, rtol=1e-5)
    assert model.elbo_terms(digits[0][:5])["kl_y"] == pytest.approx(0, abs=1e-5)
    np.testing.assert_array_equal(model.generate(0, 4), model.generate(7, 4))
    np.testing.assert_array_equal(model.embed(digits[0][:5]), learner.as_model(NAMES).embed(digits[0][:5]))


def test_the_papers_network_is_taken_as_it_is_and_ours_with_the_layer_that_the_graph_refits(digits: Digits) -> None:
    labels = digits[1]
    learner = begun(digits, objective=PAPER)
    learner.set_labels({i: int(labels[i]) for i in range(50)})
    for _ in range(20):
        learner.take_step()
    model = baselines.network_alone(learner, NAMES)
    torch.testing.assert_close(model.vae.state_dict(), learner.ema.state_dict())
    torch.testing.assert_close(learner.as_model(NAMES).vae.state_dict(), learner.ema.state_dict())
    ours = begun(digits)
    ours.set_labels(learner.labels)
    ours.take_step()
    assert not torch.equal(ours.as_model(NAMES).vae.classifier.weight, ours.ema.classifier.weight)
    assert (model.header["labels"], model.header["steps"]) == (50, 50)


def test_clustering_accuracy_takes_each_cluster_for_the_class_that_fits_best(digits: Digits) -> None:
    images, labels = digits
    model = baselines.without_labels(begun(digits, steps=60, warm_up_steps=60), NAMES, 0)
    found = baselines.clustering_accuracy(model, images[:400], images[1200:], labels[1200:])
    assert 0.5 < found < 0.95
    renamed = np.random.default_rng(0).permutation(10)[labels]
    assert baselines.clustering_accuracy(model, images[:400], images[1200:], renamed[1200:]) == found
    noise = np.random.default_rng(0).integers(0, 10, len(labels))
    assert baselines.clustering_accuracy(model, images[:400], images[1200:], noise[1200:]) < 0.25
