"""Augmentation that keeps the class of most images or vectors.

Images: small affine moves, contrast, brightness, an erased patch; in colour also other light and other saturation.
Vectors: noise, and some features as another row has them.
"""

import math

import torch
import torch.nn.functional as F

NOISE = 0.1  # of vectors, in standard deviations of the batch
SWAPPED = 0.3  # greatest share of a vector's features that are taken from another one


def augment(x: torch.Tensor, generator: torch.Generator, flip: bool | torch.Tensor = False) -> torch.Tensor:
    """Images x (B, C, H, W) in [0, 1], or vectors x (B, D) -> the same shape, each moved its own way.

    `flip`: whether an image may be mirrored, each one with a chance of a half; of all of them, or (B,) of each.
    """
    return augment_images(x, generator, flip) if x.dim() == 4 else augment_vectors(x, generator)


def augment_images(x: torch.Tensor, generator: torch.Generator, flip: bool | torch.Tensor = False) -> torch.Tensor:
    """x (B, C, H, W) in [0, 1] -> the same shape."""

    def uniform(*shape: int, low: float = -1.0, high: float = 1.0) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, device=x.device) * (high - low) + low

    n, channels, height, width = x.shape
    angle = uniform(n) * math.radians(17)
    scale = 1 + 0.2 * uniform(n)
    shear, shift = 0.2 * uniform(n), 0.2 * uniform(n, 2)  # a shift of 0.2 is 10% of the side
    mirror = torch.ones(n, device=x.device)
    if flip is not False:
        mirror = torch.where(torch.as_tensor(flip, device=x.device), uniform(n).sign(), mirror)
    row0 = torch.stack([mirror * angle.cos() * scale, -angle.sin() * scale + shear, shift[:, 0]], 1)
    row1 = torch.stack([mirror * angle.sin() * scale, angle.cos() * scale, shift[:, 1]], 1)
    grid = F.affine_grid(torch.stack([row0, row1], 1), list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, align_corners=False, padding_mode="border")
    if channels == 3:
        moved = in_other_light(moved, uniform(n), uniform(n, 3))
    moved = (moved * (1 + 0.4 * uniform(n, 1, 1, 1)) + 0.1 * uniform(n, 1, 1, 1)).clamp(0, 1)

    rows = torch.arange(height, device=x.device).view(1, 1, height, 1)
    columns = torch.arange(width, device=x.device).view(1, 1, 1, width)
    half_h, half_w = (uniform(n, 1, 1, 1, low=0, high=side / 4) for side in (height, width))
    at_row, at_column = (uniform(n, 1, 1, 1, low=0, high=side) for side in (height, width))
    erased = ((rows - at_row).abs() < half_h) & ((columns - at_column).abs() < half_w)
    moved = torch.where(erased, uniform(n, 1, 1, 1, low=0, high=0.5), moved)
    return moved.contiguous(memory_format=torch.channels_last)


def in_other_light(x: torch.Tensor, saturation: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
    """x (B, 3, H, W) with its saturation changed by up to 40% and each channel's strength by up to 30%.

    saturation (B,) and light (B, 3) are from -1 to 1. This is what lamps and white balance do (von Kries). No hue is
    turned and nothing made gray, as is usual elsewhere: where the class is a colour, that costs half of the accuracy.
    """
    gray = x.mean(1, keepdim=True)
    return (gray + (x - gray) * (1 + 0.4 * saturation.view(-1, 1, 1, 1))) * (1 + 0.3 * light.view(-1, 3, 1, 1))


def augment_vectors(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """x (B, ...) -> the same shape: up to 30% of the features as another row of the batch has them, and noise.

    A feature of another row is a draw from the feature's own distribution, so that no value is one that cannot be
    (random feature corruption, Bahri et al. 2022, arXiv 2106.15147).
    """
    flat = x.flatten(1)
    n, dim = flat.shape
    share = SWAPPED * torch.rand(n, 1, generator=generator, device=x.device)
    swapped = torch.rand(n, dim, generator=generator, device=x.device) < share
    other = flat.gather(0, torch.randint(n, (n, dim), generator=generator, device=x.device))
    noise = torch.randn(n, dim, generator=generator, device=x.device) * flat.std(0, correction=0)
    return (torch.where(swapped, other, flat) + NOISE * noise).view_as(x)
