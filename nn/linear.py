"""Affine maps: Linear, Bilinear, Maxout, DropConnect, and Identity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import init
from minigrad.nn.module import Module, Parameter, empty_parameter


class Identity(Module):
    """y = x, whatever it is made with: a place for another layer.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Identity()(mg.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """y = x W^T + b: (..., in_features) to (..., out_features).

    Args:
        in_features: the size of the last axis of x.
        out_features: the size of the last axis of y.
        bias: whether there is a b.
        device: where the parameters go.
        dtype: theirs; the default dtype if None.

    Attributes:
        weight: (out_features, in_features), at first U(-k, k) with k = 1 / sqrt(in_features), as in PyTorch.
        bias: (out_features,), at first U(-k, k) too; or None.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Linear(20, 30)(mg.ones((128, 20))).shape
        (128, 30)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: str | None = None, dtype: Any = None
    ) -> None:
        self.in_features, self.out_features = in_features, out_features
        self.weight = empty_parameter((out_features, in_features), device, dtype)
        self.bias = empty_parameter((out_features,), device, dtype) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        _uniform_by_fan(self.weight, self.bias, self.in_features)

    def forward(self, input: Any) -> Any:
        self._check(input)
        return F.linear(input, self.weight, self.bias)

    def _check(self, input: Any) -> None:
        if not input.ndim or input.shape[-1] != self.in_features:
            raise self._refuse(
                f"(..., {self.in_features})", input,
                f"Build it with in_features={input.shape[-1] if input.ndim else 1}, or reshape the input "
                f"(nn.Flatten() joins all axes but the first).",
            )  # fmt: skip

    def multiply_adds(self, output: Any, *inputs: Any) -> int:
        return _uses(output.size // self.out_features, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def _uniform_by_fan(weight: Parameter, bias: Parameter | None, fan: int) -> None:
    """PyTorch's default: U(-k, k) with k = 1 / sqrt(fan), a variance of 1 / (3 fan)."""
    bound = 1 / math.sqrt(fan) if fan else 0.0
    init.uniform_(weight, -bound, bound)
    if bias is not None:
        init.uniform_(bias, -bound, bound)


def _uses(positions: int, *parameters: Parameter | None) -> int:
    """Multiply-adds where every number of the parameters is used once at each position."""
    return positions * sum(p.size for p in parameters if p is not None)


class DropConnect(Linear):
    """y = x (W * M)^T / (1 - p) + b: dropout of weights instead of units, each m 0 with probability p: Wan et al. 2013.

    One M is drawn for the whole batch. In evaluation it is :class:`Linear`.

    Args:
        in_features: the size of the last axis of x.
        out_features: the size of the last axis of y.
        bias: whether there is a b.
        p: the probability to drop a weight.
        generator: where the draws come from; by default the generator that ``mg.manual_seed`` sets.
        device: where the parameters go.
        dtype: theirs.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.DropConnect(20, 30, p=0.2)(mg.ones((128, 20))).shape
        (128, 30)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, p: float = 0.5,
        generator: np.random.Generator | None = None, device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(in_features, out_features, bias, device, dtype)
        self.p, self._generator = p, generator

    def forward(self, input: Any) -> Any:
        self._check(input)
        return F.linear(input, F.dropout(self.weight, self.p, self.training, generator=self._generator), self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, p={self.p}"


class Bilinear(Module):
    """y_o = x1^T W_o x2 + b_o: (..., in1_features) and (..., in2_features) to (..., out_features).

    Args:
        in1_features: the size of the last axis of x1.
        in2_features: the size of the last axis of x2.
        out_features: the size of the last axis of y.
        bias: whether there is a b.
        device: where the parameters go.
        dtype: theirs.

    Attributes:
        weight: (out_features, in1_features, in2_features), at first U(-k, k) with k = 1 / sqrt(in1_features).
        bias: (out_features,), or None.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Bilinear(2, 3, 4)(mg.ones((5, 2)), mg.ones((5, 3))).shape
        (5, 4)
    """

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: str | None = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = empty_parameter((out_features, in1_features, in2_features), device, dtype)
        self.bias = empty_parameter((out_features,), device, dtype) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        _uniform_by_fan(self.weight, self.bias, self.in1_features)

    def forward(self, input1: Any, input2: Any) -> Any:
        for input, features, name in ((input1, self.in1_features, "in1_features"), (input2, self.in2_features, "in2_features")):
            if not input.ndim or input.shape[-1] != features:
                raise self._refuse(f"(..., {features}) for its {name}", input, f"Build it with another {name}.")
        return F.bilinear(input1, input2, self.weight, self.bias)

    def multiply_adds(self, output: Any, *inputs: Any) -> int:
        return _uses(output.size // self.out_features, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Maxout(Module):
    """y_i = max over j of (x W_ij^T + b_ij): (..., in_features) to (..., out_features).

    The largest of ``num_pieces`` affine units: an activation that is learned with them (Goodfellow et al. 2013; notes 001).

    Args:
        in_features: the size of the last axis of x.
        out_features: the size of the last axis of y.
        num_pieces: how many units compete for one output.
        bias: whether there is a b.
        device: where the parameters go.
        dtype: theirs.

    Attributes:
        weight: (out_features * num_pieces, in_features), the pieces of an output side by side.
        bias: (out_features * num_pieces,), or None.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Maxout(20, 30, num_pieces=3)(mg.ones((128, 20))).shape
        (128, 30)
    """

    def __init__(
        self, in_features: int, out_features: int, num_pieces: int = 2, bias: bool = True, device: str | None = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        self.in_features, self.out_features, self.num_pieces = in_features, out_features, num_pieces
        self.weight = empty_parameter((out_features * num_pieces, in_features), device, dtype)
        self.bias = empty_parameter((out_features * num_pieces,), device, dtype) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        _uniform_by_fan(self.weight, self.bias, self.in_features)

    def forward(self, input: Any) -> Any:
        if not input.ndim or input.shape[-1] != self.in_features:
            raise self._refuse(f"(..., {self.in_features})", input, "Build it with another in_features, or reshape the input.")
        return F.maxout(F.linear(input, self.weight, self.bias), self.num_pieces)

    def multiply_adds(self, output: Any, *inputs: Any) -> int:
        return _uses(output.size // self.out_features, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, num_pieces={self.num_pieces}, "
            f"bias={self.bias is not None}"
        )
