"""See a graph: ``viz.draw(loss)`` as a picture, ``viz.explain(loss)`` as a table, ``viz.to_networkx(loss)`` as data.

Call them after ``loss.backward()`` to see the gradients, or before it to see the values only. They look and do not touch: no
``.grad`` changes, and nothing of the graph is freed.
"""

from minigrad.viz.derivation import Derivation, derivation
from minigrad.viz.dot import Drawing, draw
from minigrad.viz.fold import folded
from minigrad.viz.memory import Kept, Memory, memory
from minigrad.viz.network import from_json, to_json, to_networkx
from minigrad.viz.player import Player, player
from minigrad.viz.quiz import Quiz, quiz
from minigrad.viz.records import Bundle, Edge, Group, Records, Value, records
from minigrad.viz.text import Explanation, explain
from minigrad.viz.why import Finding, Why, explain_grad

__all__ = [
    "Bundle",
    "Derivation",
    "Drawing",
    "Edge",
    "Explanation",
    "Finding",
    "Group",
    "Kept",
    "Memory",
    "Player",
    "Quiz",
    "Records",
    "Value",
    "Why",
    "derivation",
    "draw",
    "explain",
    "explain_grad",
    "folded",
    "from_json",
    "memory",
    "player",
    "quiz",
    "records",
    "to_json",
    "to_networkx",
]
