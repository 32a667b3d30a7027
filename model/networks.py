"""Encoder trunk and decoder: convolutions for square images from 8x8 to 64x64, gray or colour, an MLP for vectors.

Images are halved or doubled twice up to 32 pixels and three times above. The first halving is a PixelUnshuffle:
on a CPU it is three times faster than a convolution at full resolution. Above 32 pixels the layers with the most
places are narrow, which halves the time; to make 4x4 pixels one place would halve it again, and is blind to shapes.
"""

from itertools import pairwise

import torch
from torch import nn

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Tanh)


def _blocks(image_size: int) -> int:
    """How many times the side is halved."""
    if image_size % 4 or not 8 <= image_size <= 64:
        raise ValueError(f"the side of an image is a multiple of 4 from 8 to 64 pixels, not {image_size}")
    if image_size > 32 and image_size % 8:
        raise ValueError(f"above 32 pixels the side is a multiple of 8, not {image_size}")
    return 2 if image_size <= 32 else 3


def conv_trunk(image_size: int, channels: int, width: int, h_dim: int) -> nn.Sequential:
    """x (B, channels, S, S) in [0, 1] -> topmost layer h (B, h_dim), after a ReLU."""
    w = 2 * width
    widths = [width, w] if _blocks(image_size) == 2 else [width // 2, w, w]
    side = image_size // 2 ** len(widths)
    layers: list[nn.Module] = [nn.PixelUnshuffle(2), *_conv_norm(4 * channels, widths[0], 3, 1)]
    for inputs, outputs in pairwise(widths):
        layers += _conv_norm(inputs, outputs, 4, 2)
    layers += [
        *_conv_norm(w, w, 3, 1),
        nn.Flatten(),
        nn.Linear(w * side * side, h_dim),
        nn.BatchNorm1d(h_dim),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers)


def conv_decoder(image_size: int, channels: int, width: int, h_dim: int, in_dim: int) -> nn.Sequential:
    """(B, in_dim) = z beside y -> pixel_logits (B, channels, S, S)."""
    widths = [2 * width, width] if _blocks(image_size) == 2 else [2 * width, width, width // 2]
    side = image_size // 2 ** len(widths)
    layers: list[nn.Module] = [nn.Linear(in_dim, h_dim), nn.ReLU()]
    layers += [nn.Linear(h_dim, widths[0] * side * side), nn.ReLU(), nn.Unflatten(1, (widths[0], side, side))]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, 4 * outputs, 3, 1, 1), nn.PixelShuffle(2), nn.ReLU()]
    layers += [nn.Conv2d(widths[-1], 4 * channels, 3, 1, 1), nn.PixelShuffle(2)]
    return nn.Sequential(*layers)


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()]


def mlp_trunk(dim: int, width: int, h_dim: int) -> nn.Sequential:
    """x (B, dim), standardised -> topmost layer h (B, h_dim), after a ReLU."""
    return nn.Sequential(*_linear_norm(dim, width), *_linear_norm(width, width), *_linear_norm(width, h_dim))


def mlp_decoder(dim: int, width: int, in_dim: int) -> nn.Sequential:
    """(B, in_dim) = z beside y -> means (B, dim) of the standardised features."""
    return nn.Sequential(nn.Linear(in_dim, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, dim))


def _linear_norm(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]


def perceptual_layers(trunk: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """What the activations of any trunk give for x, in the order of their call, and last the topmost layer h."""
    found: list[torch.Tensor] = []

    def keep(layer: nn.Module, inputs: object, output: torch.Tensor) -> None:
        found.append(output)

    hooks = [layer.register_forward_hook(keep) for layer in trunk.modules() if isinstance(layer, ACTIVATIONS)]
    try:
        h = trunk(x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x)
    finally:
        for hook in hooks:
            hook.remove()
    return found if found and found[-1] is h else [*found, h]
