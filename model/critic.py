"""A critic of the drawings: it tells them from images by the encoder's layers, and the decoder learns to pass.

A distance between image and drawing, in pixels or in layers, is least for the mean of all that may be right, which is
blurred; no critic takes blur for an image. VAE/GAN of Larsen et al. 2015, with the critic on the layers of a network
that is not trained against it, as in Projected GANs (Sauer et al. 2021): a few thousand weights and some hundred
steps are enough. Hinge loss of Lim and Ye 2017.
"""

import torch
import torch.nn.functional as F
from torch import nn

WIDTH = 32


class Critic(nn.Module):
    """Layers (B, D) or (B, D, H, W) -> a logit of each for "this is an image", mean over the positions: (L, B)."""

    def __init__(self, widths: list[int], lr: float = 1e-3):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, 1)) for width in widths
        )
        self.optimizer = torch.optim.AdamW(self.parameters(), lr, betas=(0.5, 0.99), weight_decay=1e-3)

    def forward(self, layers: list[torch.Tensor]) -> torch.Tensor:
        logits = [head(layer.movedim(1, -1)) for head, layer in zip(self.heads, layers, strict=True)]
        return torch.stack([one.float().flatten(1).mean(1) for one in logits])

    def doubt(self, drawn: list[torch.Tensor], real: list[torch.Tensor]) -> torch.Tensor:
        """How surely it tells the drawings, after one step of its own; lower when they pass for images.

        - sum over layers of the mean logit of the drawings.
        """
        passes, fails = self([a.detach() for a in real]), self([a.detach() for a in drawn])
        self.optimizer.zero_grad(set_to_none=True)
        (F.relu(1 - passes) + F.relu(1 + fails)).mean(1).sum().backward()
        self.optimizer.step()
        self.requires_grad_(False)
        logits = self(drawn)
        self.requires_grad_(True)
        return -logits.mean(1).sum()


def shifted(*batches: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
    """Batches of images (B, C, H, W) moved by the same 0 or 1 pixels each way, round the border.

    The encoder sees blocks of 2x2 pixels, and the decoder paints such blocks: a pattern of that period, a
    checkerboard, looks to it like any other and stays. Moved by one pixel it is found out.
    """
    by = tuple(torch.randint(2, (2,), generator=generator, device=generator.device).tolist())
    return [x.roll(by, (2, 3)) for x in batches]
