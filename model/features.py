"""What the current network makes of every image: the topmost layer of all, kept and refreshed a part at a time.

A forward pass over a large pool takes longer than the steps that a label calls for. So each version refreshes the
rows that are oldest, and applies the newest classification layer to all of them.
"""

import numpy as np
import torch

from model.device import Device
from model.ssvae import SSVAE

CHUNK = 2000


def to_unit(images: np.ndarray, device: Device) -> torch.Tensor:
    """uint8 (B, H, W) or (B, H, W, 3) -> float (B, C, H, W) in [0, 1], channels last in memory."""
    x = torch.from_numpy(np.array(images)).to(device.torch).float().div_(255)
    x = x.unsqueeze(1) if x.dim() == 3 else x.permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def to_uint8(pixel_probs: torch.Tensor) -> np.ndarray:
    """(B, C, H, W) in [0, 1] -> uint8 (B, H, W) or (B, H, W, 3)."""
    x = (pixel_probs.float() * 255).round().clamp(0, 255).to(torch.uint8).cpu()
    return (x[:, 0] if x.shape[1] == 1 else x.permute(0, 2, 3, 1)).numpy()


class Features:
    """The topmost layer h of N images, as bfloat16 (N, h_dim): a position here is a row of the image array."""

    def __init__(self, images: np.ndarray, h_dim: int, device: Device):
        self.images, self.device = images, device
        self.h = torch.zeros(len(images), h_dim, dtype=torch.bfloat16)
        self.refreshed_at = np.full(len(images), -(2**31), np.int64)  # the step of each row's weights
        self._next = 0  # where the next part of a round begins

    @torch.inference_mode()
    def refresh(self, vae: SSVAE, positions: np.ndarray, step: int) -> None:
        vae.eval()
        self.refreshed_at[positions] = step
        for i in range(0, len(positions), CHUNK):
            part = positions[i : i + CHUNK]
            with self.device.autocast():
                h = vae.trunk(to_unit(self.images[part], self.device))
            self.h[torch.from_numpy(part)] = h.bfloat16().cpu()

    def refresh_next(self, vae: SSVAE, n: int, step: int) -> None:
        """The next n rows of an endless round over all."""
        positions = (self._next + np.arange(min(n, len(self.images)))) % len(self.images)
        self._next = int(positions[-1] + 1) % len(self.images)
        self.refresh(vae, np.sort(positions), step)

    @torch.inference_mode()
    def probs(self, vae: SSVAE) -> np.ndarray:
        """q(y|x) of all: float32 (N, C)."""
        h = self.h.to(self.device.torch)
        logits = torch.cat([vae.classifier(part.float()) for part in h.split(20_000)])
        return logits.softmax(1).cpu().numpy()

    @torch.inference_mode()
    def latents(self, vae: SSVAE, positions: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(mu, variance), float32 (n, Z) each, of the given positions or of all."""
        h = self.h if positions is None else self.h[torch.from_numpy(positions)]
        mu, logvar = vae.latent(h.to(self.device.torch).float()).chunk(2, dim=1)
        return mu.cpu().numpy(), logvar.clamp(-8, 4).exp().cpu().numpy()
