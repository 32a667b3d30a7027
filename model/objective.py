"""What is minimised: a sum of small named terms, each a pure function in nats, (B,) or a scalar mean.

elbo    E_q[log p(x|z,y)] - KL(q(z|x) || p(z|y)) - KL(q(y|x) || p(y))           Berkhahn et al. 2019, Kingma et al. 2014
supervised   cross-entropy of the classification layer, labeled images only       Berkhahn et al. 2019, eq. 4
contrast     InfoNCE between an image and its augmentation, at first              van den Oord et al. 2018
consistency  pseudo-labels of sure images kept under augmentation                 Sohn et al. 2020, Wang et al. 2022
propagation  entropy-weighted pseudo-labels of the neighbour graph                Iscen et al. 2019
perceptual   distance of image and reconstruction in the encoder's layers         Larsen et al. 2015
cycle        z decoded as another class must be seen as that class                forces y to mean class
adversary    a small network must not find the class in z                         Lample et al. 2017
critic       a small network must not tell drawings from images, see critic.py    Larsen et al. 2015, Sauer et al. 2021
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Objective:
    """Weight of each term; 0 switches it off."""

    beta: float = 1.0  # of both KL terms; 1 until the classes are found
    supervised: float = 50.0
    contrast: float = 50.0
    consistency: float = 50.0
    propagation: float = 25.0
    perceptual: float = 20.0
    cycle: float = 20.0
    adversary: float = 5.0
    critic: float = 0.0


RECIPE = Objective()
PAPER = Objective(contrast=0, consistency=0, propagation=0, perceptual=0, cycle=0, adversary=0, critic=0)
PRESETS = {"recipe": RECIPE, "paper": PAPER}


def log_px(pixel_logits: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """log p(x|z,y), Bernoulli on [0, 1] pixels, summed over pixels and channels: (B,) nats an image."""
    return -F.binary_cross_entropy_with_logits(pixel_logits, x, reduction="none").flatten(1).sum(1)


def log_px_gaussian(means: torch.Tensor, x: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """log p(x|z,y), independent Gaussians, summed over features: (B,) nats for x, means (B, ...), variance (...)."""
    squares = (x - means).square() / variance
    return -0.5 * (squares + variance.log() + math.log(2 * math.pi)).flatten(1).sum(1)


def kl_z(
    mu: torch.Tensor, logvar: torch.Tensor, y: torch.Tensor, prior_mu: torch.Tensor, prior_logvar: torch.Tensor
) -> torch.Tensor:
    """E_y KL(N(mu, exp(logvar)) || N(prior_mu[y], exp(prior_logvar[y]))): (B,) for y (B, C), priors (C, Z).

    KL = 1/2 sum_d [ prior_logvar - logvar + (exp(logvar) + (mu - prior_mu)^2) / exp(prior_logvar) - 1 ],
    with the square multiplied out, so that all classes are one matrix product.
    """
    precision = (-prior_logvar).exp()  # (C, Z)
    quadratic = (logvar.exp() + mu**2) @ precision.T - 2 * mu @ (precision * prior_mu).T  # (B, C)
    constant = (precision * prior_mu**2 + prior_logvar).sum(1)  # (C,)
    return 0.5 * ((y * (quadratic + constant)).sum(1) - logvar.sum(1) - mu.shape[1])


def log_normal(z: torch.Tensor, mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """log N(z; mu, exp(logvar)), all (B, Z): (B,) nats."""
    return -0.5 * ((z - mu).square() * (-logvar).exp() + logvar + math.log(2 * math.pi)).sum(1)


def log_prior(z: torch.Tensor, y: torch.Tensor, prior_mu: torch.Tensor, prior_logvar: torch.Tensor) -> torch.Tensor:
    """E_y log p(z|y) of z (B, Z): (B,) for y (B, C), priors (C, Z); `kl_z` is the mean of log q(z|x) less this."""
    of_class = [log_normal(z, m, v) for m, v in zip(prior_mu, prior_logvar, strict=True)]
    return (y * torch.stack(of_class, 1)).sum(1)


def entropy(probs: torch.Tensor) -> torch.Tensor:
    """Entropy of each row: (B, C) -> (B,) nats."""
    return -(probs * probs.clamp_min(1e-8).log()).sum(1)


def kl_y(probs: torch.Tensor) -> torch.Tensor:
    """KL(q(y|x) || uniform): (B, C) -> (B,) nats."""
    return math.log(probs.shape[1]) - entropy(probs)


def supervised(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, labels)


def contrast(a: torch.Tensor, b: torch.Tensor, temperature: float = 0.2) -> torch.Tensor:
    """Symmetric InfoNCE: row i of a (B, D) belongs to row i of b (B, D)."""
    similarity = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / temperature  # (B, B)
    own = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2


def consistency(augmented_logits: torch.Tensor, probs: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the augmented view to the clean view's most probable class, where that is sure enough."""
    confidence, pseudo = probs.detach().max(1)
    return (F.cross_entropy(augmented_logits, pseudo, reduction="none") * (confidence > threshold)).mean()


def propagation(augmented_logits: torch.Tensor, pseudo: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Cross-entropy to the graph's labels (B,), each weighted (B,) by how sure the graph is."""
    return (F.cross_entropy(augmented_logits, pseudo, reduction="none") * weight).mean()


def perceptual(drawn: list[torch.Tensor], real: list[torch.Tensor]) -> torch.Tensor:
    """Squared distance in each layer, relative to the layer's own mean square, summed over the layers."""
    total = torch.zeros((), device=drawn[0].device)
    for a, b in zip(drawn, real, strict=True):
        total = total + (a - b).float().square().mean() / b.float().square().mean().clamp_min(1e-6)
    return total
