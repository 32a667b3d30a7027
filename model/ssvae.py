"""The semi-supervised VAE of Berkhahn et al. 2019 (arXiv 1908.03015): one trunk, a latent z for style, a class y.

h = trunk(x); from h the mean and log-variance of q(z|x) and the classification layer's logits, q(y|x) = softmax.
The decoder gets z beside y: the true one-hot where the label is known, q(y|x) where it is not.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from model import objective
from model.networks import conv_decoder, conv_trunk, mlp_decoder, mlp_trunk
from model.wrapping import Heads, OwnDecoder, OwnTrunk, first_layer, gives, own_h, own_z_dim

LEAST_VARIANCE = 0.01  # of a standardised feature given z and y: one with few values would be worth infinite nats
TRACKED = 0.02  # share of a batch in the running variance
CUT = 10.0  # standard deviations at which an outlier is cut off


@dataclass(frozen=True)
class VAEConfig:
    shape: tuple[int, ...] = (1, 28, 28)  # of one x: (channels, S, S) of an image, (D,) of a vector
    n_classes: int = 10
    z_dim: int = 32
    h_dim: int = 256
    width: int = 32
    contrast_dim: int = 64
    likelihood: str = "bernoulli"  # of pixels in [0, 1]; "gaussian" of standardised real numbers
    wrapped: bool = False  # trunk and decoder are somebody's own: this alone cannot build them

    @property
    def is_image(self) -> bool:
        return self.likelihood == "bernoulli" and len(self.shape) == 3 and self.shape[0] in (1, 3)

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def image_size(self) -> int:
        return self.shape[-1]


class Encoding(NamedTuple):
    h: torch.Tensor  # (B, h_dim)
    mu: torch.Tensor  # (B, Z)
    logvar: torch.Tensor  # (B, Z)
    logits: torch.Tensor  # (B, C)


class SSVAE(nn.Module):
    """`trunk` and `decoder` may be those of any VAE: x -> h (B, h_dim), and (B, z_dim + n_classes) -> see `decode`.

    Real numbers are standardised by `x_mean` and `x_std`, those of the training data, which are saved with the weights.
    """

    x_mean: torch.Tensor  # (*shape), of gaussian data; float64, because a mean may be large beside the deviation
    x_std: torch.Tensor  # (*shape)
    x_variance: torch.Tensor  # (*shape), of p(x|z,y), in units of x_std squared

    def __init__(
        self,
        config: VAEConfig,
        trunk: nn.Module | None = None,
        decoder: nn.Module | None = None,
        latent: nn.Module | None = None,
    ):
        super().__init__()
        c = self.config = config
        self.frozen: frozenset[str] = frozenset()  # names of weights that are never trained: parts of a wrapped network
        if c.likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f"the likelihood is 'bernoulli' or 'gaussian', not {c.likelihood!r}")
        self.trunk = trunk or _trunk(c)
        self.decoder = decoder or _decoder(c)
        self.latent = latent or nn.Linear(c.h_dim, 2 * c.z_dim)
        self.classifier = nn.Linear(c.h_dim, c.n_classes)
        self.contrast = nn.Sequential(nn.Linear(c.h_dim, c.h_dim), nn.ReLU(), nn.Linear(c.h_dim, c.contrast_dim))
        self.prior_mu = nn.Parameter(torch.randn(c.n_classes, c.z_dim) * 0.3)  # p(z|y)
        self.prior_logvar = nn.Parameter(torch.zeros(c.n_classes, c.z_dim))
        if c.likelihood == "gaussian":
            self.register_buffer("x_mean", torch.full(c.shape, torch.nan, dtype=torch.float64))
            self.register_buffer("x_std", torch.ones(c.shape, dtype=torch.float64))
            self.register_buffer("x_variance", torch.ones(c.shape))

    @classmethod
    def wrap(
        cls,
        encoder_trunk: nn.Module,
        decoder: nn.Module,
        *,
        shape: tuple[int, ...],
        n_classes: int,
        z_dim: int | None = None,
        mu: nn.Module | None = None,
        logvar: nn.Module | None = None,
        decoder_gives: str = "logits",
        decoder_takes: str = "z",
    ) -> "SSVAE":
        """Somebody's VAE made semi-supervised; its weights go on from where they are. docs/wrap.md shows one.

        Weights whose `requires_grad` is False are never trained.

        shape          of one x: (channels, height, width), (D,), or any other
        encoder_trunk  x (B, *shape) -> h; more than one dimension after the batch is flattened
        mu, logvar     the VAE's own heads, h -> (B, z_dim); without them `z_dim` is needed and new ones are learned
        decoder_gives  "logits" or "probs" of values in [0, 1], or "means" of real numbers, which are standardised
        decoder_takes  "z": its first layer gets further columns for the class; "z and y": z (B, z_dim) beside y (B, C)
        """
        if n_classes < 1:
            raise ValueError(f"the model needs at least 1 class, got {n_classes}")
        shape = tuple(shape)
        h = own_h(encoder_trunk, shape)  # (2, h_dim)
        z_dim = own_z_dim(h, z_dim, mu, logvar)
        first = first_layer(decoder, z_dim) if decoder_takes == "z" else None
        own = OwnDecoder(decoder, shape, z_dim, n_classes, decoder_gives, decoder_takes, first)
        likelihood = gives(own)
        config = VAEConfig(shape, n_classes, z_dim, h.shape[1], likelihood=likelihood, wrapped=True)
        made = cls(
            config, OwnTrunk(encoder_trunk), own, Heads(mu, logvar) if mu is not None and logvar is not None else None
        )
        made.frozen = frozenset(name for name, weights in made.named_parameters() if not weights.requires_grad)
        return made

    def encode(self, x: torch.Tensor) -> Encoding:
        h = self.trunk(x)
        mu, logvar = self.latent(h).float().chunk(2, dim=1)
        return Encoding(h, mu, logvar.clamp(-8, 4), self.classifier(h).float())

    def decode(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """z (B, Z), y (B, C) one-hot or probabilities -> pixel_logits, or means of real numbers: (B, *shape)."""
        return self.decoder(torch.cat([z, y], dim=1)).float()

    def expected(self, decoded: torch.Tensor) -> torch.Tensor:
        """Mean of p(x|z,y) for what `decode` gave, like x: pixel_probs, or the means as they are."""
        return decoded.sigmoid() if self.config.likelihood == "bernoulli" else decoded

    def log_px(self, decoded: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """log p(x|z,y) in nats: (B,). Real numbers: of the standardised x, with the likeliest variance of each feature.

        That variance is the mean squared residual (Rybkin et al. 2021, arXiv 2006.13202), kept as a running mean.
        """
        if self.config.likelihood == "bernoulli":
            return objective.log_px(decoded, x)
        if self.training:
            with torch.no_grad():
                self.x_variance.lerp_((x - decoded).square().mean(0), TRACKED).clamp_(min=LEAST_VARIANCE)
        return objective.log_px_gaussian(decoded, x, self.x_variance)

    @property
    def lacks_units(self) -> bool:
        """Real numbers are to be standardised, and nobody has said by what."""
        return self.config.likelihood == "gaussian" and bool(self.x_mean.isnan().any())

    def standardise_by(self, x: np.ndarray) -> None:
        """Keep mean and standard deviation of x (N, *shape).

        One of a feature that never changes counts as 1, or as more where its numbers are so large that rounding is.
        ValueError where x is not finite.
        """
        if not np.isfinite(x).all():
            raise ValueError("a number of the training data is not finite")
        mean, std = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
        rounding = np.finfo(x.dtype if x.dtype.kind == "f" else np.float64).eps * np.abs(mean)
        std = np.where(std > 4 * rounding, std, np.maximum(1, 4 * rounding))
        self.x_mean.copy_(torch.from_numpy(mean))
        self.x_std.copy_(torch.from_numpy(std))

    def standardised(self, x: np.ndarray) -> np.ndarray:
        """float32 (N, *shape) with mean 0 and standard deviation 1 on the training data."""
        mean, std = self.x_mean.cpu().numpy(), self.x_std.cpu().numpy()
        made = np.empty(x.shape, np.float32)
        for i in range(0, len(x), 10_000):  # in double precision, which all of a large x at once has no room for
            made[i : i + 10_000] = ((x[i : i + 10_000] - mean) / std).clip(-CUT, CUT)
        return made

    def in_own_units(self, x: torch.Tensor) -> torch.Tensor:
        """What `standardised` was made from."""
        return x * self.x_std + self.x_mean

    def one_hot(self, labels: torch.Tensor) -> torch.Tensor:
        return F.one_hot(labels, self.config.n_classes).float()  # (B, C)


def _trunk(c: VAEConfig) -> nn.Module:
    if len(c.shape) == 1:
        return mlp_trunk(c.shape[0], c.h_dim, c.h_dim)
    return conv_trunk(c.image_size, c.channels, c.width, c.h_dim)


def _decoder(c: VAEConfig) -> nn.Module:
    if len(c.shape) == 1:
        return mlp_decoder(c.shape[0], c.h_dim, c.z_dim + c.n_classes)
    return conv_decoder(c.image_size, c.channels, c.width, c.h_dim, c.z_dim + c.n_classes)


def sample_z(mu: torch.Tensor, logvar: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """z ~ N(mu, exp(logvar)) by the reparametrisation trick."""
    noise = torch.randn(mu.shape, generator=generator, device=mu.device)
    return mu + noise * (logvar / 2).exp()
