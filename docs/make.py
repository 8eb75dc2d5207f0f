"""Write the generated parts of the documentation: ``python -m docs.make``. A test fails while they are out of date.

``python -m docs.make gallery`` writes the gallery's pictures and page. ``python -m docs.make examples`` also trains every example
anew and redraws its picture, which takes minutes.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

import minigrad as mg
from docs.numpy_page import numpy_page
from minigrad.primitive import TABLE, Op
from minigrad.viz.formula import formulas

FAMILIES = {
    "elementwise": "Elementwise",
    "reduce": "Reductions, scans, softmax, order",
    "shape": "Shapes",
    "index": "Indexing",
    "linalg": "Linear algebra",
    "fft": "Fourier transforms",
    "windows": "Windows",
    "conv": "Convolution",
    "pool": "Pooling",
    "fused": "Fused compositions",
    "channels": "Channels",
    "recurrent": "Recurrent layers",
    "device": "Copies and devices",
}
EXAMPLES = (
    "digits_lenet",
    "two_moons",
    "vanishing_gradients",
    "gradient_film",
    "initialisation",
    "optimizer_race",
    "transfer_learning",
    "char_gru",
    "seq2seq_attention",
    "sort_transformer",
    "word_vectors",
    "autoencoders",
    "vae_digits",
    "gan_digits",
    "mixtures",
)
"""Those that train and draw one picture each; some minutes in all."""
HERE = Path(__file__).parent
HEAD = """# The operations

Generated from the table of operations by `python -m docs.make`; do not edit.

In a rule, `g` is the upstream gradient, `y` the output, `a`, `b`, `c` the operands in order; the rule shown is the one that runs,
read from its source. Broadcasting is undone after it. An operation whose rules are empty passes no gradient.
"""


def family_of(op: Op) -> str:
    """The file that declares an operation."""
    for family in FAMILIES:
        module = importlib.import_module(f"minigrad.ops.{family}")
        if any(getattr(value, "op", None) is op for value in vars(module).values()):
            return family
    raise LookupError(f"{op.name} is in the table, but no file of minigrad/ops holds it")


def row(op: Op) -> str:
    """One operation as a line of the table."""
    told = [text for text in formulas(op) if text]
    told = told[:1] if len(told) > 3 and len(set(told)) == 1 else told
    rules = "<br>".join(f"`{text}`" for text in told) or ("see its source" if op.pulls else "none")
    smooth = "nowhere: no gradient" if not op.pulls else "wherever it is defined" if not op.kink else f"except: {op.kink}"
    cells = (f"`{op.name}`", f"`{op.math}`" if op.math else "", rules, op.gate, smooth)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def compositions(family: str) -> list[str]:
    """The public functions of a family that are built from the rows."""
    module = importlib.import_module(f"minigrad.ops.{family}")
    found = []
    for name in sorted(mg.ops.__all__):
        value = vars(module).get(name)
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not hasattr(value, "op"):
            first = (value.__doc__ or "").strip().splitlines()[0]
            found.append(f"- `{name}{inspect.signature(value)}`: {first}".replace("typing.", ""))
    return found


def ops_page() -> str:
    """docs/ops.md."""
    parts = [HEAD]
    by_family: dict[str, list[Op]] = {family: [] for family in FAMILIES}
    for family in FAMILIES:
        importlib.import_module(f"minigrad.ops.{family}")
    for op in TABLE.values():
        by_family[family_of(op)].append(op)
    for family, title in FAMILIES.items():
        parts.append(f"\n## {title}\n\n| operation | formula | rules | gate | differentiable |\n|---|---|---|---|---|")
        parts += [row(op) for op in by_family[family]]
        if composed := compositions(family):
            parts += ["\nComposed of these:\n", *composed]
    return "\n".join(parts) + "\n"


def main(examples: bool = False) -> None:
    """Write every generated page and figure, and on request the pictures of the examples that train."""
    from examples.figures import FIGURES

    (HERE / "ops.md").write_text(ops_page())
    (HERE / "numpy.md").write_text(numpy_page())
    for name, figure in FIGURES.items():
        figure().save(HERE / "images" / f"{name}.svg")
    for name in EXAMPLES if examples else ():
        importlib.import_module(f"examples.{name}").main(HERE / "images" / f"{name}.png")


if __name__ == "__main__":
    if "gallery" in sys.argv[1:]:
        from docs import pictures

        pictures.write()
    else:
        main(examples="examples" in sys.argv[1:])
