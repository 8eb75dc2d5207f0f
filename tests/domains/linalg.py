"""Where the rows of minigrad/ops/linalg.py are tested: well away from singular matrices, equal values and zero vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.domains.base import Case, Domain, Operand

Shape = tuple[int, ...]


def _dominant(rng: np.random.Generator, shape: Shape) -> Any:
    """Square matrices far from singular: a diagonal larger than the rest of its row."""
    return rng.uniform(-1, 1, shape) + (shape[-1] + 1) * np.eye(shape[-1])


def _spread(rng: np.random.Generator, shape: Shape) -> Any:
    """Matrices whose eigenvalues and singular values stay apart: by about 2, with the rest of the matrix small."""
    steps = np.arange(1.0, 2 * min(shape[-2:]), 2.0)
    return rng.uniform(-0.3, 0.3, shape) + np.eye(*shape[-2:])[:, : len(steps)] @ (
        steps[:, None] * np.eye(len(steps), shape[-1])
    )


def _away_from_zero(rng: np.random.Generator, shape: Shape) -> Any:
    return np.asarray(rng.uniform(0.5, 2.0, shape) * rng.choice([-1.0, 1.0], shape))


def _shapes(*shapes: Shape | tuple[Shape, ...]) -> tuple[Case, ...]:
    """Cases without parameters, of one operand or of several."""
    return tuple(Case(s if s and isinstance(s[0], tuple) else (s,)) for s in shapes)  # type: ignore[arg-type]


def _equations(*cases: tuple[str, Shape, Shape]) -> tuple[Case, ...]:
    return tuple(Case((a, b), {"equation": equation}) for equation, a, b in cases)


SQUARE = _shapes((3, 3), (2, 3, 3), (2, 1, 2, 2), (1, 1), (0, 0), (0, 2, 2))
ANY, DOMINANT, SPREAD = Operand(), Operand(make=_dominant), Operand(make=_spread)

DOMAINS: dict[str, Domain] = {
    "matmul": Domain(
        (ANY, ANY),
        _shapes(
            ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)),
            ((5, 2, 3), (3, 4)), ((6, 5, 2, 3), (3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 4)),
            ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((1, 2, 3), (5, 3, 4)), ((6, 1, 2, 3), (5, 3, 4)),
            ((1, 1), (1, 1)), ((1,), (1,)), ((0, 3), (3, 2)), ((2, 0), (0, 2)), ((4, 2, 0), (0, 2)), ((0, 2, 3), (3, 4)), ((0,), (0,)),
        ),
    ),
    "einsum": Domain(
        (ANY, ANY),
        _equations(
            ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk->ki", (2, 3), (3, 4)), ("ijk,jkl->il", (2, 3, 4), (3, 4, 2)),
            ("bqhd,bkhd->bhqk", (2, 3, 2, 4), (2, 5, 2, 4)), ("btd,dk->btk", (2, 3, 4), (4, 2)), ("ij,j->i", (2, 3), (3,)),
            ("i,i->", (3,), (3,)), ("bi,bi->b", (2, 3), (2, 3)), ("ij,ij->ij", (2, 3), (2, 3)), ("i,j->ji", (2,), (3,)),
            (",ij->ij", (), (2, 3)), ("ij,jk->ik", (1, 1), (1, 1)), ("ij,jk->ik", (0, 3), (3, 2)), ("ij,jk->ik", (2, 0), (0, 3)),
        ),
    ),
    "convolve": Domain(
        (Operand(), Operand()),
        tuple(
            Case(((n,), (m,)), {"mode": mode}) for n, m in ((5, 3), (2, 4), (1, 1)) for mode in ("full", "same", "valid")
        ),
        analytic=False,
    ),
    "cross": Domain(
        (ANY, ANY),
        (*_shapes(((3,), (3,)), ((4, 3), (3,)), ((1, 3), (4, 3)), ((0, 3), (0, 3))), Case(((3, 4), (3, 4)), {"axis": 0})),
    ),
    "inv": Domain((DOMINANT,), SQUARE),
    "solve": Domain(
        (DOMINANT, ANY),
        _shapes(
            ((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (3,)), ((2, 3, 3), (3, 2)), ((3, 3), (2, 3, 4)),
            ((2, 1, 3, 3), (4, 3, 2)), ((1, 1), (1,)), ((0, 0), (0,)), ((2, 2), (2, 0)),
        ),
    ),
    "pinv": Domain((SPREAD,), _shapes((3, 3), (4, 2), (2, 4), (2, 4, 3), (1, 3), (3, 1), (1, 1)), analytic=False),
    "cofactors": Domain((ANY,), SQUARE, analytic=False),
    "det": Domain((ANY,), SQUARE),
    "slogdet": Domain((DOMINANT,), SQUARE, analytic=False),
    "cholesky": Domain((DOMINANT,), SQUARE, analytic=False),
    "qr": Domain((SPREAD,), _shapes((3, 3), (4, 2), (2, 4, 3), (3, 1), (1, 1), (3, 0)), analytic=False),
    "eigh": Domain((SPREAD,), SQUARE, analytic=False),
    "svd": Domain((SPREAD,), _shapes((3, 3), (4, 2), (2, 4), (3, 5), (2, 4, 3), (1, 3), (3, 1), (1, 1), (0, 2)), analytic=False),
    "vector_norm": Domain(
        (Operand(make=_away_from_zero),),
        tuple(
            Case((shape,), {"ord": ord, "axis": axis, "keepdims": keepdims})
            for ord in (2, 3, 1.5, 0.5, -1)
            for shape, axis, keepdims in (((3,), None, False), ((2, 3), -1, False), ((2, 3, 2), (0, -1), True), ((), None, False))
        ),
        analytic=False,
    ),
}  # fmt: skip
