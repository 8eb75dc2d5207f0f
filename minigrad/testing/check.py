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
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from minigrad.tensor import Tensor
from minigrad.testing.examination import Examination, Oracle, differentiable, gradient_of
from minigrad.testing.verdicts import ACCEPTED, VERDICTS, GradientError, GradientReport, Row, Verdict


def check_grads(
    f: Callable[..., Any], *args: Any, order: int = 2, seed: int = 0, rtol: float | None = None, oracle: Oracle = "auto",
    accept: Collection[Verdict] = ACCEPTED,
) -> GradientReport:  # fmt: skip
    """Check the reverse-mode gradients of ``f`` at ``args``, and the gradients of those gradients, up to ``order``.

    Each argument is first checked along one random unit direction without small entries. Where that fails, every element is
    differentiated for a report that names the argument, the worst element and, if it is one of the usual ones, the mistake.

    Args:
        f: takes Tensors and returns a Tensor or a tuple of them. It is also run on complex and on float64 Tensors.
        args: floating arrays, Tensors and numbers are differentiated; anything else is passed on as it is. None is changed.
            Narrow dtypes are checked as float64, then compared with that to their own precision (:data:`TOLERANCES`).
        order: the highest order of derivative to check.
        seed: of the generator of directions and weights.
        rtol: relative error allowed, instead of that of :data:`TOLERANCES`.
        oracle: ``"complex"`` step, ``"central"`` differences, or ``"auto"``: the complex step where it runs and agrees with
            central differences, else these.
        accept: the verdicts (:data:`VERDICTS`) that raise no error.

    Returns:
        A :class:`GradientReport` with the verdict: ``"agrees"``, or what else ``accept`` lets pass.

    Raises:
        GradientError: if a gradient is wrong; if ``f`` is not finite there, or gives another result the second time; it has
            the report as its ``report``.
        TypeError: if there is nothing to differentiate, or ``f`` returns something else than Tensors.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.testing import check_grads
        >>> check_grads(lambda a, b: mg.tanh(a * b), [1.0, 2.0], 0.5, order=3).verdict
        'agrees'
        >>> check_grads(mg.relu, [-1.0, 0.0, 1.0]).verdict
        'kink here'
        >>> double = mg.primitive(lambda a: 2 * a, lambda g, y, a: g, name="double")
        >>> try:
        ...     check_grads(double, [1.0, 2.0])
        ... except AssertionError as error:
        ...     print(str(error).splitlines()[1].strip())
        pattern:   a factor of 1/2: received is half of what was expected
    """
    __tracebackhide__ = True  # of pytest: the error says it all
    values = [_value(arg) for arg in args]
    if not any(map(differentiable, values)):
        kinds = ", ".join(type(arg).__name__ for arg in args) or "no arguments"
        raise TypeError(f"check_grads: nothing to differentiate among {kinds}; pass floating arrays, Tensors or floats")
    if order < 1:
        raise ValueError(f"check_grads: order={order}; expected 1 or more")
    if unknown := set(accept) - set(VERDICTS):
        raise ValueError(f"check_grads: accept has {sorted(unknown)}; expected some of {', '.join(VERDICTS)}")
    rng, rows, gravity = np.random.default_rng(seed), list[Row](), list(VERDICTS)
    title, names = getattr(f, "__name__", type(f).__name__), _names(f, len(values))
    gravest: GradientReport | None = None
    with np.errstate(all="ignore"):
        below: Examination | None = None
        for k in range(1, order + 1):
            check = Examination(f, values, names, title, k, seed, rng, rtol, oracle, rows)
            for report in check.run(below):
                if not report.accepted(accept):
                    raise GradientError(report)
                if gravest is None or gravity.index(report.verdict) > gravity.index(gravest.verdict):
                    gravest = report
            below, f = check, gradient_of(f, len(values))
            values = values + check.upstream
            names = names + [f"upstream gradient {i + 1} of order {k}" for i in range(len(check.upstream))]
    if gravest is not None:
        return gravest
    oracles = ", ".join(sorted({row.oracle for row in rows}))
    text = f"check_grads: the gradients of {title} agree up to order {order} ({len(rows)} comparisons: {oracles})"
    return GradientReport("agrees", text, rows=rows, seed=seed, _measure=check.measure(), argument=names[check.where[0]])


def examine(f: Callable[..., Any], *args: Any, **options: Any) -> GradientReport:
    """:func:`check_grads` that raises no :class:`GradientError` but returns its report, whatever the verdict.

    Example:
        >>> import minigrad as mg
        >>> half = mg.primitive(np.square, lambda g, y, a: g * a, name="half")
        >>> report = examine(half, [1.0, 2.0])
        >>> report.verdict, report.pattern, report.index, report.received / report.expected
        ('wrong', 'factor', (1,), 0.5)
    """
    try:
        return check_grads(f, *args, **options)
    except GradientError as error:
        return error.report


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
