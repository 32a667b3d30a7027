"""Images of a class: a Gaussian mixture of what the encoder made of the class's labeled and surely predicted images."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from model.device import Pause, no_pause

COMPONENTS = 10
FIT_ON = 1000  # points of one class, at most: with 3,000 and twice the iterations the drawings were no better
LEAST = 32  # points of one class, as far as anything is taken for it
CONFIDENT = 0.8


@dataclass(frozen=True, eq=False)
class Mixtures:
    """One mixture for each class in z; unused components have weight 0."""

    weights: torch.Tensor  # (C, M)
    means: torch.Tensor  # (C, M, Z)
    factors: torch.Tensor  # (C, M, Z, Z) lower Cholesky factors of the covariances

    def z(self, label: int, u: torch.Tensor, noise: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """u (n,) in [0, 1) picks the component, noise (n, Z) the place in it -> z (n, Z).

        The same u and noise give the same place in every version, so that a change of the picture means learning.
        """
        component = torch.searchsorted(self.weights[label].cumsum(0), u * self.weights[label].sum(), right=True)
        component = component.clamp_max(int(self.weights[label].nonzero().max()))
        spread = torch.einsum("nij,nj->ni", self.factors[label][component], noise)
        return self.means[label][component] + temperature * spread

    def with_columns(self, sources: Sequence[Sequence[int]], mass: np.ndarray, fallback: "Mixtures") -> "Mixtures":
        """Of each class to be the components of its `sources` (model/columns.py), of `fallback` where it has none."""
        made = Mixtures(*(t.clone() for t in (fallback.weights, fallback.means, fallback.factors)))
        for k, of in enumerate(map(list, sources)):
            if not of:
                continue
            share = torch.from_numpy(np.asarray(mass)[of]).float()[:, None] if len(of) > 1 else torch.ones(1, 1)
            weights = (self.weights[of] / self.weights[of].sum(1, keepdim=True) * share).flatten()
            kept = weights.topk(COMPONENTS).indices if len(of) > 1 else torch.arange(COMPONENTS)
            made.weights[k] = weights[kept] / weights[kept].sum()
            made.means[k] = self.means[of].flatten(0, 1)[kept]
            made.factors[k] = self.factors[of].flatten(0, 1)[kept]
        return made

    def centres(self) -> torch.Tensor:
        """Mean of each class's mixture: (C, Z)."""
        return torch.einsum("cm,cmz->cz", self.weights / self.weights.sum(1, keepdim=True), self.means)

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"mixtures.weights": self.weights, "mixtures.means": self.means, "mixtures.factors": self.factors}


@dataclass(frozen=True)
class Drawing:
    """The image at `column` among `of` images that `Model.generate` draws of a class (index or name)."""

    label: int | str
    column: int
    of: int


def turn(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """From a (1, Z) to b (1, Z) at t (n, 1) in [0, 1], turning at an even pace (Shoemake 1985): (n, Z).

    Straight where there is nothing to turn: one is zero, or they point the same or just the opposite way.
    """
    angle = torch.cosine_similarity(a, b).clamp(-1, 1).arccos()
    if bool(angle.sin() < 1e-3) or not bool(a.any() and b.any()):
        return torch.lerp(a, b, t)
    return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()


def from_prior(prior_mu: torch.Tensor, prior_logvar: torch.Tensor) -> Mixtures:
    """The learned p(z|y) as one-component mixtures: all there is before the first label. Both (C, Z)."""
    n_classes = len(prior_mu)
    weights = torch.zeros(n_classes, COMPONENTS)
    weights[:, 0] = 1
    means = prior_mu.detach().float().cpu()[:, None].repeat(1, COMPONENTS, 1)
    scale = (prior_logvar.detach().float().cpu() / 2).exp()
    factors = torch.diag_embed(scale)[:, None].repeat(1, COMPONENTS, 1, 1)
    return Mixtures(weights, means, factors)


def members(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The class that each image stands for, -1 for none: its label, or a prediction that is sure. (n,) int.

    probs (n, C), labels (n,) with -1 where unknown. While hardly anything is sure, a class gets the surest LEAST of
    what is taken for it: with 10 labels more drawings are seen as what they should be (.61 instead of .56, .68 of .56).
    """
    predicted, confidence = probs.argmax(1), probs.max(1)
    found = np.where(labels >= 0, labels, np.where(confidence > CONFIDENT, predicted, -1))
    for k in range(probs.shape[1]):
        unsure = np.flatnonzero((found < 0) & (predicted == k))
        wanted = max(LEAST - int((found == k).sum()), 0)
        found[unsure[np.argsort(-confidence[unsure], kind="stable")][:wanted]] = k
    return found


def fit(
    mu: np.ndarray,
    variance: np.ndarray,
    labels: np.ndarray,
    fallback: Mixtures,
    rng: np.random.Generator,
    before: Mixtures | None = None,
    pause: Pause = no_pause,
) -> Mixtures:
    """Mixtures of q(z|x) over the points mu (n, Z), variance (n, Z) of each class in labels (n,).

    A class without a point keeps `fallback`; with few, one Gaussian shrunk to the mean variance of all.
    EM starts from `before` where it can: quicker, and the components keep their places.
    """
    n_classes, z_dim = fallback.means.shape[0], mu.shape[1]
    start = before if before is not None and before.weights.shape[0] == n_classes else None
    made = Mixtures(fallback.weights.clone(), fallback.means.clone(), fallback.factors.clone())
    spread = mu.var(0).mean() if len(mu) > 1 else 1.0
    for k in range(n_classes):
        pause()
        of_class = np.flatnonzero(labels == k)
        if not len(of_class):
            continue
        some = rng.permutation(of_class)[:FIT_ON]
        posterior = np.diag(variance[some].mean(0))
        if len(some) < 2 * z_dim:
            weight = len(some) / (len(some) + z_dim)
            own = np.cov(mu[some].T) if len(some) > 1 else 0
            covariance = weight * own + (1 - weight) * 0.5 * spread * np.eye(z_dim)
            weights, means, covariances = np.ones(1), mu[some].mean(0)[None], covariance[None]
        else:
            components = int(np.clip(len(some) // 50, 1, COMPONENTS))
            weights, means, covariances = _em(mu[some], components, start, k, rng)
        factors = np.linalg.cholesky(covariances + posterior)
        m = len(weights)
        made.weights[k] = 0
        made.weights[k, :m] = torch.from_numpy(weights).float()
        made.means[k, :m] = torch.from_numpy(means).float()
        made.factors[k, :m] = torch.from_numpy(factors).float()
    return made


def _em(
    points: np.ndarray, components: int, start: Mixtures | None, label: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    warm = {}
    if start is not None and int((start.weights[label] > 0).sum()) == components:
        weights = start.weights[label, :components].double().numpy()
        covariance = start.factors[label, :components].double()
        warm = {
            "weights_init": weights / weights.sum(),
            "means_init": start.means[label, :components].double().numpy(),
            "precisions_init": torch.cholesky_inverse(covariance).numpy(),
        }
    mixture = GaussianMixture(
        components,
        reg_covar=1e-3,
        max_iter=2 if warm else 15,
        init_params="k-means++" if warm else "kmeans",
        random_state=int(rng.integers(2**31)),
        **warm,
    )
    with warnings.catch_warnings():  # a few iterations are enough here, converged or not
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(points.astype(np.float64))
    return mixture.weights_, mixture.means_, mixture.covariances_
