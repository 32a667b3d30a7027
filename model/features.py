"""Arrays as the network's x and back; the topmost layer of every image, kept and refreshed a part at a time.

A forward pass over a large pool takes longer than the steps that a label calls for. So each version refreshes the
rows that are oldest, and applies the newest classification layer to all of them.
"""

import numpy as np
import torch
import torch.nn.functional as F

from model.device import Device, Pause, eigh, no_pause
from model.head import Head
from model.ssvae import SSVAE, VAEConfig

CHUNK = 500  # what a layer makes of these fits the cache: a third faster than 2,000


def shape_of(images: np.ndarray) -> tuple[int, ...]:
    """Shape of one x of the network: (channels, H, W) of uint8 images, the rest of the shape of other numbers."""
    if images.dtype == np.uint8 and images.ndim in (3, 4):
        return (1 if images.ndim == 3 else images.shape[3], *images.shape[1:3])
    return tuple(images.shape[1:])


def config_for(images: np.ndarray, n_classes: int) -> VAEConfig:
    """Our own network for uint8 images (N, S, S[, 3]) or vectors (N, D). ValueError for other arrays."""
    pictures = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
    if images.dtype == np.uint8 and pictures and images.shape[1] == images.shape[2]:
        return VAEConfig(shape_of(images), n_classes)
    if images.ndim == 2 and images.shape[1] and images.dtype.kind in "iuf":
        return VAEConfig(shape_of(images), n_classes, min(32, max(4, images.shape[1])), likelihood="gaussian")
    raise ValueError(
        f"the images are {images.dtype} {images.shape}; expected uint8 (N, S, S) or (N, S, S, 3), or vectors (N, D). "
        "For other arrays give a network of your own: vae=SSVAE.wrap(...)"
    )


def as_trained_on(images: np.ndarray, vae: SSVAE) -> np.ndarray:
    """The array itself where the network takes it as it is; real numbers standardised. ValueError for another shape."""
    c = vae.config
    if shape_of(images) != c.shape:
        raise ValueError(f"the network takes x of shape {c.shape}; these images give {shape_of(images)}")
    if c.likelihood == "gaussian":
        if images.dtype.kind == "f" and not np.isfinite(images).all():
            raise ValueError("a number is NaN or infinite: fill it in first")
        if images.dtype == np.uint8 and images.ndim > 2:
            raise ValueError(
                "a decoder of means takes real numbers, and these images are of uint8: "
                "give them as float (N, C, H, W), or a decoder of logits"
            )
        return vae.standardised(images)
    if images.dtype != np.uint8 and len(images) and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"images of {images.dtype} must lie in [0, 1]; these go from {images.min()} to {images.max()}")
    return images


def to_unit(images: np.ndarray, device: Device) -> torch.Tensor:
    """uint8 (B, H, W) or (B, H, W, 3) -> float (B, C, H, W) in [0, 1], channels last in memory. Real numbers stay."""
    if images.dtype != np.uint8:
        return torch.from_numpy(np.array(images, np.float32)).to(device.torch)
    x = torch.from_numpy(np.array(images)).to(device.torch).float().div_(255)
    x = x.unsqueeze(1) if x.dim() == 3 else x.permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def to_uint8(pixel_probs: torch.Tensor) -> np.ndarray:
    """(B, C, H, W) in [0, 1] -> uint8 (B, H, W) or (B, H, W, 3)."""
    x = (pixel_probs.float() * 255).round().clamp(0, 255).to(torch.uint8).cpu()
    return (x[:, 0] if x.shape[1] == 1 else x.permute(0, 2, 3, 1)).numpy()


def to_data(vae: SSVAE, decoded: torch.Tensor) -> np.ndarray:
    """What `vae.decode` gave as data again: uint8 images, or float32 (B, *shape) in the units of the training data."""
    x = vae.expected(decoded)
    if vae.config.is_image:
        return to_uint8(x)
    return (vae.in_own_units(x) if vae.config.likelihood == "gaussian" else x).float().cpu().numpy()


class Features:
    """The topmost layer h of N images, as bfloat16 (N, h_dim): a position here is a row of the image array."""

    def __init__(self, images: np.ndarray, h_dim: int, device: Device, pause: Pause = no_pause):
        self.images, self.device, self._pause = images, device, pause
        self.h = torch.zeros(len(images), h_dim, dtype=torch.bfloat16)
        self.refreshed_at = np.full(len(images), -(2**31), np.int64)  # the step of each row's weights
        self._next = 0  # where the next part of a round begins

    @torch.inference_mode()
    def refresh(self, vae: SSVAE, positions: np.ndarray, step: int) -> None:
        vae.eval()
        self.refreshed_at[positions] = step
        for i in range(0, len(positions), CHUNK):
            self._pause()
            part = positions[i : i + CHUNK]
            with self.device.autocast():
                h = vae.trunk(to_unit(self.images[part], self.device))
            self.h[torch.from_numpy(part)] = h.bfloat16().cpu()

    def refresh_next(self, vae: SSVAE, n: int, step: int) -> None:
        """The next n rows of an endless round over all."""
        positions = (self._next + np.arange(min(n, len(self.images)))) % len(self.images)
        self._next = (self._next + len(positions)) % len(self.images)
        self.refresh(vae, np.sort(positions), step)

    @torch.inference_mode()
    def probs(self, vae: SSVAE, positions: np.ndarray | None = None) -> np.ndarray:
        """q(y|x) of the given positions or of all: float32 (n, C); uniform for those that were never seen."""
        h = (self.h if positions is None else self.h[torch.from_numpy(positions)]).to(self.device.torch)
        probs = Head(vae.classifier.weight, vae.classifier.bias).probs(h)
        seen_at = self.refreshed_at if positions is None else self.refreshed_at[positions]
        probs[seen_at < 0] = 1 / probs.shape[1]
        return probs

    @torch.inference_mode()
    def components(self, n: int = 50) -> np.ndarray:
        """The first n principal components of h, centred and of length one as in the graph: float16 (N, <= n)."""
        mean = torch.stack([part.float().sum(0) for part in self.h.split(CHUNK)]).sum(0) / len(self.h)
        covariance = torch.zeros(len(mean), len(mean))
        for part in self.h.split(20_000):
            directions = F.normalize(part.float() - mean, dim=1)
            covariance += directions.T @ directions / len(self.h)
        axes = eigh(covariance)[1].flip(1)[:, :n]  # the largest first
        parts = [F.normalize(part.float() - mean, dim=1) @ axes for part in self.h.split(20_000)]
        return torch.cat(parts).half().numpy()

    @torch.inference_mode()
    def latents(self, vae: SSVAE, positions: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(mu, variance), float32 (n, Z) each, of the given positions or of all."""
        h = (self.h if positions is None else self.h[torch.from_numpy(positions)]).to(self.device.torch)
        found = []
        for part in h.split(20_000):
            self._pause()
            found.append(vae.latent(part.float()))
        mu, logvar = torch.cat(found).chunk(2, dim=1)
        return mu.cpu().numpy(), logvar.clamp(-8, 4).exp().cpu().numpy()
