"""Linear algebra: products of matrices and tensors, inverses, determinants, factorisations, norms.

The rules are those of M. Giles, "Collected matrix derivative results for forward and reverse mode" (2008); a row that has
another source names it. As in NumPy, every function works on the last two axes and takes any leading batch axes. Operations
with several outputs are one row each: forward packs the outputs side by side into one array, and the public function, which
returns the array API's named tuple, slices it apart.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from string import ascii_letters
from typing import Any, NamedTuple

import numpy as np

from minigrad import arena, backend
from minigrad.errors import ShapeError
from minigrad.graph import Handle
from minigrad.ops import elementwise, reduce, shape
from minigrad.ops.elementwise import where
from minigrad.primitive import primitive

inf, nan = math.inf, math.nan


class EighResult(NamedTuple):
    """What :func:`eigh` returns: ascending eigenvalues (..., n), eigenvectors as columns (..., n, n)."""

    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    """What :func:`qr` returns: orthonormal columns (..., m, k), upper triangle (..., k, n), with k = min(m, n)."""

    Q: Any
    R: Any


class SlogdetResult(NamedTuple):
    """What :func:`slogdet` returns: the sign and the logarithm of the absolute value, both (...,)."""

    sign: Any
    logabsdet: Any


class SVDResult(NamedTuple):
    """What :func:`svd` returns: (..., m, k), descending singular values (..., k), (..., k, n), with k = min(m, n)."""

    U: Any
    S: Any
    Vh: Any


def _raw(x: Any) -> Any:
    return x._data if isinstance(x, Handle) else x


def _operand(x: Any) -> Any:
    """``x`` as something that has a shape: Tensors and arrays as they are, numbers and lists as arrays."""
    return x if hasattr(x, "shape") else backend.from_python(x)


def _eye(a: Any) -> Any:
    """The identity for the last axis of ``a``, in its library and dtype."""
    return backend.namespace(_raw(a)).eye(a.shape[-1], dtype=a.dtype)


# Products


def _matmul(a: Any, b: Any) -> Any:
    """The matrix product ``y[..., i, k] = sum_j a[..., i, j] b[..., j, k]``; ``a @ b``.

    Shapes: (..., n, k) @ (..., k, m) -> (..., n, m), the leading axes broadcast. A 1-d operand is a row on the left, a column
    on the right, and its axis is gone from the result.

    Gate: swap multiplier with transposes, ``dL/da = g b^T`` and ``dL/db = a^T g`` (notes 001, "Backpropagation").

    Raises:
        ShapeError: if the inner sizes differ, the leading axes do not broadcast, or an operand is a single number.

    Example:
        >>> import minigrad as mg
        >>> W = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> y = mg.matmul(W, mg.tensor([1.0, 10.0]))
        >>> y.numpy().tolist()
        [21.0, 43.0]
        >>> y.sum().backward()
        >>> W.grad.numpy().tolist()
        [[1.0, 10.0], [1.0, 10.0]]
    """
    try:
        return product(a, b)
    except (ValueError, AttributeError) as error:
        raise ValueError(_misfit(np.shape(a), np.shape(b))) from error


def product(a: Any, b: Any, out: Any = None) -> Any:
    """``a @ b`` of arrays, in the array ``out`` if it is not None."""
    if b.ndim == 2 and a.ndim > 2:
        # One product of (B*T, k) by (k, m) instead of B products: 1.4 times as fast at (32, 50, 256), 4 times at T = 1.
        rows = a.shape[:-1]
        flat = None if out is None else out.reshape(math.prod(rows), b.shape[1])
        found = product(a.reshape(math.prod(rows), a.shape[-1]), b, flat)
        return found.reshape(*rows, b.shape[1]) if out is None else out
    if out is not None:
        return np.matmul(a, b, out)
    if a.size + b.size > LARGE and type(a) is np.ndarray and a.ndim == 2 and a.shape[1:] == b.shape[:1]:
        return np.matmul(a, b, arena.empty((a.shape[0], *b.shape[1:]), np.result_type(a, b)))
    return np.matmul(a, b)


LARGE = arena.LEAST // 8
"""Elements of two operands whose product may be worth a look in the arena."""


def _misfit(a: tuple[int, ...], b: tuple[int, ...]) -> str:
    if not a or not b:
        return "a matrix product needs operands of at least one axis; multiply by a number with *"
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] != inner:
        return (
            f"the last axis of the first operand (size {a[-1]}) is summed against the {'second-to-last' if len(b) > 1 else 'only'} "
            f"axis of the second (size {inner}): the sizes must be equal. Transpose one of them with .mT, or swap the operands."
        )
    return f"the leading axes {a[:-2]} and {b[:-2]} do not broadcast: each pair of sizes must be equal or contain a 1"


def _matmul_left(g: Any, y: Any, a: Any, b: Any) -> Any:
    """``g b^T``, with the axes that 1-d operands lack put in and taken out again."""
    if b.ndim == 1:
        return g[..., None] * b
    if a.ndim == 1:
        return (b @ g[..., None])[..., 0]
    return g @ b.mT if b.ndim > 2 else matmul(g, b.T)


def _matmul_right(g: Any, y: Any, a: Any, b: Any) -> Any:
    """``a^T g``; where ``b`` served every row of a batch, one product over all the rows, not a batch of products to sum."""
    if a.ndim == 1:
        return g * a if b.ndim == 1 else a[:, None] * g[..., None, :]
    if b.ndim > 2:  # mutate: equivalent [comparison] because products of a batch, summed later, give the same
        return a.mT @ g
    if a.ndim > 2:
        rows = math.prod(a.shape[:-1])
        a, g = a.reshape((rows, a.shape[-1])), g.reshape((rows, *b.shape[1:]))
    return matmul(a.T, g)


matmul = primitive(
    _matmul, _matmul_left, _matmul_right,
    needs=("b", "a"), rule=("g @ b.mT", "a.mT @ g"), gate="swap multiplier with transposes", math="a @ b",
)  # fmt: skip


def _contraction(a: Any, b: Any, equation: str) -> Any:
    """The sum of products that ``equation`` writes down for two operands: a product of matrices where it can be one.

    No index occurs twice in an operand, each has one size, and each that is summed is in both operands; :func:`einsum` sees to
    that. So the rules are contractions again.
    """
    plan = _as_matrices(equation)
    if plan is None:
        return np.einsum(equation, a, b)
    left, right, back, batches, outer, inner = plan
    a, b = a.transpose(left), b.transpose(right)
    batch, rows, columns = a.shape[:batches], a.shape[batches : batches + outer], b.shape[batches + inner :]
    size = math.prod(b.shape[batches : batches + inner])
    a, b = a.reshape(*batch, math.prod(rows), size), b.reshape(*batch, size, math.prod(columns))
    return np.matmul(a, b).reshape(*batch, *rows, *columns).transpose(back)


@functools.lru_cache(4096)
def _as_matrices(equation: str) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int, int, int] | None:
    """How to transpose both operands to (batch, rows, inner) and (batch, inner, columns), and the product to the output.

    None where nothing is summed or there are neither rows nor columns: then einsum's own loop is the faster one.
    """
    a, b, out = _parts(equation)
    batch = [i for i in a if i in b and i in out]
    inner = [i for i in a if i in b and i not in out]
    rows, columns = [i for i in a if i not in b], [i for i in b if i not in a]
    if not inner or not (rows or columns):
        return None
    made = batch + rows + columns
    return (
        tuple(map(a.index, batch + rows + inner)), tuple(map(b.index, batch + inner + columns)), tuple(map(made.index, out)),
        len(batch), len(rows), len(inner),
    )  # fmt: skip


@functools.lru_cache(4096)
def _parts(equation: str) -> tuple[str, str, str]:
    operands, out = equation.split("->")
    a, b = operands.split(",")
    return a, b, out


def _contraction_left(g: Any, y: Any, a: Any, b: Any, equation: str) -> Any:
    left, right, out = _parts(equation)
    return _contract(g, b, f"{out},{right}->{left}")


def _contraction_right(g: Any, y: Any, a: Any, b: Any, equation: str) -> Any:
    left, right, out = _parts(equation)
    return _contract(a, g, f"{left},{out}->{right}")


_contract = primitive(
    _contraction, _contraction_left, _contraction_right,
    needs=("b", "a"), rule=("einsum of g and b over a's indices", "einsum of g and a over b's indices"), gate="swap multiplier with transposes", math="sum of products a b over the indices left out",
    name="einsum",
)  # fmt: skip


def einsum(equation: str, *operands: Any) -> Any:
    """Einstein's sum: the product of the operands, summed over every index that the output leaves out.

    ``einsum("ij,jk->ik", a, b)`` is ``y[i, k] = sum_j a[i, j] b[j, k]``. An index repeated inside an operand takes its
    diagonal, ``...`` stands for axes that broadcast, and without ``->`` the output has the indices that occur once, in
    alphabetical order. Three or more operands are contracted two by two, the cheapest pair first.

    Gate: swap multiplier with transposes, for each pair.

    Raises:
        ShapeError: if the equation is malformed, or does not fit the operands' shapes.

    Example:
        >>> import minigrad as mg
        >>> a = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> mg.einsum("ii->", a).item()
        5.0
        >>> mg.einsum("ij,jk,k->i", a, a, mg.tensor([1.0, 1.0])).numpy().tolist()
        [17.0, 37.0]
    """
    xs = [_operand(x) for x in operands]
    prepare, steps, order = _program(equation, tuple(tuple(x.shape) for x in xs))
    for k, (pairs, dropped, summed) in enumerate(prepare):
        for i, j in pairs:
            xs[k] = shape.diagonal(xs[k], 0, i, j)
        if dropped is not None:
            xs[k] = xs[k].reshape(dropped)
        if summed:
            xs[k] = reduce.sum(xs[k], summed)
    for i, j, pair in steps:
        b, a = xs.pop(j), xs.pop(i)
        xs.append(_contract(a, b, pair))
    return xs[0] if order is None else shape.permute_dims(xs[0], order)


Preparation = tuple[list[tuple[int, int]], tuple[int, ...] | None, tuple[int, ...]]
Step = tuple[int, int, str]


@functools.lru_cache(1024)
def _program(
    equation: str, shapes: tuple[tuple[int, ...], ...]
) -> tuple[list[Preparation], list[Step], tuple[int, ...] | None]:
    """What einsum does: per operand the diagonals, the shape without broadcast axes and the axes to sum; then pairs."""
    labels, out = _labels(equation, shapes)
    sizes: dict[str, int] = {}
    for k, (names, lengths) in enumerate(zip(labels, shapes)):
        for name, n in zip(names, lengths):
            if n != 1 and sizes.setdefault(name, n) not in (1, n):
                why = f"index {name!r} has sizes {sizes[name]} and {n} (operand {k + 1}); they must be equal, or one of them 1"
                raise _bad(equation, shapes, why)
            sizes[name] = n if sizes.get(name, 1) == 1 else sizes[name]
    prepare: list[Preparation] = []
    for k, names in enumerate(labels):
        own, pairs = list(shapes[k]), list[tuple[int, int]]()
        while repeated := [name for name, count in Counter(names).items() if count > 1]:
            i = names.index(repeated[0])
            j = names.index(repeated[0], i + 1)
            if own[i] != own[j]:
                raise _bad(equation, shapes, f"operand {k + 1} has sizes {own[i]} and {own[j]} on the diagonal {names[i]!r}")
            pairs.append((i, j))
            names, n = names[:i] + names[i + 1 : j] + names[j + 1 :] + names[i], own[i]
            own = [*own[:i], *own[i + 1 : j], *own[j + 1 :], n]
        kept = [i for i, name in enumerate(names) if own[i] == sizes[name]]
        dropped = None if len(kept) == len(names) else tuple(own[i] for i in kept)
        labels[k] = "".join(names[i] for i in kept)
        prepare.append((pairs, dropped, ()))
    for k, names in enumerate(labels):
        used = set(out).union(*labels[:k], *labels[k + 1 :])
        prepare[k] = (*prepare[k][:2], tuple(i for i, name in enumerate(names) if name not in used))
        labels[k] = "".join(name for name in names if name in used)

    def work(pair: tuple[int, int]) -> int:
        return math.prod(sizes[name] for name in set(labels[pair[0]] + labels[pair[1]]))

    steps: list[Step] = []
    while len(labels) > 1:
        i, j = min(((i, j) for j in range(len(labels)) for i in range(j)), key=work)
        b, a = labels.pop(j), labels.pop(i)
        used = set(out).union(*labels)
        shared = [name for name in a if name in b and name in used]
        made = "".join([*shared, *(x for x in a if x not in b), *(x for x in b if x not in a)]) if labels else out
        steps.append((i, j, f"{a},{b}->{made}"))
        labels.append(made)
    order = None if labels[0] == out else tuple(map(labels[0].index, out))
    return prepare, steps, order


def _labels(equation: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[list[str], str]:
    """One letter per axis of each operand and of the output; the axes of an ellipsis get letters that are not in use."""
    left, arrow, out = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise _bad(equation, shapes, f"the equation has {len(terms)} operands, the call {len(shapes)}")
    spare = [letter for letter in ascii_letters if letter not in equation]
    named = [term.replace("...", "", 1) for term in terms]
    for k, (term, names, lengths) in enumerate(zip(terms, named, shapes)):
        if any(name not in ascii_letters for name in names):
            raise _bad(equation, shapes, f"{term!r} has a sign that is neither a letter nor one ellipsis '...'")
        if len(names) > len(lengths) or (term == names and len(names) < len(lengths)):
            raise _bad(equation, shapes, f"{term!r} names {len(names)} axes, operand {k + 1} has {len(lengths)}")
    ranks = [len(lengths) - len(names) for names, lengths in zip(named, shapes)]
    rest = "".join(spare[: max(ranks, default=0)])
    labels = [term.replace("...", rest[len(rest) - n :]) for term, n in zip(terms, ranks)]
    if not arrow:
        counts = Counter("".join(named))
        return labels, rest + "".join(sorted(name for name, count in counts.items() if count == 1))
    if "..." not in out and rest and any(ranks):
        raise _bad(equation, shapes, "the output has no ellipsis '...' for the axes that the operands' ellipses stand for")
    out = out.replace("...", rest, 1)
    if len(set(out)) != len(out) or not set(out) <= set("".join(labels)):
        raise _bad(equation, shapes, "each index of the output must be an index of an operand, and be there once")
    return labels, out


def _bad(equation: str, shapes: Any, why: str) -> ShapeError:
    return ShapeError(f"einsum({equation!r}) on shapes {', '.join(map(str, shapes))}: {why}")


def tensordot(a: Any, b: Any, axes: int | tuple[Any, Any] = 2) -> Any:
    """The sum over pairs of axes: the last ``axes`` of ``a`` with the first of ``b``, or the pairs ``(axes_a, axes_b)``.

    Shapes: the axes of ``a`` that are left, then those of ``b``. Gate: swap multiplier with transposes.

    Example:
        >>> import minigrad as mg
        >>> mg.tensordot(mg.ones((2, 3, 4)), mg.ones((4, 3, 5)), axes=((1, 2), (1, 0))).shape
        (2, 5)
    """
    a, b = _operand(a), _operand(b)
    if isinstance(axes, int):
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    left, right = ([k] if isinstance(k, int) else list(k) for k in axes)
    if len(left) != len(right) or any(not -a.ndim <= i < a.ndim for i in left) or any(not -b.ndim <= j < b.ndim for j in right):
        raise ShapeError(
            f"tensordot: axes {left} of shape {tuple(a.shape)} and axes {right} of shape {tuple(b.shape)}: "
            f"expected as many axes of one as of the other, each an axis that it has"
        )
    sizes = [(a.shape[i], b.shape[j]) for i, j in zip(left, right)]
    if any(m != n for m, n in sizes):
        raise ShapeError(f"tensordot: the axes summed together have sizes {sizes} (first, second operand); they must be equal")
    i, j = list(ascii_letters[: a.ndim]), list(ascii_letters[a.ndim : a.ndim + b.ndim])
    for m, n in zip(left, right):
        j[n] = i[m]
    gone = {i[m] for m in left}
    return einsum(f"{''.join(i)},{''.join(j)}->{''.join(x for x in i + j if x not in gone)}", a, b)


def vecdot(a: Any, b: Any, axis: int = -1) -> Any:
    """``y[...] = sum_i a[..., i] b[..., i]``: the dot product over ``axis``, the other axes broadcast. Gate: swap multiplier.

    Example:
        >>> import minigrad as mg
        >>> mg.vecdot(mg.tensor([[1.0, 2.0], [3.0, 4.0]]), mg.tensor([1.0, 1.0])).numpy().tolist()
        [3.0, 7.0]
    """
    a, b = _operand(a), _operand(b)
    if not a.ndim or not b.ndim or a.shape[axis] != b.shape[axis]:
        raise ShapeError(f"vecdot: shapes {tuple(a.shape)} and {tuple(b.shape)}: expected equal sizes of axis {axis}")
    a, b = (x if axis in (-1, x.ndim - 1) else shape.moveaxis(x, axis, -1) for x in (a, b))
    return einsum("...i,...i->...", a, b)


def inner(a: Any, b: Any) -> Any:
    """``y[..., j] = sum_i a[..., i] b[j, i]``: the sum over the last axes of both; a number multiplies. Gate: swap multiplier.

    Example:
        >>> import minigrad as mg
        >>> mg.inner(mg.tensor([1.0, 2.0]), mg.tensor([3.0, 4.0])).item()
        11.0
    """
    a, b = _operand(a), _operand(b)
    return tensordot(a, b, ((-1,), (-1,))) if a.ndim and b.ndim else a * b


def outer(a: Any, b: Any) -> Any:
    """``y[i, j] = a[i] b[j]``, operands with more axes flattened. Gate: swap multiplier.

    Example:
        >>> import minigrad as mg
        >>> mg.outer(mg.tensor([1.0, 2.0]), mg.tensor([3.0, 4.0])).numpy().tolist()
        [[3.0, 4.0], [6.0, 8.0]]
    """
    return einsum("i,j->ij", *(x if x.ndim == 1 else x.reshape((math.prod(x.shape),)) for x in (_operand(a), _operand(b))))


def dot(a: Any, b: Any) -> Any:
    """NumPy's ``dot``: product of vectors or matrices; a number multiplies; beyond two axes, the sum over the last axis of
    ``a`` and the second-to-last of ``b``.

    Example:
        >>> import minigrad as mg
        >>> mg.dot(mg.tensor([1.0, 2.0]), mg.tensor([3.0, 4.0])).item()
        11.0
    """
    a, b = _operand(a), _operand(b)
    if not a.ndim or not b.ndim:
        return a * b
    return matmul(a, b) if a.ndim <= 2 and b.ndim <= 2 else tensordot(a, b, ((-1,), (max(b.ndim - 2, 0),)))


def kron(a: Any, b: Any) -> Any:
    """Kronecker's product: every element of ``a`` times all of ``b``, as blocks. Gate: swap multiplier.

    Example:
        >>> import minigrad as mg
        >>> mg.kron(mg.tensor([1.0, 10.0]), mg.tensor([1.0, 2.0])).numpy().tolist()
        [1.0, 2.0, 10.0, 20.0]
    """
    a, b = _operand(a), _operand(b)
    ndim = max(a.ndim, b.ndim)
    m, n = ((1,) * (ndim - x.ndim) + tuple(x.shape) for x in (a, b))
    blocks = a.reshape(tuple(k for i in m for k in (i, 1))) * b.reshape(tuple(k for i in n for k in (1, i)))
    return blocks.reshape(tuple(i * j for i, j in zip(m, n)))


def _cross(a: Any, b: Any, axis: int = -1) -> Any:
    """The cross product of 3-vectors along ``axis``, the other axes broadcast.

    Gate: swap multiplier with a turn, ``dL/da = b x g`` and ``dL/db = g x a``: the triple product is cyclic.

    Raises:
        ShapeError: if ``axis`` has not size 3, or counts from the front for operands of different ``ndim``.

    Example:
        >>> import minigrad as mg
        >>> mg.cross(mg.tensor([1.0, 0.0, 0.0]), mg.tensor([0.0, 1.0, 0.0])).numpy().tolist()
        [0.0, 0.0, 1.0]
    """
    if not (np.ndim(a) and np.ndim(b)) or a.shape[axis] != 3 or b.shape[axis] != 3:
        raise ValueError(f"axis {axis} must have size 3 in both operands")
    if axis >= 0 and a.ndim != b.ndim:
        raise ValueError(f"operands have {a.ndim} and {b.ndim} axes: count axis from the end, as axis=-1")
    return np.cross(a, b, axis=axis)


def _cross_left(g: Any, y: Any, a: Any, b: Any, axis: int) -> Any:
    return cross(b, g, axis)


def _cross_right(g: Any, y: Any, a: Any, b: Any, axis: int) -> Any:
    return cross(g, a, axis)


cross = primitive(
    _cross, _cross_left, _cross_right,
    needs=("b", "a"), gate="swap multiplier with a turn", math="a x b",
)  # fmt: skip


def _convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """The discrete convolution ``y[k] = sum_i a[i] v[k - i]`` of two vectors, as NumPy's (neural networks' is ``conv1d``).

    ``mode``: "full", every k where they overlap; "same", the length of the longer; "valid", where they overlap completely.

    Example:
        >>> import minigrad as mg
        >>> mg.convolve(mg.tensor([1.0, 2.0, 3.0]), mg.tensor([1.0, 1.0])).numpy().tolist()
        [1.0, 3.0, 5.0, 3.0]
    """
    return np.convolve(a, v, mode)  # type: ignore[call-overload]


def _convolve_rule(g: Any, a: Any, v: Any, mode: str) -> Any:
    """``sum_k g[k] v[k - i]``, g brought back to all k first."""
    n, m = a.shape[0], v.shape[0]
    start = {"full": 0, "same": (min(n, m) - 1) // 2, "valid": min(n, m) - 1}[mode]
    g = shape.pad(g, ((start, n + m - 1 - start - g.shape[0]),))
    return convolve(g, shape.flip(v), "full")[m - 1 : m - 1 + n]


convolve: Any = primitive(
    _convolve, lambda g, y, a, v, mode: _convolve_rule(g, a, v, mode), lambda g, y, a, v, mode: _convolve_rule(g, v, a, mode),
    needs=("b", "a"), rule=("sum over k of g[k] * b[k - i]", "sum over k of g[k] * a[k - i]"), gate="swap multiplier, summed over shifts",
    math="sum over i of a[i] * b[k - i]",
)  # fmt: skip


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """``y = sum_i a[i, i + offset]``, over NumPy's default axes, the first two. Gate: gradient distributor, along the diagonal.

    Example:
        >>> import minigrad as mg
        >>> mg.trace(mg.tensor([[1.0, 2.0], [3.0, 4.0]])).item()
        5.0
    """
    return reduce.sum(shape.diagonal(a, offset, axis1, axis2), -1)


# Inverses and systems of equations


def _inv(a: Any) -> Any:
    """The inverse of square matrices (..., n, n).

    Gate: negated and multiplied by the transposed output from both sides, ``dL/da = -y^T g y^T`` (Giles 2008, 2.2.3).

    Raises:
        LinAlgError: if a matrix is singular or not square.

    Example:
        >>> import minigrad as mg
        >>> mg.inv(mg.tensor([[2.0, 0.0], [0.0, 4.0]])).numpy().tolist()
        [[0.5, 0.0], [0.0, 0.25]]
    """
    return np.linalg.inv(a)


inv = primitive(
    _inv, lambda g, y, a: -(y.mT @ g @ y.mT), needs="y", gate="multiplies by -y^T from both sides", math="a^-1"
)  # fmt: skip


def _solve(a: Any, b: Any) -> Any:
    """The ``y`` with ``a @ y = b``, for square ``a`` (..., n, n) and a vector ``b`` (n,) or matrices ``b`` (..., n, k).

    As in NumPy 2, only a 1-d ``b`` is a vector; for a batch of vectors pass ``b[..., None]``. Leading axes broadcast.

    Gate: solves with the transpose, ``dL/db = a^-T g`` and ``dL/da = -(dL/db) y^T`` (Giles 2008, 2.3.1).

    Raises:
        LinAlgError: if a matrix is singular or not square.
        ShapeError: if the shapes do not fit.

    Example:
        >>> import minigrad as mg
        >>> mg.solve(mg.tensor([[2.0, 0.0], [0.0, 4.0]]), mg.tensor([2.0, 2.0])).numpy().tolist()
        [1.0, 0.5]
    """
    return np.linalg.solve(a, b)


def _solve_transposed(g: Any, y: Any, a: Any, b: Any) -> Any:
    return solve(a.mT, g[..., None])[..., 0] if b.ndim == 1 else solve(a.mT, g)


def _solve_matrix(g: Any, y: Any, a: Any, b: Any) -> Any:
    x = _solve_transposed(g, y, a, b)
    return -(x[..., :, None] * y[..., None, :]) if b.ndim == 1 else -(x @ y.mT)


solve = primitive(
    _solve, _solve_matrix, _solve_transposed, needs=("ya", "a"), rule=("-solve(a.mT, g) @ y.mT", "solve(a.mT, g)"), gate="solves with the transpose", math="a^-1 b"
)  # fmt: skip


def _resolution(a: Any) -> float:
    """The relative distance of neighbouring numbers, in the dtype that a factorisation of ``a`` computes in."""
    return float(np.finfo(np.result_type(a.dtype, np.float32)).eps)


def _pinv(a: Any, rtol: float | None = None) -> Any:
    """The Moore-Penrose pseudo-inverse of matrices (..., m, n): (..., n, m).

    Singular values below ``rtol`` times the largest count as zero; by default ``max(m, n)`` times the dtype's resolution.
    Source of the rule: G. Golub and V. Pereyra, "The differentiation of pseudo-inverses" (1973).

    Example:
        >>> import minigrad as mg
        >>> mg.pinv(mg.tensor([[2.0, 0.0], [0.0, 4.0], [0.0, 0.0]])).shape
        (2, 3)
    """
    return np.linalg.pinv(a, max(a.shape[-2:]) * _resolution(a) if rtol is None else rtol)


def _pinv_rule(g: Any, y: Any, a: Any, rtol: float | None) -> Any:
    left, right = g.mT @ y, y @ g.mT
    return (g.mT - a @ right) @ y @ y.mT + y.mT @ y @ (g.mT - left @ a) - y.mT @ g @ y.mT


pinv = primitive(
    _pinv, _pinv_rule, needs="ya", rule=("from y, a and g by the formula of Golub and Pereyra (1973)",), gate="multiplies by -y^T from both sides, plus what leaves the ranges", math="a^+",
    kink="where the rank changes; the gradient is along matrices of the same rank",
)  # fmt: skip


def lstsq(a: Any, b: Any, rcond: float | None = None) -> tuple[Any, Any, int, Any]:
    """Least squares: the shortest ``x`` that minimises ``||a x - b||``, as NumPy's tuple (x, residuals, rank, s).

    Shapes: ``a`` (m, n), ``b`` (m,) or (m, k); ``x`` (n,) or (n, k). ``residuals`` are the sums of squares, empty where the
    rank is below n or m <= n; ``s`` are the singular values. All but the rank are differentiable (see :func:`pinv`).

    Raises:
        ShapeError: if the shapes do not fit.

    Example:
        >>> import minigrad as mg
        >>> x, residuals, rank, s = mg.lstsq(mg.tensor([[1.0], [1.0]]), mg.tensor([1.0, 3.0]))
        >>> round(x.numpy().item(), 5), round(residuals.numpy().item(), 5), rank
        (2.0, 2.0, 1)
    """
    a, b = _operand(a), _operand(b)
    if a.ndim != 2 or b.ndim not in (1, 2) or a.shape[0] != b.shape[0]:
        raise ShapeError(f"lstsq: shapes {tuple(a.shape)} and {tuple(b.shape)}: expected (m, n) and (m,) or (m, k)")
    m, n = a.shape
    rcond = _resolution(a) * max(m, n) if rcond is None else rcond
    s = svdvals(a)
    rank = int((_raw(s) > rcond * _raw(s)[:1]).sum())
    x = pinv(a, rcond) @ b
    gap = a @ x - b
    residuals = reduce.sum(gap * gap, 0).reshape(b.shape[1:] or (1,))
    return x, residuals if rank == n < m else residuals[:0], rank, s


def matrix_power(a: Any, n: int) -> Any:
    """``a @ a @ ... @ a``, ``n`` factors, by repeated squaring; ``n = 0`` gives the identity, ``n < 0`` powers of the inverse.

    Example:
        >>> import minigrad as mg
        >>> mg.matrix_power(mg.tensor([[1.0, 1.0], [0.0, 1.0]]), 5).numpy().tolist()
        [[1.0, 5.0], [0.0, 1.0]]
    """
    a = _operand(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"matrix_power: expected square matrices (..., n, n), got shape {tuple(a.shape)}")
    if n == 0:
        return a * 0 + _eye(a)
    power, result = inv(a) if n < 0 else a, None
    for bit in reversed(f"{abs(n):b}"):
        if bit == "1":
            result = power if result is None else result @ power
        n = n // 2 if n > 0 else -(-n // 2)
        if n:
            power = power @ power
    return result


# Determinants


def _det(a: Any) -> Any:
    """The determinant of square matrices (..., n, n): (...,).

    Gate: multiplies by the cofactors (Giles 2008, 2.2.4, where they are ``det(a) a^-T``). They come from a factorisation that
    needs no inverse, so first and second order are right at singular matrices too.

    Raises:
        LinAlgError: if a matrix is not square.

    Example:
        >>> import minigrad as mg
        >>> a = mg.tensor([[1.0, 2.0], [2.0, 4.0]], requires_grad=True)
        >>> mg.det(a).backward()
        >>> a.grad.numpy().round(4).tolist()
        [[4.0, -2.0], [-2.0, 1.0]]
    """
    return np.linalg.det(a)


def _others(s: Any, apart: Any) -> Any:
    """Products of the singular values, for each row of the mask ``apart`` without those it names."""
    return reduce.prod(where(apart, 1, s), -1)


def _cofactors(a: Any) -> Any:
    """The cofactors of square matrices: with a = U S V^T, those of the diagonal matrix S, turned back by U and V.

    Source: G. W. Stewart, "On the adjugate matrix" (1998): accurate at singular matrices too.
    """
    u, s, vh = np.linalg.svd(a)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    one = backend.namespace(a).eye(a.shape[-1], dtype=bool)
    return sign[..., None, None] * ((u.conj() * _others(s[..., None, :], one)[..., None, :]) @ vh.conj())


def _cofactors_rule(g: Any, y: Any, a: Any) -> Any:
    """In the axes of U and V, where a is diagonal: cofactor ii grows with element kk, cofactor ij falls with element ji, each
    by the product of all singular values but those two. No division: right at singular matrices.
    """
    u, s, vh = svd(a)
    one = backend.namespace(_raw(a)).eye(a.shape[-1], dtype=bool)
    others = _others(s[..., None, None, :], one[:, None] | one)
    pairs = where(one, 0, others)  # mutate: equivalent [constant] because the diagonal is added and subtracted
    h = u.mT @ g @ vh.mT
    turned = where(one, pairs @ shape.diagonal(h, 0, -2, -1)[..., None], 0) - pairs * h.mT
    sign = elementwise.sign(det(u @ vh))[..., None, None]
    return sign * (u @ turned @ vh)


_cofactor = primitive(
    _cofactors, _cofactors_rule, needs="a", rule=("sum of g * second minors of a",), gate="multiplies by the minors of second order", math="cofactors of a",
    kink="third derivatives of det at equal singular values are nan", name="cofactors",
)  # fmt: skip


det = primitive(
    _det, lambda g, y, a: g[..., None, None] * _cofactor(a), needs="a", rule=("g * cofactors(a)",), gate="multiplies by the cofactors", math="det(a)"
)  # fmt: skip


def _slogdet_packed(a: Any) -> Any:
    sign, logabsdet = np.linalg.slogdet(a)
    return np.stack([sign, logabsdet], -1)


_slogdet = primitive(
    _slogdet_packed, lambda g, y, a: g[..., 1, None, None] * inv(a).mT, needs="a",
    gate="multiplies by the transposed inverse", math="sign and log of |det(a)|", name="slogdet",
)  # fmt: skip


def slogdet(a: Any) -> SlogdetResult:
    """The sign and ``log |det(a)|`` of square matrices (..., n, n), without overflow: (sign, logabsdet), both (...,).

    Gate: multiplies by the transposed inverse, ``dL/da = g a^-T`` (Giles 2008, 2.2.4); the sign has gradient 0. At a singular
    matrix logabsdet is -inf, and backward raises.

    Example:
        >>> import minigrad as mg
        >>> a = mg.tensor([[2.0, 0.0], [0.0, 4.0]], requires_grad=True)
        >>> mg.slogdet(a).logabsdet.backward()
        >>> a.grad.numpy().tolist()
        [[0.5, 0.0], [0.0, 0.25]]
    """
    y = _slogdet(a)
    return SlogdetResult(y[..., 0], y[..., 1])


# Factorisations


def _hermitian(a: Any) -> Any:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError("expected square matrices (..., n, n)")
    return (a + a.conj().mT) / 2


def _cholesky(a: Any) -> Any:
    """The lower triangle ``L`` with ``L @ L.mT = a``, for symmetric positive definite matrices (..., n, n).

    Reads the symmetric part ``(a + a^T) / 2``, so that the gradient, which is symmetric, is that of what was computed.
    Source of the rule: I. Murray, "Differentiation of the Cholesky decomposition" (2016).

    Raises:
        LinAlgError: if a matrix is not positive definite.
        ShapeError: if it is not square.

    Example:
        >>> import minigrad as mg
        >>> mg.cholesky(mg.tensor([[4.0, 2.0], [2.0, 5.0]])).numpy().tolist()
        [[2.0, 0.0], [1.0, 2.0]]
    """
    return np.linalg.cholesky(_hermitian(a))


def _cholesky_rule(g: Any, y: Any, a: Any) -> Any:
    half = backend.namespace(_raw(g)).tri(y.shape[-1], dtype=y.dtype) - _eye(y) / 2
    back = inv(y)
    s = back.mT @ (half * (y.mT @ g)) @ back
    return (s + s.mT) / 2


cholesky = primitive(
    _cholesky, _cholesky_rule, needs="y", rule=("L^-T P(L.T g) L^-1, where P halves the diagonal and keeps what is below it",), gate="multiplies by L^-T and L^-1, lower triangle between them", math="L: L L^T = a"
)  # fmt: skip


def _qr_packed(a: Any) -> Any:
    q, r = np.linalg.qr(a)
    return np.concatenate([q, r.mT], -2)


def _qr_rule(g: Any, y: Any, a: Any) -> Any:
    """Source: M. Seeger et al., "Auto-differentiating linear algebra" (2017), 4.3."""
    m = a.shape[-2]
    q, r, gq, gr = y[..., :m, :], y[..., m:, :].mT, g[..., :m, :], g[..., m:, :].mT
    both = r @ gr.mT - gq.mT @ q
    lower = both * backend.namespace(_raw(g)).tri(y.shape[-1], dtype=y.dtype)
    symmetric = lower + (lower * (1 - _eye(y))).mT
    return solve(r, (gq + q @ symmetric).mT).mT


_qr = primitive(
    _qr_packed, _qr_rule, needs="y", rule=("(g_Q + Q M) R^-T, with M the symmetric part from g_R R.T - g_Q.T Q",), gate="solves with R^T", math="Q, R: Q R = a",
    kink="none at dependent columns: R is singular and backward raises", name="qr",
)  # fmt: skip


def qr(a: Any, mode: str = "reduced") -> QRResult:
    """``Q`` with orthonormal columns and an upper triangle ``R`` with ``Q @ R = a``: (..., m, k), (..., k, n), k = min(m, n).

    The gradient exists where the first k columns are independent.

    Raises:
        ValueError: for a mode other than "reduced": the columns that "complete" adds are arbitrary and have no derivative.

    Example:
        >>> import minigrad as mg
        >>> Q, R = mg.qr(mg.tensor([[3.0, 1.0], [4.0, 2.0]]))
        >>> (Q @ R).numpy().round(4).tolist()
        [[3.0, 1.0], [4.0, 2.0]]
    """
    if mode != "reduced":
        raise ValueError(f"qr: mode {mode!r}: only 'reduced' is differentiable; for others call np.linalg.qr(x.numpy(), mode)")
    a = _operand(a)
    if a.ndim < 2:
        raise ShapeError(f"qr: expected matrices (..., m, n), got shape {tuple(a.shape)}")
    m, n = a.shape[-2:]
    y = _qr(a[..., :m] if n > m else a)
    q, r = y[..., :m, :], y[..., m:, :].mT
    return QRResult(q, shape.concat([r, q.mT @ a[..., m:]], -1) if n > m else r)


def _over(x: Any, gap: Any, met: Any) -> Any:
    """``x / gap``; where the gap is zero, 0 if no gradient met it and nan if one did: the honest answer, without warnings."""
    return x / where(gap == 0, where(met == 0, 1, nan), gap)


def _eigh_packed(a: Any) -> Any:
    w, v = np.linalg.eigh(_hermitian(a))
    return np.concatenate([w[..., None, :], v], -2)


def _eigh_rule(g: Any, y: Any, a: Any) -> Any:
    w, v, gw, gv = y[..., 0, :], y[..., 1:, :], g[..., 0, :], g[..., 1:, :]
    one = _eye(v)
    p = v.mT @ gv
    turn = _over((p - p.mT) / 2, w[..., None, :] - w[..., :, None] + one, p)
    return v @ (turn + one * gw[..., None, :]) @ v.mT


_DEGENERATE = "equal values: nan for a gradient through their vectors, as in PyTorch; gradients through the values are right"
_eigh = primitive(
    _eigh_packed, _eigh_rule, needs="y", rule=("V (diag(g_w) + (V.T g_V) / (w_j - w_i)) V.T",), gate="turns by the eigenvectors, divides by gaps of eigenvalues", math="w, V: V w V^T = a",
    kink=_DEGENERATE, name="eigh",
)  # fmt: skip


def eigh(a: Any) -> EighResult:
    """Eigenvalues, ascending, and orthonormal eigenvectors (columns) of symmetric matrices (..., n, n).

    Reads the symmetric part ``(a + a^T) / 2``, so that the gradient, which is symmetric, is that of what was computed. The sign
    of an eigenvector is arbitrary: a loss should not depend on it. At equal eigenvalues the gradient through their
    eigenvectors is nan, as in PyTorch, that through eigenvalues alone finite. Source: Giles 2008, 3.1.

    Raises:
        ShapeError: if a matrix is not square.

    Example:
        >>> import minigrad as mg
        >>> mg.eigh(mg.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues.numpy().tolist()
        [1.0, 2.0]
    """
    y = _eigh(a)
    return EighResult(y[..., 0, :], y[..., 1:, :])


def eigvalsh(a: Any) -> Any:
    """The eigenvalues of symmetric matrices, ascending: (..., n). See :func:`eigh`.

    Example:
        >>> import minigrad as mg
        >>> mg.eigvalsh(mg.tensor([[0.0, 1.0], [1.0, 0.0]])).numpy().round(4).tolist()
        [-1.0, 1.0]
    """
    return eigh(a).eigenvalues


def _svd_packed(a: Any) -> Any:
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return np.concatenate([u, s[..., None, :], vh.mT], -2)


def _svd_rule(g: Any, y: Any, a: Any) -> Any:
    """Source: J. Townsend, "Differentiating the singular value decomposition" (2016), eq. 31 and the following."""
    m, n = a.shape[-2:]
    u, s, v = y[..., :m, :], y[..., m, :], y[..., m + 1 :, :]
    gu, gs, gv = g[..., :m, :], g[..., m, :], g[..., m + 1 :, :]
    one, row, column = _eye(y), s[..., None, :], s[..., :, None]
    gap = (row - column) * (row + column) + one
    pu, pv = u.mT @ gu, v.mT @ gv
    met = abs(pu) + abs(pv)
    inside = _over(pu - pu.mT, gap, met) * row + column * _over(pv - pv.mT, gap, met) + one * gs[..., None, :]
    result = u @ inside @ v.mT
    if m > n:  # mutate: equivalent [comparison] because nothing is outside where a is square
        outside = gu - u @ pu
        result = result + _over(outside, row, outside) @ v.mT
    if n > m:  # mutate: equivalent [comparison] because nothing is outside where a is square
        outside = gv - v @ pv
        result = result + u @ _over(outside, row, outside).mT
    return result


_svd = primitive(
    _svd_packed, _svd_rule, needs="y", rule=("from U, S, V and g by the formula of Townsend (2016)",), gate="turns by the singular vectors, divides by gaps of squares",
    math="U, S, V: U S V^T = a", kink=_DEGENERATE, name="svd",
)  # fmt: skip


def svd(a: Any, full_matrices: bool = False) -> SVDResult:
    """The singular value decomposition ``a = U @ diag(S) @ Vh`` of (..., m, n): (..., m, k), (..., k), (..., k, n), k = min(m, n).

    The signs of a pair of singular vectors are arbitrary: a loss should not depend on them. At equal singular values, and for
    matrices that are not square at the value 0, the gradient through their vectors is nan, as in PyTorch; that through
    singular values alone is finite.

    Args:
        a: matrices (..., m, n).
        full_matrices: unlike NumPy's, False by default; True only for plain arrays.

    Raises:
        ValueError: if ``full_matrices`` is True for a Tensor: the columns that it adds are arbitrary and have no derivative.

    Example:
        >>> import minigrad as mg
        >>> mg.svd(mg.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])).S.numpy().tolist()
        [4.0, 3.0]
    """
    if full_matrices:
        if isinstance(a, Handle):
            raise ValueError(
                "svd: full_matrices=True adds singular vectors that are arbitrary and have no derivative. "
                "Leave it False, or call np.linalg.svd(x.numpy())."
            )
        return SVDResult(*np.linalg.svd(a))
    a = _operand(a)
    y = _svd(a)
    m = a.shape[-2]
    return SVDResult(y[..., :m, :], y[..., m, :], y[..., m + 1 :, :].mT)


def svdvals(a: Any) -> Any:
    """The singular values of matrices (..., m, n), descending: (..., min(m, n)). See :func:`svd`.

    Example:
        >>> import minigrad as mg
        >>> mg.svdvals(mg.tensor([[3.0, 0.0], [0.0, 4.0]])).numpy().tolist()
        [4.0, 3.0]
    """
    return svd(a).S


# Norms

Axis = int | tuple[int, ...] | None


def _p_norm(x: Any, ord: float, axis: Axis, keepdims: bool) -> Any:
    size = np.abs(x)
    if ord == 2:
        return np.sqrt((size * size).sum(axis=axis, keepdims=keepdims))
    with np.errstate(divide="ignore"):
        return (size**ord).sum(axis=axis, keepdims=keepdims) ** (1 / ord)


def _p_norm_rule(g: Any, y: Any, a: Any, ord: float, axis: Axis, keepdims: bool) -> Any:
    """``g a |a|^(p-2) / y^(p-1)``; 0 for a zero vector, and below p = 2 for a zero element."""
    if not keepdims:
        gone = range(a.ndim) if axis is None else [k % a.ndim for k in ((axis,) if isinstance(axis, int) else axis)]
        kept = tuple(1 if k in gone else n for k, n in enumerate(a.shape))
        g, y = g.reshape(kept), y.reshape(kept)
    safe = where(y == 0, 1, y)
    if ord == 2:
        return a * where(y == 0, 0, g / safe)
    size = abs(a) if ord > 2 else where(a == 0, 1, abs(a))
    weight = where(y == 0, 0, g * safe ** (1 - ord)) * size ** (ord - 2)
    return a * (weight if ord > 2 else where(a == 0, 0, weight))


_norm = primitive(
    _p_norm, _p_norm_rule, needs="ya", rule=("g * a * |a|**(p - 2) / y**(p - 1)",), gate="multiplies by the unit vector", math="(sum of |a|^p)^(1/p)",
    kink="0 at zero vectors, as in PyTorch", name="vector_norm",
)  # fmt: skip


def vector_norm(x: Any, ord: float | str = 2, axis: Axis = None, keepdims: bool = False) -> Any:
    """``(sum |x|^p)^(1/p)`` over ``axis``; ``ord`` inf and -inf are the largest and smallest |x|, 0 counts what is not zero.

    Gate: multiplies by the unit vector (p = 2). The gradient at a zero vector is 0, as in PyTorch.

    Example:
        >>> import minigrad as mg
        >>> mg.vector_norm(mg.tensor([[3.0, 4.0], [0.0, 0.0]]), axis=1).numpy().tolist()
        [5.0, 0.0]
    """
    if isinstance(ord, str):
        raise ValueError(f"vector_norm: ord {ord!r}: expected a number, inf or -inf; {ord!r} is an order of matrices")
    if abs(ord) == inf:
        return (reduce.max if ord > 0 else reduce.min)(elementwise.abs(x), axis, keepdims)
    if ord in (0, 1):
        size = elementwise.abs(x)
        return reduce.sum(size if ord else elementwise.sign(size), axis, keepdims)
    return _norm(x, ord, axis, keepdims)


def matrix_norm(x: Any, ord: float | str | None = "fro", axis: tuple[int, int] = (-2, -1), keepdims: bool = False) -> Any:
    """The norm of matrices over two axes.

    ``ord``: "fro" the root of the sum of squares; "nuc", 2, -2 the sum, largest and smallest of the singular values; 1, -1 the
    largest and smallest sum of |x| down a column; inf, -inf along a row.

    Example:
        >>> import minigrad as mg
        >>> mg.matrix_norm(mg.tensor([[3.0, 0.0], [0.0, 4.0]]), ord="nuc").item()
        7.0
    """
    x = _operand(x)
    if x.ndim < 2 or len({k % x.ndim for k in axis}) != 2:
        raise ShapeError(f"matrix_norm: axes {axis} of shape {tuple(x.shape)}: expected two different axes")
    if ord in ("fro", None):
        return vector_norm(x, 2, axis, keepdims)
    gone = [k % x.ndim for k in axis]
    if gone != [x.ndim - 2, x.ndim - 1]:
        x = shape.moveaxis(x, tuple(gone), (-2, -1))
    if ord in ("nuc", 2, -2):
        s = svdvals(x)
        y = reduce.sum(s, -1) if ord == "nuc" else (reduce.max if ord == 2 else reduce.min)(s, -1)
    elif ord in (1, -1, inf, -inf):
        sums = reduce.sum(elementwise.abs(x), -2 if ord in (1, -1) else -1)
        y = (reduce.max if ord in (1, inf) else reduce.min)(sums, -1)
    else:
        raise ValueError(f"matrix_norm: ord {ord!r}: expected 'fro', 'nuc', 2, -2, 1, -1, inf or -inf")
    return shape.expand_dims(y, tuple(gone)) if keepdims else y


def norm(x: Any, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False) -> Any:
    """NumPy's ``norm``: of vectors over one axis, of matrices over two, of all elements (p = 2) when both are None.

    With ``ord`` and no axis, ``x`` is taken as one vector or one matrix. See :func:`vector_norm`, :func:`matrix_norm`.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([3.0, 4.0], requires_grad=True)
        >>> mg.norm(x).backward()
        >>> [round(g, 4) for g in x.grad.numpy().tolist()]
        [0.6, 0.8]
    """
    x = _operand(x)
    if axis is None and ord is not None:
        if x.ndim not in (1, 2):
            raise ShapeError(f"norm: ord={ord!r} of shape {tuple(x.shape)}: name one axis (vectors) or two (matrices)")
        axis = (0, 1) if x.ndim == 2 else 0
    if isinstance(axis, Sequence) and len(axis) == 2:
        return matrix_norm(x, ord, (axis[0], axis[1]), keepdims)
    if isinstance(axis, Sequence) and len(axis) != 1:
        raise ShapeError(f"norm: axis {axis}: expected one axis (vectors) or two (matrices)")
    return vector_norm(x, 2 if ord is None else ord, axis, keepdims)
