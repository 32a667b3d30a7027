"""Somebody's own trunk, heads and decoder as parts of our VAE: what `SSVAE.wrap` finds out about them and adds.

Nothing of theirs is changed or copied. A decoder that takes z alone gets the class where z enters its first layer:
W z + b becomes W z + V y + b, which is what that layer would be had it been built for z beside y. V starts at zero,
so that a trained decoder goes on as it was until labels say what its classes are.
"""

import copy

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
GIVES = ("logits", "probs", "means")
TAKES = ("z", "z and y")


class OwnTrunk(nn.Module):
    """x (B, *shape) -> h (B, h_dim)."""

    def __init__(self, trunk: nn.Module):
        super().__init__()
        self.trunk = trunk

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = self.trunk(x.contiguous())  # images come channels last, which x.view() does not take
        return h.flatten(1)


class Heads(nn.Module):
    """h -> mu beside logvar (B, 2 z_dim), as our own latent layer gives them."""

    def __init__(self, mu: nn.Module, logvar: nn.Module):
        super().__init__()
        self.mu, self.logvar = mu, logvar

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.mu(h), self.logvar(h)], dim=1)


class OwnDecoder(nn.Module):
    """z beside y (B, z_dim + n_classes) -> pixel_logits or means (B, *shape)."""

    def __init__(
        self,
        decoder: nn.Module,
        shape: tuple[int, ...],
        z_dim: int,
        n_classes: int,
        gives: str,
        takes: str,
        first: str | None,
    ):
        super().__init__()
        if gives not in GIVES:
            raise ValueError(f"decoder_gives is one of {', '.join(map(repr, GIVES))}, not {gives!r}")
        if takes not in TAKES:
            raise ValueError(f"decoder_takes is one of {', '.join(map(repr, TAKES))}, not {takes!r}")
        self.decoder, self.shape, self.z_dim, self.n_classes = decoder, shape, z_dim, n_classes
        self.gives, self.takes, self.first = gives, takes, first
        self.of_y = None if first is None else _columns(decoder.get_submodule(first), n_classes)  # V

    def forward(self, zy: torch.Tensor) -> torch.Tensor:
        if self.gives == "probs":  # in bfloat16 a sigmoid is 1 from 0.998 on, and its logit lost
            with torch.autocast(zy.device.type, enabled=False):
                return torch.logit(self._decoded(zy.float()), eps=1e-6)
        return self._decoded(zy)

    def _decoded(self, zy: torch.Tensor) -> torch.Tensor:
        if self.first is None:
            x: torch.Tensor = self.decoder(zy)
        else:
            z, y = zy.split([self.z_dim, self.n_classes], dim=1)
            x = self._with_class(z.contiguous(), y)
        return x.reshape(len(zy), *self.shape)

    def _with_class(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """decoder(z) with V y added to what its first layer gives."""
        assert self.first is not None
        assert self.of_y is not None
        of_y = self.of_y

        def add(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            return output + of_y(_laid_out(y, inputs[0], layer))

        hook = self.decoder.get_submodule(self.first).register_forward_hook(add)
        try:
            x: torch.Tensor = self.decoder(z)
        finally:
            hook.remove()
        return x

    def with_classes(self, n_classes: int) -> "OwnDecoder":
        """A copy for another number of classes; their columns are at zero."""
        if self.takes != "z":
            raise ValueError(
                f"this decoder takes z beside {self.n_classes} classes and cannot be changed. "
                f"Build it for {n_classes} and wrap it again."
            )
        decoder = copy.deepcopy(self.decoder)
        return OwnDecoder(decoder, self.shape, self.z_dim, n_classes, self.gives, self.takes, self.first)


def own_h(trunk: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    """The trunk's h of two x in [0, 1]: (2, h_dim). ValueError where that is no h."""
    _must_be_module("encoder_trunk", trunk)
    h = _tried(trunk, torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)), "encoder_trunk", "x").flatten(
        1
    )
    if h.dim() != 2 or len(h) != 2:
        raise ValueError(f"encoder_trunk gives {tuple(h.shape)} for two x of shape {shape}; expected (2, h_dim)")
    return h


def own_z_dim(h: torch.Tensor, z_dim: int | None, mu: nn.Module | None, logvar: nn.Module | None) -> int:
    """z_dim as said, or as the VAE's own heads give it for h (2, h_dim)."""
    if (mu is None) != (logvar is None):
        raise ValueError("give both mu and logvar, or neither and a z_dim")
    if mu is None or logvar is None:
        if z_dim is None:
            raise ValueError("give z_dim, or the VAE's own mu and logvar")
        return z_dim
    shapes = []
    for name, head in (("mu", mu), ("logvar", logvar)):
        _must_be_module(name, head)
        shapes.append(tuple(_tried(head, h, name, "h").shape))
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or z_dim not in (None, shapes[0][1]):
        raise ValueError(
            f"mu gives {shapes[0]} and logvar {shapes[1]} for two images; expected (2, {z_dim or 'z_dim'})"
        )
    return shapes[0][1]


def first_layer(decoder: nn.Module, z_dim: int) -> str:
    """Name of the first linear or convolutional layer that decoder(z) calls."""
    _must_be_module("decoder", decoder)
    called: list[str] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs, name=name: called.append(name))
        for name, layer in decoder.named_modules()
        if isinstance(layer, (nn.Linear, *CONVOLUTIONS))
    ]
    try:
        _tried(decoder, torch.zeros(2, z_dim), "decoder", "z")
    finally:
        for hook in hooks:
            hook.remove()
    if not called:
        raise ValueError(
            "the decoder calls no nn.Linear and no convolution where the class could enter. "
            'Let it take z beside y, (B, z_dim + n_classes), and say decoder_takes="z and y".'
        )
    return called[0]


def gives(own: OwnDecoder) -> str:
    """'bernoulli' or 'gaussian', by what the decoder says it gives; ValueError where its output belies that."""
    _must_be_module("decoder", own.decoder)
    z = torch.randn(64, own.z_dim, generator=torch.Generator().manual_seed(0))
    y = torch.full((64, own.n_classes), 1 / own.n_classes)
    given = z if own.first is not None else torch.cat([z, y], dim=1)
    x = _tried(own.decoder, given, "decoder", "z" if own.first is not None else "z beside y")
    if x.numel() != 64 * torch.Size(own.shape).numel():
        raise ValueError(f"the decoder gives {tuple(x.shape[1:])} for each z; x has the shape {own.shape}")
    low, high = x.min().item(), x.max().item()
    in_unit = low >= 0 and high <= 1
    if own.gives == "logits" and in_unit:
        raise ValueError(
            f"the decoder gives values from {low:.2g} to {high:.2g}, as after a sigmoid. "
            'Say decoder_gives="probs", or leave its sigmoid out.'
        )
    if own.gives == "probs" and not in_unit:
        raise ValueError(
            f"the decoder gives values from {low:.2g} to {high:.2g}, which are no probabilities. "
            'Say decoder_gives="logits", or "means" for real numbers.'
        )
    return "gaussian" if own.gives == "means" else "bernoulli"


def _columns(layer: nn.Module, n_classes: int) -> nn.Module:
    """V: a layer like `layer` with the classes as its inputs, at zero."""
    if isinstance(layer, nn.Linear):
        columns: nn.Module = nn.Linear(n_classes, layer.out_features, bias=False)
    else:
        assert isinstance(layer, CONVOLUTIONS)
        if layer.groups != 1:
            raise ValueError('the decoder\'s first convolution has groups; let it take y: decoder_takes="z and y"')
        columns = copy.deepcopy(layer)
        columns.in_channels, columns.bias = n_classes, None
        across = 0 if layer.transposed else 1  # the dimension of the weight that runs over the inputs
        weight = [*layer.weight.shape]
        weight[across] = n_classes
        columns.weight = nn.Parameter(layer.weight.new_zeros(weight))
    return columns.apply(_zero)


def _zero(layer: nn.Module) -> None:
    nn.init.zeros_(layer.weight)  # type: ignore[arg-type]


def _laid_out(y: torch.Tensor, z: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    """y (B, C) in the layout of the layer's input: (B, ..., C) for a linear layer, (B, C, ...) for a convolution."""
    if isinstance(layer, nn.Linear):
        return y.view(len(y), *[1] * (z.dim() - 2), -1)
    return y.view(*y.shape, *[1] * (z.dim() - 2)).expand(-1, -1, *z.shape[2:])


def _must_be_module(name: str, module: object) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"{name} is a {type(module).__name__}; expected an nn.Module, such as "
            "nn.Sequential(vae.fc3, nn.ReLU(), vae.fc4) for the layers of a method"
        )


@torch.no_grad()
def _tried(module: nn.Module, given: torch.Tensor, name: str, what: str) -> torch.Tensor:
    """module(given), in evaluation mode so that no running statistic moves; ValueError says what was given."""
    parameter = next(module.parameters(), torch.zeros(()))
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        got = module(given.to(parameter.device))
    except Exception as error:  # whatever somebody's own code raises
        raise ValueError(f"{name} fails on {what} of shape {tuple(given.shape)}: {error}") from error
    finally:
        for part, was in training.items():
            part.training = was
    if not isinstance(got, torch.Tensor):
        raise ValueError(
            f"{name} gives a {type(got).__name__}; expected one tensor: leave mu and logvar to their heads"
        )
    return got
