"""An adversary that guesses the class from z, so that the encoder leaves the class to y (Lample et al. 2017)."""

import torch
import torch.nn.functional as F
from torch import nn

from model import objective

WIDTH = 256


class Adversary(nn.Module):
    """z (B, Z) -> logits (B, C) of the class."""

    def __init__(self, z_dim: int, n_classes: int, lr: float = 1e-3):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(z_dim, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, n_classes)
        )
        self.optimizer = torch.optim.Adam(self.parameters(), lr)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(z)
        return logits

    def doubt(self, z: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Mean entropy of its guess, after one step of its own on `classes` (B,); the encoder raises it."""
        self.optimizer.zero_grad()
        F.cross_entropy(self(z.detach()), classes.detach()).backward()
        self.optimizer.step()
        self.requires_grad_(False)
        guess = self(z).softmax(1)
        self.requires_grad_(True)
        return objective.entropy(guess).mean()
