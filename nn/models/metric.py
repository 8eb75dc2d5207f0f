"""Metric learning: the distance in which neighbours are of one class (notes 001, "k-Nearest Neighbors"; notes 000, "Distance metrics").

k-nearest neighbours needs a metric, and the notes leave it to be chosen. Here it is learned: |A (x - x')|, A by gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import nn, ops, tracing
from minigrad.errors import ShapeError
from minigrad.tensor import asarray


class NeighbourhoodComponents(nn.Linear):
    """Neighbourhood components analysis: Goldberger, Roweis, Hinton & Salakhutdinov 2005.

    Each example draws a neighbour, p_ij ~ exp(-|A x_i - A x_j|**2) for j != i, and takes its class. The loss is how surprising
    it is that this is the right one, -log sum_{j of i's class} p_ij (the paper's equation 6). With out_features < in_features
    it also finds the plane, say, in which classes are best apart.

    ``NeighbourhoodComponents(in_features, out_features, device, dtype)``: A is the ``weight``.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import NeighbourhoodComponents
        >>> model = NeighbourhoodComponents(2, 1)
        >>> _ = model.load_state_dict({"weight": [[1.0, 0.0]]})
        >>> x = mg.tensor([[0.0, 5.0], [0.0, -5.0], [9.0, 5.0], [9.0, -5.0]])
        >>> round(model.loss(x, [0, 0, 1, 1]).item(), 4), round(model.loss(x, [0, 1, 0, 1]).item(), 4)
        (0.0, 81.0)
    """

    def __init__(self, in_features: int, out_features: int, device: str | None = None, dtype: Any = None) -> None:
        super().__init__(in_features, out_features, False, device, dtype)

    def distances(self, x: Any, others: Any) -> Any:
        """|A (x_i - x'_j)|**2, (N, M)."""
        return ops.sum(ops.square(self(x)[:, None] - self(others)), -1)

    def metric(self) -> Any:
        """A^T A, so that the squared distance is (x - x')^T A^T A (x - x')."""
        return self.weight.mT @ self.weight

    def loss(self, x: Any, y: Any) -> Any:
        """The mean over the examples x (N, in_features) that are not alone in their class y (N,).

        Raises:
            ShapeError: if there is not one class for each.
            ValueError: if all are alone.
        """
        d, y = self.distances(x, x), asarray(y, device=self.weight.device)
        if y.shape != (len(d),):
            raise ShapeError(
                f"NeighbourhoodComponents.loss: {len(d)} examples, but classes of shape {y.shape}: expected ({len(d)},)"
            )
        if tracing.guard(y._data, lambda classes: len(set(classes.tolist())) == len(classes)):
            raise ValueError("NeighbourhoodComponents.loss: no class has two examples: expected at least one pair")
        other = ~np.eye(len(d), dtype=bool)
        same = ops.logical_and(y[:, None] == y, asarray(other, device=d.device))
        known = ops.any(same, 1)
        right, drawn = (ops.logsumexp(ops.where(mask, -d, -np.inf), -1) for mask in (same, asarray(other, device=d.device)))
        return ops.sum(ops.where(known, drawn - right, 0)) / ops.sum(known)
