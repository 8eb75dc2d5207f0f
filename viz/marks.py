"""What stands out in a :class:`~minigrad.viz.film.Film`: gradients that vanish, explode or are not finite, layers that are dead or
saturated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minigrad.viz.format import Array, number

if TYPE_CHECKING:
    from minigrad.viz.film import Film, Layer

VANISHING, EXPLODING = 1e-3, 1e3
"""A layer's gradient vanishes, or explodes, if it is below, or above, so many times that of the layer nearest the loss; a time step's,
if it is below so many times the largest of its layer, or above so many times the last."""
SHARE = 0.5
"""A layer is dead, or saturated, if so much of it is."""


class Mark(NamedTuple):
    """Something that a film shows: what, in which layer it is worst or begins, from which step to which, and in words."""

    kind: str
    layer: str
    first: int
    last: int
    worst: float
    text: str


def marks(film: Film) -> Iterator[Mark]:
    """The marks of a film, the worst kind first."""
    if not len(film):
        return
    layers = [film._layer(row) for row in film.level()]
    yield from _non_finite(film, layers)
    steps = film.steps
    flow = np.array([layer.total for layer in layers]).reshape(len(layers), -1)
    there = [k for k in range(len(layers)) if not np.isnan(flow[k]).all()]
    if there:
        last = layers[there[-1]]
        with np.errstate(all="ignore"):
            ratio = flow / last.total
        for kind, hit, pick, words in (
            ("exploding", ratio > EXPLODING, np.nanargmax, f"above {EXPLODING:g}"),
            ("vanishing", ratio < VANISHING, np.nanargmin, f"below {VANISHING:g}"),
        ):
            if hit.any():
                k, s = np.unravel_index(pick(np.where(hit, ratio, math.nan)), ratio.shape)
                when, many = steps[hit.any(0)], int(hit.any(1).sum())
                worst = float(ratio[k, s])
                yield Mark(
                    kind, layers[k].name, int(when[0]), int(when[-1]), worst,
                    f"at step {steps[s]} the gradient at {layers[k].name} is {number(worst, 2)} of that at {last.name}; "
                    f"{many} of {len(layers)} layers {words}, {_when(when)}",
                )  # fmt: skip
    for layer in layers:
        if layer.time > 2:
            yield from _through_time(layer, steps, last.total if there and last is not layer else None)
    for kind in ("dead", "saturated"):
        for layer in layers:
            share = getattr(layer, kind)
            hit = share >= SHARE
            if hit.any():
                most = int(np.nanargmax(share))
                of = "the units of " if kind == "dead" else ""
                yield Mark(
                    kind, layer.name, int(steps[hit][0]), int(steps[hit][-1]), float(share[most]),
                    f"{share[most]:.0%} of {of}{layer.name} at step {steps[most]}, {_when(steps[hit])}",
                )  # fmt: skip


def _through_time(layer: Layer, steps: Array, nearest: Array | None) -> Iterator[Mark]:
    """How the gradient at the first time step compares: to the largest if it vanishes; if it explodes, to the last, and to the
    layer nearest the loss, so that what grows with the gradient that comes in from above is no explosion.
    """
    g = np.where(np.isfinite(layer.gradient), layer.gradient, math.nan)
    full = ~np.isnan(g).all(1)
    with np.errstate(all="ignore"):
        largest, final = np.full(len(g), math.nan), np.full(len(g), math.nan)
        largest[full] = np.nanmax(g[full], 1)
        for k in np.flatnonzero(full):
            final[k] = next((x for x in g[k, ::-1] if x > 0), math.nan)
        down, up = g[:, 0] / largest, g[:, 0] / (final if nearest is None else np.fmax(final, nearest))
    for kind, ratio, hit in (("exploding", up, up > EXPLODING), ("vanishing", down, (down < VANISHING) & (down > 0))):
        if hit.any():
            s = int(np.nanargmax(ratio) if kind == "exploding" else np.nanargmin(np.where(hit, ratio, math.nan)))
            of = "last" if kind == "exploding" else "largest"
            yield Mark(
                kind, layer.name, int(steps[hit][0]), int(steps[hit][-1]), float(ratio[s]),
                f"through time: at step {steps[s]} the gradient at the first of {layer.time} time steps of {layer.name} is {number(ratio[s], 2)} of the {of}, {_when(steps[hit])}",
            )  # fmt: skip


def _non_finite(film: Film, layers: list[Layer]) -> Iterator[Mark]:
    """Where NaN or Inf first appeared: in the first layer whose output has one, else in the last whose gradient has one."""
    steps, bad = film.steps, {name: film[name].bad for name in film.parameters}
    value = np.array([layer.value_bad for layer in layers]).reshape(len(layers), len(steps)) > 0
    gradient = np.array([layer.gradient_bad for layer in layers]).reshape(len(layers), len(steps)) > 0
    weights = np.array(list(bad.values())).reshape(len(bad), len(steps)) > 0
    loss = np.isinf(film.loss) | (np.isnan(film.loss) & ~np.isnan(film.loss).all() if len(steps) else False)
    hit = value.any(0) | gradient.any(0) | weights.any(0) | loss
    if not hit.any():
        return
    s = int(np.argmax(hit))
    if value[:, s].any():
        where, what = layers[int(np.argmax(value[:, s]))].name, "the output of"
    elif gradient[:, s].any():
        where, what = layers[int(np.flatnonzero(gradient[:, s])[-1])].name, "the gradient of the output of"
    elif weights[:, s].any():
        where, what = list(bad)[int(np.flatnonzero(weights[:, s])[-1])], "the gradient of"
    else:
        where, what = "loss", "the"
    yield Mark(
        "non-finite", where, int(steps[s]), int(steps[hit][-1]), math.nan,
        f"NaN or Inf first appears at step {steps[s]} in {what} {where}, {_when(steps[hit])}",
    )  # fmt: skip


def _when(steps: Array) -> str:
    return f"in step {steps[0]}" if len(steps) == 1 else f"in {len(steps)} steps from {steps[0]} to {steps[-1]}"
