"""Normalisation: y = gamma (x - mean) / sqrt(var + eps) + beta, layer by layer over different axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad import creation, ops, tracing
from minigrad.modes import no_grad
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import init
from minigrad.nn.module import Module, Parameter, empty_parameter
from minigrad.tensor import Tensor


class _Affine(Module):
    """What normalisations share: gamma and beta, ones and zeros at first."""

    weight: Parameter | None
    bias: Parameter | None

    def _affine(self, shape: int | tuple[int, ...], weight: bool, bias: bool, device: str | None, dtype: Any) -> None:
        sizes = (shape,) if isinstance(shape, int) else shape
        self.weight = empty_parameter(sizes, device, dtype) if weight else None
        self.bias = empty_parameter(sizes, device, dtype) if bias else None

    def reset_parameters(self) -> None:
        """``gamma = 1``, ``beta = 0``."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _Tracking(_Affine):
    """Normalisation by channel (axis 1), with running statistics if asked for."""

    _ndims: tuple[int, ...]
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def _build(
        self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool, device: str | None,
        dtype: Any, bias: bool,
    ) -> None:  # fmt: skip
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._affine(num_features, affine, affine and bias, device, dtype)
        for name, shape, kind in (
            ("running_mean", num_features, dtype), ("running_var", num_features, dtype), ("num_batches_tracked", (), "int64")
        ):  # fmt: skip
            self.register_buffer(name, creation.zeros(shape, kind, device) if track_running_stats else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """``gamma = 1``, ``beta = 0``, and the running statistics those of N(0, 1)."""
        super().reset_parameters()
        self.reset_running_stats()

    def reset_running_stats(self) -> None:
        """Running mean 0, variance 1, no batches counted."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def _count_batch(self) -> Any:
        """One more batch; how far the running statistics move towards it: by momentum, or, without, to the mean of all so far."""
        if self.num_batches_tracked is None:
            return self.momentum or 0.0
        with no_grad():
            self.num_batches_tracked += 1
        if self.momentum is not None:
            return self.momentum
        if tracing.active.get() is not None and self.running_mean is not None:  # a program counts on
            return ops.astype(1 / self.num_batches_tracked, self.running_mean.dtype)
        return 1 / self.num_batches_tracked.item()

    def _check(self, input: Any, axis: int = 1) -> None:
        if input.ndim not in self._ndims or input.shape[axis] != self.num_features:
            axes = {2: "", 3: ", L", 4: ", H, W", 5: ", D, H, W"}
            expected = " or ".join(f"(N, {self.num_features}{axes[n]})" for n in self._ndims if n in axes and n > axis)
            fix = (
                f"Build it with num_features={input.shape[axis]}, or move the channels to axis {axis}."
                if input.ndim in self._ndims
                else "Reshape it, or use the layer for as many axes."
            )
            raise self._refuse(expected, input, fix)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Tracking):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: str | None = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        self._build(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Any) -> Any:
        self._check(input)
        measure = self.training or self.running_mean is None
        momentum = self._count_batch() if self.training else 0.0
        running = (self.running_mean, self.running_var) if not self.training or self.track_running_stats else (None, None)
        return F.batch_norm(input, *running, self.weight, self.bias, measure, momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """y = gamma_c (x - mean_c) / sqrt(var_c + eps) + beta_c for each feature c: (N, C) or (N, C, L); as :class:`BatchNorm2d`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.BatchNorm1d(1)(mg.tensor([[1.0], [3.0]])).numpy().round(3).tolist()
        [[-1.0], [1.0]]
    """

    _ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """y = gamma_c (x - mean_c) / sqrt(var_c + eps) + beta_c for each channel c of (N, C, H, W).

    In training mean_c and var_c are the batch's, over N, H and W, and the running ones follow: running <- (1 - momentum) running
    + momentum measured (the variance with n - 1). In evaluation the running ones are used. Ioffe & Szegedy 2015; notes 001,
    Figure 17, has its backward pass node by node.

    Args:
        num_features: C.
        eps: keeps the root from 0.
        momentum: how far the running statistics move; None averages all batches alike.
        affine: whether gamma and beta are learned; else they are 1 and 0.
        track_running_stats: whether there are running statistics; else the batch's are used in evaluation too.
        device: where parameters and buffers go.
        dtype: theirs.
        bias: whether there is a beta, where there is a gamma.

    Attributes:
        weight: gamma, (C,), or None.
        bias: beta, (C,), or None.
        running_mean: (C,), a buffer, as are running_var and num_batches_tracked.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> bn = nn.BatchNorm2d(3)
        >>> bn(mg.ones((2, 3, 4, 4))).shape, bn.running_mean
        ((2, 3, 4, 4), tensor([0.1, 0.1, 0.1]))
    """

    _ndims = (4,)


class BatchNorm3d(_BatchNorm):
    """:class:`BatchNorm2d` for (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.BatchNorm3d(3)(mg.ones((2, 3, 2, 2, 2))).shape
        (2, 3, 2, 2, 2)
    """

    _ndims = (5,)


class _InstanceNorm(_Tracking):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: str | None = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        self._build(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Any) -> Any:
        single = input.ndim == min(self._ndims)
        self._check(input, 0 if single else 1)
        batch = input[None] if single else input
        measure = self.training or not self.track_running_stats
        running = (self.running_mean, self.running_var)
        y = F.instance_norm(batch, *running, self.weight, self.bias, measure, self.momentum or 0.0, self.eps)
        return y[0] if single else y


class InstanceNorm1d(_InstanceNorm):
    """:class:`InstanceNorm2d` for (N, C, L) or (C, L).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.InstanceNorm1d(3)(mg.ones((2, 3, 4))).shape
        (2, 3, 4)
    """

    _ndims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """y = gamma_c (x - mean_nc) / sqrt(var_nc + eps) + beta_c: each channel of each image by its own statistics.

    Ulyanov et al. 2016. Arguments as for :class:`BatchNorm2d`; by default nothing is learned and nothing tracked.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.InstanceNorm2d(3)(mg.ones((2, 3, 4, 4))).shape
        (2, 3, 4, 4)
    """

    _ndims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """:class:`InstanceNorm2d` for (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.InstanceNorm3d(3)(mg.ones((2, 3, 2, 2, 2))).shape
        (2, 3, 2, 2, 2)
    """

    _ndims = (4, 5)


class LayerNorm(_Affine):
    """y = gamma (x - mean) / sqrt(var + eps) + beta over the last axes, for each sample alone: Ba et al. 2016.

    Args:
        normalized_shape: the shape of those axes, or the size of the last one.
        eps: keeps the root from 0.
        elementwise_affine: whether gamma is learned, and beta unless ``bias`` is False.
        bias: whether there is a beta.
        device: where the parameters go.
        dtype: theirs.

    Attributes:
        weight: gamma, of ``normalized_shape``, or None.
        bias: beta, of ``normalized_shape``, or None.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.LayerNorm(2)(mg.tensor([[1.0, 3.0]])).numpy().round(3).tolist()
        [[-1.0, 1.0]]
    """

    _shown = ("eps", "elementwise_affine")

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True,
        device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._affine(self.normalized_shape, elementwise_affine, elementwise_affine and bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Any) -> Any:
        _check_last(self, self.normalized_shape, input)
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, {super().extra_repr()}, bias={self.bias is not None}"


class RMSNorm(_Affine):
    """y = gamma x / sqrt(mean(x**2) + eps) over the last axes: layer norm without mean and beta (Zhang & Sennrich 2019).

    Args:
        normalized_shape: the shape of those axes, or the size of the last one.
        eps: keeps the root from 0; that of the input's dtype if None.
        elementwise_affine: whether gamma is learned.
        device: where the parameter goes.
        dtype: its dtype.

    Attributes:
        weight: gamma, of ``normalized_shape``, or None.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.RMSNorm(2)(mg.tensor([[1.0, 7.0]])).detach()
        tensor([[0.2, 1.4]])
    """

    _shown = ("eps", "elementwise_affine")

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
        device: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._affine(self.normalized_shape, elementwise_affine, False, device, dtype)
        self.reset_parameters()

    def forward(self, input: Any) -> Any:
        _check_last(self, self.normalized_shape, input)
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, {super().extra_repr()}"


def _check_last(module: Module, shape: tuple[int, ...], input: Any) -> None:
    if input.shape[-len(shape) :] != shape:
        raise module._refuse(
            f"(..., {', '.join(map(str, shape))})", input, "Build it with another normalized_shape, or reshape."
        )


class GroupNorm(_Affine):
    """y = gamma_c (x - mean_ng) / sqrt(var_ng + eps) + beta_c: groups g of channels, for each sample alone: Wu & He 2018.

    Args:
        num_groups: into how many groups the channels are split; 1 takes all together, ``num_channels`` each alone.
        num_channels: C of (N, C, ...).
        eps: keeps the root from 0.
        affine: whether gamma and beta are learned.
        device: where the parameters go.
        dtype: theirs.
        bias: whether there is a beta, where there is a gamma.

    Attributes:
        weight: gamma, (C,), or None.
        bias: beta, (C,), or None.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.GroupNorm(2, 6)(mg.ones((4, 6, 5, 5))).shape
        (4, 6, 5, 5)
    """

    _shown = ("eps", "affine")

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, device: str | None = None,
        dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_channels={num_channels} does not divide into num_groups={num_groups}")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._affine(num_channels, affine, affine and bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Any) -> Any:
        if input.ndim < 2 or input.shape[1] != self.num_channels:
            raise self._refuse(
                f"(N, {self.num_channels}, ...)", input, "Build it with another num_channels, or move the channels."
            )
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, {super().extra_repr()}, bias={self.bias is not None}"


class LocalResponseNorm(Module):
    """y_c = x_c / (k + alpha/size sum of x_j**2 over the ``size`` channels j around c)**beta: AlexNet's (notes 001).

    Args:
        size: how many channels inhibit each other.
        alpha: how strongly; the paper does not divide it by size, PyTorch and this do.
        beta: the exponent.
        k: what is added.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.LocalResponseNorm(5)(mg.ones((1, 8, 4, 4))).shape
        (1, 8, 4, 4)
    """

    _shown = ("alpha", "beta", "k")

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Any) -> Any:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, {super().extra_repr()}"
