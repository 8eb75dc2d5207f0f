"""The user's own words: variable names and source lines, looked up only when something is drawn or has gone wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import FrameType
from typing import Any, NamedTuple

left: ContextVar[tuple[FrameType, ...]] = ContextVar("left", default=())
"""Frames that an error has left, innermost first: while one draws what failed, their variables still give names."""


class Where(NamedTuple):
    """A line of the user's program."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def ours(frame: FrameType) -> bool:
    """Whether a frame runs minigrad's own code; the examples of its docstrings are the user's."""
    module = str(frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] == "minigrad" and not frame.f_code.co_filename.startswith("<doctest")


def user_frames() -> Iterator[FrameType]:
    """The calling frames that are not minigrad's own, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not ours(frame):
            yield frame
        frame = frame.f_back


def caller() -> Where | None:
    """The innermost line of the user's program: about 0.5 us, so it is asked only while inspecting."""
    for frame in user_frames():
        return Where(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
    return None


def variables(key: Callable[[Any], int | None]) -> dict[int, str]:
    """Names of the variables in the user's frames, by ``key(value)`` (None: not of interest); the innermost frame wins.

    Looks inside lists, tuples and dicts one level deep, where the name becomes ``layers[0]`` or ``params['w']``. Where one
    object has several names, the first that was assigned wins; names that start with an underscore come last.
    """
    names: dict[int, str] = {}
    for frame in (*left.get(), *user_frames()):
        here = {**frame.f_globals, **frame.f_locals} if frame.f_code.co_name == "<module>" else frame.f_locals
        for name, value in sorted(here.items(), key=lambda item: item[0].startswith("_")):
            for label, item in _items(name, value):
                k = key(item)
                if k is not None:
                    names.setdefault(k, label)
    return names


def of_node(node: Any) -> str | None:
    """What the user calls the value of a node: its own name, or else the variable that holds it."""
    if node is None:
        return None
    return node.name or variables(lambda value: 0 if getattr(value, "node", None) is node else None).get(0)


def given(message: str) -> str:
    """What the user's call was given, by the user's names, dtypes and shapes, as the end of a ``message`` that lacks them.

    The call is the outermost of minigrad's own frames before the first of the user's; looked at only when an error is made.
    """
    call: FrameType | None = None
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and ours(frame):
        call, frame = frame, frame.f_back
    if call is None:
        return ""
    code = call.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS) + bool(code.co_flags & CO_VARKEYWORDS)
    arguments = {name: call.f_locals.get(name) for name in code.co_varnames[:count]}
    operands = {id(v): v for name, value in arguments.items() for _, v in _items(name, value) if _has_shape(v)}
    names = variables(lambda value: id(value) if id(value) in operands else None) if operands else {}
    names |= {key: own for key, v in operands.items() if (own := getattr(getattr(v, "node", None), "name", None))}
    told = [f"{names[key]}: {v.dtype}{list(v.shape)}" for key, v in operands.items() if key in names]
    missing = [
        text for text, name in zip(told, (names[key] for key in operands if key in names)) if not _mentions(message, name)
    ]
    return f" (given {', '.join(told)})" if missing else ""


def _has_shape(value: Any) -> bool:
    # Modules have neither; plain numbers are told by their value.
    return hasattr(type(value), "dtype") and hasattr(type(value), "shape") and getattr(value, "ndim", 0) is not None


def _mentions(message: str, name: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", message) is not None


def _items(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    yield name, value
    if name.startswith("_") or name in ("In", "Out"):  # In, Out: IPython's history
        return
    if type(value) in (list, tuple) and len(value) <= 1000:
        yield from ((f"{name}[{i}]", item) for i, item in enumerate(value))
    elif type(value) is dict and len(value) <= 1000:
        yield from ((f"{name}[{k!r}]", item) for k, item in value.items())
