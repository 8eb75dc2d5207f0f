"""Records as a networkx graph, for those who want to compute on the structure."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from minigrad.viz.records import Edge, Value, records


def to_networkx(t: Any, *, gradient: Any = None, backward: bool | None = None, limit: int | None = None) -> Any:
    """The graph that made ``t`` as a ``networkx.MultiDiGraph``.

    Nodes are keyed ``n0``, ``n1``, ... in the order of creation and carry what :class:`~minigrad.viz.records.Value` holds. An
    edge runs from operand to result, its key is the position of the operand, and it carries what
    :class:`~minigrad.viz.records.Edge` holds. The graph's own attributes are ``output``, ``differentiated``, ``hidden``, ``note``.

    Args:
        t: a Tensor, before or after ``t.backward()``.
        gradient: the upstream gradient to start from. By default the one that ``t.backward()`` started from, or 1 for a scalar.
        backward: True computes gradients for this graph only (no ``.grad`` changes); False leaves them out.
        limit: at most so many values, those nearest to ``t``; None for all.

    Returns:
        The networkx graph.

    Raises:
        ImportError: if networkx is not installed.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor(3.0, requires_grad=True)
        >>> y = x * x
        >>> y.backward()
        >>> graph = to_networkx(y)
        >>> [(u, v, i) for u, v, i in graph.edges(keys=True)]
        [('n0', 'n1', 0), ('n0', 'n1', 1)]
        >>> graph.nodes["n0"]["name"], graph.nodes["n0"]["gradient"].item()
        ('x', 6.0)
    """
    try:
        import networkx
    except ImportError as error:
        raise ImportError("to_networkx needs networkx: pip install 'minigrad[viz]'") from error
    r = records(t, gradient=gradient, backward=backward, limit=limit)
    graph = networkx.MultiDiGraph(output=r.output, differentiated=r.differentiated, hidden=r.hidden, note=r.note)
    told = [f.name for f in fields(Value) if f.name != "id"]
    for value in r.values:
        graph.add_node(value.id, **{name: getattr(value, name) for name in told})
    told = [f.name for f in fields(Edge) if f.name not in ("source", "target")]
    for edge in r.edges:
        graph.add_edge(edge.source, edge.target, key=edge.operand, **{name: getattr(edge, name) for name in told})
    return graph
