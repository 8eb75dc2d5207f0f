"""Domains of minigrad/ops/fused.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.domains.base import Case, Domain, Operand
from tests.domains.elementwise import OFF_ZERO

ANY, POSITIVE = Operand(), Operand(0.5, 2.0)
AROUND_ONE = Operand(
    make=lambda rng, shape: rng.choice([-1.7, -0.6, -0.3, 0.2, 0.5, 1.6], shape) + rng.uniform(-0.2, 0.2, shape)
)
CLASSES = Operand(make=lambda rng, shape: rng.integers(0, 4, shape), differentiable=False)


def apart(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Rows whose elements differ: of two that are alike the deviation is not."""
    return rng.uniform(-0.4, 0.4, shape) + np.arange(shape[-1])


ROWS = Operand(make=apart)

DOMAINS: dict[str, Domain] = {
    "linear": Domain(
        (ANY, ANY, ANY),
        (
            *(
                Case((x, (4, x[-1]), b))
                for x in ((3,), (2, 3), (5, 2, 3), (2, 1, 2, 3), (0, 3), (2, 0), (1, 1))
                for b in ((4,), None)
            ),
            *(Case(((2, 3), (4, 3), b)) for b in ((), (2, 1))),
            Case(((2, 3), (0, 3), (0,))),
        ),
    ),
    "softmax_cross_entropy": Domain(
        (ANY, CLASSES), tuple(Case((shape, shape[:-1])) for shape in ((4,), (3, 4), (2, 3, 4), (0, 4)))
    ),
    "layer_norm": Domain(
        (ROWS, POSITIVE, ANY),
        tuple(
            Case((x, w, b), {"eps": 0.1})
            for x in ((3,), (2, 3), (2, 2, 4), (0, 3))
            for w, b in (((x[-1],), (x[-1],)), (None, None), ((x[-1],), None))
        ),
    ),
    "rms_norm": Domain(
        (ROWS, POSITIVE),
        tuple(Case((x, w), {"eps": 0.1}) for x in ((3,), (2, 3), (2, 2, 4), (0, 3)) for w in ((x[-1],), None)),
    ),
    "leaky_relu": Domain((OFF_ZERO,)),
    "elu": Domain((OFF_ZERO,)),
    "hardtanh": Domain((AROUND_ONE,)),
    **{name: Domain((ANY,)) for name in ("gelu", "gelu_slope", "gelu_tanh", "gelu_tanh_slope", "silu", "silu_slope")},
}
