"""Questions that a recorded graph answers: small functions on the graph of :func:`minigrad.viz.to_networkx`.

They are examples as much as tools: each is a few lines of networkx, to be read and changed.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from minigrad import naming
from minigrad.graph import Handle, Node
from minigrad.viz.network import _networkx

PRODUCTS = ("matmul", "linear", "einsum", "conv", "conv_transpose", "conv_weight")


def flops(graph: Any, key: str) -> int:
    """How many multiplications and additions the operation of a value takes, estimated from shapes.

    A product of matrices (m, k) and (k, n) takes 2mkn, a convolution twice its outputs times the weights of one of them; any
    other operation takes one for each element of its output or of its largest operand. What only moves data counts as one, too.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import viz
        >>> a, b = mg.ones((2, 3)), mg.tensor([[1.0] * 4] * 3, requires_grad=True)
        >>> graph = viz.to_networkx(a @ b)
        >>> flops(graph, graph.graph["output"])
        48
    """
    node = graph.nodes[key]
    if not node["op"]:
        return 0
    operands = [graph.nodes[u]["shape"] or () for u, _, _ in sorted(graph.in_edges(key, keys=True), key=lambda e: e[2])]
    shape = node["shape"] or ()
    if node["op"] in PRODUCTS and len(operands) >= 2:
        a, b, *_ = operands
        inner = math.prod(b[1:]) if node["op"].startswith("conv") else a[-1] if a else 1
        return 2 * math.prod(shape) * inner
    return max(math.prod(shape), *(math.prod(s) for s in operands), 1)


def critical_path(graph: Any, cost: Callable[[Any, str], float] | None = None) -> tuple[float, list[str]]:
    """The chain of operations that takes longest, however many processors there are: its cost, and the keys of its values.

    Args:
        graph: a networkx graph of :func:`minigrad.viz.to_networkx`.
        cost: ``cost(graph, key)`` of making one value, such as :func:`flops` or a measured time; by default 1 per operation.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import viz
        >>> x = mg.tensor(2.0, requires_grad=True)
        >>> y = mg.sin(mg.exp(mg.tanh(x))) + x
        >>> graph = viz.to_networkx(y)
        >>> total, path = critical_path(graph)
        >>> total, [graph.nodes[key]["op"] or graph.nodes[key]["name"] for key in path]
        (4, ['x', 'tanh', 'exp', 'sin', 'add'])
    """
    networkx = _networkx("critical_path")
    cost = cost or (lambda graph, key: int(bool(graph.nodes[key]["op"])))
    best: dict[str, tuple[float, str | None]] = {}
    for key in networkx.topological_sort(graph):
        before = max(((best[u][0], u) for u in graph.predecessors(key)), default=(0, None), key=lambda at: at[0])
        best[key] = before[0] + cost(graph, key), before[1]
    at: str | None = graph.graph["output"]
    total, path = best[graph.graph["output"]][0], []
    while at is not None:
        path.append(at)
        at = best[at][1]
    return total, path[::-1]


def dominators(graph: Any, key: str) -> list[str]:
    """The values that every path from ``key`` to the output passes through, from ``key`` to the output.

    All that the output learns of ``key`` goes through each of them, and so does all of its gradient.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import viz
        >>> x = mg.tensor(2.0, requires_grad=True)
        >>> h = mg.tanh(x)
        >>> y = mg.exp(h * h + h)
        >>> graph = viz.to_networkx(y)
        >>> [graph.nodes[k]["name"] or graph.nodes[k]["op"] for k in dominators(graph, "n0")]
        ['x', 'h', 'add', 'y']
    """
    output = graph.graph["output"]
    above = _networkx("dominators").immediate_dominators(graph.reverse(copy=False), output)
    if key not in above and key != output:
        raise KeyError(f"dominators: {key!r} has no path to the output {output!r}")
    path = [key]
    while path[-1] != output:
        path.append(above[path[-1]])
    return path


def held(graph: Any) -> dict[str, int]:
    """For each value, the bytes of all that could go with it: itself, and what is used for it alone, directly or not.

    This is the retained size of heap analysers: the sums over the subtrees of the tree of dominators, seen from the output.

    Example:
        >>> import numpy as np, minigrad as mg
        >>> from minigrad import viz
        >>> x = mg.tensor(np.zeros(10), requires_grad=True)
        >>> h = mg.exp(mg.sin(x))
        >>> graph = viz.to_networkx(mg.sum(h) + mg.sum(x))
        >>> {graph.nodes[k]["name"] or graph.nodes[k]["op"]: n for k, n in held(graph).items()}
        {'x': 80, 'sin': 80, 'h': 160, 'sum': 8, 'add': 264}
    """
    networkx = _networkx("held")
    output = graph.graph["output"]
    above = networkx.immediate_dominators(graph.reverse(copy=False), output)
    total = {key: node["value"].nbytes if node["value"] is not None else 0 for key, node in graph.nodes(data=True)}
    for key in reversed(list(networkx.topological_sort(graph.reverse(copy=False)))):
        if key != output and key in above:
            total[above[key]] += total[key]
    return total


class Holder(NamedTuple):
    """A tensor that keeps a graph alive: the variable that holds it (None: no variable does), and how many nodes it keeps."""

    name: str | None
    tensor: Any
    nodes: int


def keeping_alive(t: Any) -> list[Holder]:
    """Which tensors keep the graph of ``t`` alive: all there are that were computed from what ``t`` was computed by.

    A graph goes when the last tensor that leads to it goes. A loop that appends losses to a list (instead of ``loss.item()``)
    keeps the graph of every step: they are all found here, the one that keeps most first.

    Args:
        t: a Tensor that an operation computed.

    Example:
        >>> import minigrad as mg
        >>> w = mg.tensor(1.0, requires_grad=True)
        >>> h = mg.tanh(w)
        >>> losses = [h * h]
        >>> [(holder.name, holder.nodes) for holder in keeping_alive(h)]
        [('losses[0]', 3), ('h', 2)]
    """
    if not isinstance(t, Handle):
        raise TypeError(f"keeping_alive: expected a Tensor, got {type(t).__name__}")
    if t.node is None or t.node.op is None:
        return []
    tensors = [x for x in gc.get_objects() if issubclass(type(x), Handle) and getattr(x, "node", None) is not None]
    names = naming.variables(lambda value: id(value) if isinstance(value, Handle) else None)
    found = []
    for x in tensors:
        assert x.node is not None
        nodes = _ancestry(x.node, t.node.order)
        if t.node in nodes:
            found.append(Holder(names.get(id(x)), x, len(_ancestry(x.node, 0))))
    return sorted(found, key=lambda holder: (-holder.nodes, holder.name or "~"))


def _ancestry(root: Node, oldest: int) -> set[Node]:
    """``root`` and what it was made from, back to a given age."""
    found, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent.order >= oldest and parent not in found:
                found.add(parent)
                stack.append(parent)
    return found
