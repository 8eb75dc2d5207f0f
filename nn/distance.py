"""Distances and similarities between vectors, and the triplet loss over any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.errors import ShapeError
from minigrad.nn.losses import _disagreement, _pair, _reduce, _still
from minigrad.nn.module import Module
from minigrad.nn.numbers import hyperparameters


@hyperparameters
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """``y = x1 . x2 / (max(||x1||, eps) max(||x2||, eps))`` along ``dim`` of the shape that both broadcast to.

    As in PyTorch ``eps`` guards the value alone: below it the gradient is that of the lengths themselves.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.cosine_similarity(mg.tensor([[3.0, 4.0]]), mg.tensor([[0.0, 2.0]])).numpy().round(4)
        array([0.8], dtype=float32)
    """
    try:
        shape = np.broadcast_shapes(tuple(x1.shape), tuple(x2.shape))
    except ValueError:
        told = _disagreement(tuple(x1.shape), tuple(x2.shape), ("x1", "x2"))
        raise ShapeError(f"cosine_similarity: x1 has shape {tuple(x1.shape)}, x2 {tuple(x2.shape)}: {told}") from None
    directions = []
    for x in (x1, x2):
        x = x if tuple(x.shape) == shape else ops.broadcast_to(x, shape)
        length = ops.vector_norm(x, 2, dim, keepdims=True)
        directions.append(x / (length + ops.clip(eps - _still(length), 0, None)))
    return ops.sum(directions[0] * directions[1], dim)


@hyperparameters
def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """``d = ||x1 - x2 + eps||_p`` along the last axis: (N, D) and (N, D) to (N,).

    Args:
        x1: vectors.
        x2: vectors, of a shape that broadcasts.
        p: of the norm.
        eps: added to every difference, so that vectors that are equal have a gradient.
        keepdim: keep the last axis, with size 1.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.pairwise_distance(mg.tensor([[3.0, 4.0]]), mg.zeros((1, 2))).numpy().round(4)
        array([5.], dtype=float32)
    """
    return ops.vector_norm(x1 - x2 + eps, p, -1, keepdims=keepdim)


@hyperparameters
def pdist(input: Any, p: float = 2.0) -> Any:
    """The distances ``||x_i - x_j||_p`` of all pairs i < j: (N, D) to (N (N - 1) / 2,), row by row of the upper triangle.

    Raises:
        ShapeError: unless the input has two axes.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.pdist(mg.tensor([[0.0], [1.0], [3.0]])).tolist()
        [1.0, 3.0, 2.0]
    """
    if input.ndim != 2:
        raise ShapeError(f"pdist: expected an input (N, D), got shape {tuple(input.shape)}")
    i, j = np.triu_indices(input.shape[0], 1)
    return ops.vector_norm(ops.take(input, i, 0) - ops.take(input, j, 0), p, -1)


@hyperparameters
def triplet_margin_with_distance_loss(
    anchor: Any, positive: Any, negative: Any, *, distance_function: Callable[[Any, Any], Any] | None = None, margin: float = 1.0,
    swap: bool = False, reduction: str = "mean",
) -> Any:  # fmt: skip
    """``L = max(0, margin + d(a, p) - d(a, n))`` with any distance d: Balntas et al. 2016.

    Args:
        anchor: (N, D) or (D,).
        positive: of the same kind as the anchor.
        negative: of another kind.
        distance_function: d, of two tensors; :func:`pairwise_distance` if None.
        margin: by how much further the negative has to be.
        swap: take d(p, n) for d(a, n) where it is smaller.
        reduction: none, mean or sum.

    Raises:
        ShapeError: if the numbers of axes differ.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> a, p, n = mg.tensor([[0.0]]), mg.tensor([[1.0]]), mg.tensor([[1.5]])
        >>> F.triplet_margin_with_distance_loss(a, p, n, distance_function=lambda x, y: mg.abs(x - y).sum(-1)).item()
        0.5
    """
    shapes = [tuple(x.shape) for x in (anchor, positive, negative)]
    if len({len(shape) for shape in shapes}) != 1:
        raise ShapeError(f"triplet_margin_with_distance_loss: expected as many axes in all three, got {shapes}")
    for name, other in (("positive", positive), ("negative", negative)):
        _pair("triplet_margin_with_distance_loss", anchor, other, names=("anchor", name))
    d = pairwise_distance if distance_function is None else distance_function
    far = d(anchor, negative)
    if swap:
        far = ops.minimum(far, d(positive, negative))
    return _reduce(ops.clip(margin + d(anchor, positive) - far, 0, None), reduction, "triplet_margin_with_distance_loss")


class CosineSimilarity(Module):
    """:func:`functional.cosine_similarity` of two inputs along ``dim``.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.CosineSimilarity()(mg.tensor([[3.0, 4.0]]), mg.tensor([[6.0, 8.0]])).numpy().round(4)
        array([1.], dtype=float32)
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim, self.eps = dim, eps

    def forward(self, x1: Any, x2: Any) -> Any:
        return cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """:func:`functional.pairwise_distance` of two inputs.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.PairwiseDistance(p=1)(mg.tensor([[3.0, 4.0]]), mg.zeros((1, 2))).numpy().round(4)
        array([7.], dtype=float32)
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Any, x2: Any) -> Any:
        return pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class TripletMarginWithDistanceLoss(Module):
    """:func:`functional.triplet_margin_with_distance_loss`; arguments are explained there.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> loss = nn.TripletMarginWithDistanceLoss(distance_function=lambda x, y: 1 - nn.functional.cosine_similarity(x, y))
        >>> round(loss(mg.tensor([[1.0, 0.0]]), mg.tensor([[0.0, 1.0]]), mg.tensor([[0.0, 2.0]])).item(), 4)
        1.0
    """

    def __init__(
        self, *, distance_function: Callable[[Any, Any], Any] | None = None, margin: float = 1.0, swap: bool = False,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        self.distance_function, self.margin, self.swap, self.reduction = distance_function, margin, swap, reduction

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        return triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=self.distance_function, margin=self.margin, swap=self.swap,
            reduction=self.reduction,
        )  # fmt: skip
