"""One model in one safetensors file: weights, class mixtures, and in the header the configuration and class names."""

import json
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from model import generation, objective
from model.device import Device
from model.features import as_trained_on, to_data, to_unit
from model.generation import Drawing, Mixtures
from model.head import Head
from model.images import fit_all
from model.ssvae import SSVAE, VAEConfig, sample_z

FORMAT = "labeler-ssvae-1"
CHUNK = 500


def load(path: Path | str, vae: SSVAE | None = None) -> "Model":
    """The model in a file that Labeler wrote. ValueError for any other file.

    `vae`: of a wrapped model a new one, made by the same `SSVAE.wrap`, into which the weights are put.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no model file {path}")
    try:
        with safe_open(path, framework="pt") as f:
            header = {key: json.loads(value) for key, value in (f.metadata() or {}).items() if key != "__dummy__"}
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 (a file, not a dict)
    except Exception as e:  # safetensors raises its own kinds, which differ between versions
        raise ValueError(f"{path} cannot be read as a safetensors file: {e}") from e
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} is not a Labeler model (format {header.get('format')!r}, expected {FORMAT!r})")
    own = Head(*(tensors.pop(f"own.{name}") for name in Head._fields)) if "own.weight" in tensors else None
    mixtures = Mixtures(*(tensors.pop(f"mixtures.{name}") for name in ("weights", "means", "factors")))
    vae = _empty(path, header["config"], vae)
    try:
        vae.load_state_dict(tensors)
    except RuntimeError as e:
        raise ValueError(f"{path} holds other weights than the network given: {e}") from e
    return Model(vae.requires_grad_(False), mixtures, header, own)


def _empty(path: Path, stored: dict[str, Any], given: SSVAE | None) -> SSVAE:
    """A network for the weights in a file, by its configuration or as given."""
    if "image_size" in stored:  # written before there were vectors
        side = stored.pop("image_size")
        stored["shape"] = (stored.pop("channels"), side, side)
    config = VAEConfig(**{**stored, "shape": tuple(stored["shape"])})
    if not config.wrapped:
        return SSVAE(config)
    if given is None:
        raise ValueError(
            f"{path} holds a wrapped model: its trunk and decoder are your own code. "
            "Build them as before and give load(path, vae=SSVAE.wrap(trunk, decoder, ...))"
        )
    if given.config != config:
        raise ValueError(f"{path} was written by a network with {config}; the one given has {given.config}")
    return given


class Model:
    """A trained model outside any project. Images: uint8 (N, H, W) or (N, H, W, 3) of any size, or a list of such."""

    def __init__(self, vae: SSVAE, mixtures: Mixtures, header: dict[str, Any], own_layer: Head | None = None):
        self.vae, self.mixtures, self.header = vae, mixtures, header
        self.own_layer = own_layer  # the classification layer that training goes on with, where vae has another
        self.classes: list[str] = header["classes"]
        vae.eval()
        self._device = Device(
            next(vae.parameters()).device.type, False
        )  # float32: a figure must not depend on the batch

    def save(self, path: Path) -> None:
        """Write weights and mixtures, with the configuration, class names and what else the header holds."""
        tensors = {name: t.detach().cpu().contiguous() for name, t in self.vae.state_dict().items()}
        tensors |= {name: t.contiguous() for name, t in self.mixtures.tensors().items()}
        if self.own_layer is not None:
            tensors |= {f"own.{name}": t.contiguous() for name, t in self.own_layer._asdict().items()}
        about = {**self.header, "format": FORMAT, "config": asdict(self.vae.config)}
        try:
            save_file(tensors, path, metadata={key: json.dumps(value) for key, value in about.items()})
        except SafetensorError as error:  # its own kind, also for a full disk
            raise OSError(f"{path} could not be written: {error}") from error

    def is_finite(self) -> bool:
        """Neither a weight nor a mixture holds a NaN or an infinity."""
        tensors = [*self.vae.state_dict().values(), *self.mixtures.tensors().values(), *(self.own_layer or ())]
        return all(bool(t.isfinite().all()) for t in tensors)

    def predict_proba(self, images: Any) -> np.ndarray:
        """float32 (N, C), rows sum to one."""
        found = [self.vae.encode(x).logits.softmax(1) for x in self._batches(images)]
        return self._joined(found, len(self.classes))

    def embed(self, images: Any) -> np.ndarray:
        """Mean of q(z|x): float32 (N, Z)."""
        return self._joined([self.vae.encode(x).mu for x in self._batches(images)], self.vae.config.z_dim)

    def elbo(self, images: Any, importance_samples: int | None = None) -> np.ndarray:
        """float32 (N,) nats an image, higher is better: the sum of `elbo_terms`.

        With K `importance_samples` of z the tighter bound of Burda et al. 2016, eq. 8; with one of them the same mean.
        """
        if importance_samples is not None:
            if importance_samples < 1:
                raise ValueError(f"importance_samples is {importance_samples}; it must be 1 or more")
            return self._importance_weighted(images, importance_samples)
        terms = self.elbo_terms(images)
        return terms["log_px"] - terms["kl_z"] - terms["kl_y"]

    @torch.inference_mode()
    def _importance_weighted(self, images: Any, samples: int, rng_seed: int = 0) -> np.ndarray:
        """log 1/K sum_k p(x|z_k,y) p(z_k|y) / q(z_k|x), less KL(q(y|x) || p(y)); y and p(z|y) as in `elbo_terms`."""
        generator = torch.Generator(self._device.name).manual_seed(rng_seed)
        found = []
        for x in self._batches(images):
            e = self.vae.encode(x)
            y = e.logits.softmax(1)
            log_weights = []
            for _ in range(samples):
                z = sample_z(e.mu, e.logvar, generator)
                log_ratio = objective.log_prior(z, y, self.vae.prior_mu, self.vae.prior_logvar)
                log_ratio = log_ratio - objective.log_normal(z, e.mu, e.logvar)
                log_weights.append(self.vae.log_px(self.vae.decode(z, y), x) + log_ratio)
            found.append(torch.stack(log_weights).logsumexp(0) - math.log(samples) - objective.kl_y(y))
        return self._joined(found)

    @torch.inference_mode()
    def elbo_terms(self, images: Any, rng_seed: int = 0) -> dict[str, np.ndarray]:
        """log_px, kl_z and kl_y, float32 (N,) each: weight one on all, y from the classifier, one z an image."""
        generator = torch.Generator(self._device.name).manual_seed(rng_seed)
        terms: dict[str, list[torch.Tensor]] = {"log_px": [], "kl_z": [], "kl_y": []}
        for x in self._batches(images):
            e = self.vae.encode(x)
            y = e.logits.softmax(1)
            z = sample_z(e.mu, e.logvar, generator)
            terms["log_px"].append(self.vae.log_px(self.vae.decode(z, y), x))
            terms["kl_z"].append(objective.kl_z(e.mu, e.logvar, y, self.vae.prior_mu, self.vae.prior_logvar))
            terms["kl_y"].append(objective.kl_y(y))
        return {name: self._joined(parts) for name, parts in terms.items()}

    @torch.inference_mode()
    def reconstruct(self, images: Any) -> np.ndarray:
        """Encoded and decoded again as what the classifier takes them for: uint8, shape as of `as_class`."""
        encoded = [self.vae.encode(x) for x in self._batches(images)]
        drawn = [to_data(self.vae, self.vae.decode(e.mu, e.logits.softmax(1))) for e in encoded]
        return np.concatenate([self._no_images(), *drawn])

    @torch.inference_mode()
    def generate(self, label: int | str, n: int, rng_seed: int = 0, temperature: float = 1.0) -> np.ndarray:
        """n new images of a class (index or name): uint8 (n, H, W) or (n, H, W, 3).

        They are means of p(x|z,y), without its noise: vectors, float32 (n, D), vary less than real ones.
        """
        _must_be_drawable(n, temperature)
        return self.draw(self._index(label), *self._random_places(n, rng_seed), temperature)

    @torch.inference_mode()
    def strip(self, n: int) -> np.ndarray:
        """n images of each class, uint8 (C, n, S, S[, 3]), at the same places of the mixtures in every version: what
        `generate` draws of each with its defaults."""
        u, noise = self._random_places(n, 0)
        return np.stack([self.draw(label, u, noise) for label in range(len(self.classes))])

    def _random_places(self, n: int, rng_seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """u (n,) and noise (n, Z), see Mixtures.z."""
        generator = torch.Generator().manual_seed(rng_seed)
        return torch.rand(n, generator=generator), torch.randn(n, self.vae.config.z_dim, generator=generator)

    @torch.inference_mode()
    def draw(self, label: int, u: torch.Tensor, noise: torch.Tensor, temperature: float = 1.0) -> np.ndarray:
        """Images of a class at given places of its mixture, see Mixtures.z."""
        return self._decoded(self.mixtures.z(label, u, noise, temperature), label)

    @torch.inference_mode()
    def interpolate(
        self,
        a: int | str | Drawing | np.ndarray,
        b: int | str | Drawing | np.ndarray,
        n: int,
        rng_seed: int = 0,
        temperature: float = 1.0,
    ) -> np.ndarray:
        """n images on the way from a to b, both ends included: uint8 (n, H, W) or (n, H, W, 3).

        Each end is a class (index or name; the same place of both classes' mixtures), a Drawing of the same seed and
        temperature, or one image. y goes straight.
        In z the centre of the class goes straight, and what sets the image apart from its class is turned: in the
        middle of a straight way all images look like the mean of their class (coverage .31 instead of .43, turned .41).
        """
        _must_be_drawable(n, temperature)
        (z_a, y_a), (z_b, y_b) = (self._place(end, rng_seed, temperature) for end in (a, b))
        t = torch.linspace(0, 1, n)[:, None]
        centre_a, centre_b = y_a @ self.mixtures.centres(), y_b @ self.mixtures.centres()
        z = torch.lerp(centre_a, centre_b, t) + generation.turn(z_a - centre_a, z_b - centre_b, t)
        return self._drawn(z, torch.lerp(y_a, y_b, t))

    def _place(
        self, end: int | str | Drawing | np.ndarray, rng_seed: int, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """z (1, Z) and y (1, C) of a class, a drawing or one image, on the CPU as the mixtures are."""
        if isinstance(end, np.ndarray):
            encoding = self.vae.encode(next(self._batches(end[None])))
            return encoding.mu.cpu(), encoding.logits.softmax(1).cpu()
        drawing = end if isinstance(end, Drawing) else Drawing(end, 0, 1)
        label = self._index(drawing.label)
        u, noise = (t[[drawing.column]] for t in self._random_places(drawing.of, rng_seed))
        y = self.vae.one_hot(torch.tensor([label]))
        return self.mixtures.z(label, u, noise, temperature), y

    def as_class(self, images: Any, label: int | str) -> np.ndarray:
        """The same z decoded as another class: uint8 (N, S, S) or (N, S, S, 3) at the model's size."""
        return self.as_classes(images, [label])[:, 0]

    @torch.inference_mode()
    def as_classes(self, images: Any, labels: Sequence[int | str]) -> np.ndarray:
        """Each image's z decoded as each of `labels`: uint8 (N, len(labels), S, S) or (N, len(labels), S, S, 3)."""
        y = self.vae.one_hot(torch.tensor([self._index(label) for label in labels]))  # (L, C)
        drawn = [self._no_images().reshape(0, len(y), *self._no_images().shape[1:])]
        for x in self._batches(images):
            mu = self.vae.encode(x).mu
            made = self._drawn(mu.repeat_interleave(len(y), 0), y.repeat(len(mu), 1))
            drawn.append(made.reshape(len(mu), len(y), *made.shape[1:]))
        return np.concatenate(drawn)

    def _no_images(self) -> np.ndarray:
        """uint8 (0, S, S) or (0, S, S, 3): what an empty selection becomes."""
        return to_data(self.vae, torch.empty(0, *self.vae.config.shape))

    def _decoded(self, z: torch.Tensor, label: int) -> np.ndarray:
        y = self.vae.one_hot(torch.tensor([label]))
        return self._drawn(z, y.expand(len(z), -1))

    def _drawn(self, z: torch.Tensor, y: torch.Tensor) -> np.ndarray:
        parts = zip(z.split(CHUNK), y.split(CHUNK), strict=True)
        device = self._device.torch
        drawn = [to_data(self.vae, self.vae.decode(z.to(device), y.to(device))) for z, y in parts]
        return np.concatenate([self._no_images(), *drawn])

    @torch.inference_mode()
    def _joined(self, parts: list[torch.Tensor], width: int | None = None) -> np.ndarray:
        if not parts:
            return np.empty((0,) if width is None else (0, width), np.float32)
        return torch.cat(parts).cpu().numpy()

    def _batches(self, images: Any) -> Any:
        """Chunks of prepared images as float tensors, without gradients."""
        ready = as_trained_on(_prepared(images, self.vae.config), self.vae)
        with torch.inference_mode():
            for i in range(0, len(ready), CHUNK):
                yield to_unit(ready[i : i + CHUNK], self._device)

    def _index(self, label: int | str) -> int:
        if isinstance(label, str):
            known = [unicodedata.normalize("NFC", name) for name in self.classes]
            if (name := unicodedata.normalize("NFC", label)) not in known:
                raise KeyError(f"no class {label!r}; the model knows {', '.join(self.classes)}")
            return known.index(name)
        if not isinstance(label, int | np.integer):
            raise ValueError(f"a class is its name or its number, not {label!r}")
        if not 0 <= label < len(self.classes):
            raise KeyError(f"no class number {label}; the model knows 0 to {len(self.classes) - 1}")
        return int(label)


def _must_be_drawable(n: int, temperature: float) -> None:
    if n < 1:
        raise ValueError(f"n is {n}; it must be 1 or more")
    if not 0 <= temperature < math.inf:  # also true of NaN
        raise ValueError(f"temperature is {temperature}; it must be 0 or more, and finite")


def _prepared(images: Any, config: VAEConfig) -> np.ndarray:
    """Any images at the network's size; other arrays as they are. ValueError for a single one."""
    if not (config.is_image and config.shape[1] == config.shape[2]):
        return np.asarray(images).reshape(-1, *config.shape) if len(images) == 0 else np.asarray(images)
    if isinstance(images, np.ndarray) and images.ndim == 2:
        raise ValueError("expected images (N, H, W) or (N, H, W, 3); for one image pass image[None]")
    if isinstance(images, np.ndarray) and images.shape[1:] == config.shape and images.dtype != np.uint8:
        return images  # already as the network takes them, in [0, 1]
    return fit_all(images, config.image_size, config.channels)
