"""The semi-supervised VAE of Berkhahn et al. 2019 (arXiv 1908.03015): one trunk, a latent z for style, a class y.

h = trunk(x); from h the mean and log-variance of q(z|x) and the classification layer's logits, q(y|x) = softmax.
The decoder gets z beside y: the true one-hot where the label is known, q(y|x) where it is not.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from model.networks import conv_decoder, conv_trunk


@dataclass(frozen=True)
class VAEConfig:
    image_size: int = 28
    channels: int = 1
    n_classes: int = 10
    z_dim: int = 32
    h_dim: int = 256
    width: int = 32
    contrast_dim: int = 64


class Encoding(NamedTuple):
    h: torch.Tensor  # (B, h_dim)
    mu: torch.Tensor  # (B, Z)
    logvar: torch.Tensor  # (B, Z)
    logits: torch.Tensor  # (B, C)


class SSVAE(nn.Module):
    """`trunk` and `decoder` may be those of any VAE: x -> h (B, h_dim), and (B, z_dim + n_classes) -> pixel_logits."""

    def __init__(self, config: VAEConfig, trunk: nn.Module | None = None, decoder: nn.Module | None = None):
        super().__init__()
        c = self.config = config
        self.trunk = trunk or conv_trunk(c.image_size, c.channels, c.width, c.h_dim)
        self.decoder = decoder or conv_decoder(c.image_size, c.channels, c.width, c.h_dim, c.z_dim + c.n_classes)
        self.latent = nn.Linear(c.h_dim, 2 * c.z_dim)
        self.classifier = nn.Linear(c.h_dim, c.n_classes)
        self.contrast = nn.Sequential(nn.Linear(c.h_dim, c.h_dim), nn.ReLU(), nn.Linear(c.h_dim, c.contrast_dim))
        self.prior_mu = nn.Parameter(torch.randn(c.n_classes, c.z_dim) * 0.3)  # p(z|y)
        self.prior_logvar = nn.Parameter(torch.zeros(c.n_classes, c.z_dim))

    def encode(self, x: torch.Tensor) -> Encoding:
        h = self.trunk(x)
        mu, logvar = self.latent(h).float().chunk(2, dim=1)
        return Encoding(h, mu, logvar.clamp(-8, 4), self.classifier(h).float())

    def decode(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """z (B, Z), y (B, C) one-hot or probabilities -> pixel_logits (B, channels, S, S)."""
        return self.decoder(torch.cat([z, y], dim=1)).float()

    def one_hot(self, labels: torch.Tensor) -> torch.Tensor:
        return F.one_hot(labels, self.config.n_classes).float()  # (B, C)


def sample_z(mu: torch.Tensor, logvar: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """z ~ N(mu, exp(logvar)) by the reparametrisation trick."""
    noise = torch.randn(mu.shape, generator=generator, device=mu.device)
    return mu + noise * (logvar / 2).exp()


def with_classes(vae: SSVAE, config: VAEConfig) -> SSVAE:
    """A network for `config.n_classes` classes that keeps all the old one knew; added classes start at zero."""
    old, grown = vae.config.n_classes, SSVAE(config)
    if config.n_classes < old:
        raise ValueError(f"the network knows {old} classes; it cannot shrink to {config.n_classes}")
    state = vae.state_dict()
    for name, tensor in grown.state_dict().items():
        was = state[name]
        if was.shape == tensor.shape:
            tensor.copy_(was)
        elif name == "decoder.0.weight":  # (h_dim, z_dim + n_classes): classes are the last columns
            tensor.zero_()[:, : was.shape[1]] = was
        else:
            tensor.zero_()[:old] = was
    return grown
