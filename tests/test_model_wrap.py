"""Somebody's own VAE made semi-supervised: the documented example, and what is said when the parts do not fit."""

import copy
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from model import load
from model.columns import with_columns
from model.evaluation import accuracy
from model.learner import Learner, LearnerConfig
from model.networks import conv_trunk, perceptual_layers
from model.objective import PRESETS, Objective
from model.ssvae import SSVAE, VAEConfig

PAGE = Path(__file__).parent.parent / "docs" / "wrap.md"
SMALL = LearnerConfig(warm_up_steps=2, batch=16, labeled_batch=8, partial_batch=4, graph_size=30)


class ConvVAE(nn.Module):
    """BatchNorm, a trunk that ends in a feature map, a decoder that starts with a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(), nn.Conv2d(8, 12, 4, 2, 1)
        )
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (6, 1, 1)),
            nn.ConvTranspose2d(6, 16, (2, 3)),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 3, 4, 2, 1),
        )


def mlp(*widths: int, end: nn.Module | None = None) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1], *([end] if end else []))


def wrapped_with(decoder: nn.Module, **options: str) -> SSVAE:
    return SSVAE.wrap(mlp(64, 16, end=nn.ReLU()), decoder, shape=(1, 8, 8), n_classes=3, z_dim=4, **options)


def wrapped() -> SSVAE:
    return wrapped_with(mlp(4, 16, 64))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def code_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def documented(tmp_path_factory):
    """The names that are known once the page's code has run."""
    names: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("wrap"))
        torch.manual_seed(0)
        for block in code_blocks():
            exec(compile(block, str(PAGE), "exec"), names)
        yield names


def test_the_documented_example_adds_under_fifteen_lines():
    added = next(block for block in code_blocks() if "set_labels" in block)
    assert len([line for line in added.splitlines() if line.strip()]) < 15


def test_the_documented_configs_are_the_papers_objective_and_ours_without_a_term(documented):
    assert documented["paper"].objective == PRESETS["paper"]
    assert documented["uncycled"].objective == Objective(cycle=0)
    Learner(documented["images"][:50], n_classes=10, config=documented["paper"])


def test_the_documented_example_learns_from_a_hundred_labels(documented):
    images, labels = documented["images"], documented["digits"].target
    probs = documented["model"].predict_proba(images[100:])
    assert accuracy(probs, labels[100:]) > 0.8


def test_the_wrapped_decoder_draws_the_class_that_it_is_told(documented, judge):
    """And not once the columns of the class are gone."""
    model, images = documented["model"], documented["images"][100:500]

    def seen_as_asked() -> float:
        right = [judge.see(model.as_class(images, k))[0].argmax(1) == k for k in range(10)]
        return float(np.mean(right))

    assert seen_as_asked() > 0.5
    columns = model.vae.decoder.of_y.weight
    kept = columns.detach().clone()
    with torch.no_grad():
        columns.zero_()
    assert seen_as_asked() < 0.2
    with torch.no_grad():
        columns.copy_(kept)


def test_a_wrapped_model_is_read_into_the_parts_that_are_given(documented):
    images = documented["images"][:20]
    np.testing.assert_allclose(
        documented["again"].predict_proba(images), documented["model"].predict_proba(images), atol=1e-6
    )
    np.testing.assert_array_equal(documented["again"].generate("3", 4), documented["model"].generate("3", 4))


def test_a_wrapped_model_is_not_read_without_its_parts_or_with_others(documented):
    plain = documented["PlainVAE"]()

    def again(n_classes: int) -> SSVAE:
        options = {"z_dim": 16, "shape": (1, 8, 8), "decoder_gives": "probs"}
        return SSVAE.wrap(plain.encoder, plain.decoder, n_classes=n_classes, **options)

    with pytest.raises(ValueError, match=r"give load\(path, vae=SSVAE.wrap"):
        load("digits.safetensors")
    with pytest.raises(ValueError, match=r"n_classes=10.*n_classes=9"):
        load("digits.safetensors", vae=again(9))
    with pytest.raises(ValueError, match="other weights"):  # new heads, where the file has the VAE's own
        load("digits.safetensors", vae=again(10))


@pytest.mark.parametrize("first", [nn.Linear(4, 6), nn.ConvTranspose2d(4, 6, (2, 3)), nn.Conv1d(4, 6, 1)])
def test_the_class_enters_where_a_wider_first_layer_would_take_it(first, generator):
    """W z + V y, against one layer of the same kind that is built for z beside y and has the weights (W, V)."""
    places = {nn.Linear: (), nn.ConvTranspose2d: (1, 1), nn.Conv1d: (1,)}[type(first)]
    decoder = nn.Sequential(nn.Unflatten(1, (4, *places)), first) if places else nn.Sequential(first)
    z, y = torch.randn(5, 4, generator=generator), torch.randn(5, 3, generator=generator)
    given = decoder(z)
    vae = SSVAE.wrap(nn.Flatten(), decoder, shape=tuple(given.shape[1:]), n_classes=3, z_dim=4)
    torch.testing.assert_close(vae.decode(z, y), given)  # V starts at zero
    v = torch.randn(vae.decoder.of_y.weight.shape, generator=generator)
    wide = copy.deepcopy(first)
    across = 0 if isinstance(first, nn.ConvTranspose2d) else 1
    wide.weight = nn.Parameter(torch.cat([first.weight, v], dim=across))
    with torch.no_grad():
        vae.decoder.of_y.weight.copy_(v)
    truth = wide(torch.cat([z, y], 1).view(5, 7, *places))
    torch.testing.assert_close(vae.decode(z, y), truth)


def test_a_decoder_of_probabilities_becomes_one_of_logits(generator):
    decoder = mlp(4, 16, 64, end=nn.Sigmoid())
    vae = SSVAE.wrap(mlp(64, 8), decoder, shape=(1, 8, 8), n_classes=2, z_dim=4, decoder_gives="probs")
    z = torch.randn(5, 4, generator=generator)
    torch.testing.assert_close(vae.decode(z, torch.zeros(5, 2)).sigmoid().flatten(1), decoder(z))


def test_a_decoder_that_takes_the_class_gets_it_beside_z(generator):
    decoder = mlp(4 + 3, 64)
    vae = wrapped_with(decoder, decoder_takes="z and y")
    z, y = torch.randn(5, 4, generator=generator), vae.one_hot(torch.tensor([0, 1, 2, 1, 0]))
    torch.testing.assert_close(vae.decode(z, y).flatten(1), decoder(torch.cat([z, y], 1)))
    with pytest.raises(ValueError, match="cannot be changed"):
        with_columns(vae, [[0], [1], [2], []])


def test_colour_images_that_are_not_square_go_through_a_convolutional_vae_with_batch_norm():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 12, 3), dtype=np.uint8)
    theirs = ConvVAE()
    vae = SSVAE.wrap(theirs.trunk, theirs.decoder, shape=(3, 8, 12), n_classes=3, z_dim=6)
    assert vae.config.h_dim == 12 * 2 * 3
    learner = Learner(images, 3, config=SMALL, vae=vae)
    learner.set_labels({0: 0, 1: 1, 2: 2})
    for _ in range(4):
        learner.take_step()
    assert {"elbo", "perceptual", "cycle"} <= set(learner.losses)
    assert np.isfinite(list(learner.losses.values())).all()
    model = learner.as_model(["a", "b", "c"])
    assert model.as_class(images[:5], "b").shape == (5, 8, 12, 3)
    assert model.generate("c", 2).dtype == np.uint8
    with pytest.raises(ValueError, match=r"\(3, 8, 12\).*\(3, 9, 12\)"):
        model.embed(np.zeros((1, 9, 12, 3), np.uint8))
    with pytest.raises(ValueError, match="the same name"):
        learner.as_model(["a", "b", "a"])
    with pytest.raises(ValueError, match="at least 1 class"):
        SSVAE.wrap(theirs.trunk, theirs.decoder, shape=(3, 8, 12), n_classes=0, z_dim=6)


def test_signals_of_any_shape_are_standardised_and_come_back_in_their_own_units(tmp_path):
    rng = np.random.default_rng(0)
    signals = rng.normal(1000.0, 5.0, (60, 2, 10))
    signals[:, 1] = 7  # never changes
    trunk, decoder = mlp(20, 16, end=nn.ReLU()), mlp(4, 16, 20)
    vae = SSVAE.wrap(trunk, decoder, shape=(2, 10), n_classes=2, z_dim=4, decoder_gives="means")
    learner = Learner(signals, 2, config=SMALL, vae=vae)
    assert np.abs(learner.images).max() < 6
    learner.set_labels({0: 0, 1: 1})
    for _ in range(4):
        learner.take_step()
    model = learner.as_model(["a", "b"])
    drawn = model.generate("a", 50)
    assert drawn.shape == (50, 2, 10)
    assert np.abs(drawn[:, 0] - 1000).max() < 50
    assert np.isfinite(model.elbo(signals)).all()
    model.save(tmp_path / "m.safetensors")
    again = SSVAE.wrap(copy.deepcopy(trunk), decoder, shape=(2, 10), n_classes=2, z_dim=4, decoder_gives="means")
    np.testing.assert_allclose(
        load(tmp_path / "m.safetensors", vae=again).embed(signals), model.embed(signals), atol=1e-5
    )


def test_real_images_in_zero_to_one_are_taken_as_they_are():
    images = np.random.default_rng(0).random((40, 1, 8, 8), dtype=np.float32)
    learner = Learner(images, 3, config=SMALL, vae=wrapped())
    for _ in range(3):
        learner.take_step()
    as_bytes = (images[:, 0] * 255).round().astype(np.uint8)
    model = learner.as_model(["a", "b", "c"])
    np.testing.assert_allclose(model.embed(images), model.embed(as_bytes), atol=0.05)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        Learner(images * 2, 3, vae=wrapped())


def test_a_part_that_is_frozen_stays_as_it_is_also_with_a_class_more():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    trunk, decoder = mlp(64, 16, end=nn.ReLU()), mlp(4, 16, 64)
    before = [weights.clone() for weights in trunk.requires_grad_(False).parameters()]
    vae = SSVAE.wrap(trunk, decoder, shape=(1, 8, 8), n_classes=3, z_dim=4)
    learner = Learner(images, 3, config=SMALL, vae=vae)
    for classes in (3, 4):
        drawn = [weights.detach().clone() for weights in learner.vae.decoder.parameters()]
        for _ in range(3):
            learner.take_step()
        assert all(map(torch.equal, before, learner.vae.trunk.parameters()))
        assert not all(map(torch.equal, drawn, learner.vae.decoder.parameters()))
        if classes == 3:
            learner.reclass([[0], [1], [2], []])


def test_a_frozen_trunk_gives_what_it_gave_before_with_its_batch_norm():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 12, 3), dtype=np.uint8)
    theirs = ConvVAE()
    x = torch.rand(4, 3, 8, 12)
    before = theirs.trunk.requires_grad_(False).eval()(x)
    vae = SSVAE.wrap(theirs.trunk, theirs.decoder, shape=(3, 8, 12), n_classes=3, z_dim=6)
    learner = Learner(images, 3, config=SMALL, vae=vae)
    for _ in range(3):
        learner.take_step()
    assert torch.equal(learner.vae.trunk.trunk.eval()(x), before)
    assert torch.equal(learner.ema.trunk.trunk(x), before)


def test_a_wrapped_network_makes_room_for_a_class_and_keeps_what_it_knew(generator):
    vae = wrapped()
    with torch.no_grad():
        vae.decoder.of_y.weight.normal_(generator=generator)
    grown = with_columns(vae, [[0], [1], [2], [], []])
    x, z = torch.rand(6, 1, 8, 8, generator=generator), torch.randn(6, 4, generator=generator)
    y = vae.one_hot(torch.tensor([0, 1, 2, 0, 1, 2]))
    torch.testing.assert_close(grown.decode(z, nn.functional.pad(y, (0, 2))), vae.decode(z, y))
    torch.testing.assert_close(grown.encode(x).logits[:, :3], vae.encode(x).logits)
    assert grown.trunk.trunk[1] is not vae.trunk.trunk[1]


def test_the_trial_run_moves_no_running_statistic_and_leaves_the_mode_as_it_was():
    theirs = ConvVAE()
    theirs.trunk[1].eval()
    before = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    SSVAE.wrap(theirs.trunk, theirs.decoder, shape=(3, 8, 12), n_classes=3, z_dim=6)
    assert all(torch.equal(tensor, before[name]) for name, tensor in theirs.state_dict().items())
    assert (theirs.training, theirs.trunk[1].training, theirs.trunk[0].training) == (True, False, True)


def test_the_perceptual_layers_are_the_activations_wherever_they_are(generator):
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
            self.outer = nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.outer(x + self.inner(x)).relu()

    trunk, x = Residual(), torch.randn(4, 6, generator=generator)
    layers = perceptual_layers(trunk, x)
    torch.testing.assert_close(layers, [trunk.inner(x), trunk(x)])
    ours = conv_trunk(8, 1, 4, 16)
    assert [tuple(layer.shape[1:]) for layer in perceptual_layers(ours, torch.rand(2, 1, 8, 8))] == [
        (4, 4, 4), (8, 2, 2), (8, 2, 2), (16,),
    ]  # fmt: skip
    assert not any(layer._forward_hooks for layer in [*trunk.modules(), *ours.modules()])


@pytest.mark.parametrize(
    ("trunk", "decoder", "options", "message"),
    [
        (mlp(64, 8), mlp(4, 64), {"z_dim": None}, "give z_dim"),
        (mlp(64, 8), mlp(4, 64), {"z_dim": None, "mu": nn.Linear(8, 4)}, "both mu and logvar"),
        (mlp(64, 8), mlp(4, 64), {"mu": nn.Linear(8, 5), "logvar": nn.Linear(8, 5)}, r"expected \(2, 4\)"),
        (mlp(63, 8), mlp(4, 64), {}, r"encoder_trunk fails on x of shape \(2, 1, 8, 8\)"),
        (nn.LSTM(8, 8), mlp(4, 64), {"shape": (3, 8)}, "gives a tuple; expected one tensor"),
        (mlp(64, 8), mlp(5, 64), {}, r"decoder fails on z of shape \(2, 4\)"),
        (mlp(64, 8), mlp(4, 63), {}, r"gives \(63,\) for each z; x has the shape \(1, 8, 8\)"),
        (mlp(64, 8), mlp(4, 64, end=nn.Sigmoid()), {}, 'Say decoder_gives="probs"'),
        (mlp(64, 8), mlp(4, 64), {"decoder_gives": "probs"}, 'Say decoder_gives="logits"'),
        (mlp(64, 8), mlp(4, 64), {"decoder_gives": "pixels"}, "decoder_gives is one of"),
        (mlp(64, 8), mlp(4, 64), {"decoder_takes": "y"}, "decoder_takes is one of"),
        (mlp(64, 8), nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Upsample(8)), {}, "no nn.Linear and no convolution"),
    ],
)
def test_parts_that_do_not_fit_are_named_with_what_to_do(trunk, decoder, options, message):
    with pytest.raises(ValueError, match=message):
        SSVAE.wrap(trunk, decoder, **{"shape": (1, 8, 8), "n_classes": 3, "z_dim": 4, **options})


def test_a_method_is_not_a_part():
    with pytest.raises(TypeError, match=r"expected an nn\.Module"):
        SSVAE.wrap(mlp(64, 8), ConvVAE().forward, shape=(1, 8, 8), n_classes=3, z_dim=4)


def test_a_network_for_other_classes_or_images_is_refused():
    with pytest.raises(ValueError, match="for 3 classes, not 4"):
        Learner(np.zeros((4, 8, 8), np.uint8), 4, vae=wrapped())
    with pytest.raises(ValueError, match=r"\(1, 8, 8\); these images give \(1, 9, 9\)"):
        Learner(np.zeros((4, 9, 9), np.uint8), 3, vae=wrapped())
    with pytest.raises(ValueError, match="give a network of your own"):
        Learner(np.zeros((4, 2, 9), np.float32), 3)
    of_means = SSVAE.wrap(mlp(64, 8), mlp(4, 64), shape=(1, 8, 8), n_classes=3, z_dim=4, decoder_gives="means")
    with pytest.raises(ValueError, match="takes real numbers, and these images are of uint8"):
        Learner(np.zeros((4, 8, 8), np.uint8), 3, vae=of_means)
    with pytest.raises(ValueError, match="likelihood is"):
        SSVAE(VAEConfig((1, 8, 8), likelihood="poisson"))
