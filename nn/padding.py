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


def _family(base: type[_Pad], stem: str, words: str, call: str) -> tuple[Any, Any, Any]:
    """The classes for one, two and three axes; they differ in nothing else."""
    made = []
    for n, axes in ((1, "(N, C, L)"), (2, "(N, C, H, W)"), (3, "(N, C, D, H, W)")):
        name = f"{stem}{n}d"
        doc = f"""{axes} with a border of {words}.

        ``padding`` is one number for all sides, or {2 * n} of them: (left, right, top, bottom, front, back){"[:%d]" % (2 * n) if n < 3 else ""}.

        Example:
            >>> import minigrad as mg
            >>> from minigrad import nn
            >>> nn.{name}({call})(mg.ones({(1, 1, *(3,) * n)})).shape
            {(1, 1, *(5,) * n)}
        """
        made.append(type(name, (base,), {"_n": n, "__doc__": doc, "__module__": __name__}))
    return made[0], made[1], made[2]
