"""Domains of minigrad/ops/conv.py, pool.py and windows.py.

The geometry of a row is exact: size + low + high == (out - 1) * stride + dilation * (kernel - 1) + 1 on each axis. A negative
``high`` is where the floor cuts inputs off.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.domains.base import Case, Domain, Operand


def distinct(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Values at least 0.1 apart, so that no step changes which of a window is the largest."""
    n = int(np.prod(shape))
    return (0.1 * rng.permutation(n) - 0.05 * n).reshape(shape)


def conv(*pads: tuple[int, int], stride: int = 1, dilation: int = 1, groups: int = 1) -> dict[str, Any]:
    n = len(pads)
    return {"stride": (stride,) * n, "padding": pads, "dilation": (dilation,) * n, "groups": groups}


def window(kernel: tuple[int, ...], *pads: tuple[int, int], stride: int = 1, dilation: int = 1) -> dict[str, Any]:
    n = len(kernel)
    return {"kernel": kernel, "stride": (stride,) * n, "padding": pads, "dilation": (dilation,) * n}


def mean(kernel: tuple[int, ...], *pads: tuple[int, int], counts: Any, stride: int = 1) -> dict[str, Any]:
    return {"kernel": kernel, "stride": (stride,) * len(kernel), "padding": pads, "counts": counts}


def winners(n: int) -> Operand:
    return Operand(make=lambda rng, shape: rng.integers(0, n, shape).astype(np.uint8), differentiable=False)


# Input, weight, output, geometry: each of the three rows takes two of the shapes.
TRIPLES = (
    ((2, 2, 6), (3, 2, 3), (2, 3, 4), conv((0, 0))),
    ((1, 2, 7), (2, 1, 2), (1, 2, 4), conv((1, 0), stride=2, groups=2)),
    ((2, 1, 4, 5), (2, 1, 3, 2), (2, 2, 4, 4), conv((1, 1), (0, 0))),
    ((1, 2, 6, 6), (2, 2, 2, 2), (1, 2, 2, 2), conv((0, -1), (0, -1), stride=3)),
    ((2, 3, 2, 2), (2, 3, 1, 1), (2, 2, 2, 2), conv((0, 0), (0, 0))),
    ((1, 1, 5, 5), (1, 1, 2, 2), (1, 1, 3, 3), conv((0, 0), (0, 0), dilation=2)),
    ((9, 1, 2, 2), (2, 1, 2, 2), (9, 2, 1, 1), conv((0, 0), (0, 0))),
    ((1, 4, 3, 3), (1, 4, 3, 3), (1, 1, 3, 3), conv((1, 1), (1, 1))),
    ((1, 2, 5, 4), (3, 2, 3, 2), (1, 3, 3, 2), conv((1, 1), (0, 0), stride=2)),
    ((1, 2, 2, 17), (2, 2, 2, 2), (1, 2, 1, 16), conv((0, 0), (0, 0))),
    ((1, 1, 3, 2, 3), (2, 1, 2, 2, 2), (1, 2, 2, 1, 2), conv((0, 0), (0, 0), (0, 0))),
    ((0, 2, 3, 3), (2, 2, 2, 2), (0, 2, 2, 2), conv((0, 0), (0, 0))),
)

WINDOWS = (
    ((2, 2, 6), (2, 2, 3), window((2,), (0, 0), stride=2)),
    ((1, 2, 5, 5), (1, 2, 3, 3), window((3, 3), (1, 1), (1, 1), stride=2)),
    ((1, 1, 5, 4), (1, 1, 2, 2), window((2, 2), (0, -1), (0, 0), stride=2)),
    ((1, 1, 5, 5), (1, 1, 3, 3), window((2, 2), (0, 0), (0, 0), dilation=2)),
    ((1, 1, 5, 5), (1, 1, 2, 2), window((1, 1), (0, -1), (0, -1), stride=3)),
    ((1, 1, 2, 3, 2), (1, 1, 1, 2, 1), window((2, 2, 2), (0, 0), (0, 0), (0, 0))),
    ((1, 2, 3, 3), (1, 2, 3, 3), window((3, 3), (1, 1), (1, 1))),
    ((0, 1, 2, 2), (0, 1, 1, 1), window((2, 2), (0, 0), (0, 0))),
)

MEANS = (
    ((2, 2, 6), (2, 2, 3), mean((2,), (0, 0), stride=2, counts=2)),
    ((1, 2, 5, 5), (1, 2, 3, 3), mean((3, 3), (1, 1), (1, 1), stride=2, counts=((2, 3, 2), (2, 3, 2)))),
    ((1, 1, 5, 4), (1, 1, 2, 2), mean((2, 2), (0, -1), (0, 0), stride=2, counts=3)),
    ((1, 1, 2, 3, 2), (1, 1, 1, 2, 1), mean((2, 2, 2), (0, 0), (0, 0), (0, 0), counts=8)),
    ((1, 2, 3, 3), (1, 2, 3, 3), mean((3, 3), (1, 1), (1, 1), counts=9)),
    ((0, 1, 2, 2), (0, 1, 1, 1), mean((2, 2), (0, 0), (0, 0), counts=4)),
)


def columns(x: tuple[int, ...], y: tuple[int, ...], params: dict[str, Any]) -> tuple[int, ...]:
    return (*x[:2], int(np.prod(params["kernel"])), *y[2:])


DOMAINS: dict[str, Domain] = {
    "conv": Domain((Operand(), Operand()), tuple(Case((x, w), p) for x, w, _, p in TRIPLES)),
    "conv_transpose": Domain((Operand(), Operand()), tuple(Case((y, w), p) for _, w, y, p in TRIPLES)),
    "conv_weight": Domain((Operand(), Operand()), tuple(Case((x, y), p) for x, _, y, p in TRIPLES)),
    "max_pool": Domain((Operand(make=distinct),), tuple(Case((x,), p) for x, _, p in WINDOWS)),
    "window_winner": Domain(
        (Operand(make=distinct, differentiable=False), Operand(differentiable=False)),
        tuple(Case((x, y), p) for x, y, p in WINDOWS),
    ),
    "window_pick": Domain((Operand(), winners(1)), tuple(Case((x, y), p) for x, y, p in WINDOWS)),
    "window_place": Domain((Operand(), winners(2)), tuple(Case((y, y), p) for _, y, p in WINDOWS)),
    "avg_pool": Domain((Operand(),), tuple(Case((x,), p) for x, _, p in MEANS)),
    "avg_spread": Domain((Operand(),), tuple(Case((y,), p) for _, y, p in MEANS)),
    "windows": Domain((Operand(),), tuple(Case((x,), p) for x, _, p in WINDOWS)),
    "overlap_add": Domain((Operand(),), tuple(Case((columns(x, y, p),), p) for x, y, p in WINDOWS)),
}
