"""Convolutions and transposed convolutions in one, two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minigrad.errors import ShapeError
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.linear import _uniform_by_fan, _uses
from minigrad.nn.module import Module, empty_parameter

Size = int | tuple[int, ...]
AXES = ("D", "H", "W")


def _spread(value: Any, n: int, name: str) -> tuple[int, ...]:
    """One number for each axis."""
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,) * n
    if len(sizes) != n:
        raise ShapeError(f"{name}={value!r}: expected an integer or {n} of them")
    return sizes


class _ConvBase(Module):
    """What all convolutions share: their arguments, parameters and words. Subclasses say how the two kinds compute."""

    _n: int
    _function: Callable[..., Any]
    _transposed = False
    output_padding: tuple[int, ...] = ()

    def _build(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size, padding: Size | str, dilation: Size, groups: int,
        bias: bool, padding_mode: str, device: str | None, dtype: Any,
    ) -> None:  # fmt: skip
        name, n = type(self).__name__, self._n
        if in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"{name}: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}: "
                f"each group connects its share of both"
            )
        modes = ("zeros",) if self._transposed else ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in modes:
            raise ValueError(f"{name}: unknown padding_mode {padding_mode!r}: expected {', '.join(modes)}")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"{name}: unknown padding {padding!r}: expected same, valid, or numbers")
        self.in_channels, self.out_channels, self.groups, self.padding_mode = in_channels, out_channels, groups, padding_mode
        self.kernel_size, self.stride = _spread(kernel_size, n, "kernel_size"), _spread(stride, n, "stride")
        self.padding = padding if isinstance(padding, str) else _spread(padding, n, "padding")
        self.dilation = _spread(dilation, n, "dilation")
        if padding == "same" and set(self.stride) != {1}:
            raise ValueError(f"{name}: padding='same' keeps the size, so it needs stride 1, got {stride}")
        channels = (in_channels, out_channels // groups) if self._transposed else (out_channels, in_channels // groups)
        self.weight = empty_parameter((*channels, *self.kernel_size), device, dtype)
        self.bias = empty_parameter((out_channels,), device, dtype) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        _uniform_by_fan(self.weight, self.bias, math.prod(self.weight.shape[1:]))

    def _check(self, input: Any) -> None:
        n = self._n
        if input.ndim not in (n + 1, n + 2) or input.shape[-n - 1] != self.in_channels:
            axes = ", ".join([str(self.in_channels), *(("L",) if n == 1 else AXES[3 - n :])])
            fix = (
                f"Build it with in_channels={input.shape[-n - 1]}, or move the channels there (x.permute)."
                if input.ndim in (n + 1, n + 2)
                else "Reshape it, or add the missing axes with x[None]."
            )
            raise self._refuse(f"(N, {axes}) or ({axes})", input, fix)

    def extra_repr(self) -> str:
        n = self._n
        rest = {
            "padding": self.padding if self.padding != (0,) * n else None,
            "dilation": self.dilation if self.dilation != (1,) * n else None,
            "output_padding": self.output_padding if any(self.output_padding) else None,
            "groups": self.groups if self.groups != 1 else None,
            "bias": False if self.bias is None else None,
            "padding_mode": self.padding_mode if self.padding_mode != "zeros" else None,
        }
        return ", ".join(
            [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
            + [f"{name}={value}" for name, value in rest.items() if value is not None]
        )


class _Conv(_ConvBase):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size | str = 0, dilation: Size = 1,
        groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self._build(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )

    def forward(self, input: Any) -> Any:
        self._check(input)
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._borders(), self.padding_mode), 0
        return type(self)._function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _borders(self) -> list[int]:
        """The padding as :func:`functional.pad` wants it: both sides of the last axis first."""
        if isinstance(self.padding, str):
            total = [d * (k - 1) if self.padding == "same" else 0 for d, k in zip(self.dilation, self.kernel_size)]
            sides = [(t // 2, t - t // 2) for t in total]
        else:
            sides = [(p, p) for p in self.padding]
        return [width for pair in reversed(sides) for width in pair]

    def multiply_adds(self, output: Any, *inputs: Any) -> int:
        return _uses(output.size // self.out_channels, self.weight, self.bias)


class Conv1d(_Conv):
    """Convolution along one axis, :class:`Conv2d` for (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Conv1d(2, 3, 5, padding=2)(mg.ones((1, 2, 9))).shape
        (1, 3, 9)
    """

    _n, _function = 1, F.conv1d


class Conv2d(_Conv):
    """y[o, i, j] = b_o + sum over c, u, v of W[o, c, u, v] x[c, S i + D u - P, S j + D v - P]: (N, C, H, W) to (N, O, H', W').

    A cross-correlation, and an axis of N becomes (N + 2P - D(F - 1) - 1)//S + 1 (notes 001, "Convolution").

    Args:
        in_channels: C.
        out_channels: O, the number of filters.
        kernel_size: F, an integer or one per axis, as are the next three.
        stride: S, how far a filter moves.
        padding: P, what is added on each side; ``"same"`` keeps the size, ``"valid"`` adds nothing.
        dilation: D, the distance between a filter's taps.
        groups: channels are split into so many groups, each with its own filters (ResNeXt).
        bias: whether there is a b.
        padding_mode: what is added: zeros, reflect, replicate or circular.
        device: where the parameters go.
        dtype: theirs.

    Attributes:
        weight: (O, C / groups, *F), at first U(-k, k) with k = 1 / sqrt(C / groups * |F|), as in PyTorch.
        bias: (O,), at first U(-k, k) too; or None.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> conv = nn.Conv2d(3, 10, 5, padding=2)
        >>> conv(mg.ones((1, 3, 32, 32))).shape, sum(p.size for p in conv.parameters())
        ((1, 10, 32, 32), 760)
    """

    _n, _function = 2, F.conv2d


class Conv3d(_Conv):
    """Convolution in three dimensions, :class:`Conv2d` for (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Conv3d(2, 3, 2)(mg.ones((1, 2, 4, 5, 6))).shape
        (1, 3, 3, 4, 5)
    """

    _n, _function = 3, F.conv3d


class _ConvTranspose(_ConvBase):
    _transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0, output_padding: Size = 0,
        groups: int = 1, bias: bool = True, dilation: Size = 1, padding_mode: str = "zeros", device: str | None = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        self.output_padding = _spread(output_padding, self._n, "output_padding")
        self._build(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )

    def forward(self, input: Any, output_size: Any = None) -> Any:
        self._check(input)
        extra = self.output_padding if output_size is None else self._reaching(input, output_size)
        return type(self)._function(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )  # fmt: skip

    def _reaching(self, input: Any, output_size: Any) -> tuple[int, ...]:
        """The output_padding with which the output has the asked size: a stride lets several inputs sizes have one output."""
        n = self._n
        wanted = _spread(output_size, n, "output_size") if isinstance(output_size, int) else tuple(output_size)[-n:]
        geometry = zip(input.shape[-n:], self.stride, _spread(self.padding, n, "padding"), self.dilation, self.kernel_size)
        least = tuple((size - 1) * s - 2 * p + d * (k - 1) + 1 for size, s, p, d, k in geometry)
        extra = tuple(want - low for want, low in zip(wanted, least))
        if any(not 0 <= e < max(s, d) for e, s, d in zip(extra, self.stride, self.dilation)):
            most = tuple(low + max(s, d) - 1 for low, s, d in zip(least, self.stride, self.dilation))
            raise ShapeError(f"{self._path()}: output_size {wanted}: from this input, sizes {least} to {most} can be reached")
        return extra

    def multiply_adds(self, output: Any, *inputs: Any) -> int:
        return _uses(inputs[0].size // self.in_channels, self.weight) + _uses(output.size // self.out_channels, self.bias)


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution along one axis, :class:`ConvTranspose2d` for (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ConvTranspose1d(2, 3, 4, stride=2, padding=1)(mg.ones((1, 2, 5))).shape
        (1, 3, 10)
    """

    _n, _function = 1, F.conv_transpose1d


class ConvTranspose2d(_ConvTranspose):
    """y[o, S i + D u - P, ...] += W[c, o, u, ...] x[c, i, ...]: lay a filter down at every input, scaled by it.

    The transpose of :class:`Conv2d` as a matrix, hence its gradient: (N, C, H, W) to (N, O, H', W'), where an axis of N becomes
    (N - 1)S - 2P + D(F - 1) + 1 + output_padding.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: F, an integer or one per axis, as are the next three.
        stride: S, by how much the output is larger.
        padding: P, what is cut off on each side.
        output_padding: what is added at the end, for sizes that the stride would skip.
        groups: channels are split into so many groups.
        bias: whether there is a b.
        dilation: D, the distance between a filter's taps.
        padding_mode: only zeros.
        device: where the parameters go.
        dtype: theirs.

    Attributes:
        weight: (C, O / groups, *F), at first U(-k, k) with k = 1 / sqrt(O / groups * |F|), as in PyTorch.
        bias: (O,), or None.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1)(mg.ones((1, 2, 5, 5))).shape
        (1, 3, 10, 10)
    """

    _n, _function = 2, F.conv_transpose2d


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution in three dimensions, :class:`ConvTranspose2d` for (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ConvTranspose3d(2, 3, 2, stride=2)(mg.ones((1, 2, 3, 3, 3))).shape
        (1, 3, 6, 6, 6)
    """

    _n, _function = 3, F.conv_transpose3d
