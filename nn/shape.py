"""Layers without parameters that arrange, repeat or resample."""

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
    """(N, C, ...) with other sizes: :func:`functional.interpolate`, where the formulas are.

    Args:
        size: the new sizes, a number or one per axis.
        scale_factor: or by how much to multiply them.
        mode: nearest, nearest-exact, linear, bilinear, bicubic, trilinear or area.
        align_corners: for the modes with "linear" or "cubic", whether the outermost elements meet.
        recompute_scale_factor: place elements by the sizes, not by ``scale_factor``, where that gives no whole number.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Upsample(scale_factor=2)(mg.ones((1, 3, 4, 4))).shape
        (1, 3, 8, 8)
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:  # fmt: skip
        scale = tuple(map(float, scale_factor)) if isinstance(scale_factor, tuple) else scale_factor and float(scale_factor)
        self.size, self.scale_factor, self.mode = size, scale, mode
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, input: Any) -> Any:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor)

    def extra_repr(self) -> str:
        name = "size" if self.scale_factor is None else "scale_factor"
        return f"{name}={getattr(self, name)!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """:class:`Upsample` of images with ``mode="nearest"``.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.UpsamplingNearest2d(scale_factor=2)(mg.ones((1, 3, 4, 4))).shape
        (1, 3, 8, 8)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """:class:`Upsample` of images with ``mode="bilinear", align_corners=True``.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.UpsamplingBilinear2d(size=(6, 7))(mg.ones((1, 3, 4, 4))).shape
        (1, 3, 6, 7)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", align_corners=True)


class PixelShuffle(Module):
    """(N, C r**2, H, W) to (N, C, H r, W r): channels become the pixels of finer images (Shi et al. 2016).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.PixelShuffle(2)(mg.ones((1, 8, 3, 3))).shape
        (1, 2, 6, 6)
    """

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """The inverse of :class:`PixelShuffle`: (N, C, H r, W r) to (N, C r**2, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.PixelUnshuffle(2)(mg.ones((1, 2, 6, 6))).shape
        (1, 8, 3, 3)
    """

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Channel k of group g becomes channel g of group k, so that grouped convolutions mix (Zhang et al. 2018).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.ChannelShuffle(2)(mg.arange(4.0).reshape((1, 4, 1))).reshape(-1).tolist()
        [0.0, 2.0, 1.0, 3.0]
    """

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def forward(self, input: Any) -> Any:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class Unfold(Module):
    """The windows of (N, C, H, W) as the columns of (N, C |F|, L): :func:`functional.unfold`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Unfold(2)(mg.ones((1, 3, 4, 4))).shape
        (1, 12, 9)
    """

    _shown = ("kernel_size", "dilation", "padding", "stride")

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Any) -> Any:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(Module):
    """Columns laid down as windows of an image and added: :func:`functional.fold`, the transpose of :class:`Unfold`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Fold((4, 4), 2)(mg.ones((1, 12, 9))).shape
        (1, 3, 4, 4)
    """

    _shown = ("output_size", "kernel_size", "dilation", "padding", "stride")

    def __init__(self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, input: Any) -> Any:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)
