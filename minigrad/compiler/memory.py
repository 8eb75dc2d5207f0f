"""A memory budget: values that wait long for their next reader are computed again right before it, instead of being kept.

Greedy, as Chen et al. 2016 and the rematerialisation passes of compilers are: at the fullest moment of the program, give up the
largest value whose operands will still be there when it is read next; cheap operations first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from minigrad.compiler.program import RESULT, Instruction, Program, Value, Write

UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
ROUNDS = 10_000


def parse(memory: int | str) -> int:
    """Bytes: a number, or text such as ``"2GB"``, ``"512 MiB"`` (both binary).

    Example:
        >>> parse("2GB") == parse("2 GiB") == 2**31
        True
    """
    if isinstance(memory, str):
        found = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?)i?b?\s*", memory.lower())
        if not found:
            raise ValueError(f"memory={memory!r}: expected a number of bytes, or text such as '2GB' or '512MB'")
        memory = int(float(found[1]) * UNITS[found[2]])
    if memory <= 0:
        raise ValueError(f"memory={memory}: expected a positive number of bytes")
    return int(memory)


@dataclass(slots=True)
class _Life:
    """Where a value is made, and the places that read it or a view of it."""

    born: int
    uses: list[int]
    bytes: int


def _lives(p: Program) -> dict[int, _Life]:
    p.find_roots()
    lives: dict[int, _Life] = {}
    for at, s in enumerate(p.steps):
        if isinstance(s, Instruction):
            read = s.reads
        else:
            read = [s.value] if isinstance(s, Write) and s.value is not None else []
        for r in {p.values[k].root for k in read} & lives.keys():
            lives[r].uses.append(at)
        if isinstance(s, Instruction) and s.view is None and isinstance(p.values[s.out].array, np.ndarray):
            lives[s.out] = _Life(at, [], p.values[s.out].array.nbytes)
    lasting = {s.value for s in p.steps if isinstance(s, Write) and s.value is not None} | set(p.outputs)
    for r in {p.values[k].root for k in lasting} & lives.keys():
        lives[r].uses.append(len(p.steps))
    return lives


def _fullest(lives: dict[int, _Life], n: int) -> tuple[int, int]:
    """The most bytes that are held at a time, and when."""
    change = [0] * (n + 2)
    for life in lives.values():
        if life.uses:
            change[life.born] += life.bytes
            change[min(max(life.uses), n) + 1] -= life.bytes
    held = np.cumsum(change[: n + 1])
    return int(held.max(initial=0)), int(held.argmax()) if n else 0


def fit(p: Program, budget: int) -> int:
    """Change the program until it holds at most ``budget`` bytes at a time, or nothing more can be given up; what it holds then."""
    given_up = 0
    for _ in range(ROUNDS):
        lives = _lives(p)
        most, when = _fullest(lives, len(p.steps))
        if most <= budget or not _give_up(p, lives, when):
            break
        given_up += 1
    if given_up:
        p.said["computed again to save memory"] = given_up
    return most


def _give_up(p: Program, lives: dict[int, _Life], when: int) -> bool:
    made = {s.out: s for s in p.instructions()}
    views = {s.args[s.view] for s in p.steps if isinstance(s, Instruction) and s.view is not None}
    best: tuple[bool, int, int, int] | None = None
    for number, life in lives.items():
        later = [u for u in life.uses if u > when]
        if not life.born < when or not later or max(later) >= len(p.steps) or number in views:
            continue
        if when in life.uses:
            continue
        step = made[number]
        if not all(_there(p.values[k].root, min(later), lives, made) for k in step.reads):
            continue
        choice = (step.op.elementwise, life.bytes, -number, min(later))
        best = max(best, choice) if best is not None else choice
    if best is None:
        return False
    number, at = -best[2], best[3]
    step = made[number]
    twin = Value(len(p.values), RESULT, p.values[number].array, None, len(p.values))
    p.values.append(twin)
    for s in p.steps[at:]:
        if isinstance(s, Instruction):
            s.rename(lambda k: twin.number if k == number else k)
    p.steps.insert(at, Instruction(step.op, step.args, step.params, twin.number, step.where, step.view, again=True))
    return True


def _there(root: int, at: int, lives: dict[int, _Life], made: dict[int, Instruction]) -> bool:
    """Whether a value is still held at a place, or is held anyway."""
    return root not in made or (root in lives and max(lives[root].uses, default=-1) >= at)
