"""Figures about a model: accuracy, likelihood, calibration, and an independent judge of what it draws."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
import scipy.linalg
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy.spatial.distance import cdist
from torch import nn

from model.augment import augment
from model.checkpoint import CHUNK, Model
from model.device import best_device
from model.features import to_unit

MOST_EPOCHS = 400  # of a judge of few images


def accuracy(probs: np.ndarray, labels: np.ndarray) -> float:
    return float((probs.argmax(1) == labels).mean())


def negative_log_likelihood(probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log q(y_true|x), nats."""
    return float(-np.log(probs[np.arange(len(labels)), labels].clip(1e-12)).mean())


def calibration_error(probs: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017), equal-width bins of the largest probability, in [0, 1]."""
    confidence, right = probs.max(1), probs.argmax(1) == labels
    in_bin = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (in_bin == b).mean() * abs(confidence[in_bin == b].mean() - right[in_bin == b].mean())
        for b in np.unique(in_bin)
    ]
    return float(np.sum(gaps))


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Between Gaussians fitted to two sets of features (n, D), (m, D): |mean|^2 + tr(A + B - 2 sqrt(AB)).

    NaN of fewer than two of either, which have no covariance.
    """
    if min(len(a), len(b)) < 2:
        return float("nan")
    mean_a, mean_b = a.mean(0), b.mean(0)
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    eigenvalues = scipy.linalg.eigvals(cov_a @ cov_b).real.clip(min=0)  # of a product of two positive matrices
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(eigenvalues).sum())


class Judge:
    """A small classifier trained on all true labels, independent of the model under test."""

    def __init__(self, size: int, channels: int, n_classes: int):
        """`size`: side of the images, or length of vectors, which have 0 channels."""
        self.net = _judge_of_images(size, channels, n_classes) if channels else _judge_of_vectors(size, n_classes)
        self.device = best_device()
        nn.utils.convert_conv2d_weight_memory_format(self.net.to(self.device.torch), torch.channels_last)

    def train(self, images: np.ndarray, labels: np.ndarray, rng_seed: int = 0) -> None:
        """AdamW with a one-cycle rate over 3,000 to 4,000 steps, fewer than 3,000 of a few hundred images; lightly
        augmented."""
        rng, generator = np.random.default_rng(rng_seed), torch.Generator(self.device.name).manual_seed(rng_seed)
        batch = min(128, len(images))
        per_epoch = max(len(images) // batch, 1)
        steps = int(min(np.clip(8 * per_epoch, 3000, 4000), MOST_EPOCHS * per_epoch))
        optimizer = torch.optim.AdamW(self.net.parameters(), 1e-3, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        self.net.train()
        for step in range(steps):
            if step % per_epoch == 0:
                order = rng.permutation(len(images))
            some = order[(step % per_epoch) * batch :][:batch]
            x = to_unit(images[some], self.device)
            half = len(x) // 2  # half of each batch as it is, so that clean images are what it knows best
            x = torch.cat([x[:half], augment(x[half:], generator)])
            with self.device.autocast():
                loss = F.cross_entropy(self.net(x).float(), torch.from_numpy(labels[some]).to(x.device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        self.net.eval()

    @torch.inference_mode()
    def see(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(probs (N, C), features (N, 128)) of uint8 images at the judge's size, or of vectors."""
        self.net.eval()
        probs, features = [], []
        for i in range(0, len(images), 1000):
            f = self.net[:-1](to_unit(images[i : i + 1000], self.device))
            probs.append(self.net[-1](f).softmax(1).cpu().numpy())
            features.append(f.cpu().numpy())
        return np.concatenate(probs), np.concatenate(features)


def _judge_of_images(size: int, channels: int, n_classes: int) -> nn.Sequential:
    side = min(size // 4, 7)
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(side), nn.Flatten(),
        nn.Linear(32 * side**2, 128), nn.ReLU(),
        nn.Linear(128, n_classes),
    )  # fmt: skip


def _judge_of_vectors(dim: int, n_classes: int) -> nn.Sequential:
    """The first layer takes the units out."""
    return nn.Sequential(
        nn.BatchNorm1d(dim, affine=False),
        nn.Linear(dim, 128), nn.BatchNorm1d(128), nn.ReLU(),
        nn.Linear(128, 128), nn.ReLU(),
        nn.Linear(128, n_classes),
    )  # fmt: skip


def judge_for(images: np.ndarray, labels: np.ndarray, n_classes: int, cache: Path | None = None) -> Judge:
    """The judge of these training images (N, S, S[, 3]) or vectors, and labels (N,): trained once, kept by its hash.

    One that cannot be read is trained anew.
    """
    cache = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labeler"
    digest = hashlib.sha256(f"judge-3 {n_classes} {images.shape} {images.dtype}".encode())
    digest.update(np.ascontiguousarray(images).tobytes() + labels.astype(np.int64).tobytes())
    file = cache / f"judge-{digest.hexdigest()[:20]}.safetensors"
    size, channels = images.shape[1], {2: 0, 3: 1, 4: 3}[images.ndim]
    with suppress(OSError, SafetensorError, RuntimeError):  # none there, a damaged one, one of other weights
        judge = _new_judge(size, channels, n_classes)
        judge.net.load_state_dict(load_file(file))
        judge.net.eval()
        return judge
    judge = _new_judge(size, channels, n_classes)
    judge.train(images, labels.astype(np.int64))
    with suppress(OSError, SafetensorError):  # a cache that cannot be written is no reason to lose the judge
        cache.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        save_file({name: t.cpu().contiguous() for name, t in judge.net.state_dict().items()}, draft)
        draft.rename(file)
    return judge


def _new_judge(size: int, channels: int, n_classes: int) -> Judge:
    """The same before each training, and the random numbers after it the same whether it was trained or read."""
    torch.manual_seed(0)
    return Judge(size, channels, n_classes)


@dataclass(frozen=True, eq=False)
class Seen:
    """Real images with their true classes, and what the judge makes of them."""

    images: np.ndarray  # uint8 (n, S, S[, 3])
    labels: np.ndarray  # (n,)
    features: np.ndarray  # (n, 128)


def generated_figures(
    model: Model, judge: Judge, real_features: np.ndarray, per_class: int = 500, rng_seed: int = 0
) -> dict[str, float]:
    """generated_accuracy: share of `per_class` images of each class that the judge sees as the class asked for;
    generated_frechet: distance of the judge's features of all of them from those of real test images."""
    right, features = [], []
    for label in range(len(model.classes)):
        probs, f = judge.see(model.generate(label, per_class, rng_seed=rng_seed + label))
        right.append((probs.argmax(1) == label).mean())
        features.append(f)
    return {
        "generated_accuracy": float(np.mean(right)),
        "generated_frechet": frechet_distance(np.concatenate(features), real_features),
    }


def generation_figures(
    model: Model, judge: Judge, test: Seen, train: Seen, rng_seed: int = 0
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """(figures of all classes together, figures of each class) beside `generated_figures`.

    As many images are generated of each class as `train` holds, so that real images of training stand beside them
    as a floor with the same counts: `..._floor`, `frechet_floor`.
    """
    labels = np.sort(train.labels)
    drawn = _drawn(model, labels, rng_seed)
    probs, features = judge.see(drawn)
    swapped, of_class = swap_figures(model, judge, test, rng_seed=rng_seed)
    n_classes = len(model.classes)
    rows = [
        {
            "generated_accuracy": _share(probs[labels == k].argmax(1) == k),
            "coverage": coverage(test.features[test.labels == k], features[labels == k]),
            "coverage_floor": coverage(test.features[test.labels == k], train.features[train.labels == k]),
            "asked_class_seen": of_class[k],
        }
        for k in range(n_classes)
    ]
    high, checkers = spectrum(drawn)
    real_high, real_checkers = spectrum(train.images)
    whole = {
        **{name: _mean([row[name] for row in rows]) for name in rows[0]},
        **swapped,
        "high_frequency": _ratio(high, real_high),
        "checkerboard": _ratio(checkers, real_checkers),
        "generated_frechet": frechet_distance(features, test.features),
        "reconstructed_frechet": frechet_distance(judge.see(model.reconstruct(train.images))[1], test.features),
        "frechet_floor": frechet_distance(train.features, test.features),
    }
    return whole, rows


SWAPPED = ("asked_class_seen", "true_class_seen", "style_moved", "style_moved_floor", "variety")


def swap_figures(
    model: Model, judge: Judge, test: Seen, most: int = 2000, rng_seed: int = 0
) -> tuple[dict[str, float], list[float]]:
    """What becomes of real images decoded as another class, drawn at random: (figures, asked_class_seen of each).

    asked_class_seen, true_class_seen: shares that the judge takes for the class asked for, and still for the true one.
    style_moved: squared distance of the image's mu from that of what was decoded, over the mean of two real images:
    0 keeps the style, 0.5 or more is what a decoder scores that draws the same whatever z is.
    style_moved_floor: the same of plain reconstructions.
    variety: variance of what was decoded as one class over that of real images of the class, mean over the classes:
    0 when z is ignored, which the judge does not see; reconstructions too stay below 1, as they are blurred.
    All of them are NaN where there is one class alone.
    """
    rng, n_classes = np.random.default_rng(rng_seed), len(model.classes)
    if n_classes == 1:
        return dict.fromkeys(SWAPPED, float("nan")), [float("nan")]
    some = rng.permutation(len(test.labels))[:most]
    images, labels = test.images[some], test.labels[some]
    asked = (labels + rng.integers(1, n_classes, len(labels))) % n_classes
    swapped = np.empty_like(images)
    for k in np.unique(asked):
        swapped[asked == k] = model.as_class(images[asked == k], int(k))
    seen = judge.see(swapped)[0].argmax(1)
    mu = model.embed(images)
    differ = bool((images != images[0]).any())
    apart = 2 * mu.var(0, ddof=1).sum() if differ else float("nan")  # mean squared distance of two of them
    figures = {
        "asked_class_seen": _share(seen == asked),
        "true_class_seen": _share(seen == labels),
        "style_moved": _ratio(((model.embed(swapped) - mu) ** 2).sum(1).mean(), apart),
        "style_moved_floor": _ratio(((model.embed(model.reconstruct(images)) - mu) ** 2).sum(1).mean(), apart),
        "variety": _mean([_variety(swapped[asked == k], images[labels == k]) for k in range(n_classes)]),
    }
    return figures, [_share(seen[asked == k] == k) for k in range(n_classes)]


def _variety(drawn: np.ndarray, real: np.ndarray) -> float:
    """Variance of drawn images over that of real ones, each summed over pixels; NaN without two of each."""
    if len(drawn) < 2 or len(real) < 2:
        return float("nan")
    return _ratio(drawn.var(0).sum(), real.var(0).sum())


def coverage(real: np.ndarray, generated: np.ndarray, k: int = 5) -> float:
    """Share of real images with a generated one nearer than their k-th nearest real one (Naeem et al. 2020, eq. 7).

    Features (n, D) and (m, D). Generated images that are all alike cover little, however right each is.
    NaN for a class without two real images.
    """
    if len(real) < 2 or not len(generated):
        return float("nan")
    among = np.sort(cdist(real, real), axis=1)  # the first is the image itself
    radius = among[:, min(k, len(real) - 1)]
    return _share(cdist(real, generated).min(1) < radius)


def spectrum(images: np.ndarray) -> tuple[float, float]:
    """(energy above half the highest frequency, peak at the highest) of images uint8 (n, S, S[, 3]).

    The energy tells blur from speckle. A checkerboard, which upsampling leaves, can fill what blur took away, and
    goes unnoticed there; it stands at the highest frequency alone: its energy over that of the frequency before it.
    NaN of vectors; the peak also where the frequency before it is empty, as in flat images.
    """
    if images.ndim == 2:
        return float("nan"), float("nan")
    side = images.shape[1]
    power = np.zeros((side, side))
    for part in np.array_split(images, max(len(images) // CHUNK, 1)):
        x = part.reshape(len(part), side, side, -1).astype(np.float32)
        x = (x - x.mean((1, 2), keepdims=True)) / 255  # of whole numbers, so that a flat image becomes 0
        power += (np.abs(scipy.fft.fft2(x, axes=(1, 2))) ** 2).sum((0, 3)) / (len(images) * x.shape[3])
    cycles = np.abs(scipy.fft.fftfreq(side))  # a pixel, 0.5 at most
    high = np.maximum(cycles[:, None], cycles[None]) >= 0.25
    lines = power.sum(0) + power.sum(1)
    return float(power[high].sum()), _ratio(lines[side // 2], lines[side // 2 - 1])


def _drawn(model: Model, labels: np.ndarray, rng_seed: int) -> np.ndarray:
    """Generated images, one for each of these sorted classes."""
    counts = np.bincount(labels, minlength=len(model.classes))
    return np.concatenate([model.generate(k, int(n), rng_seed=rng_seed + k) for k, n in enumerate(counts) if n])


def _mean(figures: Sequence[float]) -> float:
    """Of those that exist; NaN where none does."""
    found = [figure for figure in figures if not np.isnan(figure)]
    return float(np.mean(found)) if found else float("nan")


def _ratio(a: float, b: float) -> float:
    """NaN where there is nothing to compare with."""
    return float(a / b) if b > 0 else float("nan")


def _share(which: np.ndarray) -> float:
    return float(which.mean()) if len(which) else float("nan")
