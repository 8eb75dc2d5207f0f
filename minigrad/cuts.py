"""Cuts: where values leave the graph. Noted only while everything is recorded, so that one can say later why a gradient is None.

``detach()``, ``no_grad()``, ``.data``, ``.numpy()`` and ``.item()`` hand out values without their history, and the tape keeps no
trace of them. Inside :class:`minigrad.inspect` both ends of such a cut are marked with the same :class:`Cut`: the nodes that
the values came from (``extra.exits``) and the leaf that they arrive in (``extra.cuts``). The marks refer to no node, so they
keep no graph alive, and a loop that passes the same line again adds none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from minigrad import anomaly, naming
from minigrad.graph import ALL, Handle, Node, ancestors, leaf, recording


class Cut(NamedTuple):
    """How values left the graph (``"detach"``, ``"no_grad"``, ``"numpy"``, ...) and the line of the user's program."""

    how: str
    where: naming.Where | None


def leave(node: Node | None, how: str) -> Cut | None:
    """Note that the values of ``node`` leave the graph here; None where nobody looks."""
    if recording.get()[0] != ALL or node is None or not node.requires_grad:
        return None
    return _mark([node], how)


def _mark(nodes: Iterable[Node], how: str) -> Cut:
    cut = Cut(how, naming.caller())
    for node in ancestors(nodes):
        node.more().exits[cut] = None
    return cut


def arrive(node: Node, cuts: Iterable[Cut | None]) -> None:
    """Note in a leaf by which cuts its values came."""
    found = dict.fromkeys(cut for cut in cuts if cut is not None)
    if found:
        node.more().cuts.update(found)


def unseen(out: Any, operands: Iterable[Any]) -> Any:
    """``out``, computed inside ``no_grad()`` inside ``inspect()``, as a leaf that knows by which cuts its values came."""
    nodes = [x.node for x in operands if isinstance(x, Handle) and x.node is not None]
    asking = [node for node in nodes if node.requires_grad]
    earlier = [cut for node in nodes if node.extra is not None for cut in node.extra.cuts]
    if asking or earlier:
        out.node = leaf(out._data, requires_grad=False)
        arrive(out.node, [*earlier, _mark(asking, "no_grad") if asking else None])
    if anomaly.checking.get():
        out.node = out.node or leaf(out._data, requires_grad=False)
        anomaly.check_unrecorded(sys._getframe(1).f_code.co_name, out._data, tuple(operands), out.node)
    return out
