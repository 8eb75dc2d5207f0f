"""What a module's backward hooks see: the gradients of all its outputs at once, and those of all its inputs at once.

The tensors on a side are joined into one vector and parted again, so that one gradient passes there. That copies them; modules
without such hooks pay nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minigrad import ops
from minigrad.tensor import Tensor

Gradients = tuple[Any, ...]


class Watch:
    """One call of a module that has backward hooks."""

    def __init__(self, module: Any, before: Any, after: Any) -> None:
        self.module, self.before, self.after = module, tuple(before.values()), tuple(after.values())
        self.grad_output: Gradients | None = None
        self.inputs: int | None = None

    def on_inputs(self, args: Gradients) -> Gradients:
        watched = _through(args, self._leave)
        if watched is args:
            self.inputs = len(args)  # none has a gradient: the hooks are called once the outputs have theirs
        return watched

    def on_outputs(self, out: Any) -> Any:
        watched = _through(out if isinstance(out, tuple) else (out,), self._enter)
        return watched if isinstance(out, tuple) else watched[0]

    def _enter(self, gradients: Gradients) -> Gradients:
        for hook in self.before:
            gradients = _changed(hook(self.module, gradients), gradients, "grad_output")
        self.grad_output = gradients
        if self.inputs is not None:
            for hook in self.after:
                hook(self.module, (None,) * self.inputs, gradients)
        return gradients

    def _leave(self, gradients: Gradients) -> Gradients:
        if self.grad_output is None:
            return gradients  # of a gradient that went round the outputs, as that of a gradient does
        for hook in self.after:
            gradients = _changed(hook(self.module, gradients, self.grad_output), gradients, "grad_input")
        return gradients


def _changed(new: Any, old: Gradients, name: str) -> Gradients:
    if new is None:
        return old
    gradients: Gradients = new if isinstance(new, tuple) else (new,)
    if len(gradients) != len(old):
        raise ValueError(f"backward hook: returned {len(gradients)} gradients for {name}: expected {len(old)}, or None")
    return gradients


def _through(values: Gradients, told: Callable[[Gradients], Gradients]) -> Gradients:
    """The same values; when backward has all their gradients it calls ``told`` with them, None for what is no floating tensor."""
    places = [k for k, v in enumerate(values) if isinstance(v, Tensor) and v.dtype.kind == "f"]
    if not any(values[k].requires_grad for k in places):
        return values
    joined = ops.concat([ops.reshape(values[k], (-1,)) for k in places])
    if not joined.requires_grad:  # under no_grad
        return values
    ends = [0]
    for k in places:
        ends.append(ends[-1] + math.prod(values[k].shape))

    def parts(vector: Any) -> list[Any]:
        return [
            ops.reshape(ops.astype(vector[low:high], values[k].dtype), values[k].shape)
            for k, low, high in zip(places, ends, ends[1:])
        ]

    def hook(vector: Tensor) -> Any:
        seen: list[Any] = [None] * len(values)
        for k, part in zip(places, parts(vector)):
            seen[k] = part
        new = told(tuple(seen))
        return ops.concat([ops.reshape(ops.astype(new[k], vector.dtype), (-1,)) for k in places])

    joined.register_hook(hook)
    out = list(values)
    for k, part in zip(places, parts(joined)):
        out[k] = part
    return tuple(out)
