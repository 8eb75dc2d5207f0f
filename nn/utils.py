"""What training loops do to gradients and parameters as a whole: clip, flatten, and put back."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minigrad import backend, ops, tracing
from minigrad.errors import MinigradError, ShapeError
from minigrad.modes import no_grad
from minigrad.tensor import Tensor, wrap

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]


def _with_grad(parameters: Tensor | Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    every = [parameters] if isinstance(parameters, Tensor) else parameters
    return [(p, g) for p in every if (g := p.grad) is not None]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """``g <- g min(1, max_norm / (||g|| + 1e-6))``, where g is all gradients as one vector: Pascanu et al. 2013; notes 001, 004.

    Args:
        parameters: a tensor, or several; those without ``.grad`` are passed over.
        max_norm: the longest that g may be.
        norm_type: p of the norm; inf is the largest element.
        error_if_nonfinite: raise, and change nothing, if the norm is nan or inf.

    Returns:
        The norm before clipping. If it is nan, all gradients are nan afterwards.

    Raises:
        MinigradError: if the norm is not finite, and ``error_if_nonfinite``.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> w = mg.tensor([3.0, 4.0], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> nn.utils.clip_grad_norm_([w], max_norm=1.0).item(), [round(g, 4) for g in w.grad.tolist()]
        (10.0, [0.6, 0.8])
    """
    found = _with_grad(parameters)
    if not found:
        return wrap(np.zeros((), backend.get_default_dtype()))
    with no_grad(), np.errstate(invalid="ignore", over="ignore"):
        norms = [ops.vector_norm(g, norm_type) for _, g in found]
        # The norm of norms is the norm of all. Of type 0 it is not: it counts tensors that are not all 0, as PyTorch does.
        total = ops.vector_norm(ops.stack(norms), norm_type)
        if not error_if_nonfinite and tracing.varies(total):
            # In double precision, as Python's number below is.
            factor = ops.minimum(max_norm / (ops.astype(total, "float64") + 1e-6), 1.0)
            for p, g in found:
                p.grad = g * ops.astype(factor, g.dtype)
            return total  # type: ignore[no-any-return]
        size = float(total.item())
        if error_if_nonfinite and not math.isfinite(size):
            wrong = [p.name or f"number {k}" for k, (p, _) in enumerate(found) if not math.isfinite(float(norms[k].item()))]
            raise MinigradError(
                f"clip_grad_norm_: the norm of all gradients is {size}; not finite: {', '.join(wrong) or 'only their sum'}. "
                f"Nothing was clipped; lower the learning rate, or look for what overflows."
            )
        factor = max_norm / (size + 1e-6)
        if not factor >= 1:
            for p, g in found:
                _replace(p, g, g * factor)
    return total  # type: ignore[no-any-return]


def _replace(p: Tensor, g: Tensor, new: Tensor) -> None:
    """The same gradient Tensor with other values, for those who hold it, unless it is part of a graph (``create_graph``)."""
    if g.is_leaf and tracing.active.get() is None:
        g._data = new._data.astype(g.dtype, copy=False)
    else:
        p.grad = new


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """``g <- min(max(g, -clip_value), clip_value)``, each element. It changes the direction, unlike :func:`clip_grad_norm_`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> w = mg.tensor([3.0, -0.25], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> nn.utils.clip_grad_value_([w], 1.0)
        >>> w.grad.tolist()
        [1.0, -0.5]
    """
    with no_grad():
        for p, g in _with_grad(parameters):
            _replace(p, g, ops.clip(g, -clip_value, clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters one after the other, (P,). Recorded: gradients flow back through it.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.utils.parameters_to_vector([mg.ones((2, 1)), mg.zeros(1)]).tolist()
        [1.0, 1.0, 0.0]
    """
    return ops.concat([ops.reshape(p, (-1,)) for p in parameters])  # type: ignore[no-any-return]


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """The inverse of :func:`parameters_to_vector`: the parameters stay the same objects, in their dtypes. Not recorded.

    Raises:
        ShapeError: unless ``vec`` has as many elements as the parameters together (PyTorch ignores those that are left over).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> layer = nn.Linear(2, 1)
        >>> nn.utils.vector_to_parameters(mg.tensor([1.0, 2.0, 3.0]), layer.parameters())
        >>> layer.weight.tolist(), layer.bias.tolist()
        ([[1.0, 2.0]], [3.0])
    """
    targets = list(parameters)
    count = sum(p.size for p in targets)
    if vec.shape != (count,):
        raise ShapeError(
            f"vector_to_parameters: the vector has shape {vec.shape}, but there are {count} parameters: expected ({count},)"
        )
    at = 0
    for p in targets:
        piece = vec._data[at : at + p.size].reshape(p.shape)
        p._data = backend.to_device(piece.astype(p.dtype, copy=True), p.device)
        at += p.size
