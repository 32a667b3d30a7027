"""Augmentation that keeps the class of most images: small affine moves, contrast, brightness, an erased patch."""

import math

import torch
import torch.nn.functional as F


def augment(x: torch.Tensor, generator: torch.Generator, flip: bool = False) -> torch.Tensor:
    """x (B, C, H, W) in [0, 1] -> the same shape, each image moved its own way. Flips only where asked for."""

    def uniform(*shape: int, low: float = -1.0, high: float = 1.0) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, device=x.device) * (high - low) + low

    n, _, height, width = x.shape
    angle = uniform(n) * math.radians(17)
    scale = 1 + 0.2 * uniform(n)
    shear, shift = 0.2 * uniform(n), 0.2 * uniform(n, 2)  # a shift of 0.2 is 10% of the side
    mirror = uniform(n).sign() if flip else torch.ones(n, device=x.device)
    row0 = torch.stack([mirror * angle.cos() * scale, -angle.sin() * scale + shear, shift[:, 0]], 1)
    row1 = torch.stack([mirror * angle.sin() * scale, angle.cos() * scale, shift[:, 1]], 1)
    grid = F.affine_grid(torch.stack([row0, row1], 1), list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, align_corners=False, padding_mode="border")
    moved = (moved * (1 + 0.4 * uniform(n, 1, 1, 1)) + 0.1 * uniform(n, 1, 1, 1)).clamp(0, 1)

    rows = torch.arange(height, device=x.device).view(1, 1, height, 1)
    columns = torch.arange(width, device=x.device).view(1, 1, 1, width)
    half_h, half_w = (uniform(n, 1, 1, 1, low=0, high=side / 4) for side in (height, width))
    at_row, at_column = (uniform(n, 1, 1, 1, low=0, high=side) for side in (height, width))
    erased = ((rows - at_row).abs() < half_h) & ((columns - at_column).abs() < half_w)
    moved = torch.where(erased, uniform(n, 1, 1, 1, low=0, high=0.5), moved)
    return moved.contiguous(memory_format=torch.channels_last)
