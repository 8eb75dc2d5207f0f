"""Random tensors, from one global generator (:func:`manual_seed`) or from one that you pass.

A generator is NumPy's ``np.random.Generator``: ``mg.random.generator(7)`` makes one. Draws are made on the CPU and moved, so
that a seed means the same numbers on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import backend, tracing
from minigrad.creation import _shape
from minigrad.errors import ShapeError
from minigrad.tensor import Tensor, _new_leaf, asarray

_GLOBAL = np.random.default_rng()


def generator(seed: int | None = None) -> np.random.Generator:
    """A generator of its own; the same seed gives the same numbers.

    Example:
        >>> import minigrad as mg
        >>> g = mg.random.generator(0)
        >>> mg.random.uniform(3, generator=g).shape
        (3,)
    """
    return np.random.default_rng(seed)


def manual_seed(seed: int) -> np.random.Generator:
    """Restart the global generator from ``seed``, and return it.

    Example:
        >>> import minigrad as mg
        >>> _ = mg.manual_seed(7)
        >>> a = mg.random.normal(3)
        >>> _ = mg.manual_seed(7)
        >>> bool(mg.all(a == mg.random.normal(3)))
        True
    """
    _GLOBAL.bit_generator.state = np.random.default_rng(seed).bit_generator.state
    return _GLOBAL


def default_generator() -> np.random.Generator:
    """The global generator."""
    return _GLOBAL


def _leaf(array: Any, dtype: Any, device: str | None, requires_grad: bool = False) -> Tensor:
    array = np.asarray(array, dtype or (backend.get_default_dtype() if np.asarray(array).dtype.kind == "f" else None))
    return _new_leaf(array if device is None else backend.to_device(array, device), requires_grad, None, shared=False)


def _drawn(make: Callable[[], Tensor]) -> Tensor:
    """``make()``; a compiled step calls it again at each replay."""
    return tracing.drawn(make)  # type: ignore[return-value]


def normal(
    shape: Any = (), loc: Any = 0.0, scale: Any = 1.0, dtype: Any = None, generator: np.random.Generator | None = None,
    device: str | None = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Normally distributed numbers ``loc + scale * e`` with ``e`` ~ N(0, 1).

    Where ``loc`` or ``scale`` is a Tensor this is the reparameterised normal: the noise ``e`` is a constant of the graph, and
    gradients flow into both (notes 001, "Autoencoders and Variational Autoencoders"; Kingma & Welling 2014). Then ``shape``
    may be left out: it is that of ``loc`` and ``scale`` together.

    Example:
        >>> import minigrad as mg
        >>> mu = mg.tensor([1.0, 2.0], requires_grad=True)
        >>> mg.random.normal(loc=mu, scale=0.1).sum().backward()
        >>> mu.grad.numpy().tolist()
        [1.0, 1.0]
    """
    moments = [m for m in (loc, scale) if isinstance(m, Tensor)]
    if moments:
        shape = np.broadcast_shapes(_shape(shape), *(m.shape for m in moments))
        dtype = dtype or np.result_type(*(m.dtype for m in moments))
        device = device or moments[0].device
        noise = _drawn(lambda: _leaf((generator or _GLOBAL).standard_normal(shape), dtype, device))
        return loc + scale * noise  # type: ignore[no-any-return]
    shape = np.broadcast_shapes(_shape(shape), np.shape(loc), np.shape(scale))
    return _drawn(lambda: _leaf((generator or _GLOBAL).normal(loc, scale, shape), dtype, device, requires_grad))


def uniform(
    shape: Any = (), low: float = 0.0, high: float = 1.0, dtype: Any = None, generator: np.random.Generator | None = None,
    device: str | None = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Numbers spread evenly over [low, high).

    Example:
        >>> import minigrad as mg
        >>> x = mg.random.uniform(1000, low=2.0, high=3.0)
        >>> bool(mg.all((x >= 2) & (x <= 3)))
        True
    """
    return _drawn(lambda: _leaf((generator or _GLOBAL).uniform(low, high, _shape(shape)), dtype, device, requires_grad))


def bernoulli(
    p: Any = 0.5, shape: Any = None, dtype: Any = None, generator: np.random.Generator | None = None, device: str | None = None
) -> Tensor:
    """1 with probability ``p``, else 0. No gradient flows into ``p``.

    Args:
        p: a number, or an array or tensor of probabilities, whose shape is the default ``shape``.

    Raises:
        ShapeError: if a probability is outside [0, 1].

    Example:
        >>> import minigrad as mg
        >>> mg.random.bernoulli(1.0, 3).numpy().tolist()
        [1.0, 1.0, 1.0]
    """
    chance = asarray(p).numpy()
    if not ((chance >= 0) & (chance <= 1)).all():
        raise ShapeError(f"bernoulli: probabilities must lie in [0, 1], got {chance.min()} to {chance.max()}")
    size = chance.shape if shape is None else _shape(shape)
    kind = dtype or backend.get_default_dtype()
    return _drawn(lambda: _leaf(((generator or _GLOBAL).random(size) < chance).astype(kind), dtype, device))


def randint(
    low: int, high: int | None = None, shape: Any = (), generator: np.random.Generator | None = None, device: str | None = None
) -> Tensor:
    """Integers from ``low`` (0 if ``high`` is left out) up to but not including ``high``.

    Example:
        >>> import minigrad as mg
        >>> mg.random.randint(3, shape=100).numpy().max() <= 2
        np.True_
    """
    low, high = (0, low) if high is None else (low, high)
    return _drawn(lambda: _leaf((generator or _GLOBAL).integers(low, high, _shape(shape)), "int64", device))


def permutation(x: Any, generator: np.random.Generator | None = None) -> Tensor:
    """The numbers 0 .. x-1 in random order, or a tensor with its rows in random order (differentiable).

    Example:
        >>> import minigrad as mg
        >>> sorted(mg.random.permutation(4).numpy().tolist())
        [0, 1, 2, 3]
    """
    whole = isinstance(x, (int, np.integer))
    drawn = _drawn(lambda: _leaf((generator or _GLOBAL).permutation(x if whole else len(x)), "int64", None))
    return drawn if whole else asarray(x)[drawn]
