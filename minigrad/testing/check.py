"""``check_grads``: reverse-mode gradients against derivatives that know nothing of them.

A function with many outputs becomes a number by a random weight for each output, ``s(x) = sum_k <u_k, f_k(x)>``; reverse mode
with upstream gradients ``u`` gives the gradient of ``s``. Two oracles give its derivative along a direction ``v``:

- the complex step ``Im s(x + i h v) / h`` with ``h = 1e-20`` (W. Squire and G. Trapp, "Using complex variables to estimate
  derivatives of real functions", SIAM Review 40, 1998): no difference is taken, so nothing cancels, and it is as exact as
  ``s`` itself, wherever ``f`` runs on complex arrays and is analytic;
- central differences ``(s(x + h v) - s(x - h v)) / 2h`` elsewhere; with ``h`` near the cube root of the rounding unit their
  truncation error, of order ``h**2``, and their rounding error, of order ``eps / h``, are about equal. Where they disagree with
  the gradient, a whole ladder of steps decides (:mod:`minigrad.testing.differences`): the gradient may be wrong, the point a
  kink, or the function such that no difference tells.

The gradient is a function of ``x`` and ``u`` too. Checked in the same way, it is order 2, and so on: the derivative of the
backward pass along ``x`` is forward over reverse, that along ``u`` is the Jacobian-vector product.

Arguments narrower than float64 are widened to it and the check runs there, to full precision. What is left to see in their own
dtype is rounding, and that is compared with what rounding the arguments does.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from minigrad.graph import GRAD, leaf, record_mode
from minigrad.tensor import Tensor, wrap
from minigrad.testing import patterns
from minigrad.testing.differences import Ladder, Sides, kink, ladder
from minigrad.testing.verdicts import ACCEPTED, VERDICTS, GradientError, GradientReport, Row, Verdict
from minigrad.transforms import gradients

Array = np.ndarray[Any, Any]
Oracle = Literal["auto", "complex", "central"]

COMPLEX_STEP = 1e-20
ELEMENTS = 4096
"""At most this many elements of an argument are differentiated one by one for the report, evenly spread."""


class Tolerance(NamedTuple):
    """What is asked of one dtype.

    Attributes:
        step: of central differences, relative to the size of the argument, where ``f`` returns this dtype.
        exact: relative error allowed against the complex step.
        central: relative error allowed against central differences.
        noise: error allowed as a part of ``|f|``, for sums that cancel.
    """

    step: float
    exact: float
    central: float
    noise: float


TOLERANCES: dict[str, Tolerance] = {
    "float64": Tolerance(step=6e-6, exact=1e-9, central=1e-6, noise=1e-14),
    "float32": Tolerance(step=5e-3, exact=1e-4, central=1e-3, noise=1e-5),
    "float16": Tolerance(step=1e-1, exact=3e-2, central=1e-1, noise=5e-3),
}
"""By the coarsest floating dtype among arguments and outputs. The oracles themselves always compute in float64."""


def check_grads(
    f: Callable[..., Any], *args: Any, order: int = 2, seed: int = 0, rtol: float | None = None, oracle: Oracle = "auto"
) -> None:
    """Check the reverse-mode gradients of ``f`` at ``args``, and the gradients of those gradients, up to ``order``.

    Each argument is first checked along one random unit direction without small entries. Where that fails, every element is
    differentiated for a report that names the argument, the worst element and, if it is one of the usual ones, the mistake.

    Args:
        f: takes Tensors and returns a Tensor or a tuple of them. It is also run on complex Tensors.
        args: floating arrays, Tensors and numbers are differentiated (float64 recommended; lower dtypes are checked to their
            own precision, see :data:`TOLERANCES`); anything else is passed on as it is. None is changed.
        order: the highest order of derivative to check.
        seed: of the generator of directions and weights.
        rtol: relative error allowed, instead of that of :data:`TOLERANCES`.
        oracle: ``"complex"`` step, ``"central"`` differences, or ``"auto"``: the complex step where it runs and agrees with
            central differences, else these.

    Raises:
        GradientError: if a gradient is wrong; if ``f`` is not finite there, or gives another result the second time.
        TypeError: if there is nothing to differentiate, or ``f`` returns something else than Tensors.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.testing import check_grads
        >>> check_grads(lambda a, b: mg.tanh(a * b), [1.0, 2.0], 0.5, order=3)
        >>> double = mg.primitive(lambda a: 2 * a, lambda g, y, a: g, name="double")
        >>> try:
        ...     check_grads(double, [1.0, 2.0])
        ... except AssertionError as error:
        ...     print(str(error).splitlines()[1].strip())
        pattern:   a factor of 1/2: received is half of what was expected
    """
    values = [_value(arg) for arg in args]
    if not any(map(_differentiable, values)):
        kinds = ", ".join(type(arg).__name__ for arg in args) or "no arguments"
        raise TypeError(f"check_grads: nothing to differentiate among {kinds}; pass floating arrays, Tensors or floats")
    if order < 1:
        raise ValueError(f"check_grads: order={order}; expected 1 or more")
    rng = np.random.default_rng(seed)
    title, names = getattr(f, "__name__", type(f).__name__), _names(f, len(values))
    with np.errstate(all="ignore"):
        check_below: _Check | None = None
        for k in range(1, order + 1):
            check = _Check(f, values, names, title, k, seed, rng, rtol, oracle)
            check.run(check_below)
            check_below = check
            f = _gradient_of(f, len(values))
            values = values + check.upstream
            names = names + [f"upstream gradient {i + 1} of order {k}" for i in range(len(check.upstream))]


def _value(arg: Any) -> Any:
    """An array to differentiate, a copy; or the argument as it is."""
    if isinstance(arg, Tensor):
        return np.array(arg.numpy()) if arg.dtype.kind == "f" else arg
    if isinstance(arg, (float, np.floating)):
        return np.asarray(arg)
    if isinstance(arg, list):
        arg = np.asarray(arg)
    if isinstance(arg, np.ndarray):
        if arg.dtype.kind == "c":
            raise TypeError("check_grads: complex arguments are not differentiated; pass real and imaginary parts")
        return np.array(arg) if arg.dtype.kind == "f" else arg
    return arg


def _differentiable(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _names(f: Callable[..., Any], count: int) -> list[str]:
    """The names of the first ``count`` positional parameters."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return [f"argument {k + 1}" for k in range(count)]
    found: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            found += [f"{parameter.name}[{k}]" for k in range(count - len(found))]
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            found.append(parameter.name)
    return (found + [f"argument {k + 1}" for k in range(len(found), count)])[:count]


def _outputs(result: Any, title: str) -> list[Tensor]:
    """The floating outputs of ``f``."""
    several = list(result) if isinstance(result, (tuple, list)) else [result]
    for out in several:
        if not isinstance(out, Tensor):
            raise TypeError(f"check_grads: {title} must return a Tensor or a tuple of Tensors, got {type(out).__name__}")
    return [out for out in several if out.dtype.kind in "fc"]


def _is_variable(arg: Any) -> bool:
    return isinstance(arg, Tensor) and arg.dtype.kind in "fc"


def _leaf(array: Array) -> Tensor:
    return wrap(array, leaf(array, requires_grad=True))


def _pull(outputs: Sequence[Tensor], inputs: Sequence[Tensor], upstream: Sequence[Any], create: bool) -> list[Tensor | None]:
    pairs = [(out, u) for out, u in zip(outputs, upstream) if out.requires_grad]
    if not pairs:
        return [None] * len(inputs)
    outs, ups = zip(*pairs)
    return list(gradients(outs, inputs, ups, create_graph=create, retain_graph=create, allow_unused=True))


def _gradient_of(f: Callable[..., Any], count: int) -> Callable[..., tuple[Tensor, ...]]:
    """The function from ``f``'s ``count`` arguments and its upstream gradients to its gradients.

    For an oracle, whose Tensors ask for no gradient, it is the pass on plain arrays; in reverse mode it is the recorded pass.
    So order 2 also compares the two.
    """

    def gradient(*args: Any) -> tuple[Tensor, ...]:
        live = any(_is_variable(arg) and arg.requires_grad for arg in args)
        given = [_leaf(arg._data) if _is_variable(arg) and not live else arg for arg in args[:count]]
        with record_mode(GRAD):
            outputs = _outputs(f(*given), "f")
            variables = [arg for arg in given if _is_variable(arg)]
            found = _pull(outputs, variables, args[count:], live)
        return tuple(wrap(np.zeros(x.shape, x.dtype)) if g is None else g for g, x in zip(found, variables))

    return gradient


class _Check:
    """One order of one function at one point."""

    def __init__(
        self, f: Callable[..., Any], values: list[Any], names: list[str], title: str, order: int, seed: int,
        rng: np.random.Generator, rtol: float | None, oracle: Oracle,
    ) -> None:  # fmt: skip
        self.f, self.values, self.names, self.title, self.order, self.seed = f, values, names, title, order, seed
        self.rng, self.rtol, self.oracle = rng, rtol, oracle
        self.where = [k for k, value in enumerate(values) if _differentiable(value)]
        self.wide = {k: values[k].astype(np.promote_types(values[k].dtype, np.float64)) for k in self.where}
        self.upstream: list[Array] = []
        self.gradients: dict[int, Array] = {}
        self.oracles: dict[int, str] = {}
        self.along_text: dict[int, str] = {}

    def run(self, below: _Check | None) -> None:
        """Raise a GradientError if something is wrong; ``below`` is the check of the order below."""
        outputs = self.reverse()
        kinds = [self.values[k].dtype for k in self.where] + [y.dtype for y in outputs]
        self.tolerance = max((_tolerance(kind) for kind in kinds), key=lambda tolerance: tolerance.exact)
        wide = self.call(self.wide)
        self.step = max(_tolerance(y.dtype).step for y in wide)
        self.size = float(np.sqrt(sum(np.sum(np.abs(u * y) ** 2) for u, y in zip(self.upstream, wide))))
        if below is not None:
            # A gradient is no more exact than its function: not in dtype, and not where its own parts cancel.
            self.tolerance = max(self.tolerance, below.tolerance, key=lambda tolerance: tolerance.exact)
            self.step = max(self.step, below.step)
            self.size = max(self.size, below.size / max(1.0, *(self.scale(k) for k in below.where)))
        wrong = [k for k in self.where if self.values[k].size and not self.agrees(k)]
        if wrong:
            raise self.report(wrong)

    # Reverse mode
    def reverse(self) -> list[Array]:
        """Draw the upstream gradients and compute the gradients, each of which must have its argument's shape and dtype."""
        args = [_leaf(value.copy()) if k in self.where else value for k, value in enumerate(self.values)]
        with record_mode(GRAD):
            outputs = _outputs(self.f(*args), self.title)
        if not outputs:
            raise TypeError(f"check_grads: {self.title} returns nothing of floating dtype")
        arrays = [np.array(out._data) for out in outputs]
        for y in arrays:
            if not np.isfinite(y).all():
                raise self.error(f"its {'value' if self.order == 1 else 'gradient'} is not finite here", "not finite")
        if self.order == 1:
            for y, again in zip(arrays, self.call({k: self.values[k] for k in self.where})):
                if not np.array_equal(y, again):
                    how = f"outputs differ by {np.max(np.abs(y - again)):.3g}" if y.shape == again.shape else "shapes differ"
                    text = f"two calls with the same arguments give different results ({how}): seed its generator, or turn randomness off"
                    raise self.error(text, "nondeterministic")
        self.upstream = [np.asarray(_weights(self.rng, y.shape), y.dtype) for y in arrays]
        inputs = [args[k] for k in self.where]
        try:
            with record_mode(GRAD):
                found = _pull(outputs, inputs, self.upstream, create=self.order > 1)
        except Exception as error:
            notes = "; ".join(getattr(error, "__notes__", ()))
            raise self.error(f"reverse mode failed: {error}{f' ({notes})' if notes else ''}", "error") from error
        for k, g in zip(self.where, found):
            x = self.values[k]
            if g is not None and (g.shape != x.shape or g.dtype != x.dtype):
                text = f"the gradient is {g.dtype}{list(g.shape)}, but the argument is {x.dtype}{list(x.shape)}"
                raise self.error(text, "dtype", self.names[k])
            self.gradients[k] = np.zeros(x.shape) if g is None else np.array(g._data, self.wide[k].dtype)
        return arrays

    # The oracles
    def call(self, arrays: dict[int, Array]) -> list[Array]:
        """``f`` on Tensors that ask for no gradient."""
        args = [wrap(arrays[k].copy()) if k in arrays else value for k, value in enumerate(self.values)]
        return [out._data for out in _outputs(self.f(*args), self.title)]

    def along(self, k: int, v: Array, oracle: str, step: float = 0.0) -> float:
        """The derivative of ``s`` along ``v`` in argument ``k``; NaN where the complex step does not run."""
        if oracle == "complex":
            return self.complex_step(k, v)
        h = (step or self.step) * self.scale(k)
        ahead, behind = (self.weighted({**self.wide, k: self.wide[k] + sign * h * v}) for sign in (1, -1))
        return float(np.real(ahead - behind) / (2 * h))

    def complex_step(self, k: int, v: Array) -> float:
        arrays: dict[int, Array] = {j: a.astype(np.promote_types(a.dtype, np.complex64)) for j, a in self.wide.items()}
        arrays[k].imag = COMPLEX_STEP * v
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # A cast from complex to real means that f leaves the complex numbers.
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                total = self.weighted(arrays)
        except Exception:
            if self.oracle == "complex":
                raise
            return float("nan")
        return float(np.imag(total) / COMPLEX_STEP)

    def weighted(self, arrays: dict[int, Array]) -> Any:
        return sum(np.sum(u * y) for u, y in zip(self.upstream, self.call(arrays)))

    def scale(self, k: int) -> float:
        """The size of argument ``k``: the root of its mean square."""
        x = self.wide[k]
        return (float(np.sqrt(np.mean(x * x))) if x.size else 0.0) or 1.0

    def allowed(self, k: int, oracle: str, size: float) -> float:
        """The error allowed in a derivative of this size."""
        t = self.tolerance
        rtol = self.rtol if self.rtol is not None else t.exact if oracle == "complex" else t.central
        # Where all derivatives are zero, the complex step leaves its truncation error, of order h**2.
        noise = t.noise * self.size / max(1.0, self.scale(k)) + COMPLEX_STEP**1.5
        if oracle == "central":
            # Each of the two values is off by some units in the last place, and step**3 is about one unit.
            noise += 8 * self.step**2 * self.size / self.scale(k)
        return float(rtol * size + noise)

    def agrees(self, k: int) -> bool:
        """Whether the gradient of argument ``k`` agrees with the oracle along one random direction."""
        v = _weights(self.rng, self.values[k].shape)
        v = v / np.sqrt(np.sum(v * v))
        parts = self.gradients[k] * v
        received, size = float(np.sum(parts)), float(np.sqrt(np.sum(parts * parts)))
        oracle = self.choose(k, v)
        expected = self.along(k, v, oracle)
        self.oracles[k] = oracle
        self.along_text[k] = f"expected {expected:.12g}, received {received:.12g}; seed {self.seed}"
        return bool(abs(received - expected) <= self.allowed(k, oracle, max(size, abs(expected))))

    def choose(self, k: int, v: Array) -> str:
        """The complex step, unless it does not run or differs from central differences by more than these can err."""
        if self.oracle != "auto":
            return self.oracle
        exact = self.complex_step(k, v)
        if not np.isfinite(exact):
            return "central"
        off = abs(self.along(k, v, "central") - exact)
        if off <= self.allowed(k, "central", abs(exact)):
            return "complex"
        # A truncation error shrinks 64-fold with a step 8 times smaller; a wrong derivative does not.
        closer = abs(self.along(k, v, "central", self.step / 8) - exact)
        return "complex" if closer < off / 16 else "central"

    # The report
    def elements(self, k: int, oracle: str) -> tuple[Array, Array]:
        """Flat positions in argument ``k``, and the derivative of ``s`` for each."""
        size = self.values[k].size
        positions = np.unique(np.linspace(0, size - 1, min(size, ELEMENTS)).astype(int))
        return positions, np.array([self.along(k, self.unit(k, p), oracle) for p in positions])

    def unit(self, k: int, position: int) -> Array:
        v = np.zeros(self.values[k].shape)
        v.flat[position] = 1.0
        return v

    def report(self, wrong: list[int]) -> GradientError:
        """The error for the first of the wrong arguments, from the derivatives of its elements one by one."""
        k = wrong[0]
        name, x, g = self.names[k], self.values[k], self.gradients[k]
        oracle = self.oracles[k]
        positions, expected = self.elements(k, oracle)
        received = g.reshape(-1)[positions]
        off = np.abs(received - expected)
        size = np.maximum(np.abs(expected), np.abs(received))
        allowed = np.array([self.allowed(k, oracle, s) for s in size])
        differ = ~(off <= allowed)
        if not differ.any():
            text = f"it differs along a random direction, but no one element of {len(positions)} does: {self.along_text[k]}"
            return self.error(text, "", name)
        worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
        index = tuple(int(i) for i in np.unravel_index(int(positions[worst]), x.shape))
        found = patterns.recognise(
            patterns.Evidence(positions, expected, g, self.others(k, oracle), self.sizes(k)),
            lambda: self.unsummed(k, oracle),
            lambda: self.slopes(k, int(positions[worst])) if oracle == "central" else None,
        )
        label = f"{name}{list(index)}" if index else name
        method = "complex step" if oracle == "complex" else "central differences"
        also = ", ".join(repr(self.names[j]) for j in wrong[1:])
        sampled = "" if len(positions) == x.size else f" ({len(positions)} of its {x.size} elements were looked at)"
        lines = [
            f"{self.subject(name)} is wrong",
            f"  pattern:   {found.text if found else 'none of the usual ones'}",
            f"  argument:  {name!r}, {x.dtype}, shape {x.shape}{f'; also wrong: {also}' if also else ''}",
            f"  element:   {label}, the worst of {int(differ.sum())} that differ out of {len(positions)}{sampled}",
            f"  expected:  {expected[worst]:.12g}  ({method})",
            f"  received:  {received[worst]:.12g}  (reverse mode; allowed error {allowed[worst]:.1g})",
            f"  seed:      {self.seed}",
        ]
        return GradientError(
            "\n".join(lines),
            name,
            self.order,
            found.kind if found else "",
            index,
            float(expected[worst]),
            float(received[worst]),
        )

    def others(self, k: int, oracle: str) -> dict[str, Array]:
        """What the other arguments of this shape should get."""
        shape = self.values[k].shape
        same = [j for j in self.where if j != k and self.values[j].shape == shape]
        return {self.names[j]: self.elements(j, oracle)[1] for j in same}

    def sizes(self, k: int) -> dict[int, str]:
        """Numbers that a gradient may have been divided by, and what they count."""
        found: dict[int, str] = {}
        shapes = [(repr(self.names[k]), self.values[k].shape)] + [("the output", u.shape) for u in self.upstream]
        for what, shape in shapes:
            found.setdefault(int(np.prod(shape)), f"the number of elements of {what}")
            for axis, n in enumerate(shape):
                found.setdefault(n, f"the size of axis {axis} of {what}")
        return found

    def unsummed(self, k: int, oracle: str) -> list[tuple[Array, tuple[int, ...]]]:
        """Where ``f`` broadcasts argument ``k``: the gradient before it is summed to the argument's shape, and those axes."""
        shape, found = self.values[k].shape, []
        for target in {u.shape for u in self.upstream}:
            if target == shape or np.prod(target) > ELEMENTS or not _broadcasts(shape, target):
                continue
            twin = _Check(
                self.f, list(self.values), self.names, self.title, self.order, self.seed, self.rng, self.rtol, self.oracle
            )
            twin.values[k] = np.broadcast_to(self.values[k], target).copy()
            twin.wide = {**self.wide, k: twin.values[k].astype(self.wide[k].dtype)}
            twin.upstream, twin.step = self.upstream, self.step
            try:
                if [y.shape for y in twin.call(twin.wide)] != [u.shape for u in self.upstream]:
                    continue
                full = twin.elements(k, oracle)[1].reshape(target)
            except (ValueError, TypeError, RuntimeError):
                continue
            extra = len(target) - len(shape)
            axes = tuple(i for i in range(len(target)) if i < extra or (shape[i - extra] == 1 and target[i] != 1))
            found.append((full, axes))
        return found

    def slopes(self, k: int, position: int) -> patterns.Slopes:
        """The derivatives to the left, to the right, and with a smaller step, of an element."""
        h, v = self.step * self.scale(k), self.unit(k, position)
        behind, here, ahead = (float(np.real(self.weighted({**self.wide, k: self.wide[k] + s * h * v}))) for s in (-1, 0, 1))
        narrow = self.along(k, v, "central", self.step / 8)
        return patterns.Slopes((here - behind) / h, (ahead - here) / h, narrow, float(self.gradients[k].flat[position]))

    def subject(self, name: str | None) -> str:
        gradient = "the gradient" if self.order == 1 else f"the derivative of order {self.order}"
        return f"check_grads: {gradient} of {self.title}{f' with respect to {name!r}' if name else ''}"

    def error(self, text: str, pattern: str, name: str | None = None) -> GradientError:
        return GradientError(f"{self.subject(name)}: {text}", name, self.order, pattern)


def _tolerance(dtype: Any) -> Tolerance:
    return TOLERANCES.get(np.finfo(dtype).dtype.name, TOLERANCES["float64"])


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random numbers of either sign without small ones, behind which an error could hide."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    return len(shape) <= len(target) and all(n in (1, m) for n, m in zip(shape[::-1], target[::-1]))
