"""One check of one order of derivative at one point: what :func:`minigrad.testing.check_grads` is made of."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from minigrad.graph import GRAD, ancestors, leaf, record_mode
from minigrad.tensor import Tensor, wrap
from minigrad.testing import patterns
from minigrad.testing.differences import Ladder, Sides, kink, ladder, noise
from minigrad.testing.verdicts import VERDICTS, GradientError, GradientReport, Row, Verdict
from minigrad.transforms import gradients

Array = np.ndarray[Any, Any]
Oracle = Literal["auto", "complex", "central"]

COMPLEX_STEP = 1e-20
ORACLES = {"complex": "complex step", "central": "central differences"}
ENOUGH, TIED, NEARBY = 8, 6, 24
"""So many elements that are surely wrong are enough; pairs of so many elements at a kink are looked at for ties, and gradients at
so many points around."""
VAGUE, LEAST, BESIDE = 1e-2, 1e-3, 1e-3
"""Differences that leave a relative error of more than ``VAGUE`` decide nothing; slopes beside a kink are known to ``LEAST``, and
rules are checked ``BESIDE`` it, relative to the size of the argument."""
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


def differentiable(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


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


def gradient_of(f: Callable[..., Any], count: int) -> Callable[..., tuple[Tensor, ...]]:
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


class Examination:
    """One order of one function at one point."""

    def __init__(
        self, f: Callable[..., Any], values: list[Any], names: list[str], title: str, order: int, seed: int,
        rng: np.random.Generator, rtol: float | None, oracle: Oracle, rows: list[Row], twin: bool = False,
    ) -> None:  # fmt: skip
        self.f, self.values, self.names, self.title, self.order, self.seed = f, values, names, title, order, seed
        self.rng, self.rtol, self.oracle, self.rows, self.twin = rng, rtol, oracle, rows, twin
        self.below: Examination | None = None
        self.folds = ""
        self.clouds: dict[int, Array] = {}
        self.where = [k for k, value in enumerate(values) if differentiable(value)]
        self.wide = {k: values[k].astype(np.promote_types(values[k].dtype, np.float64)) for k in self.where}
        self.upstream: list[Array] = []
        self.gradients: dict[int, Array] = {}
        self.narrow: dict[int, Array] | None = None
        self.oracles: dict[int, str] = {}
        self.directions: dict[int, tuple[Array, float]] = {}

    def run(self, below: Examination | None) -> list[GradientReport]:
        """What does not agree; ``below`` is the check of the order below."""
        self.below = below
        outputs = self.reverse()
        wide = self.call(self.wide)
        kinds = [y.dtype for y in wide] + [self.values[k].dtype for k in self.where if self.narrow is None]
        self.tolerance = max((_tolerance(kind) for kind in kinds), key=lambda tolerance: tolerance.exact)
        self.step = max(_tolerance(y.dtype).step for y in wide)
        self.eps = max(float(np.finfo(y.dtype).eps) for y in wide)
        self.size = float(np.sqrt(sum(np.sum(np.abs(u * y) ** 2) for u, y in zip(self.upstream, wide))))
        self.here = float(np.real(sum(np.sum(u * y) for u, y in zip(self.upstream, wide))))
        if below is not None:
            # A gradient is no more exact than its function: not in dtype, and not where its own parts cancel.
            self.tolerance = max(self.tolerance, below.tolerance, key=lambda tolerance: tolerance.exact)
            self.step, self.eps = max(self.step, below.step), max(self.eps, below.eps)
            self.size = max(self.size, below.size / max(1.0, *(self.scale(k) for k in below.where)))
        if not all(np.isfinite(y).all() for y in wide):
            text = f"its {'value' if self.order == 1 else 'gradient'} is not finite here"
            return [self.found("ill-conditioned", text, "not finite")]
        checked = [k for k in self.where if self.values[k].size]
        suspects = [k for k in checked if not self.agrees(k)]
        reports = [report for k in suspects if (report := self.judge(k, suspects)) is not None]
        if any(report.verdict == "wrong" for report in reports):
            self.twice()
        kinked = [self.kinked(k) for k in checked if k not in suspects]
        return reports + [report for report in kinked if report is not None] + self.rounding(outputs)

    # Reverse mode
    def recorded(self) -> tuple[list[Any], list[Any]]:
        """The arguments, leaves where they are differentiated, and what ``f`` makes of them."""
        args = [_leaf(value.copy()) if k in self.where else value for k, value in enumerate(self.values)]
        with record_mode(GRAD):
            return args, _outputs(self.f(*args), self.title)

    def reverse(self) -> list[Array]:
        """Draw the upstream gradients and compute the gradients, each of which must have its argument's shape and dtype."""
        args, outputs = self.recorded()
        roots = [out.node for out in outputs if out.node is not None and out.requires_grad]
        self.folds = next((n.op.name for n in ancestors(roots) if n.op is not None and n.op.kink), "")
        if not outputs:
            raise TypeError(f"check_grads: {self.title} returns nothing of floating dtype")
        arrays = [np.array(out._data) for out in outputs]
        if self.order == 1:
            # Leaves again: on Tensors that ask for no gradient other libraries may go their own way, with other last bits.
            for y, again in zip(arrays, [out._data for out in self.recorded()[1]]):
                if not np.array_equal(y, again, equal_nan=True):
                    how = f"outputs differ by {np.max(np.abs(y - again)):.3g}" if y.shape == again.shape else "shapes differ"
                    text = f"two calls with the same arguments give different results ({how}): seed its generator, or turn randomness off"
                    raise GradientError(self.found("nondeterministic", text, "nondeterministic"))
        self.upstream = [np.asarray(_weights(self.rng, y.shape), y.dtype) for y in arrays]
        try:
            found = self.pulled(outputs, [args[k] for k in self.where])
        except Exception as error:
            notes = "; ".join(getattr(error, "__notes__", ()))
            text = f"reverse mode failed: {error}{f' ({notes})' if notes else ''}"
            raise GradientError(self.found("wrong", text, "error")) from error
        for k, g in zip(self.where, found):
            x = self.values[k]
            if g is not None and (g.shape != x.shape or g.dtype != x.dtype):
                text = f"the gradient is {g.dtype}{list(g.shape)}, but the argument is {x.dtype}{list(x.shape)}"
                raise GradientError(self.found("wrong", text, "dtype", self.names[k]))
            self.gradients[k] = np.zeros(x.shape) if g is None else np.array(g._data, self.wide[k].dtype)
        if any(self.values[k].dtype != self.wide[k].dtype for k in self.where):
            try:
                self.gradients, self.narrow = self.at(self.wide), self.gradients
            except Exception:
                self.narrow = None  # it does not run in float64: its own dtype has to do
        return arrays

    def pulled(self, outputs: list[Tensor], inputs: list[Tensor]) -> list[Tensor | None]:
        upstream = [np.asarray(u, out.dtype) for u, out in zip(self.upstream, outputs)]
        with record_mode(GRAD):
            return _pull(outputs, inputs, upstream, create=self.order > 1)

    def at(self, arrays: dict[int, Array]) -> dict[int, Array]:
        """The gradients at other arguments."""
        args = [_leaf(arrays[k].copy()) if k in arrays else value for k, value in enumerate(self.values)]
        with record_mode(GRAD):
            outputs = _outputs(self.f(*args), self.title)
        found = self.pulled(outputs, [args[k] for k in arrays])
        return {k: np.zeros(a.shape) if g is None else np.array(g._data) for (k, a), g in zip(arrays.items(), found)}

    def twice(self) -> None:
        """A rule that draws random numbers is not wrong but nondeterministic."""
        first, second = self.at(self.wide), self.at(self.wide)
        for k in self.where:
            if not np.array_equal(first[k], second[k], equal_nan=True):
                text = "two backward passes give different gradients: a rule draws random numbers, or remembers something"
                raise GradientError(self.found("nondeterministic", text, "nondeterministic", self.names[k]))

    # The oracles
    def call(self, arrays: dict[int, Array]) -> list[Array]:
        """``f`` on Tensors that ask for no gradient."""
        args = [wrap(arrays[k].copy()) if k in arrays else value for k, value in enumerate(self.values)]
        return [out._data for out in _outputs(self.f(*args), self.title)]

    def line(self, k: int, v: Array) -> Callable[[float], float]:
        """``s`` along ``v`` in argument ``k``."""
        return lambda t: float(np.real(self.weighted({**self.wide, k: self.wide[k] + t * v}))) if t else self.here

    def along(self, k: int, v: Array, oracle: str, step: float = 0.0) -> float:
        """The derivative of ``s`` along ``v`` in argument ``k``; NaN where the complex step does not run."""
        if oracle == "complex":
            return self.complex_step(k, v)
        h, s = (step or self.step) * self.scale(k), self.line(k, v)
        return (s(h) - s(-h)) / (2 * h)

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
        self.directions[k] = (v, received)
        oracle = self.choose(k, v)
        expected = self.along(k, v, oracle)
        self.oracles[k] = oracle
        good = bool(abs(received - expected) <= self.allowed(k, oracle, max(size, abs(expected))))
        if good:
            self.note(k, "agrees", ORACLES[oracle], expected, received)
        return good

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

    # The verdict on what differs
    def measure(self, k: int | None = None, position: int | None = None) -> Callable[[], tuple[Ladder, float]]:
        """For a plot: the ladder of an element, or along the random direction, and what reverse mode gives there."""
        k = self.where[0] if k is None else k
        if position is None:
            v, received = self.directions.get(k, (np.zeros(self.values[k].shape), 0.0))
        else:
            v, received = self.unit(k, position), float(self.gradients[k].flat[position])

        def measured() -> tuple[Ladder, float]:
            with np.errstate(all="ignore"):
                return self.ladder(k, v, position), received

        return measured

    def ladder(self, k: int, v: Array, position: int | None = None) -> Ladder:
        x = 0.0 if position is None else float(abs(self.wide[k].flat[position]))
        return ladder(self.line(k, v), self.scale(k), self.noise(k, v), x or self.scale(k))

    def settle(self, k: int, v: Array, position: int | None, received: float, expected: float) -> tuple[Verdict, float]:
        """The verdict on a derivative that differs at one step, and the derivative as far as it is known."""
        if not np.isfinite(received):
            return "wrong", expected
        sides = self.sides(k, v)
        if self.oracles[k] == "complex":
            if sides is None and self.folded:
                sides = Sides(expected, expected, False)
            inside = sides is not None and self.contained(
                k, position, sides, received, self.allowed(k, "central", abs(received))
            )
            return ("kink here" if inside else "wrong"), expected
        found = self.ladder(k, v, position)
        size = max(abs(received), abs(found.best)) if np.isfinite(found.best) else abs(received)
        allowed, off = self.allowed(k, "central", size), abs(received - found.best)
        if off <= allowed + 3 * found.error and found.error <= VAGUE * size + allowed:
            return "agrees", found.best
        wild = self.noise(k, v) > VAGUE * self.size and found.error > LEAST * abs(found.best) and not (sides and self.folded)
        if wild and self.oracle == "auto":
            exact = self.complex_step(k, v)  # too stiff for differences to confirm, but it agrees
            if abs(exact - received) <= self.allowed(k, "complex", abs(exact)):
                return "agrees", exact
        if wild:
            return "ill-conditioned", found.best
        if sides is not None:
            inside = self.contained(k, position, sides, received, max(allowed, LEAST * max(abs(sides.left), abs(sides.right))))
            return ("kink here" if inside else "wrong"), found.best
        if self.folded and Sides(found.best, found.best, False).contain(received, allowed):
            return "kink here", found.best
        vague = not np.isfinite(found.error) or (found.error > VAGUE * size + allowed and off <= 10 * found.error)
        return ("ill-conditioned" if vague else "wrong"), found.best

    def contained(self, k: int, position: int | None, sides: Sides, received: float, allowed: float) -> bool:
        """Whether a gradient on a kink lies between the slopes, or between gradients close by (F. H. Clarke, "Generalized
        gradients and applications", 1975), of which there are more than two where several values tie.
        """
        if sides.contain(received, allowed) or position is None or self.twin:
            return sides.contain(received, allowed)
        if k not in self.clouds:
            reach, rng = BESIDE * self.scale(k), np.random.default_rng(self.seed)
            x = self.wide if self.narrow is not None else {j: self.values[j] for j in self.where}
            clouds = [
                self.at({**x, k: np.asarray(x[k] + reach * rng.normal(size=x[k].shape), x[k].dtype)})[k] for _ in range(NEARBY)
            ]
            self.clouds[k] = np.stack(clouds).reshape(NEARBY, -1)
        cloud = self.clouds[k][:, position]
        room = (cloud.max() - cloud.min()) / 2 + allowed
        return bool(cloud.min() - room <= received <= cloud.max() + room and room > 2 * allowed)

    @property
    def folded(self) -> str:
        """An operation with a kink of its own, at this order or below: such as ``relu``, which gives 0 at 0 by convention."""
        return "" if self.twin else self.folds or (self.below.folded if self.below is not None else "")

    def sides(self, k: int, v: Array) -> Sides | None:
        return kink(self.line(k, v), self.scale(k), self.noise(k, v))

    def noise(self, k: int, v: Array) -> float:
        return max(self.eps * self.size, noise(self.line(k, v), self.scale(k)))

    def kinked(self, k: int) -> GradientReport | None:
        """What agrees by luck, or by convention, where there is no derivative: 0 for ``|x|`` at 0."""
        v, received = self.directions[k]
        s, h = self.line(k, v), self.step * self.scale(k)
        if self.oracle != "auto" or not abs(s(h) + s(-h) - 2 * self.here) > 0.05 * h * abs(received):
            return None
        sides = self.sides(k, v)
        return self.at_kink(k, [], sides, received) if sides is not None else None

    def beside(self, k: int, positions: list[int]) -> GradientReport | None:
        """What is wrong next to a kink, to either side: a rule must be right there, whatever it returns on the kink itself."""
        if self.twin:
            return None
        x, narrow = self.wide[k], self.narrow is None
        away = np.zeros(x.size)
        at = positions or range(x.size)
        away[at] = BESIDE * self.scale(k) * self.rng.uniform(0.5, 1.5, len(at)) * self.rng.choice([-1.0, 1.0], len(at))
        for sign in (1, -1):
            values = [self.wide.get(j, value) if not narrow else value for j, value in enumerate(self.values)]
            values[k] = np.asarray(x + sign * away.reshape(x.shape), values[k].dtype)
            check = Examination(
                self.f, values, self.names, self.title, self.order, self.seed, self.rng, self.rtol, self.oracle, self.rows, True
            )
            for report in check.run(self.below):
                if report.verdict == "wrong":
                    report.text += f"\n  beside:    a kink{f' at {self.label(k, positions[0])}' if positions else ''}, moved off it by about {BESIDE:g}"
                    return report
        return None

    def at_kink(self, k: int, positions: list[int], sides: Sides | None, received: float) -> GradientReport:
        if (wrong := self.beside(k, positions)) is not None:
            return wrong
        where = f" at {self.label(k, positions[0])}" if positions else ""
        also = f" and {len(positions) - 1} more" if len(positions) > 1 else ""
        text = f"a kink of {self.folded or 'an operation'}{where}{also}: right on either side, received {received:.6g} on it by convention"
        expected = None
        if sides is not None:
            text = (
                f"a {'jump' if sides.jump else 'kink'} here{where}{also}: the slope is {sides.left:.6g} to the left and "
                f"{sides.right:.6g} to the right; received {received:.6g}, and right on either side"
            )
            expected = (sides.left + sides.right) / 2
        self.note(k, "kink here", "ladder of steps", expected or 0.0, received)
        report = self.found("kink here", text, "kink", self.names[k], self.measure(k, positions[0] if positions else None))
        report.index = self.index(k, positions[0]) if positions else None
        report.expected, report.received = expected, received
        return report

    def ties(self, k: int, positions: list[int]) -> tuple[int, int, float, float] | None:
        """Two elements at a kink that each get the whole gradient: moved together there is no kink, and it counts twice."""
        for p, q in itertools.combinations(positions[:TIED], 2):
            v = self.unit(k, p) + self.unit(k, q)
            if self.sides(k, v) is not None:
                continue
            found, received = self.ladder(k, v), float(np.sum(self.gradients[k] * v))
            allowed = self.allowed(k, "central", max(abs(received), abs(found.best))) + 3 * found.error
            if abs(received) > 1.5 * abs(found.best) + allowed and abs(found.best) > allowed:
                return p, q, found.best, received
        return None

    def rounding(self, outputs: list[Array]) -> list[GradientReport]:
        """Compare the gradients in their own dtypes with those in float64, which the oracle has been asked about."""
        if self.narrow is None:
            return []
        kinds = [self.values[k].dtype for k in self.where] + [y.dtype for y in outputs]
        coarse = max((_tolerance(kind) for kind in kinds), key=lambda tolerance: tolerance.exact)
        moved: dict[int, Array] | None = None
        reports: list[GradientReport] = []
        for k in self.where:
            g, exact, kind = self.narrow[k], self.gradients[k], np.finfo(self.values[k].dtype)
            if not g.size:
                continue
            beyond = np.abs(exact) > float(kind.max) / 4
            rms = float(np.sqrt(np.mean(np.square(exact[~beyond])))) if not beyond.all() else 0.0
            noise = coarse.noise * self.size / max(1.0, self.scale(k)) + 4 * float(kind.smallest_subnormal)
            off = np.abs(g - exact)
            worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
            expected, received = float(exact.flat[worst]), float(g.flat[worst])
            if np.all(off <= (self.rtol or coarse.exact) * (np.abs(exact) + rms) + noise):
                self.note(k, "agrees", "float64", expected, received)
                continue
            if moved is None:  # as far as rounding the arguments moves the gradients, so may rounding inside f
                moved = self.at(
                    {j: np.asarray(a * (1 + _eps(self.values[j]) * _signs(self.rng, a.shape))) for j, a in self.wide.items()}
                )
            lost = max(_lost(y, w) for y, w in zip(outputs, self.call(self.wide)))
            room = 16 * np.abs(moved[k] - exact) + 16 * lost * (np.abs(exact) + rms) + 0.2 * (np.abs(exact) + rms) + 10 * noise
            explained = beyond | ~np.isfinite(g) | ((off <= room) & (not _multiple(g, exact)))
            verdict: Verdict = "dtype too small" if explained.all() else "wrong"
            if verdict == "wrong":
                worst = int(np.argmax(np.where(explained, -np.inf, off)))
                expected, received = float(exact.flat[worst]), float(g.flat[worst])
            why = "overflows" if not np.isfinite(received) else "is off by more than rounding explains" if verdict == "wrong" else (
                "underflows" if abs(expected) < float(kind.smallest_normal) else "loses its digits to rounding"
            )  # fmt: skip
            text = (
                f"right in float64, but in {self.values[k].dtype} it {why}: {self.label(k, worst)} should be {expected:.6g}, "
                f"received {received:.6g}"
            )
            self.note(k, verdict, "float64", expected, received)
            report = self.found(verdict, text, "dtype", self.names[k], self.measure(k, worst))
            report.index, report.expected, report.received = self.index(k, worst), expected, received
            reports.append(report)
        return reports

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

    def judge(self, k: int, suspects: list[int]) -> GradientReport | None:
        """The verdict on an argument whose gradient differs along a direction, from its elements one by one."""
        oracle = self.oracles[k]
        positions, expected = self.elements(k, oracle)
        received = self.gradients[k].reshape(-1)[positions]
        off = np.abs(received - expected)
        size = np.maximum(np.abs(expected), np.abs(received))
        differ = ~(off <= np.array([self.allowed(k, oracle, s) for s in size]))
        if not differ.any():
            return self.judge_direction(k, len(positions))
        came: dict[Verdict, list[int]] = {verdict: [] for verdict in VERDICTS}
        worst_first = np.argsort(np.where(np.isnan(off), -np.inf, -off), kind="stable")
        for i in worst_first[differ[worst_first]].tolist():
            if len(came["wrong"]) >= ENOUGH:
                break  # the rest is counted as it looked at one step
            p = int(positions[i])
            verdict, expected[i] = self.settle(k, self.unit(k, p), p, float(received[i]), float(expected[i]))
            came[verdict].append(i)
        for verdict in ("agrees", "kink here", "ill-conditioned"):
            differ[came[verdict]] = False
        if came["wrong"]:
            keep = np.ones(len(positions), bool)
            keep[came["kink here"] + came["ill-conditioned"]] = False
            return self.wrong(k, suspects, positions[keep], expected[keep], differ[keep])
        if came["kink here"]:
            at = [int(positions[i]) for i in came["kink here"]]
            if (pair := self.ties(k, at)) is not None:
                return self.tied(k, *pair)
            return self.at_kink(k, at, self.sides(k, self.unit(k, at[0])), float(self.gradients[k].flat[at[0]]))
        if came["ill-conditioned"]:
            i = came["ill-conditioned"][0]
            return self.vague(k, int(positions[i]), float(expected[i]), float(received[i]))
        self.note(k, "agrees", "ladder of steps", *self.directions[k][1:] * 2)
        return None

    def judge_direction(self, k: int, count: int) -> GradientReport | None:
        """It differs along the random direction, but no element that was looked at does."""
        v, received = self.directions[k]
        verdict, expected = self.settle(k, v, None, received, self.along(k, v, self.oracles[k]))
        if verdict == "agrees":
            self.note(k, verdict, "ladder of steps", expected, received)
            return None
        if verdict == "kink here":
            return self.at_kink(k, [], self.sides(k, v), received)
        if verdict == "ill-conditioned":
            return self.vague(k, None, expected, received)
        told = f"expected {expected:.12g}, received {received:.12g}; seed {self.seed}"
        text = f"it differs along a random direction, but no one element of {count} does: {told}"
        self.note(k, "wrong", ORACLES[self.oracles[k]], expected, received)
        return self.found("wrong", text, "", self.names[k], self.measure(k))

    def vague(self, k: int, position: int | None, expected: float, received: float) -> GradientReport:
        where = self.label(k, position) if position is not None else "along a random direction"
        text = f"ill-conditioned here: differences at no step agree on {where}; the nearest says {expected:.6g}, received {received:.6g}"
        self.note(k, "ill-conditioned", "ladder of steps", expected, received)
        report = self.found("ill-conditioned", text, "", self.names[k], self.measure(k, position))
        report.index = None if position is None else self.index(k, position)
        report.expected, report.received = expected, received
        return report

    def tied(self, k: int, p: int, q: int, expected: float, received: float) -> GradientReport:
        text = (
            f"{self.subject(self.names[k])} is wrong\n"
            f"  pattern:   ties counted twice: {self.label(k, p)} and {self.label(k, q)} tie, and both get the whole gradient\n"
            f"  expected:  {expected:.12g} in all, for both moved together\n"
            f"  received:  {received:.12g}\n"
            f"  seed:      {self.seed}"
        )
        self.note(k, "wrong", "ladder of steps", expected, received)
        report = GradientReport("wrong", text, self.names[k], self.order, "ties", self.index(k, p), expected, received)
        report.rows, report.seed, report._measure = self.rows, self.seed, self.measure(k, p)
        return report

    def wrong(self, k: int, suspects: list[int], positions: Array, expected: Array, differ: Array) -> GradientReport:
        """The report on a wrong gradient: the worst element, and the mistake if it is one of the usual ones."""
        name, x, g, oracle = self.names[k], self.values[k], self.gradients[k], self.oracles[k]
        received = g.reshape(-1)[positions]
        off = np.where(differ, np.abs(received - expected), -np.inf)
        worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
        position = int(positions[worst])
        evidence = patterns.Evidence(positions, expected, g, self.others(k, oracle, positions), self.sizes(k))
        found = patterns.recognise(evidence, lambda: self.unsummed(k, oracle))
        method = ORACLES[oracle]
        also = ", ".join(repr(self.names[j]) for j in suspects if j != k)
        sampled = "" if len(positions) == x.size else f" ({len(positions)} of its {x.size} elements were looked at)"
        allowed = self.allowed(k, oracle, max(abs(expected[worst]), abs(received[worst])))
        measure = self.measure(k, position)
        lines = [
            f"{self.subject(name)} is wrong",
            f"  pattern:   {found.text if found else 'none of the usual ones'}",
            f"  argument:  {name!r}, {x.dtype}, shape {x.shape}{f'; also wrong: {also}' if also else ''}",
            f"  element:   {self.label(k, position)}, the worst of {int(differ.sum())} that differ out of {len(positions)}{sampled}",
            f"  expected:  {expected[worst]:.12g}  ({method})",
            f"  received:  {received[worst]:.12g}  (reverse mode; allowed error {allowed:.1g})",
        ]
        self.note(k, "wrong", method, float(expected[worst]), float(received[worst]))
        report = GradientReport(
            "wrong", "", name, self.order, found.kind if found else "", self.index(k, position), float(expected[worst]),
            float(received[worst]), self.rows, self.seed, measure,
        )  # fmt: skip
        if report.pattern == "not finite" and not np.isfinite(report.ladder()[0].best):
            report.verdict = "ill-conditioned"
        lines += [f"  by step:   {report.sparkline()}", f"  seed:      {self.seed}"]
        report.text = "\n".join(lines)
        return report

    def others(self, k: int, oracle: str, positions: Array) -> dict[str, Array]:
        """What the other arguments of this shape should get."""
        shape = self.values[k].shape
        same = [j for j in self.where if j != k and self.values[j].shape == shape]
        return {self.names[j]: np.array([self.along(j, self.unit(j, p), oracle) for p in positions]) for j in same}

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
            twin = Examination(
                self.f, list(self.values), self.names, self.title, self.order, self.seed, self.rng, self.rtol, self.oracle, []
            )
            twin.values[k] = np.broadcast_to(self.values[k], target).copy()
            twin.wide = {**self.wide, k: twin.values[k].astype(self.wide[k].dtype)}
            twin.upstream, twin.step, twin.here = self.upstream, self.step, self.here
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

    def index(self, k: int, position: int) -> tuple[int, ...]:
        return tuple(int(i) for i in np.unravel_index(position, self.values[k].shape))

    def label(self, k: int, position: int) -> str:
        index = self.index(k, position)
        return f"{self.names[k]}{list(index)}" if index else self.names[k]

    def note(self, k: int, verdict: Verdict, oracle: str, expected: float, received: float) -> None:
        self.rows.append(Row(self.order, self.names[k], verdict, oracle, expected, received))

    def subject(self, name: str | None) -> str:
        gradient = "the gradient" if self.order == 1 else f"the derivative of order {self.order}"
        return f"check_grads: {gradient} of {self.title}{f' with respect to {name!r}' if name else ''}"

    def found(
        self, verdict: Verdict, text: str, pattern: str, name: str | None = None,
        measure: Callable[[], tuple[Ladder, float]] | None = None,
    ) -> GradientReport:  # fmt: skip
        text = f"{self.subject(name)}: {text}"
        return GradientReport(verdict, text, name, self.order, pattern, rows=self.rows, seed=self.seed, _measure=measure)


def _eps(x: Array) -> float:
    return float(np.finfo(x.dtype).eps)


def _lost(y: Array, exact: Array) -> float:
    """The relative error of an output, in its largest elements that are finite."""
    fits = np.isfinite(y)
    size = float(np.max(np.abs(exact), initial=0.0, where=fits))
    return float(np.max(np.abs(y - exact), initial=0.0, where=fits)) / size if size else 0.0


def _multiple(g: Array, exact: Array) -> bool:
    """Whether ``g`` is ``exact`` times a number other than 1: rounding does not do that."""
    large = np.isfinite(g) & (np.abs(exact) >= 0.1 * np.max(np.abs(exact), initial=0.0, where=np.isfinite(g)))
    ratio = g[large] / exact[large]
    c = float(np.median(ratio)) if ratio.size > 2 else 1.0
    return abs(c - 1) > 0.2 and bool(np.all(np.abs(ratio - c) <= 0.1 * abs(c)))


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.choice([-1.0, 1.0], shape))


def _tolerance(dtype: Any) -> Tolerance:
    return TOLERANCES.get(np.finfo(dtype).dtype.name, TOLERANCES["float64"])


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random numbers of either sign without small ones, behind which an error could hide."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    return len(shape) <= len(target) and all(n in (1, m) for n, m in zip(shape[::-1], target[::-1]))
