"""Checkpoints: run a part of the graph again in the backward pass instead of keeping its values. Memory for time.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost": with a checkpoint around each of sqrt(n) pieces of a chain of n
operations, memory grows as sqrt(n), for one more forward pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import backend, ops, random, tracing
from minigrad.errors import ChangedValueError, DtypeError
from minigrad.graph import Node, ancestors, is_off, leaf, next_order, on, record_mode
from minigrad.primitive import Each, primitive
from minigrad.tensor import Tensor, wrap
from minigrad.transforms import gradients


class _Part:
    """One call of a checkpointed function: enough to run it again."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.places = [k for k, a in enumerate(args) if isinstance(a, Tensor)]
        self.name = getattr(function, "__qualname__", type(function).__name__)
        self.state: Any = random.default_generator().bit_generator.state
        self.outside: list[Node] = []
        self.single = True
        self.shapes: list[tuple[int, ...]] = []
        self.output: Any = None
        self.pulled: tuple[Any, Any] | None = None
        # The graph keeps the arrays of the arguments; the part itself must not keep them twice.
        self.args = tuple(None if k in self.places else a for k, a in enumerate(args))

    def run(self, inputs: list[Tensor]) -> Any:
        """The function on these inputs: its results one after the other in one vector."""
        args = list(self.args)
        for k, x in zip(self.places, inputs):
            args[k] = x
        result = self.function(*args, **self.kwargs)
        results = result if isinstance(result, (tuple, list)) else (result,)
        if not all(isinstance(r, Tensor) for r in results) or len({r.dtype for r in results}) != 1:
            got = ", ".join(f"{r.dtype}" if isinstance(r, Tensor) else type(r).__name__ for r in results)
            raise DtypeError(f"checkpoint: {self.name} must return a Tensor, or several of one dtype; got {got}")
        self.single = not isinstance(result, (tuple, list))
        self.shapes = [r.shape for r in results]
        return results[0] if self.single else ops.concat([r.reshape(-1) for r in results])

    def first(self, inputs: list[Tensor]) -> None:
        """Run it for its result; of its graph only what it reaches outside is remembered: parameters, say."""
        copies = [_leaf_like(x) for x in inputs]
        start = next_order()
        with record_mode(on()):
            y = self.run(copies)
        self.output = y._data
        inside = ancestors([y.node]) if y.requires_grad else {}
        found = (p for n in inside if n.order > start for p in n.parents if p is not None and p.requires_grad)
        own = {x.node for x in copies}
        self.outside = [p for p in dict.fromkeys(found) if p.order < start and p not in own]

    def again(self, g: Any, inputs: list[Any]) -> list[Any]:
        """The gradients of inputs and of what is outside, by running the function again with its draws and differentiating."""
        if self.pulled is not None and self.pulled[0] is g:
            return self.pulled[1]  # type: ignore[no-any-return]
        on_tensors = isinstance(g, Tensor)
        generator = random.default_generator()
        now = generator.bit_generator.state
        generator.bit_generator.state = self.state
        try:
            with record_mode(on()):
                given = [x if isinstance(x, Tensor) else wrap(x, leaf(x, x.dtype.kind == "f", shared=True)) for x in inputs]
                y = self.run(given)
        finally:
            generator.bit_generator.state = now
        if not np.array_equal(backend.to_numpy(y._data), backend.to_numpy(self.output), equal_nan=True):
            raise ChangedValueError(
                f"checkpoint: {self.name} gave another result when the backward pass ran it again. What it uses was changed in "
                f"between, or it draws from a generator of its own; call backward before the update, and draw from mg.random's."
            )
        outside = [wrap(_dummy(p), p) for p in self.outside]
        wanted = [*(x for x in given if x.requires_grad), *outside]
        with record_mode(on()):
            found = iter(gradients(y, wanted, g if on_tensors else wrap(g), create_graph=on_tensors, allow_unused=True))
        inner = [next(found) if x.requires_grad else None for x in given]
        parts = [*inner, *found]
        shown = [_zeros(x) if p is None else p if on_tensors else p._data for p, x in zip(parts, [*given, *outside])]
        self.pulled = (g, shown)
        return shown


def _leaf_like(x: Tensor) -> Tensor:
    return wrap(x._data, leaf(x._data, x.requires_grad, shared=True))


def _dummy(node: Node) -> Any:
    """Something with the shape and dtype of a node's value, which is not read."""
    return np.broadcast_to(np.zeros((), node.dtype), node.shape)


def _zeros(x: Any) -> Any:
    return backend.namespace(getattr(x, "_data", x)).zeros(x.shape, dtype=x.dtype)


def _rule(i: int, g: Any, y: Any, *args: Any) -> Any:
    *operands, part = args
    found = part.again(g, operands[: len(part.places)])
    if i == len(found) - 1:
        part.pulled = None
    return found[i]


_checkpoint = primitive(
    lambda arrays, part: part.output,
    Each(_rule),
    rule=("run again, then its gradient",),
    gate="runs its part again in the backward pass",
    math="a part of the graph",
    name="checkpoint",
)


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, whose inner values are not kept for the backward pass: that runs it again.

    The result and all gradients are those of ``function`` itself, also of parameters and other Tensors that it uses without being
    given them, and of any order. Random numbers from minigrad's generator are drawn again as they were. Costs one more forward pass
    of ``function``; saves what the graph of it would keep.

    Args:
        function: of Tensors and anything else, to a Tensor or several of one dtype; a module will do. It must give the same result
            when it is called again.

    Raises:
        ChangedValueError: in the backward pass, if the second run gives another result.
        DtypeError: if it returns anything but Tensors of one dtype.

    Example:
        >>> import minigrad as mg
        >>> block = mg.checkpoint(lambda x: mg.tanh(mg.exp(x) * x))
        >>> x = mg.tensor([0.5, 1.0], requires_grad=True)
        >>> block(x).sum().backward()
        >>> kept = mg.tensor([0.5, 1.0], requires_grad=True)
        >>> mg.tanh(mg.exp(kept) * kept).sum().backward()
        >>> bool((x.grad == kept.grad).all())
        True
    """
    if not callable(function):
        raise TypeError(
            f"checkpoint: expected a function, got {type(function).__name__}; mg.checkpoint(f)(x), not mg.checkpoint(f(x))"
        )

    @functools.wraps(function, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        if is_off() or tracing.active.get() is not None:  # a program plans its memory itself: compile(step, memory=...)
            return function(*args, **kwargs)
        part = _Part(function, args, kwargs)
        inputs = [args[k] for k in part.places]
        part.first(inputs)
        joined = _checkpoint([*inputs, *(wrap(_dummy(p), p) for p in part.outside)], part)
        if part.single:
            return joined
        ends = np.cumsum([0, *(int(np.prod(s)) for s in part.shapes)]).tolist()
        return tuple(joined[a:b].reshape(s) for a, b, s in zip(ends, ends[1:], part.shapes))

    return run
