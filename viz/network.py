"""Records as a networkx graph, for those who want to compute on the structure, and as JSON, for those who want to keep it."""

from __future__ import annotations

import base64
import functools
import json
import math
from dataclasses import fields
from typing import Any

import numpy as np

from minigrad.viz.records import Bundle, Edge, Group, Records, Value, records

FORMAT = "minigrad records 1"
LISTED = 16
"""Arrays of up to so many finite numbers are written as numbers, larger ones as the base64 of their bytes."""
_ENDS = {"source", "target"}


def to_networkx(t: Any, *, gradient: Any = None, backward: bool | None = None, limit: int | None = None) -> Any:
    """The graph that made ``t`` as a ``networkx.MultiDiGraph``.

    Nodes are keyed ``n0``, ``n1``, ... in the order of creation and carry what :class:`~minigrad.viz.records.Value` holds. An
    edge runs from operand to result, its key is the position of the operand, and it carries what
    :class:`~minigrad.viz.records.Edge` holds. The graph's own attributes are ``output``, ``differentiated``, ``hidden``,
    ``note`` and what else :class:`~minigrad.viz.records.Records` holds. :mod:`minigrad.viz.analysis` computes on it.

    Args:
        t: a Tensor, before or after ``t.backward()``; or the :class:`~minigrad.viz.records.Records` of one.
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
    networkx = _networkx("to_networkx")
    r = _records(t, gradient, backward, limit)
    graph = networkx.MultiDiGraph(**_of(r, {"values", "edges"}))
    for value in r.values:
        graph.add_node(value.id, **_of(value, {"id"}))
    for edge in r.edges:
        graph.add_edge(edge.source, edge.target, key=edge.operand, **_of(edge, _ENDS))
    return graph


def to_json(
    t: Any, *, gradient: Any = None, backward: bool | None = None, limit: int | None = None, indent: int | None = None
) -> str:
    """The graph that made ``t`` as JSON text, from which :func:`from_json` makes the same records again, bit for bit.

    The layout is networkx's node-link format: ``networkx.node_link_graph(json.loads(text), edges="edges")`` reads it too.
    An array is an object with ``dtype`` (with its byte order) and ``shape``, and either ``numbers`` (few, all finite) or
    ``base64`` (its bytes in C order). The text is standard JSON: no bare NaN, and the same from run to run.

    Args:
        t: a Tensor; or the :class:`~minigrad.viz.records.Records` of one.
        gradient: as for :func:`to_networkx`.
        backward: as for :func:`to_networkx`.
        limit: as for :func:`to_networkx`.
        indent: spaces to indent by; by default all is on one line.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor(3.0, requires_grad=True)
        >>> text = to_json(x * x)
        >>> from_json(text)["x"].value.item()
        3.0
    """
    r = _records(t, gradient, backward, limit)
    content = {
        "format": FORMAT,
        "directed": True,
        "multigraph": True,
        "graph": _of(r, {"values", "edges"}),
        "nodes": [_of(value, set()) for value in r.values],
        "edges": [{"key": edge.operand, **_of(edge, set())} for edge in r.edges],
    }
    return json.dumps(_encoded(content), indent=indent, allow_nan=False, ensure_ascii=False)


def from_json(text: str | bytes) -> Records:
    """The records that :func:`to_json` wrote: arrays equal in every bit, dtypes and shapes kept.

    Every function of ``viz`` that takes records takes them: ``viz.to_networkx(viz.from_json(text))`` is the graph again.

    Raises:
        ValueError: if ``text`` is not what :func:`to_json` writes.

    Example:
        >>> import minigrad as mg
        >>> text = to_json(mg.tensor([1.0, -0.0], requires_grad=True) * 2)
        >>> to_json(from_json(text)) == text
        True
    """
    content = json.loads(text)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ValueError(f"from_json: expected text that to_json wrote, with format {FORMAT!r}, found {found!r}")
    try:
        graph = {name: _decoded(value) for name, value in content["graph"].items()}
        return Records(
            values=tuple(_made(Value, node) for node in content["nodes"]),
            edges=tuple(_made(Edge, {k: v for k, v in edge.items() if k != "key"}) for edge in content["edges"]),
            **{**graph, "groups": _all(Group, graph), "bundles": _all(Bundle, graph)},
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"from_json: the text is incomplete: {error}") from error


def _networkx(asked: str) -> Any:
    try:
        import networkx
    except ImportError as error:
        raise ImportError(f"{asked} needs networkx: pip install 'minigrad[viz]'") from error
    return networkx


def _records(t: Any, gradient: Any, backward: bool | None, limit: int | None) -> Records:
    if isinstance(t, Records):
        if gradient is not None or backward is not None or limit is not None:
            raise ValueError("gradient=, backward= and limit= are for a Tensor; these records have been made already")
        return t
    return records(t, gradient=gradient, backward=backward, limit=limit)


def _of(record: Any, without: set[str]) -> dict[str, Any]:
    return {f.name: getattr(record, f.name) for f in fields(record) if f.name not in without}


def _encoded(value: Any) -> Any:
    """A value as JSON knows it: arrays as objects, tuples as lists, floats that are not finite and complex numbers as arrays."""
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, (np.generic, complex)) or (isinstance(value, float) and not np.isfinite(value)):
        return _array(np.asarray(value)) | {"number": True}
    if isinstance(value, dict):
        return {key: _encoded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(item) for item in value]
    if isinstance(value, (Value, Edge, Group, Bundle)):
        return _encoded(_of(value, set()))
    return value


@functools.cache
def _little(dtype: np.dtype[Any]) -> str:
    return dtype.newbyteorder("<").str


def _array(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"dtype": _little(array.dtype), "shape": list(array.shape)}
    if array.size <= LISTED and array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
        numbers = array.reshape(-1).tolist()
        if all(map(math.isfinite, numbers)):
            return told | {"numbers": numbers}
    raw = np.ascontiguousarray(array).astype(told["dtype"], copy=False).tobytes()
    return told | {"base64": base64.b64encode(raw).decode("ascii")}


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decoded(item) for item in value)
    if not isinstance(value, dict):
        return value
    if "dtype" not in value or "shape" not in value or not {"numbers", "base64"} & set(value):
        return {key: _decoded(item) for key, item in value.items()}
    dtype = np.dtype(value["dtype"])
    flat = np.array(value["numbers"], dtype) if "numbers" in value else np.frombuffer(base64.b64decode(value["base64"]), dtype)
    array = flat.astype(dtype.newbyteorder("="), copy=False).reshape(value["shape"])
    if value.get("number"):
        return array.item()
    array.flags.writeable = False
    return array


def _made(kind: type[Any], content: dict[str, Any]) -> Any:
    return kind(**{name: _decoded(value) for name, value in content.items()})


def _all(kind: type[Any], graph: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(kind(**each) for each in graph.get(f"{kind.__name__.lower()}s", ()))
