"""Layers that only arrange or repeat: Flatten, Unflatten, Upsample."""

from __future__ import annotations

from typing import Any

from minigrad import ops
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.module import Module


class Flatten(Module):
    """Axes ``start_dim`` to ``end_dim`` joined into one; by default all but the first: (N, C, H, W) to (N, C H W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Flatten()(mg.ones((2, 3, 4, 5))).shape
        (2, 60)
    """

    _shown = ("start_dim", "end_dim")

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Any) -> Any:
        return F.flatten(input, self.start_dim, self.end_dim)


class Unflatten(Module):
    """Axis ``dim`` spread over several: (N, C H W) to (N, C, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Unflatten(1, (3, 4, 5))(mg.ones((2, 60))).shape
        (2, 3, 4, 5)
    """

    _shown = ("dim", "unflattened_size")

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Any) -> Any:
        axis = self.dim % input.ndim
        return ops.reshape(input, (*input.shape[:axis], *self.unflattened_size, *input.shape[axis + 1 :]))


class Upsample(Module):
    """(N, C, ...) enlarged, each element the nearest one's value: y[i] = x[floor(i N/M)] along each axis after the channels.

    Args:
        size: the new sizes, a number or one per axis.
        scale_factor: or by how much to multiply them.
        mode: ``"nearest"``.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Upsample(scale_factor=2)(mg.ones((1, 3, 4, 4))).shape
        (1, 3, 8, 8)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None, mode: str = "nearest") -> None:
        if mode != "nearest":
            raise ValueError(f"Upsample: mode {mode!r} is not there: expected nearest")
        scale = tuple(map(float, scale_factor)) if isinstance(scale_factor, tuple) else scale_factor and float(scale_factor)
        self.size, self.scale_factor, self.mode = size, scale, mode

    def forward(self, input: Any) -> Any:
        return F.interpolate(input, self.size, self.scale_factor, self.mode)

    def extra_repr(self) -> str:
        name = "size" if self.scale_factor is None else "scale_factor"
        return f"{name}={getattr(self, name)!r}, mode={self.mode!r}"
