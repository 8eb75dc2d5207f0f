"""Branches not taken: which entries of a gradient are zero because ``where`` chose the other side, followed through the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from minigrad.graph import Node, World

MOVING = frozenset({
    "broadcast_to", "concat", "copy", "flip", "gather", "getitem", "pad", "permute_dims", "reshape", "roll", "stack", "tril", "triu",
})  # fmt: skip
"""Rows that only move elements: their rules, run on a mask, tell where it came from."""
REDUCING = {
    "logsumexp": (0, 1), "max": (0, 1), "mean": (0, 1), "min": (0, 1), "prod": (0, 1), "std": (0, 2), "sum": (0, 1), "var": (0, 2),
    "vector_norm": (1, 2),
}  # fmt: skip
"""Rows that reduce along axes, and which of their parameters are the axis and ``keepdims``: an element is read by one result."""


def spare(part: Any, node: Node, i: int, saved: Any, masks: dict[Node, Any], summed: bool, world: World) -> Any:
    """A branch that ``where`` did not take contributes nothing, not 0 * inf.

    ``masks`` follows which entries of a gradient are zero because their branch was not taken: from ``where`` back through
    elementwise ops, those that move elements, and reductions along axes, as long as every use of a value agrees. A gradient that is
    zero as a number is left alone: at x = 0, ``sqrt(x)**2`` has upstream 0 and local gradient inf, and the honest answer is NaN, not 0.
    """
    op = node.op
    parent: Any = node.parents[i]
    mask = reach(masks[node], node, i) if node in masks else None
    cleared = mask is None and op.exact  # a rule of ours gives nothing to what its own gate did not take
    if op.mask is not None:
        taken = op.mask(i, *saved[1:])
        mask = taken if mask is None else taken & mask
    if mask is not None and not cleared:
        part = world.where(mask, part, 0)
    if mask is None or (summed and parent not in masks):
        masks.pop(parent, None)
        return part
    if mask.shape != parent.shape:  # an operand that was broadcast counts where one of its copies does
        extra = len(node.shape) - len(parent.shape)
        copies = (*range(extra), *(extra + k for k, n in enumerate(parent.shape) if n == 1))
        mask = np.broadcast_to(mask, node.shape).any(axis=copies).reshape(parent.shape)
    masks[parent] = mask | masks[parent] if summed else mask
    return part


def reach(mask: Any, node: Node, i: int) -> Any:
    """Which entries of operand ``i`` a result was computed from that ``mask`` says was taken; None where that is not known."""
    op = node.op
    if op.elementwise:
        return mask
    if not str(op.forward.__module__).startswith("minigrad."):  # a row of the user's own may have the name of one of these
        return None
    if op.name in MOVING:
        moved = mask.astype(np.float32)  # mutate: equivalent [call] because these rules move booleans as well
        return op.rules[i](moved, *node.saved, *node.params) != 0
    if op.name in REDUCING:
        axis, keepdims = (node.params[k] for k in REDUCING[op.name])
        shape = node.saved[1].shape
        gone = range(len(shape)) if axis is None else [k % len(shape) for k in ((axis,) if isinstance(axis, int) else axis)]
        kept = mask if keepdims else mask.reshape(tuple(1 if k in gone else n for k, n in enumerate(shape)))
        return np.broadcast_to(kept, shape)
    if op.name in ("softmax", "log_softmax"):
        axis, *_ = node.params
        return mask.any(axis=axis, keepdims=True)
    return None
