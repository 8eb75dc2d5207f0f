"""Borders around (N, C, ...): zeros, a constant, a reflection, the outermost value, or the other side."""

from __future__ import annotations

from typing import Any

from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.module import Module

Size = int | tuple[int, ...]


class _Pad(Module):
    """y = x with a border of ``padding`` elements: one number for all sides, or (left, right, top, bottom, front, back)."""

    _n: int
    _mode: str

    def __init__(self, padding: Size) -> None:
        n = self._n
        self.padding = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * (2 * n)
        if len(self.padding) != 2 * n:
            raise ValueError(f"{type(self).__name__}: padding={padding!r}: expected a number, or {2 * n} of them")

    def forward(self, input: Any) -> Any:
        if input.ndim not in (self._n + 1, self._n + 2):
            axes = ", ".join(["C", *(["L"] if self._n == 1 else ["D", "H", "W"][3 - self._n :])])
            raise self._refuse(f"(N, {axes}) or ({axes})", input, "Reshape it, or use the padding for as many axes.")
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    """Any number of axes before those that get the border."""

    _shown = ("padding", "value")

    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Size) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return str(self.padding)


class ZeroPad1d(_ZeroPad):
    """(N, C, L) with zeros around it; ``padding`` is one number or (left, right).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ZeroPad1d(1)(mg.ones((1, 1, 3))).shape
        (1, 1, 5)
    """

    _n = 1


class ZeroPad2d(_ZeroPad):
    """(N, C, H, W) with zeros around it; ``padding`` is one number or (left, right, top, bottom).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ZeroPad2d(1)(mg.ones((1, 1, 3, 3))).shape
        (1, 1, 5, 5)
    """

    _n = 2


class ZeroPad3d(_ZeroPad):
    """(N, C, D, H, W) with zeros around it; ``padding`` is one number or (left, right, top, bottom, front, back).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ZeroPad3d(1)(mg.ones((1, 1, 3, 3, 3))).shape
        (1, 1, 5, 5, 5)
    """

    _n = 3


class ConstantPad1d(_ConstantPad):
    """(N, C, L) with ``value`` around it; ``padding`` is one number or (left, right).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ConstantPad1d(1, 2.5)(mg.ones((1, 1, 3))).shape
        (1, 1, 5)
    """

    _n = 1


class ConstantPad2d(_ConstantPad):
    """(N, C, H, W) with ``value`` around it; ``padding`` is one number or (left, right, top, bottom).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ConstantPad2d(1, 2.5)(mg.ones((1, 1, 3, 3))).shape
        (1, 1, 5, 5)
    """

    _n = 2


class ConstantPad3d(_ConstantPad):
    """(N, C, D, H, W) with ``value`` around it; ``padding`` is one number or (left, right, top, bottom, front, back).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ConstantPad3d(1, 2.5)(mg.ones((1, 1, 3, 3, 3))).shape
        (1, 1, 5, 5, 5)
    """

    _n = 3


class ReflectionPad1d(_Pad):
    """(N, C, L) with its mirror image around it, the outermost element not repeated; ``padding`` is one number or (left, right).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ReflectionPad1d(1)(mg.ones((1, 1, 3))).shape
        (1, 1, 5)
    """

    _n, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """(N, C, H, W) with its mirror image around it, the outermost element not repeated; ``padding`` is one number or (left, right, top, bottom).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ReflectionPad2d(1)(mg.ones((1, 1, 3, 3))).shape
        (1, 1, 5, 5)
    """

    _n, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """(N, C, D, H, W) with its mirror image around it, the outermost element not repeated; ``padding`` is one number or (left, right, top, bottom, front, back).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ReflectionPad3d(1)(mg.ones((1, 1, 3, 3, 3))).shape
        (1, 1, 5, 5, 5)
    """

    _n, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """(N, C, L) with its outermost elements repeated around it; ``padding`` is one number or (left, right).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ReplicationPad1d(1)(mg.ones((1, 1, 3))).shape
        (1, 1, 5)
    """

    _n, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """(N, C, H, W) with its outermost elements repeated around it; ``padding`` is one number or (left, right, top, bottom).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ReplicationPad2d(1)(mg.ones((1, 1, 3, 3))).shape
        (1, 1, 5, 5)
    """

    _n, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """(N, C, D, H, W) with its outermost elements repeated around it; ``padding`` is one number or (left, right, top, bottom, front, back).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ReplicationPad3d(1)(mg.ones((1, 1, 3, 3, 3))).shape
        (1, 1, 5, 5, 5)
    """

    _n, _mode = 3, "replicate"


class CircularPad1d(_Pad):
    """(N, C, L) with its other side around it; ``padding`` is one number or (left, right).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.CircularPad1d(1)(mg.ones((1, 1, 3))).shape
        (1, 1, 5)
    """

    _n, _mode = 1, "circular"


class CircularPad2d(_Pad):
    """(N, C, H, W) with its other side around it; ``padding`` is one number or (left, right, top, bottom).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.CircularPad2d(1)(mg.ones((1, 1, 3, 3))).shape
        (1, 1, 5, 5)
    """

    _n, _mode = 2, "circular"


class CircularPad3d(_Pad):
    """(N, C, D, H, W) with its other side around it; ``padding`` is one number or (left, right, top, bottom, front, back).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.CircularPad3d(1)(mg.ones((1, 1, 3, 3, 3))).shape
        (1, 1, 5, 5, 5)
    """

    _n, _mode = 3, "circular"
