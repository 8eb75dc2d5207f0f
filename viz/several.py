"""Several outputs in one drawing: a node that joins them, which runs each one's backward pass, and is then taken away again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minigrad.errors import ShapeError
from minigrad.graph import Handle, leaf
from minigrad.primitive import Op
from minigrad.viz.records import Records

JOIN = "outputs"


def joined(outputs: Sequence[Any], gradients: Sequence[Any] | None, backward: bool | None) -> tuple[Handle, bool]:
    """A stand-in for what was made of all ``outputs``, and whether gradients are to be shown.

    Its rule for each output returns the upstream gradient that its own backward pass starts from: the given one, the one that
    ``backward()`` started from, or 1 for a scalar; 0 for an output that ``backward()`` was not called on, though on others.
    """
    if not outputs:
        raise ValueError("draw: the list of outputs is empty")
    for out in outputs:
        if not isinstance(out, Handle):
            raise TypeError(f"draw: expected Tensors in the list, got {type(out).__name__}: {str(out)[:60]}")
    if gradients is not None and len(gradients) != len(outputs):
        raise ValueError(f"draw: {len(gradients)} gradients for {len(outputs)} outputs; give one for each")
    started = [None if out.node is None or out.node.op is None else out.node.grad for out in outputs]
    shown = bool(backward or gradients is not None or (backward is None and any(g is not None for g in started)))
    seeds = [_seed(out, g, given, backward) for out, g, given in zip(outputs, started, gradients or [None] * len(outputs))]
    rules: list[Callable[..., Any]] = [lambda g, y, *operands, seed=seed: seed for seed in seeds]
    node = leaf(np.zeros(()), requires_grad=False)
    node.op = Op(JOIN, lambda *arrays: np.zeros(()), rules, "", "", "", "", False, False, None, 0, ())
    node.parents = tuple(out.node for out in outputs)
    node.saved = (np.zeros(()), *(out._data for out in outputs))
    node.requires_grad = any(parent is not None and parent.requires_grad for parent in node.parents)
    whole = Handle()
    whole._data, whole.node = np.zeros(()), node
    return whole, shown


def _seed(out: Handle, started: Any, given: Any, backward: bool | None) -> Any:
    seed = given if given is not None else started
    if seed is None and backward and out._data.size != 1:
        raise ShapeError(
            f"backward=True on an output of shape {out._data.shape} needs gradient=, a list with an array for each"
        )
    if seed is None:
        return np.full(out._data.shape, 1.0 if backward else 0.0, dtype=out._data.dtype)
    return np.asarray(getattr(seed, "_data", seed), dtype=out._data.dtype)


def apart(r: Records) -> Records:
    """The records without the node that joins the outputs."""
    ends = {e.source for e in r.edges if e.target == r.output} | {b.source for b in r.bundles if b.target == r.output}
    values = tuple(replace(v, kind="output" if v.op and v.id in ends else v.kind) for v in r.values if v.id != r.output)
    edges = tuple(e for e in r.edges if e.target != r.output)
    bundles = tuple(b for b in r.bundles if b.target != r.output)
    newest = max(ends, key=lambda end: int(end[1:]))
    note = " ".join(part for part in (r.note, "Gradients are those of the sum of the outputs." * r.differentiated) if part)
    return replace(r, values=values, edges=edges, bundles=bundles, output=newest, note=note)
