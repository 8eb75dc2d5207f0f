"""Domains of minigrad/ops/fft.py. Pairs have a last axis of 2; a length may cut the operand or fill it."""

from __future__ import annotations

from tests.domains.base import Case, Domain, Operand

PAIRS = tuple(
    Case((shape,), {"n": n, "axis": axis, "norm": norm})
    for shape, n, axis, norm in (
        ((4, 2), 4, 0, "backward"),
        ((3, 5, 2), 4, 1, "ortho"),
        ((2, 3, 2), 6, 0, "forward"),
        ((5, 2), 1, 0, "backward"),
    )
)
REAL = tuple(
    Case((shape,), {"n": n, "axis": axis, "norm": norm})
    for shape, n, axis, norm in (
        ((4,), 4, 0, "backward"),
        ((3, 5), 5, 1, "ortho"),
        ((5, 2), 3, 0, "forward"),
        ((2, 3), 6, 1, "backward"),
    )
)
# The complex step does not apply: forward makes complex numbers of pairs itself.
DOMAINS = {
    "dft": Domain((Operand(),), PAIRS, analytic=False),
    "idft": Domain((Operand(),), PAIRS, analytic=False),
    "real_dft": Domain((Operand(),), REAL, analytic=False),
    "real_idft": Domain((Operand(),), PAIRS, analytic=False),
}
