"""Class surgery on a network: what it knew of the classes it still knows of what became of them."""

import copy

import numpy as np
import pytest
import torch

from model import evaluation, generation
from model.checkpoint import Model
from model.columns import fit_classifier, folded, with_columns
from model.learner import Learner, LearnerConfig
from model.ssvae import SSVAE, VAEConfig

TEST = np.arange(1200, 1797)
KEPT = [[i] for i in range(10)]
MERGED = [[i] for i in range(8)] + [[8, 9]]  # 9 into 8
ARCHIVED = KEPT[:9]
GROWN = [*KEPT, []]
SPLIT = [*KEPT, [3]]
Known = tuple[Learner, Model, np.ndarray]


@pytest.fixture(scope="module")
def known(digits: tuple[np.ndarray, np.ndarray]) -> Known:
    """A learner of 100 labels, what it would publish, and q(y|x) of the test images by that."""
    images, labels = digits
    held_out = np.zeros(len(images), bool)
    held_out[TEST] = True
    learner = Learner(images, 10, held_out, LearnerConfig(warm_up_steps=120))
    learner.set_labels({i: int(labels[i]) for i in range(100)})
    while learner.step < 200:
        learner.take_step()
    model = learner.as_model([str(k) for k in range(10)])
    return learner, model, model.predict_proba(images[TEST])


def as_now(labels: np.ndarray, sources: list[list[int]]) -> np.ndarray:
    """Labels of before as classes of now; -1 for what was archived."""
    return np.array([next((k for k, of in enumerate(sources) if y in of), -1) for y in labels.tolist()])


def accuracy(probs: np.ndarray, labels: np.ndarray) -> float:
    """On the images of classes that are still there."""
    return evaluation.accuracy(probs[labels >= 0], labels[labels >= 0])


def taken_up(known: Known, images: np.ndarray, sources: list[list[int]]) -> Learner:
    learner, model, _ = known
    later = Learner(images, len(sources), learner.held_out, LearnerConfig(warm_up_steps=120))
    later.resume(model.vae, learner.step, sources, model.mixtures)
    return later


def on_test(learner: Learner) -> np.ndarray:
    learner.features.refresh(learner.ema, TEST, learner.step)
    return learner.features.probs(learner.ema, TEST)


@pytest.mark.parametrize("sources", [MERGED, ARCHIVED, GROWN, SPLIT], ids=["merged", "archived", "grown", "split"])
def test_a_learner_that_goes_on_with_other_classes_is_as_accurate_as_before_and_not_warmed_up_again(
    known: Known, digits: tuple[np.ndarray, np.ndarray], sources: list[list[int]]
) -> None:
    images, labels = digits
    now = as_now(labels[TEST], sources)
    before = accuracy(folded(known[2], sources[:10]), now)
    later = taken_up(known, images, sources)
    assert (later.step, later.warming_up) == (known[0].step, False)
    probs = on_test(later)
    if sources == SPLIT:  # half of what was a 3 is taken for each of the two, and either is right
        probs = probs[:, :10] + probs[:, 10:] * (np.arange(10) == 3)
    assert accuracy(probs, now) >= before - 0.01
    later.set_labels({i: int(y) for i, y in enumerate(as_now(labels[:100], sources).tolist()) if y >= 0})
    for _ in range(10):
        later.take_step()
    assert later.step == known[0].step + 10
    assert accuracy(on_test(later), now) >= before - 0.05


def test_the_probabilities_of_merged_classes_add_up(known: Known, digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = digits
    wanted = folded(known[2], MERGED)
    np.testing.assert_allclose(wanted[:, 8], known[2][:, 8:].sum(1), atol=1e-6)
    got = on_test(taken_up(known, images, MERGED))
    assert np.abs(got - wanted).mean() < 0.01
    assert np.abs(got[:, 8] - wanted[:, 8]).mean() < 0.03
    unfitted = with_columns(known[1].vae, MERGED)
    worse = Model(unfitted, known[1].mixtures, known[1].header | {"classes": list("012345678")})
    assert np.abs(got - wanted).mean() < np.abs(worse.predict_proba(images[TEST]) - wanted).mean()


def test_a_shared_column_is_divided_and_one_beside_it_is_not() -> None:
    """a takes b in, and c comes out of b: half of b is a's, and all that a had."""
    taken = folded(np.array([[0.8, 0.2], [0.5, 0.5]], np.float32), [[0, 1], [1]])
    np.testing.assert_allclose(taken, [[0.9, 0.1], [0.75, 0.25]], atol=1e-6)


def test_a_new_class_is_never_the_likeliest_until_it_has_labels(
    known: Known, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    probs = on_test(taken_up(known, digits[0], GROWN))
    assert not (probs.argmax(1) == 10).any()
    np.testing.assert_array_equal(probs.argmax(1), on_test(taken_up(known, digits[0], KEPT)).argmax(1))


def test_archived_columns_leave_the_others_in_proportion(known: Known, digits: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_allclose(on_test(taken_up(known, digits[0], ARCHIVED)), folded(known[2], ARCHIVED), atol=0.02)


def test_every_part_of_the_network_follows_its_class() -> None:
    vae = SSVAE(VAEConfig((1, 8, 8), n_classes=4, z_dim=5)).eval()
    made = with_columns(vae, [[2], [0, 1], [], [3]], np.array([3.0, 1, 1, 1])).eval()
    x, z = torch.rand(6, 1, 8, 8), torch.randn(6, 5)
    torch.testing.assert_close(made.encode(x).mu, vae.encode(x).mu)
    for new, old in ((0, 2), (3, 3)):
        y_new, y_old = made.one_hot(torch.full((6,), new)), vae.one_hot(torch.full((6,), old))
        torch.testing.assert_close(made.decode(z, y_new), vae.decode(z, y_old))
        torch.testing.assert_close(made.encode(x).logits[:, new], vae.encode(x).logits[:, old])
        torch.testing.assert_close(made.prior_mu[new], vae.prior_mu[old])
    torch.testing.assert_close(made.prior_mu[1], 0.75 * vae.prior_mu[0] + 0.25 * vae.prior_mu[1])
    torch.testing.assert_close(made.prior_logvar[2], vae.prior_logvar.mean(0))


def test_what_was_split_off_shares_the_probability_of_what_it_came_from() -> None:
    vae = SSVAE(VAEConfig((1, 8, 8), n_classes=3)).eval()
    x = torch.rand(6, 1, 8, 8)
    before = vae.encode(x).logits.softmax(1)
    after = with_columns(vae, [[0], [1], [2], [1]]).eval().encode(x).logits.softmax(1)
    torch.testing.assert_close(after[:, 1] + after[:, 3], before[:, 1])
    np.testing.assert_allclose(folded(before.detach().numpy(), [[0], [1], [2], [1]]), after.detach(), atol=1e-6)


def test_the_classifier_is_fitted_to_any_probabilities_that_a_layer_can_give() -> None:
    vae = SSVAE(VAEConfig((1, 8, 8), n_classes=3, h_dim=6))
    generator = torch.Generator().manual_seed(0)
    h, weight = torch.randn(300, 6, generator=generator), torch.randn(3, 6, generator=generator)
    wanted = (h @ weight.T).softmax(1).numpy()
    fit_classifier(vae, h, wanted, [[0], [1], [2]])
    np.testing.assert_allclose(vae.classifier(h).softmax(1).detach(), wanted, atol=0.01)


def test_the_mixtures_of_merged_classes_are_joined_by_how_much_each_has() -> None:
    mu, logvar = torch.arange(6.0).reshape(3, 2), torch.zeros(3, 2)
    before = generation.from_prior(mu, logvar)
    prior = generation.from_prior(torch.full((3, 2), 9.0), logvar)
    made = before.with_columns([[0, 2], [1], []], np.array([0.3, 0.1, 0.6]), prior)
    torch.testing.assert_close(made.weights[0, :3], torch.tensor([2 / 3, 1 / 3, 0]))
    torch.testing.assert_close(made.means[0, :2], mu[[2, 0]])
    torch.testing.assert_close(made.centres()[1:], torch.stack([mu[1], torch.tensor([9.0, 9.0])]))


@pytest.mark.parametrize("sources", [MERGED, GROWN, ARCHIVED], ids=["merged", "grown", "archived"])
def test_a_learner_at_work_goes_on_with_other_classes_on_the_same_features(
    known: Known, digits: tuple[np.ndarray, np.ndarray], sources: list[list[int]]
) -> None:
    images, labels = digits
    learner = copy.deepcopy(known[0])
    features, graph, step = learner.features, learner.graph, learner.step
    before = accuracy(folded(on_test(learner), sources[:10]), as_now(labels[TEST], sources))
    learner.reclass(sources)
    assert (learner.features, learner.graph, learner.step) == (features, graph, step)
    assert learner.labels == {}
    assert accuracy(on_test(learner), as_now(labels[TEST], sources)) >= before - 0.01
    learner.set_labels({i: int(y) for i, y in enumerate(as_now(labels[:100], sources).tolist()) if y >= 0})
    for _ in range(3):
        learner.take_step()
    model = learner.as_model([str(k) for k in range(len(sources))])
    assert model.strip(2).shape == (len(sources), 2, 8, 8)
    assert accuracy(model.predict_proba(images[TEST]), as_now(labels[TEST], sources)) >= before - 0.03
