"""What :func:`minigrad.testing.check_grads` says: a verdict, what it rests on, and a plot of the error against the step."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from minigrad.testing.differences import Ladder

Verdict = Literal["agrees", "kink here", "ill-conditioned", "dtype too small", "wrong", "nondeterministic"]

VERDICTS: dict[Verdict, str] = {
    "agrees": "reverse mode and the oracle give the same derivative",
    "kink here": "there is no derivative at this point; what reverse mode gives lies between the slopes on either side",
    "ill-conditioned": "no oracle gives the derivative here to a per cent, so neither can the gradient be refuted",
    "dtype too small": "right in float64; in its own dtype the gradient overflows or loses its digits to rounding",
    "wrong": "the derivative exists, and reverse mode gives another",
    "nondeterministic": "a second call with the same arguments gives something else",
}
"""From the lightest to the gravest; a report carries the gravest that any part of the check came to."""

ACCEPTED: tuple[Verdict, ...] = ("agrees", "kink here", "ill-conditioned", "dtype too small")
"""None of these says that a rule is wrong. ``check_grads(..., accept=("agrees",))`` lets nothing else pass."""


class Row(NamedTuple):
    """One comparison: an argument at one order of derivative.

    Attributes:
        order: of the derivative.
        argument: its name.
        verdict: see :data:`VERDICTS`.
        oracle: ``"complex step"``, ``"central differences"``, ``"ladder of steps"`` or ``"float64"``.
        expected: the derivative along a random direction (of the worst element, where one was looked for).
        received: the same from reverse mode.
    """

    order: int
    argument: str
    verdict: Verdict
    oracle: str
    expected: float
    received: float


@dataclass
class GradientReport:
    """What a check found.

    Attributes:
        verdict: a key of :data:`VERDICTS`.
        text: the finding, as in the message of the error.
        argument: the name of the argument it is about, if one is.
        order: of the derivative.
        pattern: the kind of mistake recognised ("" for none): ``zero``, ``sign``, ``factor``, ``transposed``, ``broadcast``,
            ``swapped``, ``ties``, ``kink``, ``not finite``, ``nondeterministic``, ``dtype``, ``error``.
        index: of the worst element.
        expected: its derivative by the oracle.
        received: its derivative by reverse mode.
        rows: all comparisons that were made.
        seed: of directions and weights.
    """

    verdict: Verdict
    text: str
    argument: str | None = None
    order: int = 1
    pattern: str = ""
    index: tuple[int, ...] | None = None
    expected: float | None = None
    received: float | None = None
    rows: list[Row] = field(default_factory=list)
    seed: int = 0
    _measure: Callable[[], tuple[Ladder, float]] | None = field(default=None, repr=False)
    _measured: tuple[Ladder, float] | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether everything that was compared agrees."""
        return self.verdict == "agrees"

    def accepted(self, accept: Collection[Verdict] = ACCEPTED) -> bool:
        """Whether ``check_grads`` lets this pass. A value that is not finite in float64 either never does."""
        return self.verdict in accept and self.pattern != "not finite"

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<GradientReport: {self.verdict}, {len(self.rows)} comparisons>"

    def ladder(self) -> tuple[Ladder, float]:
        """Central differences over a ladder of steps at the worst place, and the gradient's value there.

        Raises:
            ValueError: if the check ended before any derivative was compared.
        """
        if self._measured is None:
            if self._measure is None:
                raise ValueError(f"plot: nothing was differentiated, for {self.text}")
            self._measured = self._measure()
        return self._measured

    def sparkline(self) -> str:
        """The error of central differences, by step, as a line of text: a valley where the gradient is right.

        Example:
            >>> import minigrad as mg
            >>> print(mg.testing.check_grads(mg.tanh, [1.0], order=1).sparkline())
            ▆▆▅▄▄▃▂▂▂▂▂▃▄▄▄  step 1e-01 ... 4e-10, error 2e-03, least 1e-11
        """
        found, value = self.ladder()
        off = found.off(value)
        least = min((x for x in off.tolist() if x == x), default=float("nan"))
        ends = f"step {found.steps[0]:.0e} ... {found.steps[-1]:.0e}, error {off[0]:.0e}, least {least:.0e}"
        return f"{found.bars(value)}  {ends}"

    def plot(self, path: str | Path | None = None) -> Any:
        """Error against step, on logarithmic axes, as a matplotlib figure; also written to ``path`` if one is given.

        A right gradient shows the valley of central differences: truncation falls as the square of the step until rounding
        rises. A wrong one is a flat line at its relative error.

        Raises:
            ImportError: without matplotlib (``pip install matplotlib``); :meth:`sparkline` needs nothing.

        Example:
            >>> import minigrad as mg
            >>> mg.testing.check_grads(mg.tanh, [1.0]).plot().axes[0].get_xlabel()
            'step of the central difference'
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("plot needs matplotlib: pip install matplotlib; sparkline() needs nothing") from error
        found, value = self.ladder()
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        axes.loglog(found.steps, found.off(value).clip(1e-17), marker="o", color="#0072b2", label="against reverse mode")
        if found.best == found.best:
            axes.loglog(
                found.steps, found.off(found.best).clip(1e-17), marker="s", mfc="none", ls="--", color="#d55e00",
                label="against their own plateau",
            )  # fmt: skip
        axes.set_xlabel("step of the central difference")
        axes.set_ylabel("relative error")
        where = f" of {self.argument!r}" if self.argument else ""
        axes.set_title(f"{self.verdict}: derivative{where}, order {self.order}", loc="left")
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(frameon=False)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


class GradientError(AssertionError):
    """A gradient that is wrong, or that cannot be checked.

    Attributes:
        report: the :class:`GradientReport`; its ``argument``, ``order``, ``pattern``, ``index``, ``expected`` and ``received``
            are attributes of the error too.
    """

    def __init__(self, report: GradientReport) -> None:
        super().__init__(report.text)
        self.report = report
        self.argument, self.order, self.pattern = report.argument, report.order, report.pattern
        self.index, self.expected, self.received = report.index, report.expected, report.received
