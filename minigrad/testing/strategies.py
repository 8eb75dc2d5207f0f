"""Hypothesis strategies: arrays, Tensors, shapes, axes, indices, einsum equations, convolutions, models, and whole programs.

Needs ``pip install 'minigrad[testing]'``.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.tensor import Tensor, tensor
from minigrad.testing.choices import program_from
from minigrad.testing.kinds import kinds_of
from minigrad.testing.programs import Program

__all__ = [
    "ConvConfig",
    "EinsumCase",
    "arrays",
    "axes",
    "conv_configs",
    "einsum_equations",
    "indices",
    "modules",
    "programs",
    "shapes",
    "shapes_that_broadcast",
    "tensors",
]

T = TypeVar("T")
Shape = tuple[int, ...]
Shapes = Shape | st.SearchStrategy[Shape]


def shapes(max_dims: int = 3, max_side: int = 4) -> st.SearchStrategy[Shape]:
    """Shapes, 0-d and size-0 ones among them.

    Example:
        >>> from hypothesis import find
        >>> from minigrad.testing import strategies
        >>> find(strategies.shapes(), lambda shape: True)
        ()
    """
    return hnp.array_shapes(min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side)


def arrays(
    dtype: Any = "float64", shape: Shapes | None = None, low: float = -10.0, high: float = 10.0
) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """NumPy arrays with elements in [low, high], both finite.

    Args:
        dtype: a floating, integer or boolean dtype.
        shape: a shape or a strategy for shapes; by default :func:`shapes`.
        low: the smallest element.
        high: the largest element.

    Example:
        >>> from hypothesis import find
        >>> from minigrad.testing import strategies
        >>> find(strategies.arrays(shape=(2,), low=1.0, high=3.0), lambda a: a.sum() > 3).dtype
        dtype('float64')
    """
    kind = np.dtype(dtype)
    elements: st.SearchStrategy[Any]
    if kind.kind == "f":
        info: Any = np.finfo(kind)
        width = cast(Any, min(info.bits, 64))
        bounds = np.asarray([low, high], kind)
        # The bounds rounded inwards, for Hypothesis takes none that the dtype cannot represent.
        low = float(bounds[0] if bounds[0] >= low else np.nextafter(bounds[0], kind.type(np.inf)))
        high = float(bounds[1] if bounds[1] <= high else np.nextafter(bounds[1], kind.type(-np.inf)))
        elements = st.floats(low, high, allow_nan=False, allow_infinity=False, width=width)
    elif kind.kind in "iu":
        info = np.iinfo(kind)
        elements = st.integers(max(int(np.ceil(low)), int(info.min)), min(int(np.floor(high)), int(info.max)))
    else:
        elements = st.booleans()
    return hnp.arrays(kind, shapes() if shape is None else shape, elements=elements)


def tensors(
    dtype: Any = "float64", shape: Shapes | None = None, low: float = -10.0, high: float = 10.0, requires_grad: bool = False
) -> st.SearchStrategy[Tensor]:
    """Tensors with elements in [low, high]; see :func:`arrays`.

    Example:
        >>> from hypothesis import given
        >>> import minigrad as mg
        >>> from minigrad.testing import check_grads, strategies
        >>> @given(strategies.tensors(low=0.5, high=2.0))
        ... def test_log(x):
        ...     check_grads(mg.log, x)
        >>> test_log()
    """
    return arrays(dtype, shape, low, high).map(lambda array: tensor(array, requires_grad=requires_grad))


def shapes_that_broadcast(n: int, max_dims: int = 3, max_side: int = 4) -> st.SearchStrategy[tuple[Shape, ...]]:
    """``n`` shapes that broadcast together, 0-d and size-0 ones among them.

    Example:
        >>> from hypothesis import find
        >>> from minigrad.testing import strategies
        >>> sorted(find(strategies.shapes_that_broadcast(2), lambda shapes: shapes[0] != shapes[1]))
        [(), (0,)]
    """
    together = hnp.mutually_broadcastable_shapes(num_shapes=n, max_dims=max_dims, min_side=0, max_side=max_side)
    return together.map(lambda found: tuple(found.input_shapes))


def axes(ndim: int) -> st.SearchStrategy[int | tuple[int, ...] | None]:
    """What ``axis=`` of a reduction takes for an array of ``ndim`` axes: None, an integer or a tuple, negative ones too.

    Example:
        >>> from hypothesis import find
        >>> from minigrad.testing import strategies
        >>> find(strategies.axes(2), lambda axis: isinstance(axis, int) and axis < 0)
        -1
    """
    if not ndim:
        return st.none() | st.just(())
    several = hnp.valid_tuple_axes(ndim, min_size=0)
    return st.none() | st.integers(-ndim, ndim - 1) | several


def indices(shape: Shape) -> st.SearchStrategy[Any]:
    """What ``x[...]`` takes for an array of this shape: integers, slices, ``...``, new axes, lists of integers, and masks.

    Example:
        >>> from hypothesis import find
        >>> from minigrad.testing import strategies
        >>> find(strategies.indices((3, 2)), lambda index: np.ones((3, 2))[index].ndim == 0)
        (0, 0)
    """
    basic = hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True)
    mask = hnp.arrays(bool, shape)
    if not shape or 0 in shape:
        return basic | mask
    together = hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=3)
    return basic | hnp.integer_array_indices(shape, result_shape=together) | mask


class EinsumCase(NamedTuple):
    """An equation and the shapes of its operands."""

    equation: str
    shapes: tuple[Shape, ...]


@st.composite
def einsum_equations(draw: st.DrawFn, max_operands: int = 3, max_letters: int = 4, max_side: int = 3) -> EinsumCase:
    """Equations for ``einsum`` with the shapes of their operands: products, sums, outer products, diagonals, transposes.

    Example:
        >>> from hypothesis import find
        >>> from minigrad.testing import strategies
        >>> find(strategies.einsum_equations(), lambda case: len(case.shapes) == 2 and "j" in case.equation).equation
        ',j->'
    """
    letters = string.ascii_lowercase[8 : 8 + draw(st.integers(1, max_letters))]
    sizes = {letter: draw(st.integers(1, max_side)) for letter in letters}
    words = draw(st.lists(st.text(letters, max_size=3), min_size=1, max_size=max_operands))
    used = sorted(set("".join(words)))
    out = draw(st.lists(st.sampled_from(used), unique=True).map("".join)) if used else ""
    return EinsumCase(f"{','.join(words)}->{out}", tuple(tuple(sizes[letter] for letter in word) for word in words))


class ConvConfig(NamedTuple):
    """Shapes and options of a convolution: ``x`` (N, C, *spatial), ``weight`` (K, C / groups, *window)."""

    x: Shape
    weight: Shape
    options: dict[str, Any]


@st.composite
def conv_configs(draw: st.DrawFn, dims: int = 2, max_side: int = 5, max_channels: int = 2) -> ConvConfig:
    """Configurations for ``conv1d``, ``conv2d`` and ``conv3d`` in which the window fits.

    Args:
        dims: of space.
        max_side: the largest side of the image.
        max_channels: the most channels in a group, in and out.

    Example:
        >>> from hypothesis import given
        >>> import minigrad as mg
        >>> from minigrad.testing import check_grads, strategies
        >>> @given(strategies.conv_configs(dims=1))
        ... def test_conv(config):
        ...     rng = np.random.default_rng(0)
        ...     x, weight = rng.normal(size=config.x), rng.normal(size=config.weight)
        ...     check_grads(lambda x, weight: mg.conv1d(x, weight, **config.options), x, weight, order=1)
        >>> test_conv()
    """
    groups = draw(st.sampled_from([1, 1, 2]))
    inward, outward = (groups * draw(st.integers(1, max_channels)) for _ in range(2))
    each: list[tuple[int, int, int, int, int]] = []
    for _ in range(dims):
        window, dilation, padding = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 1))
        least = max(1, dilation * (window - 1) + 1 - 2 * padding)
        each.append((draw(st.integers(least, max(least, max_side))), window, draw(st.integers(1, 2)), padding, dilation))
    sides, windows, strides, paddings, dilations = zip(*each)
    options = {"stride": strides, "padding": paddings, "dilation": dilations, "groups": groups}
    return ConvConfig((draw(st.integers(1, 2)), inward, *sides), (outward, inward // groups, *windows), options)


@st.composite
def modules(draw: st.DrawFn, features: int = 3, max_layers: int = 3) -> Any:
    """Small random models that map (N, features) to (N, something): layers, activations, norms, residual parts.

    Their parameters are float64, drawn from a seed that Hypothesis shrinks.

    Example:
        >>> from hypothesis import given
        >>> import minigrad as mg
        >>> from minigrad.testing import check_grads, strategies
        >>> @given(strategies.modules())
        ... def test_model(model):
        ...     check_grads(model, np.random.default_rng(0).normal(size=(4, 3)), order=1)
        >>> test_model()
    """
    import minigrad

    nn = minigrad.nn
    layers: list[Any] = []
    width = features
    activations = ["Tanh", "Sigmoid", "SiLU", "GELU", "Softplus", "ReLU", "ELU", "LeakyReLU"]
    for _ in range(draw(st.integers(1, max_layers))):
        sort = draw(st.sampled_from(["linear", "activation", "norm", "residual", "bottleneck"]))
        if sort == "linear":
            after = draw(st.integers(1, 4))
            layers.append(nn.Linear(width, after, bias=draw(st.booleans())))
            width = after
        elif sort == "activation":
            layers.append(getattr(nn, draw(st.sampled_from(activations)))())
        elif sort == "norm":
            layers.append(nn.LayerNorm(width) if width > 1 else nn.Tanh())
        elif sort == "residual":
            layers.append(_residual(nn, nn.Sequential(nn.Linear(width, width), nn.Tanh())))
        else:
            layers.append(nn.Sequential(nn.Linear(width, 1), nn.Tanh(), nn.Linear(1, width)))
    model = nn.Sequential(*layers).double()
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    for parameter in model.parameters():
        parameter.data = rng.uniform(-1, 1, parameter.shape)
    return model


def _residual(nn: Any, inner: Any) -> Any:
    class Residual(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return x + self.inner(x)

    return Residual()


@st.composite
def programs(
    draw: st.DrawFn,
    ops: Iterable[Any] | None = None,
    reuse: bool = True,
    views: bool = True,
    in_place: bool = True,
    broadcast: bool = True,
    max_steps: int = 8,
    max_inputs: int = 3,
    dtype: Any = "float64",
) -> Program:
    """Whole random programs: graphs of operations on arrays, finite and away from kinks. ``program.check()`` tests one.

    Args:
        ops: names of :data:`minigrad.testing.programs.KINDS`, and operations of your own from :func:`minigrad.primitive`
            (elementwise ones on any numbers); by default all names.
        reuse: a value may be used several times, so that contributions add up.
        views: with transposes, reshapes and slices; also beside ``ops``.
        in_place: with assignments into arrays; also beside ``ops``.
        broadcast: inputs of different shapes.
        max_steps: the most operations in a program.
        max_inputs: the most inputs.
        dtype: of the inputs.

    Example:
        >>> from hypothesis import given, settings
        >>> from minigrad.testing import strategies
        >>> @settings(max_examples=10)
        ... @given(strategies.programs())
        ... def test_programs(program):
        ...     program.check()
        >>> test_programs()
    """
    kinds = kinds_of(ops, views, in_place)
    return program_from(_Drawn(draw), kinds, reuse, broadcast, max_steps, max_inputs, dtype)


class _Drawn:
    """Hypothesis as a source of choices."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def pick(self, items: Sequence[T]) -> T:
        return self._draw(st.sampled_from(items))


st.register_type_strategy(Tensor, tensors())
