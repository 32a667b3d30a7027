"""The classification layer refitted in closed form: what a label changes at once, before any gradient step.

Ridge regression (a least-squares discriminant) of the nodes' classes, as the neighbour graph gives them, on the
features of the last version. It carries what the graph knows to images outside it and into the published file:
the graph is ahead of the layer that learns by gradient steps, the more so the fewer the labels.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import nn

RIDGE = 0.01  # added to the diagonal of the features' covariance, relative to its mean
CALIBRATED_ON = 2000  # nodes, at most
CHUNK = 1000  # rows of h that a processor keeps at hand as float32
LOG_SCALES = math.log(0.02), math.log(60)  # the regression lies between 0 and 1; a layer in training is too sure


class Head(NamedTuple):
    """logits = h @ weight.T + bias."""

    weight: torch.Tensor  # (C, D)
    bias: torch.Tensor  # (C,)

    def probs(self, h: torch.Tensor) -> np.ndarray:
        """h (N, D) of any float kind -> float32 (N, C). Classes come first: a softmax over rows takes far longer."""
        probs = torch.empty(len(h), len(self.weight), device=h.device)
        room = torch.empty(CHUNK, h.shape[1], device=h.device)  # new memory for each part takes a quarter longer
        for part, into in zip(h.split(CHUNK), probs.split(CHUNK), strict=True):
            logits = torch.addmm(self.bias[:, None], self.weight, room[: len(part)].copy_(part).T)  # (C, rows)
            into.copy_(logits.softmax(0).T)
        found: np.ndarray = probs.cpu().numpy()
        return found

    def mixed_with(self, other: "Head", share: float) -> "Head":
        """The layer whose logits are the mean of both, `share` of it the other's."""
        return Head(torch.lerp(self.weight, other.weight, share), torch.lerp(self.bias, other.bias, share))

    def put_into(self, layer: nn.Linear) -> None:
        with torch.no_grad():
            layer.weight.copy_(self.weight)
            layer.bias.copy_(self.bias)


class Ridge:
    """Prepared once for the features h (n, D) of a graph's nodes; each `fit` then takes milliseconds."""

    def __init__(self, h: torch.Tensor):
        h = h.float()
        self.mean = h.mean(0)
        self.h = h - self.mean
        gram = self.h.T @ self.h
        gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-6)
        self.factor = torch.linalg.cholesky(gram)

    def fit(self, classes: torch.Tensor, n_classes: int) -> Head:
        """classes (n,) of the nodes. The values of a class are near 1 on its nodes and near 0 on the others."""
        share = torch.bincount(classes, minlength=n_classes).float() / len(classes)
        sums = torch.zeros(n_classes, self.h.shape[1]).to(self.h.device).index_add_(0, classes, self.h)
        weight = torch.cholesky_solve(sums.T, self.factor).T.contiguous()  # the features are centred
        return Head(weight, share - weight @ self.mean)

    def calibrated(self, head: Head, expected: torch.Tensor) -> Head:
        """The same layer, scaled so that the cross-entropy from `expected` (n, C) to its softmax is least."""
        every = max(len(self.h) // CALIBRATED_ON, 1)
        values = F.linear(self.h[::every] + self.mean, head.weight, head.bias).T.contiguous()  # (C, rows)
        expected = expected[::every].T.contiguous()

        def loss(log_scale: float) -> float:
            return -(expected * (math.exp(log_scale) * values).log_softmax(0)).sum(0).mean().item()

        found = minimize_scalar(loss, bounds=LOG_SCALES, method="bounded", options={"xatol": 0.01})
        scale = math.exp(found.x)
        return Head(scale * head.weight, scale * head.bias)


def agreed(graph_probs: np.ndarray, network_probs: np.ndarray) -> np.ndarray:
    """What two beliefs (n, C) about the same nodes come to, (n, C): sure only where both are (Hinton 2002, eq. 1)."""
    both = np.sqrt(graph_probs.clip(1e-6) * network_probs.clip(1e-6))
    return (both / both.sum(1, keepdims=True)).astype(np.float32)
