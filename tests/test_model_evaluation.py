"""Figures against hand-made cases and slower truths, and the judge."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.distributions import Normal

from model import evaluation, objective
from model.checkpoint import Model
from model.evaluation import Judge, Seen
from model.generation import from_prior
from model.learner import Learner, LearnerConfig
from model.objective import Objective
from model.ssvae import SSVAE, VAEConfig, sample_z

NAMES = list("0123456789")
QUICK = {"lr": 3e-3, "warm_up_steps": 40, "batch": 96, "partial_batch": 32, "graph_every": 100}
Digits = tuple[np.ndarray, np.ndarray]


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


def test_one_image_alone_has_no_frechet_distance():
    a = np.random.default_rng(0).normal(0, 1, (100, 4))
    assert np.isnan(evaluation.frechet_distance(a, a[:1]))
    assert np.isnan(evaluation.frechet_distance(a[:1], a))
    assert np.isfinite(evaluation.frechet_distance(a, a[[0, 0]]))


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


def test_a_judge_that_cannot_be_kept_is_there_all_the_same(digits, tmp_path):
    images, labels = digits[0][:40], digits[1][:40]
    (tmp_path / "file").write_bytes(b"")
    assert evaluation.judge_for(images, labels, 10, cache=tmp_path / "file" / "cache").see(images)[0].shape == (40, 10)


def test_a_judge_is_kept_for_its_number_of_classes_and_shape_and_a_damaged_one_is_trained_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Judge] = []
    monkeypatch.setattr(Judge, "train", lambda self, *what: trained.append(self))
    images, labels = np.zeros((12, 8, 8), np.uint8), np.arange(12) % 3
    for of, n_classes in [(images, 3), (images, 5), (images.reshape(3, 16, 16), 3), (images.reshape(12, 64), 3)]:
        evaluation.judge_for(of, labels[: len(of)], n_classes, cache=tmp_path)
    assert len(trained) == 4
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:100])
    for _ in range(2):
        for n_classes in (3, 5):
            judge = evaluation.judge_for(images, labels, n_classes, cache=tmp_path)
            assert judge.see(images)[0].shape == (12, n_classes)
        evaluation.judge_for(images.reshape(3, 16, 16), labels[:3], 3, cache=tmp_path)
        evaluation.judge_for(images.reshape(12, 64), labels, 3, cache=tmp_path)
    assert len(trained) == 5


# ---------- bounds ----------
def test_the_log_density_of_z_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    z, mu, logvar = (torch.randn(7, 3, generator=generator) for _ in range(3))
    truth = Normal(mu, (logvar / 2).exp()).log_prob(z).sum(1)
    torch.testing.assert_close(objective.log_normal(z, mu, logvar), truth)


def test_the_kl_of_z_is_the_mean_of_the_log_ratio_that_the_weighted_bound_uses() -> None:
    generator = torch.Generator().manual_seed(0)
    mu, logvar = torch.randn(1, 3, generator=generator), torch.randn(1, 3, generator=generator)
    y = torch.tensor([[0.2, 0.8]])
    prior_mu, prior_logvar = torch.randn(2, 3, generator=generator), torch.randn(2, 3, generator=generator)
    n = 200_000
    z = sample_z(mu.expand(n, 3), logvar.expand(n, 3), generator)
    ratio = objective.log_normal(z, mu, logvar) - objective.log_prior(z, y.expand(n, 2), prior_mu, prior_logvar)
    assert ratio.mean().item() == pytest.approx(objective.kl_z(mu, logvar, y, prior_mu, prior_logvar).item(), rel=0.01)


def test_the_weighted_bound_rises_from_the_elbo_to_the_integral_over_z(digits: Digits) -> None:
    """One latent, so that the integral can be summed up on a grid."""
    torch.manual_seed(0)
    vae = SSVAE(VAEConfig(shape=(1, 8, 8), n_classes=3, z_dim=1, h_dim=16, width=4)).eval().requires_grad_(False)
    vae.decoder.get_parameter("0.weight").mul_(3)  # z must matter
    model = Model(vae, from_prior(vae.prior_mu, vae.prior_logvar), {"classes": list("abc")})
    images = digits[0][:20]
    x = torch.from_numpy(images).float().unsqueeze(1) / 255
    y = vae.encode(x).logits.softmax(1)
    grid = torch.linspace(-8, 8, 2001).unsqueeze(1)
    truth = []
    for one, y_one in zip(x, y, strict=True):
        at = y_one.expand(len(grid), -1)
        log_joint = vae.log_px(vae.decode(grid, at), one.expand(len(grid), -1, -1, -1))
        log_joint = log_joint + objective.log_prior(grid, at, vae.prior_mu, vae.prior_logvar)
        truth.append(log_joint.logsumexp(0) + math.log(16 / 2000) - objective.kl_y(y_one[None])[0])
    truth = torch.stack(truth).numpy()

    bounds = [model.elbo(images, k).mean() for k in (1, 5, 50)]
    assert bounds == sorted(bounds)
    np.testing.assert_allclose(model.elbo(images, 3000), truth, atol=0.03)
    many = np.repeat(images, 200, axis=0)
    assert model.elbo(many, 1).mean() == pytest.approx(model.elbo(many).mean(), abs=0.03)


# ---------- drawings ----------
def test_coverage_falls_when_what_is_drawn_is_all_alike_however_right_it_is() -> None:
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(500, 8)), rng.normal(size=(500, 8))
    assert evaluation.coverage(real, other) == pytest.approx(1 - 0.5**5, abs=0.02)  # Naeem et al. 2020, lemma 2
    assert evaluation.coverage(real, np.repeat(other[:5], 100, axis=0)) < 0.25
    assert evaluation.coverage(real, other + 10) == 0
    assert np.isnan(evaluation.coverage(real[:1], other))


def test_the_energy_tells_blur_and_the_peak_tells_a_checkerboard_even_on_a_blurred_image(digits: Digits) -> None:
    rng = np.random.default_rng(0)
    sharp = gaussian_filter(rng.uniform(0, 255, (200, 28, 28)), (0, 0.7, 0.7))
    blurred = gaussian_filter(sharp, (0, 0.7, 0.7))
    checkers = np.indices((28, 28)).sum(0) % 2 * 2 - 1
    energy = {name: evaluation.spectrum(x.clip(0, 255).astype(np.uint8)) for name, x in [
        ("sharp", sharp), ("blurred", blurred), ("both", blurred + 12 * checkers)
    ]}  # fmt: skip
    assert energy["blurred"][0] < 0.5 * energy["sharp"][0]
    assert energy["both"][0] == pytest.approx(energy["sharp"][0], rel=0.5)  # one makes up for the other
    assert energy["both"][1] > 10 * energy["blurred"][1]
    colour = np.repeat(sharp[..., None], 3, axis=3).astype(np.uint8)
    assert evaluation.spectrum(colour) == pytest.approx(evaluation.spectrum(sharp.astype(np.uint8)), rel=1e-4)


def test_variety_tells_a_decoder_that_ignores_z_which_the_judge_takes_for_perfect(digits: Digits, judge: Judge) -> None:
    """A decoder that draws one and the same real digit of the class asked for, whatever the image."""
    images, labels = digits
    vae = SSVAE(VAEConfig(shape=(1, 8, 8), h_dim=16, width=4)).requires_grad_(False)
    one_of_each = torch.from_numpy(np.stack([images[labels == k][0] for k in range(10)]) / 255).float()
    by_class = torch.nn.Linear(42, 64, bias=False).requires_grad_(False)
    by_class.weight.copy_(torch.cat([torch.zeros(64, 32), one_of_each.logit(1e-3).flatten(1).T], 1))
    vae.decoder = torch.nn.Sequential(by_class, torch.nn.Unflatten(1, (1, 8, 8)))
    model = Model(vae, from_prior(vae.prior_mu, vae.prior_logvar), {"classes": NAMES})
    figures, _ = evaluation.swap_figures(model, judge, seen(digits, judge, slice(1200, None)))
    assert figures["asked_class_seen"] == 1
    assert figures["variety"] == 0
    assert figures["style_moved"] > 0.5


def seen(digits: Digits, judge: Judge, part: slice) -> Seen:
    return Seen(digits[0][part], digits[1][part], judge.see(digits[0][part])[1])


def learned(digits: Digits, objective: Objective, steps: int, y_cut: bool = False) -> Model:
    """From 150 labels among 800 digits. `y_cut`: the decoder's weights for y are zero from the start and stay so."""
    images, labels = digits
    learner = Learner(images[:800], 10, config=LearnerConfig(objective=objective, **QUICK))
    if y_cut:
        weight = learner.vae.decoder.get_parameter("0.weight")
        for w in (weight, learner.ema.decoder.get_parameter("0.weight")):
            w.data[:, -10:] = 0
        weight.register_hook(lambda grad: torch.cat([grad[:, :-10], torch.zeros_like(grad[:, -10:])], 1))
    while learner.warming_up:
        learner.take_step()
    learner.set_labels({i: int(labels[i]) for i in range(150)})
    for _ in range(steps):
        learner.take_step()
    return learner.as_model(NAMES)


def test_a_decoder_that_ignores_y_draws_the_right_classes_but_none_that_is_asked_of_an_image(
    digits: Digits, judge: Judge
) -> None:
    """z carries the class then, and the mixtures of z hide it: only decoding as another class tells."""
    model = learned(digits, Objective(cycle=0, adversary=0, perceptual=0), steps=200, y_cut=True)
    test, train = seen(digits, judge, slice(1200, None)), seen(digits, judge, slice(0, 800))
    whole, of_class = evaluation.generation_figures(model, judge, test, train)
    assert whole["generated_accuracy"] > 0.6
    assert whole["asked_class_seen"] < 0.1
    assert whole["true_class_seen"] > 0.5
    assert whole["style_moved"] == pytest.approx(whole["style_moved_floor"], abs=0.01)
    assert len(of_class) == 10


def test_images_that_are_all_alike_have_no_style_to_move(digits: Digits, judge: Judge) -> None:
    torch.manual_seed(0)
    vae = SSVAE(VAEConfig(shape=(1, 8, 8), h_dim=16, width=4)).requires_grad_(False)
    model = Model(vae, from_prior(vae.prior_mu, vae.prior_logvar), {"classes": NAMES})
    for alike in (digits[0][[0]], digits[0][[0] * 9]):
        test = Seen(alike, np.zeros(len(alike), int), judge.see(alike)[1])
        figures = evaluation.generation_figures(model, judge, test, test)[0]
        assert np.isnan([figures[name] for name in ("style_moved", "style_moved_floor", "variety")]).all()
        assert np.isnan(figures["coverage"]) == (len(alike) == 1)  # and numpy warns of nothing


def test_our_objective_makes_y_mean_the_class(digits: Digits, judge: Judge) -> None:
    model = learned(digits, Objective(), steps=130)
    test = seen(digits, judge, slice(1200, None))
    figures, of_class = evaluation.swap_figures(model, judge, test)
    assert figures["asked_class_seen"] > 0.8
    assert figures["true_class_seen"] < 0.1
    assert min(of_class) > 0.4
    assert figures["asked_class_seen"] == pytest.approx(np.mean(of_class), abs=0.05)


def test_the_floors_are_what_real_images_score_in_place_of_drawn_ones(digits: Digits, judge: Judge) -> None:
    torch.manual_seed(0)
    vae = SSVAE(VAEConfig(shape=(1, 8, 8), h_dim=16, width=4)).requires_grad_(False)
    model = Model(vae, from_prior(vae.prior_mu, vae.prior_logvar), {"classes": NAMES})
    test, train = seen(digits, judge, slice(1200, None)), seen(digits, judge, slice(0, 800))
    whole, of_class = evaluation.generation_figures(model, judge, test, train)
    assert whole["coverage_floor"] > 0.95
    assert whole["frechet_floor"] == evaluation.frechet_distance(train.features, test.features)
    assert whole["generated_frechet"] > 10 * whole["frechet_floor"]  # an untrained decoder
    assert whole["coverage"] < 0.1
    assert whole["high_frequency"] < 0.2
    nines_missing = Seen(*(a[train.labels != 9] for a in (train.images, train.labels, train.features)))
    whole, of_class = evaluation.generation_figures(model, judge, test, nines_missing)
    assert np.isnan(of_class[9]["coverage"])
    assert np.isfinite(whole["coverage"])
