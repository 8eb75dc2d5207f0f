"""``summary``: what a model is made of, layer by layer, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigrad import creation
from minigrad.graph import tensors_in
from minigrad.modes import no_grad
from minigrad.nn.module import Module
from minigrad.tensor import asarray


class Row(NamedTuple):
    """One call of one module.

    Attributes:
        path: its path in the model, "" for the model itself.
        type: its class.
        depth: how many modules it is inside of.
        input_shape: of its first tensor argument.
        output_shape: of its output; of the first tensor in it, where it returns several.
        parameters: the numbers it and all inside it learn or keep frozen; each parameter counts once, where it is first used.
        multiply_adds: of its weights, its biases' additions included, without those of the modules inside it.
        output_bytes: the memory of its output, if no module is inside it.
        again: whether it was called before.
    """

    path: str
    type: str
    depth: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    output_bytes: int
    again: bool


@dataclass(frozen=True, repr=False)
class Summary:
    """What :func:`summary` found; ``print`` it for the table.

    Attributes:
        rows: in the order in which the modules were called.
        total_parameters: shared ones counted once.
        trainable_parameters: those that ask for a gradient.
        multiply_adds: of one forward pass with this input.
        input_bytes: the memory of the inputs.
        output_bytes: the memory of all layers' outputs, twice of which training needs (values and gradients).
        parameter_bytes: the memory of the parameters.
    """

    rows: tuple[Row, ...]
    total_parameters: int
    trainable_parameters: int
    multiply_adds: int
    input_bytes: int
    output_bytes: int
    parameter_bytes: int

    def __str__(self) -> str:
        cells = [("Layer (path)", "Output shape", "Parameters", "Multiply-adds", "Output")]
        for row in self.rows:
            name = f"{'  ' * row.depth}{row.type}" + (f" ({row.path})" if row.path else "")
            parameters = "(again)" if row.again else f"{row.parameters:,}" if row.parameters else "-"
            cells.append((
                name, str(row.output_shape), parameters, f"{row.multiply_adds:,}" if row.multiply_adds else "-",
                _bytes(row.output_bytes) if row.output_bytes else "-",
            ))  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = [
            "  ".join(
                [f"{first:<{widths[0]}}", f"{second:<{widths[1]}}", *(f"{c:>{w}}" for c, w in zip(rest, widths[2:]))]
            ).rstrip()
            for first, second, *rest in cells
        ]
        rule = "-" * max(map(len, lines))
        total = self.input_bytes + 2 * self.output_bytes + self.parameter_bytes
        outputs = f"outputs and their gradients {_bytes(2 * self.output_bytes)}, together {_bytes(total)}"
        return "\n".join(
            [
                lines[0], rule, *lines[1:], rule,
                f"Parameters: {self.total_parameters:,} ({self.trainable_parameters:,} trainable)",
                f"Multiply-adds: {self.multiply_adds:,}",
                f"Memory: input {_bytes(self.input_bytes)}, parameters {_bytes(self.parameter_bytes)}, {outputs}",
            ]
        )  # fmt: skip

    def __repr__(self) -> str:
        return str(self)


def summary(model: Module, *inputs: Any, depth: int | None = None, dtype: Any = None, **kwargs: Any) -> Summary:
    """Run ``model`` once and tell what each module returned, how many parameters it has, and what it cost.

    Runs without recording and in evaluation mode, so that running statistics and random generators stay as they are.

    Args:
        model: the module.
        inputs: what to call it with: tensors or arrays; or one tuple, the shape of an input of zeros.
        depth: show modules inside at most so many others.
        dtype: of an input given as a shape; that of the first parameter if None.
        kwargs: further arguments of its forward.

    Example:
        >>> from minigrad import nn
        >>> print(nn.summary(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (1, 4)))
        Layer (path)  Output shape  Parameters  Multiply-adds  Output
        -------------------------------------------------------------
        Sequential    (1, 2)                58              -       -
          Linear (0)  (1, 8)                40             40    32 B
          ReLU (1)    (1, 8)                 -              -    32 B
          Linear (2)  (1, 2)                18             18     8 B
        -------------------------------------------------------------
        Parameters: 58 (58 trainable)
        Multiply-adds: 58
        Memory: input 16 B, parameters 232 B, outputs and their gradients 144 B, together 392 B
    """
    parameters = list(model.parameters())
    if len(inputs) == 1 and isinstance(inputs[0], tuple) and all(isinstance(n, int) for n in inputs[0]):
        kind = dtype or (parameters[0].dtype if parameters else None)
        inputs = (creation.zeros(inputs[0], dtype=kind, device=parameters[0].device if parameters else None),)
    given = tuple(asarray(x) if isinstance(x, np.ndarray) else x for x in inputs)

    paths = {id(module): path for path, module in model.named_modules()}
    seen: set[int] = set()
    called: set[int] = set()
    inside: list[Module] = []
    rows: list[Row] = []
    places: list[int] = []

    def before(module: Module, args: tuple[Any, ...]) -> None:
        places.append(len(rows))
        inside.append(module)
        own = [p for p in module.parameters() if id(p) not in seen]
        if not any(True for _ in module.children()):
            seen.update(id(p) for p in own)
        again = id(module) in called
        called.add(id(module))
        first = next(tensors_in(args), None)
        rows.append(
            Row(
                paths[id(module)], type(module).__name__, len(inside) - 1, () if first is None else tuple(first.shape), (),
                0 if again else sum(p.size for p in own), 0, 0, again,
            )
        )  # fmt: skip

    def after(module: Module, args: tuple[Any, ...], output: Any) -> None:
        inside.pop()
        place = places.pop()
        outputs = list(tensors_in(output))
        size = 0 if len(rows) > place + 1 else sum(t.size * t.dtype.itemsize for t in outputs)
        seen.update(id(p) for p in module.parameters())
        rows[place] = rows[place]._replace(
            output_shape=tuple(outputs[0].shape) if outputs else (), output_bytes=size,
            multiply_adds=module.multiply_adds(outputs[0], *args) if outputs else 0,
        )  # fmt: skip

    training = [(module, module.training) for module in model.modules()]
    hooks = [hook for module in model.modules() for hook in (
        module.register_forward_pre_hook(before), module.register_forward_hook(after)
    )]  # fmt: skip
    try:
        with no_grad():
            model.eval()(*given, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()
        for module, was in training:
            object.__setattr__(module, "training", was)
    return Summary(
        rows=tuple(row for row in rows if depth is None or row.depth <= depth),
        total_parameters=sum(p.size for p in parameters),
        trainable_parameters=sum(p.size for p in parameters if p.requires_grad),
        multiply_adds=sum(row.multiply_adds for row in rows),
        input_bytes=sum(t.size * t.dtype.itemsize for t in tensors_in(given)),
        output_bytes=sum(row.output_bytes for row in rows),
        parameter_bytes=sum(p.size * p.dtype.itemsize for p in parameters),
    )


def _bytes(n: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024
    raise AssertionError
