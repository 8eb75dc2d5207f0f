"""The training loop: :func:`fit`, its parts :func:`evaluate`, :func:`accuracy` and :func:`tbptt`."""

from __future__ import annotations

import contextlib
import functools
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import random
from minigrad.compiler import compile as compiled_step
from minigrad.errors import AnomalyError, ShapeError
from minigrad.modes import no_grad
from minigrad.nn.data import ArrayDataset, Seed, batches, windows
from minigrad.nn.history import History
from minigrad.nn.module import Module
from minigrad.nn.recurrent import detach_state
from minigrad.nn.utils import clip_grad_norm_
from minigrad.optim.base import Optimizer, plain
from minigrad.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from minigrad.tensor import Tensor, asarray

__all__ = ["History", "State", "StopTraining", "accuracy", "evaluate", "fit", "tbptt"]

Data = ArrayDataset | tuple[Any, ...] | Iterable[Any]
Loss = Callable[[Any, Any], Any]
Metric = Callable[[Any, Any], Any]


class StopTraining(Exception):  # noqa: N818 (it is no error)
    """Raised in a callback, or anywhere in an epoch, it ends training; its text becomes ``history.stopped``."""


@dataclass
class State:
    """Where training is, for callbacks. ``epoch`` and ``batch`` count from 1; ``loss`` is that of the latest batch."""

    model: Module
    optimizer: Optimizer
    history: History
    epochs: int
    batches: int | None
    epoch: int = 0
    batch: int = 0
    loss: float = math.nan


Callback = Callable[[State], Any]


def fit(
    model: Module, train: Data, *, loss: Loss, optimizer: Optimizer, epochs: int, validation: Data | None = None,
    batch_size: int = 32, metric: Metric | None = None, scheduler: LRScheduler | None = None, scheduler_per: str = "epoch",
    clip_norm: float | None = None, patience: int | None = None, best: bool = True, callbacks: Sequence[Callback] = (),
    batch_callbacks: Sequence[Callback] = (), seed: Seed = 0, progress: bool | None = None, shuffle: bool = True,
    compile: bool = False,
) -> History:  # fmt: skip
    """Train ``model``: for every batch (x..., y), one step of ``optimizer`` down the gradient of ``loss(model(x...), y)``.

    The same call on the same weights gives the same weights, bit for bit: orders, augmentation and dropout draw from ``seed``.

    Ctrl-C ends training and keeps what was learned: the history so far is returned, and a second Ctrl-C is not caught.

    Args:
        model: is trained in train mode (modules inside that you put into eval mode stay there) and validated in eval mode;
            afterwards it is in the mode it came in.
        train: an :class:`ArrayDataset`, a tuple of arrays ``(x, y)``, or anything that can be iterated over again and again and
            gives batches ``(x, ..., y)``; that decides about batch size and order itself.
        loss: a function of prediction and target, ``nn.CrossEntropyLoss()`` for example, to a scalar.
        optimizer: made with ``model.parameters()``. One that needs a closure, as ``optim.LBFGS``, gets it.
        epochs: how often all of ``train`` is seen, at most.
        validation: as ``train``; it is never shuffled.
        batch_size: how many examples to a batch; the last may have fewer.
        metric: ``metric(prediction, target)``, a mean over the batch, such as :func:`accuracy`.
        scheduler: of learning rates; ``ReduceLROnPlateau`` is told the validation loss (without validation, the training loss).
        scheduler_per: ``"epoch"``, or ``"batch"``, as ``OneCycleLR`` wants it.
        clip_norm: the longest that the gradient may be: :func:`minigrad.nn.utils.clip_grad_norm_`.
        patience: stop after so many epochs in which the validation loss was not the smallest so far.
        best: end with the weights of the epoch with the smallest validation loss, where there is validation. The optimiser's
            state stays that of the last step.
        callbacks: functions of a :class:`minigrad.nn.training.State`, called after each epoch. One that returns True, or raises
            :class:`StopTraining`, ends training.
        batch_callbacks: the same, called after each batch.
        seed: an integer, which begins anew in every call; a generator, which goes on where it is; or None for minigrad's own
            generator, as ``mg.manual_seed`` left it.
        progress: whether to show a bar (needs tqdm) on stderr; by default where that is a terminal and tqdm is installed.
        shuffle: whether each epoch sees the examples in a new order.
        compile: whether forward and backward pass are compiled (:func:`minigrad.compile`): the same numbers, faster.

    Returns:
        A :class:`History`.

    Raises:
        AnomalyError: if a loss or a gradient is not finite. The model then has its last finite weights.
        TypeError: for arguments of another kind than these.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn, optim
        >>> _ = mg.manual_seed(0)
        >>> x = mg.random.normal((200, 2)).numpy()
        >>> y = (x[:, 0] * x[:, 1] > 0).astype("int64")
        >>> model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
        >>> history = nn.fit(
        ...     model, (x, y), loss=nn.CrossEntropyLoss(), optimizer=optim.Adam(model.parameters(), lr=0.05), epochs=20,
        ...     metric=nn.accuracy,
        ... )
        >>> history.epochs, history.stopped, history.metric[-1] > 0.95
        (20, 'done', True)
    """  # fmt: skip
    _check(model, loss, optimizer, epochs, validation, scheduler, scheduler_per, patience)
    history, smallest, learned = History(), math.inf, None
    with _drawing_from(seed) as rng, _modes_kept(model), contextlib.ExitStack() as stack:
        every = _batched(train, batch_size, shuffle, rng, "train")
        held_out = None if validation is None else _batched(validation, batch_size, False, rng, "validation")
        state = State(model, optimizer, history, epochs, len(every) if isinstance(every, Sized) else None)
        if not model.training:
            model.train()
        bar = stack.enter_context(contextlib.closing(_bar(progress, state)))
        step = _Step(model, loss, optimizer, metric, clip_norm, compile)
        after_batch, after_epoch = [*batch_callbacks, bar.after_batch], [*callbacks, bar.after_epoch]
        if scheduler is not None and scheduler_per == "batch":
            after_batch.insert(0, lambda _: scheduler.step())
        try:
            for state.epoch in range(1, epochs + 1):
                begun = time.perf_counter()
                row = _epoch(state, every, step, after_batch)
                if held_out is not None:
                    found = _evaluate(model, held_out, loss, metric)
                    row |= {f"validation_{name}": value for name, value in found.items()}
                history.append(**row, seconds=time.perf_counter() - begun)
                judged = row.get("validation_loss", row["loss"])
                if held_out is not None and judged < smallest:
                    smallest, history.best_epoch = judged, state.epoch
                    learned = model.state_dict() if best else None
                if isinstance(scheduler, ReduceLROnPlateau):
                    scheduler.step(judged)
                elif scheduler is not None and scheduler_per == "epoch":
                    scheduler.step()
                _call(after_epoch, state)
                if patience is not None and state.epoch - (history.best_epoch or 0) >= patience:
                    raise StopTraining(f"early stopping at epoch {state.epoch}; best was {history.best_epoch or 'none'}")
            history.stopped = "done"
        except StopTraining as stop:
            history.stopped = str(stop) or f"stopped in epoch {state.epoch}"
        except KeyboardInterrupt:
            history.stopped = "interrupted"
        if learned is not None:
            model.load_state_dict(learned)
    return history


def _check(
    model: Any,
    loss: Any,
    optimizer: Any,
    epochs: int,
    validation: Any,
    scheduler: Any,
    scheduler_per: str,
    patience: int | None,
) -> None:
    expected = (
        ("model", model, isinstance(model, Module), "a Module"),
        ("loss", loss, callable(loss) and not isinstance(loss, type), "a function, or a loss that was made: nn.MSELoss()"),
        ("optimizer", optimizer, isinstance(optimizer, Optimizer), "one that was made: optim.Adam(model.parameters())"),
        ("scheduler", scheduler, scheduler is None or isinstance(scheduler, LRScheduler), "one that was made, or None"),
    )
    for name, given, fits, wanted in expected:
        if not fits:
            got = f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"
            raise TypeError(f"fit: {name}: expected {wanted}; got {got}")
    if scheduler_per not in ("epoch", "batch"):
        raise ValueError(f"fit: scheduler_per={scheduler_per!r}: expected 'epoch' or 'batch'")
    if scheduler_per == "batch" and isinstance(scheduler, ReduceLROnPlateau):
        raise ValueError("fit: ReduceLROnPlateau needs the loss of an epoch: leave scheduler_per at 'epoch'")
    if epochs < 0:
        raise ValueError(f"fit: epochs={epochs}: expected 0 or more")
    if patience is not None and (validation is None or patience < 1):
        raise ValueError(f"fit: patience={patience}: expected 1 or more epochs, and validation data to judge by")


# ---- one epoch, one step -----------------------------------------------------------------------------------------------------


def _epoch(state: State, every: Iterable[Any], step: _Step, after_batch: Sequence[Callback]) -> dict[str, float]:
    """Train on every batch once; the means over all examples."""
    before = state.model.state_dict()
    means, rate = _Means(), math.nan
    for state.batch, batch in enumerate(every, 1):
        rate = plain(state.optimizer.param_groups[0]["lr"])
        try:
            measured, size = step(batch)
        except _NotFiniteError as error:
            raise _explained(error, state, before) from None
        means.add(measured, size)
        state.loss = measured["loss"]
        _call(after_batch, state)
    if not means.count:
        again = "" if state.epoch == 1 else f" in epoch {state.epoch}: it must give them anew each time it is iterated over"
        raise ValueError(f"fit: train gave no batches{again}")
    return {**means(), "lr": rate}


class _NotFiniteError(AnomalyError):
    pass


class _Step:
    """One step of the optimiser."""

    def __init__(
        self, model: Module, loss: Loss, optimizer: Optimizer, metric: Metric | None, clip_norm: float | None,
        compiled: bool = False,
    ) -> None:  # fmt: skip
        self.model, self.loss, self.optimizer, self.metric, self.clip_norm = model, loss, optimizer, metric, clip_norm
        self.learned = [p for group in optimizer.param_groups for p in group["params"]]
        self.run = compiled_step(self._run) if compiled else self._run

    def __call__(self, batch: Any) -> tuple[dict[str, float], int]:
        inputs, target = _parts(batch, self.model)
        return self.learn(lambda: self.run(inputs, target), target), _size(target)

    def _run(self, inputs: list[Any], target: Any) -> tuple[Any, Any, Any]:
        return self.differentiate(self.model(*inputs), target)

    def differentiate(self, prediction: Any, target: Any) -> tuple[Any, Any, Any]:
        """The loss and the prediction; their gradients are in the parameters, and their norm is the third."""
        self.optimizer.zero_grad()
        value = _scalar(self.loss(prediction, target))
        value.backward()
        return value, prediction, None if self.clip_norm is None else clip_grad_norm_(self.learned, self.clip_norm)

    def learn(self, run: Callable[[], tuple[Any, Any, Any]], target: Any) -> dict[str, float]:
        """What the loss, the metric and the gradient's norm were before the step."""
        first: dict[str, float] = {}

        def closure() -> Any:
            """A line search calls it more than once; only the first time counts."""
            value, prediction, norm = run()
            measured = {"loss": _number(value)}
            if norm is not None:
                measured["grad_norm"] = float(norm.item())
            if not first and not math.isfinite(measured["loss"]):
                raise _NotFiniteError(f"the loss is {measured['loss']}")
            if not first:
                self._check_gradients()
                if self.metric is not None:
                    with no_grad():
                        measured["metric"] = float(self.metric(prediction, target))
                first.update(measured)
            return value

        self.optimizer.step(closure)
        return first

    def _check_gradients(self) -> None:
        """So that a bad gradient does not reach the weights. A sum takes a tenth of the time of ``isfinite`` on every element."""
        gradients = [(p, g._data) for p in self.learned if (g := p.grad) is not None]
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(sum(g.sum() for _, g in gradients)):
                return
        wrong = [p.name or f"parameter {k}" for k, (p, g) in enumerate(gradients) if not np.isfinite(g).all()]
        if wrong:
            raise _NotFiniteError(f"the loss is finite, but not its gradient with respect to {', '.join(wrong)},")


def _scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.size != 1:
        got = f"a tensor of shape {loss.shape}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise ShapeError(f"the loss must be one number, a Tensor of shape (); got {got}. Take its mean, or reduction='mean'.")
    return loss


def _number(loss: Any) -> float:
    return float(_scalar(loss).item())


def _explained(error: Exception, state: State, before: dict[str, Any]) -> AnomalyError:
    """The error for the user; the model gets back its weights from before the epoch if the step before has spoilt them."""
    kept = "before that batch"
    if not all(np.isfinite(value.numpy()).all() for value in state.model.state_dict().values()):
        state.model.load_state_dict(before)
        kept = "at the start of that epoch"
    of = f" of {state.batches}" if state.batches else ""
    return AnomalyError(
        f"fit: {error} in epoch {state.epoch}, batch {state.batch}{of}. The model has the weights that it had {kept}. Lower the "
        f"learning rate (it is {plain(state.optimizer.param_groups[0]['lr']):g}), clip the gradient (clip_norm=1.0), look for "
        f"NaN in that batch, or run fit inside `with mg.detect_anomaly():`, which names the operation it comes from."
    )


class _Means:
    """Means over examples, from means over batches."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, measured: dict[str, float], size: int) -> None:
        self.count += size
        for name, value in measured.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * size

    def __call__(self) -> dict[str, float]:
        return {name: value / self.count for name, value in self.sums.items()}


# ---- data --------------------------------------------------------------------------------------------------------------------


def _batched(data: Any, batch_size: int, shuffle: bool, rng: np.random.Generator, name: str) -> Iterable[Any]:
    if isinstance(data, (ArrayDataset, tuple)):
        return batches(data, batch_size, shuffle, rng)
    if not isinstance(data, Iterable) or iter(data) is data or isinstance(data, (np.ndarray, Tensor)):
        raise TypeError(
            f"fit: {name}: expected an ArrayDataset, a tuple of arrays (x, y), or batches that can be iterated over again and again; "
            f"got a {type(data).__name__}"
            + (", which is used up after one epoch: make a list of it" if isinstance(data, Iterator) else "")
        )
    return data


def _parts(batch: Any, model: Module) -> tuple[list[Any], Any]:
    """Inputs and target, where the model is; what is no array passes as it is."""
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        got = f"{len(batch)} of them" if isinstance(batch, (tuple, list)) else f"a {type(batch).__name__}"
        raise TypeError(f"a batch is (inputs..., target), two or more; got {got}. To reconstruct x, pass (x, x).")
    first = next(model.parameters(), None)
    device = None if first is None else first.device
    *inputs, target = [asarray(item, device=device) if isinstance(item, (np.ndarray, Tensor)) else item for item in batch]
    return inputs, target


def _size(target: Any) -> int:
    return target.shape[0] if getattr(target, "ndim", 0) else 1


def _call(callbacks: Sequence[Callback], state: State) -> None:
    for callback in callbacks:
        if callback(state) is True:
            name = getattr(callback, "__name__", type(callback).__name__)
            raise StopTraining(f"stopped by {name} in epoch {state.epoch}")


# ---- what surrounds training ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _drawing_from(seed: Seed) -> Iterator[np.random.Generator]:
    """Inside, minigrad's own generator draws from the seed too (dropout does); outside, it goes on as if nothing had been."""
    own = random.default_generator()
    if seed is None:
        yield own
        return
    rng, before = np.random.default_rng(seed), own.bit_generator.state
    random.manual_seed(int(rng.integers(2**63)))
    try:
        yield rng
    finally:
        own.bit_generator.state = before


@contextlib.contextmanager
def _modes_kept(model: Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class _Silent:
    """No bar."""

    def close(self) -> None:
        pass

    def after_batch(self, state: State) -> None:
        pass

    after_epoch = after_batch


class _Shown(_Silent):
    """A bar over all batches of all epochs, with tqdm's speed and time to go."""

    def __init__(self, tqdm: Any, state: State) -> None:
        total = None if state.batches is None else state.epochs * state.batches
        form = "{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining}, {rate_fmt}{postfix}"
        self.bar = tqdm(total=total, file=sys.stderr, dynamic_ncols=True, bar_format=form)
        self.loss, self.told = math.nan, ""

    def close(self) -> None:
        self.bar.close()

    def after_batch(self, state: State) -> None:
        self.loss = state.loss if math.isnan(self.loss) else 0.95 * self.loss + 0.05 * state.loss
        rate = plain(state.optimizer.param_groups[0]["lr"])
        self.bar.set_description_str(f"epoch {state.epoch}/{state.epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss {self.loss:.4f}, lr {rate:.2g}{self.told}", refresh=False)
        self.bar.update()

    def after_epoch(self, state: State) -> None:
        latest = [values[-1] for values in (state.history.validation_loss, state.history.validation_metric) if values]
        self.told = ", validation " + " ".join(f"{value:.4f}" for value in latest) if latest else ""


def _bar(progress: bool | None, state: State) -> _Silent:
    if progress is False or (progress is None and not sys.stderr.isatty()):
        return _Silent()
    try:
        from tqdm import tqdm
    except ImportError as error:
        if progress:
            raise ImportError("fit: progress=True needs tqdm: pip install 'minigrad[train]'") from error
        return _Silent()
    return _Shown(tqdm, state)


# ---- its parts, for use by themselves --------------------------------------------------------------------------------------------


def evaluate(model: Module, data: Data, *, loss: Loss, metric: Metric | None = None, batch_size: int = 256) -> dict[str, float]:
    """The mean loss, and metric, over all examples: in eval mode, unrecorded; the model is left in the mode it came in.

    Args:
        model: any module.
        data: as ``train`` of :func:`fit`.
        loss: a function of prediction and target, a mean over the batch.
        metric: another.
        batch_size: how many examples to a batch.

    Returns:
        ``{"loss": ...}``, with ``"metric"`` where one was given.

    Example:
        >>> import numpy as np
        >>> from minigrad import nn
        >>> x = np.ones((10, 2), "float32")
        >>> nn.evaluate(nn.Identity(), (x, 0 * x), loss=nn.MSELoss())
        {'loss': 1.0}
    """
    return _evaluate(model, _batched(data, batch_size, False, random.default_generator(), "data"), loss, metric)


def _evaluate(model: Module, every: Iterable[Any], loss: Loss, metric: Metric | None) -> dict[str, float]:
    means = _Means()
    with _modes_kept(model), no_grad():
        model.eval()
        for batch in every:
            inputs, target = _parts(batch, model)
            prediction = model(*inputs)
            measured = {"loss": _number(loss(prediction, target))}
            if metric is not None:
                measured["metric"] = float(metric(prediction, target))
            means.add(measured, _size(target))
    if not means.count:
        raise ValueError("evaluate: the data gave no batches; a list, or an ArrayDataset, gives them each time")
    return means()


def accuracy(prediction: Any, target: Any) -> float:
    """The share of examples whose class has the largest score: mean of ``argmax(prediction, axis=1) == target``.

    Args:
        prediction: scores or probabilities of C classes, (N, C) or (N, C, ...); or, for two classes, one score each, of the
            target's shape: positive means the class whose target is positive (1, or True, against 0, False or -1).
        target: classes, (N,) or (N, ...).

    Raises:
        ShapeError: if the shapes are not like that.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.accuracy(mg.tensor([[0.1, 0.9], [0.8, 0.2]]), mg.tensor([1, 1]))
        0.5
    """
    scores, classes = asarray(prediction).numpy(), asarray(target).numpy()
    if scores.shape == classes.shape:
        return float(np.mean((scores > 0) == (classes > 0)))
    if scores.ndim != classes.ndim + 1 or scores.shape[1] == 1 or scores.shape[:1] + scores.shape[2:] != classes.shape:
        raise ShapeError(
            f"accuracy: expected scores (N, C, ...) for classes (N, ...), or one score each; got {scores.shape} for {classes.shape}"
            + ("; drop the axis of one score with prediction[:, 0]" if scores.shape[1:] == (1,) else "")
        )
    return float(np.mean(scores.argmax(axis=1) == classes))


def _differentiated(step: _Step, forward: Callable[[], Any], target: Any) -> tuple[Any, Any, Any]:
    return step.differentiate(forward(), target)


def tbptt(
    model: Module, inputs: Any, targets: Any, *, loss: Loss, optimizer: Optimizer, length: int, state: Any = None,
    clip_norm: float | None = None, axis: int = 0,
) -> tuple[float, Any]:  # fmt: skip
    """Truncated backpropagation through time: one pass over a long sequence, with a step of learning every ``length`` steps of it.

    ``prediction, state = model(x, state)`` for every piece; the state is carried to the next one without its history, so that
    a gradient reaches at most ``length`` steps back, and time and memory are those of one piece. Williams & Peng 1990, with h = h'.

    Args:
        model: takes a piece and a state (None at first, unless given), and returns its prediction and the state after it.
        inputs: an array or Tensor; time is along ``axis``.
        targets: another, as long; loss sees the piece that belongs to the prediction.
        loss: a function of prediction and target to a scalar.
        optimizer: made with ``model.parameters()``.
        length: how many steps to a piece; the last piece may be shorter.
        state: what to begin with, such as what an earlier call returned.
        clip_norm: the longest that the gradient may be (notes 001: recurrent gradients explode).
        axis: the axis of time: 0, or 1 with ``batch_first``.

    Returns:
        The mean loss over all steps, and the state at the end, without history.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn, optim
        >>> class Next(nn.Module):
        ...     def __init__(self):
        ...         self.rnn, self.head = nn.GRU(1, 8), nn.Linear(8, 1)
        ...
        ...     def forward(self, x, state=None):
        ...         h, state = self.rnn(x, state)
        ...         return self.head(h), state
        >>> model, wave = Next(), mg.sin(mg.linspace(0, 50, 501)).reshape(-1, 1, 1)
        >>> optimizer = optim.Adam(model.parameters(), lr=0.01)
        >>> for epoch in range(20):
        ...     mean, state = nn.tbptt(model, wave[:-1], wave[1:], loss=nn.MSELoss(), optimizer=optimizer, length=25)
        >>> mean < 0.1, state.shape
        (True, (1, 1, 8))
    """
    step, means = _Step(model, loss, optimizer, None, clip_norm), _Means()
    for x, y in windows(inputs, targets, length=length, axis=axis):
        (given,), target = _parts((x, y), model)
        after: list[Any] = []

        def forward(given: Any = given, state: Any = state, after: list[Any] = after) -> Any:
            prediction, carried = model(given, state)
            after[:] = [carried]
            return prediction

        try:
            measured = step.learn(functools.partial(_differentiated, step, forward, target), target)
        except _NotFiniteError as error:
            raise AnomalyError(
                f"tbptt: {error} in the piece that begins at step {means.count} (counted from 0). The model has the weights that it "
                f"had before it. Lower the learning rate, or clip the gradient (clip_norm=1.0)."
            ) from None
        means.add(measured, x.shape[axis])
        state = detach_state(after[0])
    return means()["loss"], state
