"""Class surgery on a network: its columns for the classes are kept, added up, shared out, dropped or added.

`sources` say, of each class to be, which columns it takes the probability of: its own, those that are merged in it,
the one that it was split off (which then is a source of both), or none for a class that is new. All else the network
knows stays: trunk, latent, and what the decoder makes of z.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from model.ssvae import SSVAE
from model.wrapping import OwnDecoder

Sources = Sequence[Sequence[int]]
FITTED_ON = 2_000  # images, at most


def same_columns(sources: Sources, n_classes: int) -> bool:
    """Whether nothing is to be done for a network of `n_classes`."""
    return [list(of) for of in sources] == [[i] for i in range(n_classes)]


def with_columns(vae: SSVAE, sources: Sources, mass: np.ndarray | None = None) -> SSVAE:
    """A network for these classes. Columns that fall together become their mean, weighted by their `mass` (C,).

    A new class becomes the mean of all: less likely than the likeliest class for every image, until it has labels.
    """
    old, n_classes = vae.config.n_classes, len(sources)
    share = torch.ones(old) if mass is None else torch.from_numpy(np.asarray(mass, np.float32))
    mix = torch.zeros(n_classes, old)
    for k, of in enumerate(sources):
        some = list(of) or list(range(old))
        mix[k, some] = share[some] / share[some].sum()
    made, over, state = _empty(vae, n_classes), _over_classes(vae), vae.state_dict()
    for name, tensor in made.state_dict().items():
        was = state[name]
        if name in over:  # the classes come last
            dim = over[name]
            rest, columns = was.split([was.shape[dim] - old, old], dim)
            mixed = torch.tensordot(mix.to(was.device), columns.movedim(dim, 0), 1).movedim(0, dim)
            was = torch.cat([rest, mixed], dim)
        tensor.copy_(was)
    with torch.no_grad():  # a column that several classes take over is shared out evenly
        made.classifier.bias.sub_(torch.tensor([math.log(n) for n in _sharers(sources)]).to(vae.prior_mu.device))
    return made


def folded(probs: np.ndarray, sources: Sources) -> np.ndarray:
    """probs (n, C) -> (n, len(sources)), rows sum to one; what a new class would have is 0."""
    takers = np.array([max(sum(i in of for of in sources), 1) for i in range(probs.shape[1])])
    taken = np.stack([(probs / takers)[:, list(of)].sum(1) for of in sources], 1)
    return (taken / taken.sum(1, keepdims=True).clip(1e-12)).astype(np.float32)


def fit_classifier(vae: SSVAE, h: torch.Tensor, probs: np.ndarray, sources: Sources) -> None:
    """Bring the classification layer of `vae` to `probs` (n, C) on its features h (n, D): the least cross-entropy.

    The sum of two classes' probabilities is no linear layer's softmax; the mean of their columns is a poor start only.
    """
    layer = vae.classifier
    h = h.to(layer.weight.device).float()
    wanted = torch.from_numpy(probs).to(h.device)
    new = [k for k, of in enumerate(sources) if not of]
    if new:  # they have whatever they start with
        with torch.no_grad():
            theirs = F.linear(h, layer.weight, layer.bias).softmax(1)[:, new]
        wanted = wanted * (1 - theirs.sum(1, keepdim=True))
        wanted[:, new] = theirs
    weight, bias = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = -(wanted * F.linear(h, weight, bias).log_softmax(1)).sum(1).mean()
        value.backward()
        return value

    optimizer.step(loss)
    if bool(weight.isfinite().all()) and bool(bias.isfinite().all()):
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)


def _sharers(sources: Sources) -> list[int]:
    """Of each class to be, by how many its column is taken over."""
    return [max((sum(i in others for others in sources) for i in of), default=1) for of in sources]


def _over_classes(vae: SSVAE) -> dict[str, int]:
    """Name of each tensor that holds something for each class -> the dimension that runs over them."""
    decoder = vae.decoder
    own = isinstance(decoder, OwnDecoder) and decoder.of_y is not None
    across = 0 if own and getattr(decoder.of_y, "transposed", False) else 1
    of_y = {"decoder.of_y.weight" if own else "decoder.0.weight": across}
    return {"classifier.weight": 0, "classifier.bias": 0, "prior_mu": 0, "prior_logvar": 0, **of_y}


def _empty(vae: SSVAE, n_classes: int) -> SSVAE:
    config = replace(vae.config, n_classes=n_classes)
    if isinstance(vae.decoder, OwnDecoder):
        own = vae.decoder.with_classes(n_classes)
        made = SSVAE(config, copy.deepcopy(vae.trunk), own, copy.deepcopy(vae.latent)).to(vae.prior_mu.device)
        made.frozen = vae.frozen
        return made
    return SSVAE(config).to(vae.prior_mu.device)
