"""Where the choices of a random program come from: from Hypothesis, which can shrink them, or from a fast generator.

One function makes the program, :func:`program_from`; it asks for nothing but small integers. Hypothesis answers in about 30 us a
question and remembers each; :class:`Dice` in 0.2 us, so that a program is made in a fraction of a millisecond.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from minigrad.testing.kinds import EVERY, Kind, Reference
from minigrad.testing.programs import LARGEST, Program, Step

T = TypeVar("T")
Shape = tuple[int, ...]


class Choices(Protocol):
    """A source of choices. Small numbers and early items are the simple ones, to which a failure shrinks."""

    def integer(self, low: int, high: int) -> int:
        """A number from ``low`` to ``high``, both included."""

    def pick(self, items: Sequence[T]) -> T:
        """One of ``items``."""


class Dice:
    """Choices from a generator, the same ones for the same seed on any machine.

    Example:
        >>> dice = Dice("example")
        >>> [dice.integer(1, 6) for _ in range(5)] == [Dice("example").integer(1, 6), *(dice.integer(1, 6) for _ in range(4))]
        False
        >>> Dice("example").pick("abc") == Dice("example").pick("abc")
        True
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed).random  # noqa: S311 (no secrets here)

    def integer(self, low: int, high: int) -> int:
        return low + int(self._random() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self._random() * len(items))]


@np.errstate(all="ignore")
def program_from(
    choose: Choices,
    kinds: dict[str, Kind],
    reuse: bool = True,
    broadcast: bool = True,
    max_steps: int = 8,
    max_inputs: int = 3,
    dtype: Any = "float64",
    max_dims: int = 2,
    min_side: int = 1,
) -> Program:
    """A random program of steps of these kinds; see :func:`minigrad.testing.strategies.programs` for what it is made of.

    Example:
        >>> from minigrad.testing.kinds import KINDS
        >>> program = program_from(Dice("1"), KINDS, max_steps=2)
        >>> program.check()
    """
    names = list(kinds)
    count = choose.integer(1, max_inputs)
    shapes = _shapes(choose, count, broadcast, max_dims, min_side)
    rng = np.random.default_rng(choose.integer(0, 2**16))
    inputs = [np.asarray(np.round(rng.uniform(0.3, 1.7, n) * rng.choice([1, 1, -1], n), 3), dtype) for n in shapes]
    values: list[Any] = list(inputs)
    steps: list[Step] = []
    free = list(range(count))
    for _ in range(choose.integer(1, max_steps)):
        name = choose.pick(names)
        kind = kinds[name]
        if not reuse and len(free) < kind.arity:
            continue
        # The first operand is one that nothing reads yet, so that most steps end up in the program.
        operands: tuple[int, ...] = (choose.pick(free[::-1]),)
        for _ in range(kind.arity - 1):
            pool = [k for k in (range(len(values)) if reuse else free) if reuse or k not in operands]
            fitting = [k for k in pool if kind.arity > 2 or _fits(kind, values[operands[0]], values[k])]
            operands = (*operands, choose.pick((fitting or pool)[::-1]))
        arrays = [values[k] for k in operands]
        axis = choose.integer(0, max(arrays[0].ndim - 1, 0)) if kind.axes else 0
        value = _result(kind, axis, arrays)
        if value is None:
            continue
        steps.append(Step(name, operands, axis))
        values.append(value)
        free = [k for k in free if k not in operands] + [len(values) - 1]
    if not steps:  # nothing fitted: the simplest program there is
        steps.append(Step("negative", (0,)))
    own = {name: kind for name, kind in kinds.items() if name not in EVERY}
    return Program(tuple(inputs), tuple(steps), own or None).needed()


def _shapes(choose: Choices, count: int, broadcast: bool, max_dims: int, min_side: int) -> list[Shape]:
    """Shapes that broadcast together; one and the same without ``broadcast``."""
    whole = tuple(choose.integer(min_side, 3) for _ in range(choose.integer(0, max_dims)))
    shapes = [whole]
    for _ in range(count - 1):
        left = choose.integer(0, len(whole)) if broadcast and whole else 0
        shapes.append(tuple(1 if broadcast and choose.integer(0, 3) == 3 else n for n in whole[left:]))
    return shapes


def _fits(kind: Kind, *operands: Any) -> bool:
    try:
        return kind.fits(*operands)
    except ValueError:  # shapes that do not broadcast
        return False


_REFERENCE = Reference()


def _result(kind: Kind, axis: int, operands: Sequence[Any]) -> Any:
    """What a step gives on these arrays; None where it does not fit, or becomes too large to test."""
    try:
        if not _fits(kind, *operands):
            return None
        value = np.asarray(kind(_REFERENCE, axis, *operands))
    except (ValueError, TypeError, IndexError):
        return None
    tame = value.size <= 64 and value.ndim <= 3 and value.dtype.kind == "f" and bool((np.abs(value) <= LARGEST).all())
    return value if tame else None
