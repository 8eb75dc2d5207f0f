"""Domains of minigrad/ops/device.py. Where there is no GPU, a move from the CPU to the CPU is all that can be made."""

from __future__ import annotations

from tests.domains.base import Case, Domain, Operand

DOMAINS: dict[str, Domain] = {
    "copy": Domain((Operand(),), (Case(((2, 3),)), Case(((),)), Case(((0, 2),)))),
    "to_device": Domain((Operand(),), (Case(((2, 3),), {"target": "cpu", "origin": "cpu"}),)),
}
