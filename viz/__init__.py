"""See a graph. Call these with a loss after ``loss.backward()`` to see gradients too, or before it to see values only.

=======================  =================================================================================================
``draw(loss)``           the graph as a picture: values, gradients, contributions; modules and repeats folded
``player(loss)``         a page that steps through both passes, and recomputes what is dragged
``explain(loss)``        the same as a table of text
``derivation(loss)``     the backward pass as mathematics, and as NumPy code of its own
``explain_grad(t)``      why a gradient is None, zero, tiny, huge, NaN or infinite; its ``draw()`` marks the culprit
``memory(loss)``         what is kept for the backward pass, for which rule, until when; the peak. Ask before ``backward()``
``Film(model)``          the flow of gradients by layer, time step and training step
``quiz(loss)``           an exercise sheet: blanks to fill in, and their marking
``to_networkx(loss)``    the graph for NetworkX; ``to_json`` and ``from_json`` for files
``records(loss)``        the plain records that all of these are made of; ``folded(loss)`` with modules folded
=======================  =================================================================================================

They look and do not touch: no ``.grad`` changes, and nothing of the graph is freed. Large values, and the source line of every
operation, are kept inside ``with mg.inspect():``.
"""

from minigrad.viz.derivation import Derivation, derivation
from minigrad.viz.dot import Drawing, draw
from minigrad.viz.film import Film
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
    "Film",
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
