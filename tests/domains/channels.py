"""Domains of minigrad/ops/channels.py."""

from __future__ import annotations

from tests.domains.base import Case, Domain, Operand

ANY = Operand()
SHAPES = ((3, 2), (2, 3, 4), (2, 2, 3, 2), (0, 2), (2, 0, 3), (2, 3, 0), (1, 1), (2, 2, 520))

DOMAINS: dict[str, Domain] = {
    "channel_sum": Domain((ANY,), tuple(Case((x,)) for x in SHAPES)),
    "channel_moments": Domain((ANY,), tuple(Case((x,)) for x in SHAPES if 0 not in (x[0], x[-1]))),
    "channel_affine": Domain(
        (ANY, ANY, ANY, ANY),
        tuple(Case((x, (x[1],), *rest)) for x in SHAPES for rest in (((x[1],), (x[1],)), (None, None), ((x[1],), None))),
    ),
    "channel_dot": Domain((ANY, ANY, ANY), tuple(Case((x, x, c)) for x in SHAPES for c in ((x[1],), None))),
}
