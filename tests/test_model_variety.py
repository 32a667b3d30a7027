"""Data unlike Fashion-MNIST: colour, vectors, many or few classes, few images, and images that say nothing."""

import datasets
import numpy as np
import pytest
import torch

from labeler.simulate import Pace, simulate
from model import evaluation, load
from model.augment import augment, augment_vectors, in_other_light
from model.evaluation import accuracy
from model.learner import Learner, LearnerConfig
from model.objective import log_px_gaussian
from model.ssvae import LEAST_VARIANCE, SSVAE, VAEConfig

NOTHING = {  # images in which there is nothing, or nothing different, to see
    "black": np.zeros((40, 8, 8), np.uint8),
    "white in colour": np.full((40, 8, 8, 3), 255, np.uint8),
    "all the same": np.repeat(np.random.default_rng(0).integers(0, 256, (1, 8, 8), dtype=np.uint8), 40, axis=0),
    "two images twenty times": np.tile(
        np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8), (20, 1, 1)
    ),
    "two images": np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8),
    "zero vectors": np.zeros((40, 5), np.float32),
    "the same vector": np.full((40, 5), 1e6, np.float32),
    "huge, tiny and constant features": np.random.default_rng(0).normal(size=(40, 5)) * [1e12, 1e-12, 0, 1, 1],
    "one feature": np.arange(40, dtype=np.float32)[:, None],
    "an outlier": np.concatenate([np.random.default_rng(0).normal(size=(39, 3)), np.full((1, 3), 1e9)]),
}


def learned(data: datasets.Labeled, known: np.ndarray, warm_up: int, steps: int) -> Learner:
    """A learner on the training part with the labels at `known` positions; in small batches and long steps."""
    config = LearnerConfig(warm_up_steps=warm_up, batch=48, labeled_batch=16, partial_batch=8, lr=2e-3, ema=0.97)
    learner = Learner(data.xtr, len(data.names), config=config, rng_seed=0)
    for _ in range(warm_up):
        learner.take_step()
    learner.set_labels({int(i): int(data.ytr[i]) for i in known})
    for _ in range(steps):
        learner.take_step()
    return learner


def some_of_each(labels: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([np.flatnonzero(labels == k)[:n] for k in np.unique(labels)])


@pytest.mark.parametrize(
    ("data", "a_class", "least"),
    [
        (lambda: datasets.glyphs(300, 200, 5), 3, 0.6),
        (lambda: datasets.textures(200, 200, 4), 8, 0.5),
        (lambda: datasets.photos(200, 200, 2, size=40), 30, 0.7),
        (lambda: datasets.vectors(300, 300), 4, 0.5),
        (lambda: datasets.table("wine"), 4, 0.75),
        (lambda: datasets.table("breast_cancer"), 5, 0.8),
        (datasets.few_digits, 3, 0.5),
    ],
    ids=["glyphs", "textures", "photos", "vectors", "wine", "breast cancer", "few digits"],
)
def test_a_few_labels_beat_chance_clearly_on_every_kind_of_data(data, a_class, least):
    made = data()
    learner = learned(made, some_of_each(made.ytr, a_class), warm_up=60, steps=60)
    found = accuracy(learner.as_model(made.names).predict_proba(made.xte), made.yte)
    assert found > least
    assert np.isfinite(list(learner.losses.values())).all()


@pytest.mark.parametrize("images", NOTHING.values(), ids=NOTHING)
def test_images_that_say_nothing_give_figures_that_are_numbers(images):
    config = LearnerConfig(warm_up_steps=3, labeled_batch=8, partial_batch=8, graph_size=30, graph_every=2)
    learner = Learner(images, 2, config=config)
    for _ in range(3):
        learner.take_step()
    learner.set_labels({0: 0, 1: 1})
    for _ in range(4):
        learner.take_step()
    model = learner.as_model(["a", "b"])
    assert all(t.isfinite().all() for t in learner.ema.state_dict().values())
    for figures in (model.predict_proba(images), model.embed(images), model.elbo(images), model.generate("a", 5)):
        assert np.isfinite(figures.astype(float)).all()


def test_one_class_alone_is_learned_without_a_fuss():
    data = datasets.glyphs(60, 10, 1, size=8)
    learner = learned(data, np.arange(5), warm_up=3, steps=3)
    model = learner.as_model(data.names)
    np.testing.assert_array_equal(model.predict_proba(data.xte), 1)
    assert np.isfinite(model.elbo(data.xte)).all()
    judge = evaluation.judge_for(data.xtr, data.ytr, 1)
    test = evaluation.Seen(data.xte, data.yte, judge.see(data.xte)[1])
    figures, of_class = evaluation.swap_figures(model, judge, test)
    assert np.isnan([*figures.values(), *of_class]).all(), "there is no other class to draw an image as"


def test_a_hundred_classes_get_through_a_step_and_a_model():
    data = datasets.glyphs(500, 200, 100, size=12)
    learner = learned(data, some_of_each(data.ytr, 2), warm_up=2, steps=3)
    model = learner.as_model(data.names)
    assert model.predict_proba(data.xte).shape == (200, 100)
    assert model.strip(2).shape == (100, 2, 12, 12)


def test_the_units_of_vectors_change_nothing_and_come_back():
    """Millimetres or kilometres, an offset: the same figures, and what is drawn is in the units that were given."""
    data = datasets.vectors(200, 50)
    scale, offset = np.array([1e-3, 1e3] * 10), np.linspace(-1e4, 1e4, 20)
    other = data._replace(xtr=data.xtr * scale + offset, xte=data.xte * scale + offset)
    a, b = (Learner(one.xtr, 5, config=LearnerConfig(warm_up_steps=0)) for one in (data, other))
    np.testing.assert_allclose(a.images, b.images, atol=1e-4)
    np.testing.assert_allclose(a.images.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(a.images.std(0), 1, atol=1e-5)
    first, second = a.as_model(data.names), b.as_model(data.names)
    np.testing.assert_allclose(first.elbo(data.xte), second.elbo(other.xte), rtol=1e-3)
    own, theirs = first.as_class(data.xte, 2), second.as_class(other.xte, 2)
    np.testing.assert_allclose((theirs - offset) / scale, own, rtol=1e-3, atol=1e-3 * data.xtr.std(0).max())
    assert own.dtype == np.float32


def test_a_model_of_vectors_is_the_same_from_its_file(tmp_path):
    data = datasets.table("wine")
    model = learned(data, some_of_each(data.ytr, 3), warm_up=5, steps=5).as_model(data.names)
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    np.testing.assert_allclose(again.predict_proba(data.xte), model.predict_proba(data.xte), atol=1e-6)
    np.testing.assert_allclose(again.elbo(data.xte), model.elbo(data.xte), rtol=1e-5)
    with pytest.raises(ValueError, match=r"shape \(13,\); these images give \(12,\)"):
        again.embed(data.xte[:, :12])


def test_log_px_of_vectors_is_the_gaussian_log_density(generator):
    x, means = torch.randn(4, 6, generator=generator), torch.randn(4, 6, generator=generator)
    variance = torch.rand(6, generator=generator) + 0.1
    truth = torch.distributions.Normal(means, variance.sqrt()).log_prob(x).sum(1)
    torch.testing.assert_close(log_px_gaussian(means, x, variance), truth)


def test_the_variance_of_vectors_becomes_their_mean_squared_residual(generator):
    vae = SSVAE(VAEConfig((3,), 2, 2, likelihood="gaussian")).train()
    deviation = torch.tensor([0.5, 2.0, 0.0])
    for _ in range(400):
        vae.log_px(torch.zeros(200, 3), torch.randn(200, 3, generator=generator) * deviation)
    torch.testing.assert_close(vae.x_variance, torch.tensor([0.25, 4.0, LEAST_VARIANCE]), rtol=0.1, atol=0)
    kept = vae.x_variance.clone()
    vae.eval().log_px(torch.zeros(9, 3), torch.ones(9, 3))
    assert torch.equal(vae.x_variance, kept)


def test_an_augmented_vector_holds_values_of_its_own_feature_only(generator):
    """Feature j of row i is 100 j + i / 100: whatever is swapped comes from the same column."""
    x = 100 * torch.arange(8.0) + torch.arange(500.0).view(-1, 1) / 100
    moved = augment_vectors(x, generator)
    column = (moved / 100).round()
    assert torch.equal(column, torch.arange(8.0).expand(500, 8))
    swapped = ((moved - x).abs() > 1.5).float().mean().item()  # beyond the noise, of 0.14
    assert 0.04 < swapped < 0.2
    torch.testing.assert_close(augment_vectors(torch.zeros(9, 4), generator), torch.zeros(9, 4))


def test_other_light_changes_strengths_and_turns_no_colour_into_another(generator):
    red, gray = torch.tensor([0.8, 0.2, 0.2]).view(1, 3, 1, 1), torch.full((1, 3, 1, 1), 0.5)
    saturation, light = (2 * torch.rand(500, *shape, generator=generator) - 1 for shape in ((), (3,)))
    lit = in_other_light(red.expand(500, 3, 2, 2), saturation, light)
    assert (lit[:, 0] > lit[:, 1:].amax(1)).all()
    assert lit[:, 0].std() > 0.05
    torch.testing.assert_close(in_other_light(gray, saturation[:1], torch.zeros(1, 3)), gray)  # gray has no saturation


def test_gray_images_stay_gray_and_colour_ones_stay_in_range(generator):
    for channels in (1, 3):
        x = torch.rand(20, channels, 12, 12, generator=generator)
        moved = augment(x, generator)
        assert moved.shape == x.shape
        assert moved.min() >= 0
        assert moved.max() <= 1


def test_simulate_runs_on_vectors(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = datasets.save(datasets.table("wine"), tmp_path / "wine.npz")
    pace = Pace(warm_up_steps=60, steps_per_label=5, settle_steps=20)
    report = simulate(source, 12, "coverage", (0,), tmp_path / "out", pace=pace)
    last = report["curve"][-1]
    assert last["labels"] == 12
    assert last["test_accuracy"][0] > 0.7
    assert report["judge_test_accuracy"] > 0.9
    assert (tmp_path / "out" / "as_class.png").stat().st_size > 1000


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
