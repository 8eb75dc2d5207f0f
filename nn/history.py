"""What :func:`minigrad.nn.fit` returns: numbers for each epoch, why training ended, a table and a plot of it."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EDGE = 8
"""How many epochs of a long training its table shows at either end."""


@dataclass(repr=False, eq=False)
class History(Mapping[str, list[float]]):
    """Numbers for each epoch: attributes, and ``history["loss"]`` as well. As a mapping it has those that were measured.

    Attributes:
        loss: the mean training loss, measured while the weights change.
        validation_loss: the mean loss of the validation data after the epoch.
        metric: the training data's mean metric, measured as the loss is.
        validation_metric: that of the validation data.
        lr: the learning rate of the first group at the epoch's last batch.
        grad_norm: the mean norm of the gradient before it was clipped.
        seconds: what the epoch took, validation included.
        stopped: why training ended: ``"done"``, ``"early stopping at epoch 7; best was 4"``, ``"interrupted"``, or what a callback said.
        best_epoch: the epoch, counted from 1, with the smallest validation loss; None without validation.

    Example:
        >>> from minigrad import nn
        >>> history = nn.History()
        >>> history.append(loss=0.5, lr=0.1)
        >>> history.append(loss=0.25, lr=0.1)
        >>> history.epochs, history["loss"], list(history)
        (2, [0.5, 0.25], ['loss', 'lr'])
        >>> print(history)
        2 epochs, running
        epoch  loss   lr
            1   0.5  0.1
            2  0.25  0.1
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    metric: list[float] = field(default_factory=list)
    validation_metric: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stopped: str = "running"
    best_epoch: int | None = None

    @property
    def epochs(self) -> int:
        """How many epochs were finished."""
        return len(self.loss)

    def append(self, **values: float | None) -> None:
        """The numbers of one more epoch; those that are None were not measured."""
        for name, value in values.items():
            if value is not None:
                getattr(self, name).append(value)

    def _columns(self) -> dict[str, list[float]]:
        return {name: value for name, value in vars(self).items() if isinstance(value, list) and value}

    def __getitem__(self, name: str) -> list[float]:
        columns = self._columns()
        if name not in columns:
            raise KeyError(f"History has no {name!r}; measured were: {', '.join(columns) or 'nothing yet'}")
        return columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns())

    def __len__(self) -> int:
        return len(self._columns())

    def __repr__(self) -> str:
        best = f"; best was epoch {self.best_epoch}" if self.best_epoch and "best" not in self.stopped else ""
        headline = f"{self.epochs} epoch{'s' * (self.epochs != 1)}, {self.stopped}{best}"
        columns: dict[str, Sequence[float]] = {"epoch": range(1, self.epochs + 1), **self._columns()}
        texts = [[name, *(f"{value:.4g}" for value in values)] for name, values in columns.items()]
        widths = [max(map(len, column)) for column in texts]
        rows = ["  ".join(text.rjust(width) for text, width in zip(row, widths)) for row in zip(*texts)]
        if len(rows) > 2 * EDGE + 2:
            rows[EDGE + 1 : -EDGE] = [f"{'...':>{widths[0]}}"]
        return "\n".join([headline, *rows]) if self.epochs else headline

    def plot(self, path: str | os.PathLike[str] | None = None, title: str = "", metric: str = "metric") -> Any:
        """Draw the losses, and beside them the metrics, over the epochs.

        Args:
            path: a file to write, in the format of its suffix (png, svg, pdf).
            title: a heading.
            metric: what the metric is called.

        Returns:
            The matplotlib figure, which a notebook shows.

        Raises:
            ImportError: without matplotlib.
        """
        try:
            from matplotlib.figure import Figure
            from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
        except ImportError as error:
            raise ImportError("History.plot needs matplotlib: pip install 'minigrad[train]'") from error
        panels = [("loss", self.loss, self.validation_loss)]
        if self.metric or self.validation_metric:
            panels.append((metric, self.metric, self.validation_metric))
        figure = Figure(figsize=(5.2 * len(panels), 3.9), layout="constrained", dpi=150)
        if title:
            figure.suptitle(title, fontweight="bold")
        for place, (name, training, validation) in enumerate(panels, 1):
            axes = figure.add_subplot(1, len(panels), place)
            for label, values, style in (("training", training, _TRAINING), ("validation", validation, _VALIDATION)):
                if values:
                    axes.plot(range(1, len(values) + 1), values, label=label, marker="o" if len(values) < 3 else "", **style)
            if self.best_epoch:
                axes.axvline(
                    self.best_epoch, color="#767676", linewidth=1, linestyle=":", label=f"best: epoch {self.best_epoch}"
                )
            finite = [v for v in (*training, *validation) if math.isfinite(v)]
            if name == "loss" and finite and min(finite) > 0 and max(finite) > 20 * min(finite):
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_minor_locator(NullLocator())
                axes.yaxis.set_major_formatter("{x:g}")
            axes.set(xlabel="epoch", ylabel=name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(color="#E4E4E4", linewidth=0.8)
            axes.spines[["top", "right"]].set_visible(False)
            if axes.lines:
                axes.legend(frameon=False)
        if path is not None:
            from minigrad.saving import _write

            content = io.BytesIO()
            # Without the date, the same history gives the same file.
            dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(Path(path).suffix[1:].lower())
            figure.savefig(content, format=Path(path).suffix[1:] or "png", metadata=dated)
            _write(Path(path), content.getvalue())
        return figure


# Of Okabe & Ito's palette: told apart by colour-blind eyes, and in grey by their dashes.
_TRAINING: dict[str, Any] = {"color": "#0072B2", "linewidth": 2}
_VALIDATION: dict[str, Any] = {"color": "#D55E00", "linewidth": 2, "linestyle": (0, (5, 2))}
