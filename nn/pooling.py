"""Pooling in one, two and three dimensions: maxima and means of windows. No parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad import ops
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.conv import _spread
from minigrad.nn.module import Module

Size = int | tuple[int, ...]


class _Pool(Module):
    """What pools share: their function, and a check that names the module."""

    _n: int
    _function: Callable[..., Any]

    def _check(self, input: Any) -> None:
        n = self._n
        if input.ndim not in (n + 1, n + 2):
            axes = ", ".join(["C", *(["L"] if n == 1 else ["D", "H", "W"][3 - n :])])
            raise self._refuse(f"(N, {axes}) or ({axes})", input, "Reshape it, or use the pool for as many axes.")


def _tuple(value: Size) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


class _MaxPool(_Pool):
    _shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1, return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.return_indices, self.ceil_mode = padding, dilation, return_indices, ceil_mode

    def forward(self, input: Any) -> Any:
        self._check(input)
        return type(self)._function(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MaxPool1d(_MaxPool):
    """The maximum of each window, :class:`MaxPool2d` for (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.MaxPool1d(2)(mg.ones((1, 2, 8))).shape
        (1, 2, 4)
    """

    _n, _function = 1, F.max_pool1d


class MaxPool2d(_MaxPool):
    """y[c, i, j] = max over u, v of x[c, S i + D u - P, S j + D v - P] for each window: (N, C, H, W) to (N, C, H', W').

    Gate: gradient router, to the element that won. An axis of N becomes (N + 2P - D(F - 1) - 1)//S + 1.

    Args:
        kernel_size: F, an integer or one per axis, as are the next three.
        stride: S; the window itself if None.
        padding: P, how far windows begin outside, where nothing ever wins.
        dilation: D, the distance between the elements of a window.
        return_indices: return the winners' positions in the flattened image too.
        ceil_mode: also take a last window that begins inside but does not end there.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.MaxPool2d(2)(mg.ones((1, 2, 8, 8))).shape
        (1, 2, 4, 4)
    """

    _n, _function = 2, F.max_pool2d


class MaxPool3d(_MaxPool):
    """The maximum of each window, :class:`MaxPool2d` for (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.MaxPool3d(2)(mg.ones((1, 2, 8, 8, 8))).shape
        (1, 2, 4, 4, 4)
    """

    _n, _function = 3, F.max_pool3d


class _AvgPool(_Pool):
    """Two and three dimensions; one has no divisor to override."""

    _shown = ("kernel_size", "stride", "padding")

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Any) -> Any:
        self._check(input)
        return type(self)._function(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override
        )


class AvgPool1d(_AvgPool):
    """The mean of each window, :class:`AvgPool2d` for (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.AvgPool1d(2)(mg.ones((1, 2, 8))).shape
        (1, 2, 4)
    """

    _n, _function = 1, F.avg_pool1d

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)

    def forward(self, input: Any) -> Any:
        self._check(input)
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={_tuple(getattr(self, name))}" for name in self._shown)


class AvgPool2d(_AvgPool):
    """y[c, i, j] = the mean over u, v of x[c, S i + u - P, S j + v - P] for each window: (N, C, H, W) to (N, C, H', W').

    Gate: gradient distributor.

    Args:
        kernel_size: the window, an integer or one per axis.
        stride: S; the window itself if None.
        padding: P zeros on each side.
        ceil_mode: also take a last window that begins inside but does not end there.
        count_include_pad: whether those zeros count.
        divisor_override: divide by this instead of by the count.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.AvgPool2d(2)(mg.ones((1, 2, 8, 8))).shape
        (1, 2, 4, 4)
    """

    _n, _function = 2, F.avg_pool2d


class AvgPool3d(_AvgPool):
    """The mean of each window, :class:`AvgPool2d` for (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.AvgPool3d(2)(mg.ones((1, 2, 8, 8, 8))).shape
        (1, 2, 4, 4, 4)
    """

    _n, _function = 3, F.avg_pool3d


class _AdaptivePool(_Pool):
    _shown = ("output_size",)

    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        self._check(input)
        return type(self)._function(input, self.output_size)


class _AdaptiveMaxPool(_AdaptivePool):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        self._check(input)
        return type(self)._function(input, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(_AdaptivePool):
    """The mean of each of ``output_size`` windows, :class:`AdaptiveAvgPool2d` for (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.AdaptiveAvgPool1d(3)(mg.ones((1, 2, 8))).shape
        (1, 2, 3)
    """

    _n, _function = 1, F.adaptive_avg_pool1d


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The maximum of each of ``output_size`` windows, :class:`AdaptiveMaxPool2d` for (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.AdaptiveMaxPool1d(3)(mg.ones((1, 2, 8))).shape
        (1, 2, 3)
    """

    _n, _function = 1, F.adaptive_max_pool1d


class AdaptiveAvgPool2d(_AdaptivePool):
    """The mean of each of ``output_size`` windows: along an axis of N, the i-th of M goes from iN//M up to ceil((i + 1)N/M).

    Args:
        output_size: M, an integer or one per axis; None keeps an axis.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.AdaptiveAvgPool2d(3)(mg.ones((1, 2, 8, 8))).shape
        (1, 2, 3, 3)
    """

    _n, _function = 2, F.adaptive_avg_pool2d


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The maximum of each of ``output_size`` windows: along an axis of N, the i-th of M goes from iN//M up to ceil((i + 1)N/M).

    Args:
        output_size: M, an integer or one per axis; None keeps an axis.
        return_indices: return the winners' positions in the flattened image too.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.AdaptiveMaxPool2d(3)(mg.ones((1, 2, 8, 8))).shape
        (1, 2, 3, 3)
    """

    _n, _function = 2, F.adaptive_max_pool2d


class AdaptiveAvgPool3d(_AdaptivePool):
    """The mean of each of ``output_size`` windows, :class:`AdaptiveAvgPool2d` for (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.AdaptiveAvgPool3d(3)(mg.ones((1, 2, 8, 8, 8))).shape
        (1, 2, 3, 3, 3)
    """

    _n, _function = 3, F.adaptive_avg_pool3d


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The maximum of each of ``output_size`` windows, :class:`AdaptiveMaxPool2d` for (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.AdaptiveMaxPool3d(3)(mg.ones((1, 2, 8, 8, 8))).shape
        (1, 2, 3, 3, 3)
    """

    _n, _function = 3, F.adaptive_max_pool3d


class _MaxUnpool(_Pool):
    _shown = ("kernel_size", "stride", "padding")

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        n = self._n
        self.kernel_size = _spread(kernel_size, n, "kernel_size")
        self.stride = self.kernel_size if stride is None else _spread(stride, n, "stride")
        self.padding = _spread(padding, n, "padding")

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        self._check(input)
        return type(self)._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """The way back from a pool, :class:`MaxUnpool2d` for (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> y, at = nn.MaxPool1d(2, return_indices=True)(mg.ones((1, 1, 4)))
        >>> nn.MaxUnpool1d(2)(y, at).shape
        (1, 1, 4)
    """

    _n, _function = 1, F.max_unpool1d


class MaxUnpool2d(_MaxUnpool):
    """Maxima back where they came from, zeros elsewhere: (N, C, H, W) to (N, C, H', W') (Zeiler & Fergus 2014).

    Args:
        kernel_size: the window of the pool that was, an integer or one per axis, as are the next two.
        stride: the window itself if None.
        padding: of that pool.

    ``forward(input, indices, output_size=None)`` takes what a pool with ``return_indices=True`` returned, and the size before it
    where the stride leaves that open.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> y, at = nn.MaxPool2d(2, return_indices=True)(mg.ones((1, 1, 4, 4)))
        >>> nn.MaxUnpool2d(2)(y, at).shape
        (1, 1, 4, 4)
    """

    _n, _function = 2, F.max_unpool2d


class MaxUnpool3d(_MaxUnpool):
    """The way back from a pool, :class:`MaxUnpool2d` for (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> y, at = nn.MaxPool3d(2, return_indices=True)(mg.ones((1, 1, 4, 4, 4)))
        >>> nn.MaxUnpool3d(2)(y, at).shape
        (1, 1, 4, 4, 4)
    """

    _n, _function = 3, F.max_unpool3d


class _LPPool(_Pool):
    _shown = ("norm_type", "kernel_size", "stride", "ceil_mode")

    def __init__(self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False) -> None:
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Any) -> Any:
        self._check(input)
        return type(self)._function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(_LPPool):
    """The p-norm of each window, :class:`LPPool2d` for (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.LPPool1d(2, 2)(mg.ones((1, 1, 4))).shape
        (1, 1, 2)
    """

    _n, _function = 1, F.lp_pool1d


class LPPool2d(_LPPool):
    """``y = (sum of x**p over each window)**(1/p)``: the sum for p = 1, towards the maximum for large p.

    Args:
        norm_type: p.
        kernel_size: the window, an integer or one per axis.
        stride: the window itself if None.
        ceil_mode: also take a last window that begins inside but does not end there.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.LPPool2d(2, 2)(mg.ones((1, 1, 4, 4))).shape
        (1, 1, 2, 2)
    """

    _n, _function = 2, F.lp_pool2d


class LPPool3d(_LPPool):
    """The p-norm of each window, :class:`LPPool2d` for (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.LPPool3d(2, 2)(mg.ones((1, 1, 4, 4, 4))).shape
        (1, 1, 2, 2, 2)
    """

    _n, _function = 3, F.lp_pool3d


class GlobalAvgPool2d(_Pool):
    """y[n, c] = the mean of x[n, c] over all positions: (N, C, H, W) to (N, C, 1, 1) (Lin et al. 2014, in place of dense layers).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.GlobalAvgPool2d()(mg.ones((2, 3, 5, 5))).shape
        (2, 3, 1, 1)
    """

    _n = 2

    def forward(self, input: Any) -> Any:
        self._check(input)
        return ops.mean(input, (-2, -1), keepdims=True)


class GlobalMaxPool2d(_Pool):
    """y[n, c] = the maximum of x[n, c] over all positions: (N, C, H, W) to (N, C, 1, 1).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.GlobalMaxPool2d()(mg.ones((2, 3, 5, 5))).shape
        (2, 3, 1, 1)
    """

    _n = 2

    def forward(self, input: Any) -> Any:
        self._check(input)
        return F.adaptive_max_pool2d(input, 1)
