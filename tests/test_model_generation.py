"""Drawing: places in a mixture, what stands for a class, ways from one image or class to another."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labeler import Project
from labeler.learning import Learning
from model import generation
from model.checkpoint import Model
from model.ssvae import SSVAE, VAEConfig

C, Z = 3, 32


def clouds(rng: np.random.Generator, sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, Z) around means that are far apart, and the class of each."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    means = rng.normal(size=(len(sizes), Z)) * 5
    return (means[labels] + rng.normal(size=(len(labels), Z))).astype(np.float32), labels


def fitted(sizes: list[int], before: generation.Mixtures | None = None) -> tuple[generation.Mixtures, np.ndarray]:
    rng = np.random.default_rng(0)
    mu, labels = clouds(rng, sizes)
    prior = generation.from_prior(torch.zeros(len(sizes), Z), torch.zeros(len(sizes), Z))
    return generation.fit(mu, np.full_like(mu, 0.01), labels, prior, rng, before), mu


@pytest.fixture(scope="module")
def model() -> Model:
    """Random weights; the mixtures of three classes with 600, 40 and 3 members."""
    torch.manual_seed(0)
    vae = SSVAE(VAEConfig(shape=(1, 8, 8), n_classes=C)).requires_grad_(False)
    return Model(vae, fitted([600, 40, 3])[0], {"classes": ["a", "b", "c"]})


def test_a_mixture_has_the_mean_and_the_spread_of_its_class_however_few_there_are():
    sizes = [2000, 600, 70, 10, 2, 1, 0]
    mixtures, mu = fitted(sizes)
    generator = torch.Generator().manual_seed(0)
    u, noise = torch.rand(4000, generator=generator), torch.randn(4000, Z, generator=generator)
    ends = np.cumsum(sizes)
    for k, size in enumerate(sizes[:-1]):
        z = mixtures.z(k, u, noise).numpy()
        np.testing.assert_allclose(z.mean(0), mu[ends[k] - size : ends[k]].mean(0), atol=0.35)
        assert 0.5 < z.var(0).mean() / (1 if size > 64 else 5) < 2.5
    np.testing.assert_allclose(mixtures.z(6, u, noise).numpy(), noise.numpy(), atol=1e-6)  # without a member: the prior


def test_what_cannot_be_drawn_is_refused_by_the_name_of_the_argument(model):
    image = np.zeros((1, 8, 8), np.uint8)
    for n in (0, -1):
        with pytest.raises(ValueError, match=f"n is {n}"):
            model.generate("a", n)
        with pytest.raises(ValueError, match=f"n is {n}"):
            model.interpolate("a", "b", n)
    for temperature in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"temperature is {temperature}"):
            model.generate("a", 1, temperature=temperature)
        with pytest.raises(ValueError, match=f"temperature is {temperature}"):
            model.interpolate("a", "b", 3, temperature=temperature)
    for samples in (0, -1):
        with pytest.raises(ValueError, match=f"importance_samples is {samples}"):
            model.elbo(image, samples)
    for label in (1.5, None):
        with pytest.raises(ValueError, match=f"a class is its name or its number, not {label}"):
            model.generate(label, 1)
        with pytest.raises(ValueError, match="a class is its name"):
            model.as_class(image, label)
    assert len(model.generate(np.int64(1), 1)) == 1


def test_components_keep_their_places_when_a_mixture_is_fitted_again():
    first, _ = fitted([2000, 600])
    again, _ = fitted([2000, 600], first)
    u, noise = torch.rand(50, generator=torch.Generator().manual_seed(0)), torch.zeros(50, Z)
    moved = (again.z(0, u, noise) - first.z(0, u, noise)).norm(dim=1)
    apart = (first.means[0, :, None] - first.means[0]).norm(dim=-1).mean()
    assert moved.median() < 0.3 * apart


def test_a_label_stands_for_its_class_a_sure_guess_too_and_the_surest_where_hardly_anything_is_sure():
    probs = np.full((100, 3), 0.05)
    probs[:60, 0] = 0.9  # sure
    probs[60:, 1] = np.linspace(0.3, 0.79, 40)  # not sure, growing
    labels = np.full(100, -1)
    labels[0], labels[60] = 2, 1
    found = generation.members(probs, labels)
    assert found[0] == 2
    assert (found[1:60] == 0).all()
    assert found[60] == 1
    assert (found[-generation.LEAST + 1 :] == 1).all()
    assert np.bincount(found[found >= 0], minlength=3).tolist() == [59, generation.LEAST, 1]


def test_temperature_0_gives_the_centres_of_the_components_and_a_higher_one_more_variety(model):
    centres = model.generate("a", 100, temperature=0)
    assert len(np.unique(centres.reshape(100, -1), axis=0)) <= generation.COMPONENTS
    varied = [model.generate("b", 200, temperature=t).astype(float).var(0).mean() for t in (0, 0.5, 1, 1.5)]
    assert varied[0] == 0
    assert (np.diff(varied) > 0).all()


def test_the_centre_of_a_mixture_is_the_mean_of_what_it_draws(model):
    generator = torch.Generator().manual_seed(0)
    z = model.mixtures.z(0, torch.rand(20_000, generator=generator), torch.randn(20_000, Z, generator=generator))
    torch.testing.assert_close(z.mean(0), model.mixtures.centres()[0], atol=0.05, rtol=0)


def test_turning_keeps_the_length_and_the_pace():
    a, b = torch.tensor([[2.0, 0, 0]]), torch.tensor([[0, 2.0, 0]])
    t = torch.linspace(0, 1, 7)[:, None]
    angle = t[:, 0] * torch.pi / 2
    circle = torch.stack([2 * angle.cos(), 2 * angle.sin(), torch.zeros(7)], 1)
    torch.testing.assert_close(generation.turn(a, b, t), circle)
    for straight in (torch.zeros(1, 3), -a, 3 * a):
        torch.testing.assert_close(generation.turn(a, straight, t), a + t * (straight - a))


def test_a_way_between_classes_begins_and_ends_with_what_both_draw_at_the_same_place(model):
    way = model.interpolate("a", 2, 9, rng_seed=5)
    assert (way.shape, way.dtype) == ((9, 8, 8), np.uint8)
    np.testing.assert_allclose(way[0], model.generate("a", 1, rng_seed=5)[0].astype(int), atol=1)
    np.testing.assert_allclose(way[-1], model.generate(2, 1, rng_seed=5)[0].astype(int), atol=1)
    steps = np.abs(np.diff(way.astype(float), axis=0)).mean((1, 2))
    assert steps.max() < 0.5 * np.abs(way[0].astype(float) - way[-1]).mean()  # no jump


def test_a_way_between_two_images_begins_and_ends_with_their_reconstructions(model):
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    way = model.interpolate(images[0], images[1], 5)
    np.testing.assert_allclose(way[[0, -1]], model.reconstruct(images).astype(int), atol=1)
    mixed = model.interpolate(images[0], "b", 3)
    np.testing.assert_allclose(mixed[0], way[0].astype(int), atol=1)
    with pytest.raises(KeyError, match="knows a, b, c"):
        model.interpolate("a", "d", 3)


def test_a_way_may_begin_at_a_drawing_and_the_strip_is_what_generate_draws(model):
    drawn = model.generate("a", 8, rng_seed=3, temperature=0.5)
    way = model.interpolate(generation.Drawing("a", 5, 8), generation.Drawing(0, 2, 8), 4, rng_seed=3, temperature=0.5)
    np.testing.assert_allclose(way[[0, -1]], drawn[[5, 2]].astype(int), atol=1)
    strip = model.strip(8)
    np.testing.assert_allclose(strip, [model.generate(label, 8).astype(int) for label in "abc"], atol=1)
    assert np.abs(strip[0].astype(int) - drawn).max() > 1


def test_generate_draws_at_a_temperature_and_from_one_class_to_another(tmp_path: Path, project: Project, labeler):
    project.store.set_setting("learner", {"warm_up_steps": 1})
    learning = Learning(project)
    learning.improve(1)
    learning.publish("random")
    for name, temperature in (("0", 0.0), ("1", 1.0)):
        how = ("--class", "cat", "-n", 20, "--temperature", temperature)
        assert labeler("generate", project.folder, tmp_path / name, *how).code == 0
    varied = [np.stack([np.asarray(Image.open(f)) for f in (tmp_path / d).glob("*.png")]).std(0).mean() for d in "01"]
    assert varied[0] == 0 < varied[1]

    ended = labeler("generate", project.folder, tmp_path / "way", "--between", "cat", "dog", "-n", 5, "--json")
    assert [Path(f).name for f in json.loads(ended.out)["files"]] == [f"{i:05d}.png" for i in range(5)]
    ended = labeler("generate", project.folder, tmp_path / "w", "--between", "cat", "horse")
    assert ended.code == 1
    assert "No class 'horse'" in ended.err
    for how in ((), ("--class", "cat", "--between", "cat", "dog")):
        ended = labeler("generate", project.folder, tmp_path / "w", *how)
        assert ended.code == 2
        assert "--between NAME NAME" in ended.err
    assert not (tmp_path / "w").exists()
