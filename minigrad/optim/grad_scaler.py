"""Loss scaling: training in half precision without losing the gradients that are too small for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from minigrad import backend, tracing
from minigrad.errors import MinigradError
from minigrad.optim.base import Optimizer, OptimizerError, replace
from minigrad.tensor import Tensor, wrap

UNSCALED, STEPPED = "unscale_() or step()", "step()"
"""What was called for an optimiser since the last update: nothing (None), unscale_, or step."""


class _Turn:
    """What happened to the gradients of one optimiser since the last update."""

    def __init__(self) -> None:
        self.done: str | None = None
        self.finite = True


class GradScaler:
    """Dynamic loss scaling: ``backward`` runs on ``S L``, and the step takes ``g = (1/S) d(S L)/dw``.

    float16 ends at 6e-8 below and 65504 above, and many gradients of a network are smaller than that: they become 0, and nothing is
    learned. The chain rule is linear in its upstream gradient, so multiplying the loss by S multiplies every gradient by S, up into
    the range; dividing by S in float32 brings the number back unharmed. S adapts: a step whose gradients have an inf or a NaN is left
    out and ``S <- S backoff_factor``; after ``growth_interval`` steps in a row without one ``S <- S growth_factor``. So S stays near the
    largest that does not overflow.

    A parameter of two bytes (float16, bfloat16) is stepped through a float32 master copy, ``w32 <- w32 - eta g32, w = round(w32)``:
    between 0.5 and 1 float16 has steps of 5e-4, and smaller updates would be lost one by one. The optimiser's state is then float32 too.
    Parameters of more bytes are stepped as they are: a model may also keep them in float32 and cast them where it computes,
    ``x @ w.astype("float16")``; the gradient comes back in float32.

    Source: Micikevicius et al. 2018, "Mixed Precision Training", sections 3.1 and 3.2. Names and defaults are PyTorch's.

    Args:
        device: accepted as in PyTorch; gradients are unscaled where they are.
        init_scale: the first S. A power of two changes no digit.
        growth_factor: what S is multiplied by after a good run.
        backoff_factor: what S is multiplied by after an overflow.
        growth_interval: how many steps without overflow are a good run.
        enabled: if not, everything passes through and :meth:`step` only calls the optimiser's.

    Raises:
        OptimizerError: for numbers outside their range.

    Example:
        >>> import minigrad as mg
        >>> w = mg.tensor([1.0], dtype="float16", requires_grad=True)
        >>> optimizer, scaler = mg.optim.SGD([w], lr=1e6), mg.optim.GradScaler(init_scale=1024.0)
        >>> loss = (w * 1e-4 * 1e-4).sum()  # its gradient, 1e-8, is 0 in float16
        >>> scaler.scale(loss).backward()
        >>> w.grad.item() > 0  # 1024 times as much is not
        True
        >>> scaler.step(optimizer)
        >>> scaler.update()
        >>> round(w.item(), 2)
        0.99
    """

    def __init__(
        self, device: str | None = None, init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
        growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        for name, value, fine, expected in (
            ("init_scale", init_scale, 0 < init_scale < float("inf"), "a positive number"),
            ("growth_factor", growth_factor, growth_factor > 1, "more than 1"),
            ("backoff_factor", backoff_factor, 0 < backoff_factor < 1, "a number between 0 and 1"),
            ("growth_interval", growth_interval, growth_interval >= 1, "a whole number of steps >= 1"),
        ):
            if not fine:
                raise OptimizerError(f"GradScaler: {name} must be {expected}, got {value!r}")
        self._scale = wrap(np.asarray(init_scale, np.float32))  # a tensor, so that a compiled step reads it anew
        self.growth_factor, self.backoff_factor, self.growth_interval = growth_factor, backoff_factor, growth_interval
        self._enabled, self._growth_tracker = enabled, 0
        self._turns: WeakKeyDictionary[Optimizer, _Turn] = WeakKeyDictionary()
        self._masters: WeakKeyDictionary[Optimizer, dict[Tensor, Any]] = WeakKeyDictionary()
        self._saved_masters: list[list[Any]] = []

    def scale(self, outputs: Any) -> Any:
        """``S outputs``, in float32 at least: a tensor, or tensors in a list or tuple. Call ``backward`` on the result."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale.to(outputs.device)
        if isinstance(outputs, Iterable):
            scaled = [self.scale(output) for output in outputs]
            return tuple(scaled) if isinstance(outputs, tuple) else scaled
        raise TypeError(f"GradScaler.scale: expected a tensor, or a list or tuple of them, got {type(outputs).__name__}")

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimiser's parameters by S, in float32; :meth:`step` does it unless you have.

        Call it where the gradients themselves matter between backward and step, as for clipping::

            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()

        Raises:
            MinigradError: if they are divided already, or inside a compiled step (where :meth:`step` may be called).
        """
        if not self._enabled:
            return
        if tracing.active.get() is not None:
            tracing.refuse("GradScaler.unscale_", "let scaler.step(optimizer) unscale there, or leave the step uncompiled")
        self._unscale(optimizer)

    def _unscale(self, optimizer: Optimizer) -> _Turn:
        turn = self._turns.setdefault(optimizer, _Turn())
        if turn.done is not None:
            raise MinigradError(
                f"GradScaler.unscale_: {turn.done} was already called for this {type(optimizer).__name__} since the last update(); its "
                f"gradients would be divided twice. Call scaler.update() at the end of every iteration."
            )
        inverse = float(1.0 / np.float64(self.get_scale()))
        with np.errstate(over="ignore", invalid="ignore"):
            for p in _parameters(optimizer):
                g = p.grad._data  # type: ignore[union-attr]
                g = (g.astype(np.float32) if g.dtype.itemsize == 2 else g) * inverse
                turn.finite = turn.finite and bool(backend.namespace(g).isfinite(g).all())
                p.grad = wrap(g)
        turn.done = UNSCALED
        return turn

    @tracing.effect
    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()`` with gradients divided by S, or nothing at all if one of them is not finite.

        Returns:
            What ``optimizer.step`` returns; None if it was left out.

        Raises:
            MinigradError: if it was called since the last :meth:`update`, or if no parameter has a gradient.
            TypeError: for a closure: its backward pass would know nothing of S.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            raise TypeError(
                "GradScaler.step: a closure's backward pass would not be scaled: call the optimiser's own step for that"
            )
        turn = self._turns.setdefault(optimizer, _Turn())
        if turn.done == STEPPED:
            raise MinigradError("GradScaler.step: called twice since the last update(): call scaler.update() after it")
        if not _parameters(optimizer):
            raise MinigradError(
                f"GradScaler.step: no parameter of this {type(optimizer).__name__} has a gradient: call scaler.scale(loss).backward() first"
            )
        if turn.done is None:
            self._unscale(optimizer)
        turn.done = STEPPED
        return self._step_in_float32(optimizer, kwargs) if turn.finite else None

    def _step_in_float32(self, optimizer: Optimizer, kwargs: dict[str, Any]) -> Any:
        halves = [(p, p.dtype) for p in _parameters(optimizer) if p.dtype.itemsize == 2]
        if not halves:
            return optimizer.step(**kwargs)
        masters = self._masters.setdefault(optimizer, {})
        if not masters and self._saved_masters:
            saved = self._saved_masters.pop(0)
            masters |= {
                p: w for p, w in zip((p for group in optimizer.param_groups for p in group["params"]), saved) if w is not None
            }
        for p, dtype in halves:
            w = masters.get(p)
            # Somebody else has set the parameter since (a checkpoint, an initialiser) unless it is still the rounded copy.
            fresh = w is None or w.shape != p.shape or not bool((w.astype(dtype) == p._data).all())
            p._data = p._data.astype(np.float32) if fresh else backend.to_device(w, p.device)
        try:
            return optimizer.step(**kwargs)
        finally:
            for p, dtype in halves:
                masters[p] = p._data
                replace(p, p._data.astype(dtype))

    @tracing.effect
    def update(self, new_scale: float | Tensor | None = None) -> None:
        """The next S, from what this iteration's gradients were like; or ``new_scale``. Call it once, after the steps.

        Raises:
            MinigradError: if no gradient was looked at since the last call.
        """
        if not self._enabled:
            return
        scale = self.get_scale()
        if new_scale is not None:
            scale = float(new_scale.item() if isinstance(new_scale, Tensor) else new_scale)
        elif not self._turns:
            raise MinigradError(
                "GradScaler.update: no gradient was looked at since the last update(): call scaler.step(optimizer) first"
            )
        elif not all(turn.finite for turn in self._turns.values()):
            scale, self._growth_tracker = scale * self.backoff_factor, 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker >= self.growth_interval:
                grown = scale * self.growth_factor
                scale = grown if grown <= float(np.finfo(np.float32).max) else scale
                self._growth_tracker = 0
        replace(self._scale, np.asarray(scale, np.float32))
        self._turns.clear()

    def get_scale(self) -> float:
        """S; 1 if this scaler is not enabled."""
        return float(self._scale._data) if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Whether it scales at all."""
        return self._enabled

    def get_growth_factor(self) -> float:
        return self.growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self.growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self.backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self.backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self.growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self.growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's entries, and under ``"masters"`` the float32 copies, if there are any: per optimiser, in the order of first steps."""
        if not self._enabled:
            return {}
        masters = [
            [None if (w := copies.get(p)) is None else np.array(backend.to_numpy(w)) for group in optimizer.param_groups for p in group["params"]]
            for optimizer, copies in self._masters.items()
        ]  # fmt: skip
        return {
            "scale": self.get_scale(), "growth_factor": self.growth_factor, "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval, "_growth_tracker": self._growth_tracker, **({"masters": masters} if masters else {}),
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was taken, PyTorch's too. Load parameters and optimisers beforehand.

        Raises:
            OptimizerError: for the empty dict of a scaler that was not enabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise OptimizerError("GradScaler.load_state_dict: the state is empty: was it saved by a scaler with enabled=False?")
        replace(self._scale, np.asarray(state_dict["scale"], np.float32))
        self.growth_factor, self.backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self.growth_interval, self._growth_tracker = state_dict["growth_interval"], state_dict["_growth_tracker"]
        self._masters.clear()
        self._saved_masters = [list(copies) for copies in state_dict.get("masters", [])]

    def __repr__(self) -> str:
        return f"GradScaler(scale={self.get_scale():g}, enabled={self._enabled})"


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    """Those that have a gradient."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
