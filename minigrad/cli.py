"""The ``minigrad`` command: explain a formula's gradients, draw its graph, train a network, and examine an installation."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import re
import sys
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from minigrad.outcome import CLOSED, FAULT, INTERRUPTED, NO_OUTPUT, OK, WRONG, CommandError, plain_list, print_json

if TYPE_CHECKING:
    from minigrad.expression import Expression

FORMATS = ("svg", "png", "pdf", "dot", "mmd", "tex", "txt", "html")
TEXTS = {"dot": "source", "svg": "svg", "mmd": "mermaid", "tex": "tikz", "txt": "text"}
"""The formats for standard output, and what of a Drawing gives them."""
DIGITS = 10

CODES = """\
exit codes:
  0    all is well
  1    the formula or its values are wrong; train: the loss is not finite; doctor: the core does not work
  2    the command line itself is wrong
  3    a package for the drawing or the training is missing, or a file cannot be written
  70   a fault in minigrad itself (with its traceback: please report it)
  130  interrupted by Ctrl-C (train: after what was learned is written)
"""
FORMULA = """\
formulas:
  numbers, names, + - * / ** @, comparisons, x[0], x[1:3], x.T, lists, pi, e, and calls such as exp(x) or sum(x, axis=0).
  Statements separated by ';' give names to what is between: "q = x + y; f = q * z". The last one is the result.
values:
  x=2   x=-1.5e3   x=nan   x=[1,2,3]   W=[[1,2],[3,4]]   (all are float64)
"""
EXPLAIN = """\
examples:
  minigrad explain "1/(1+exp(-(w0*x0+w1*x1+w2)))" w0=2 x0=-1 w1=-3 x1=-2 w2=-3
  minigrad explain "q = x + y; f = q * z" x=-2 y=5 z=-4 --wrt x,z
  minigrad explain "sum((W @ x)**2)" W=[[1,2],[3,4]] x=[1,-1] --json

"""
DRAW = """\
examples:
  minigrad draw "q = x + y; f = q * z" x=-2 y=5 z=-4 -o graph.svg
  minigrad draw "q = x + y; f = q * z" x=-2 y=5 z=-4 -o graph.html
  minigrad draw "sum(tanh(W @ x))" W=[[1,2],[3,4]] x=[1,-1] -o - | dot -Tpdf > graph.pdf

"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A Windows console may lack a sign; a question mark in a table is better than no table.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    debug = "--debug" in arguments
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has left (| head). Python would complain once more while it shuts down.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        from minigrad.expression import ExpressionError

        told = isinstance(error, (ExpressionError, CommandError))
        if debug or not told:
            traceback.print_exc()
        if told:
            print(f"minigrad: error: {error}", file=sys.stderr)
            return error.code if isinstance(error, CommandError) else WRONG
        print("minigrad: this is a fault in minigrad itself; please report it with the lines above", file=sys.stderr)
        return FAULT
    return code


def _run(arguments: list[str]) -> int:
    parser, commands = _parsers()
    if arguments and arguments[0] in commands:
        command = commands[arguments[0]]
        # Intermixed: an option may stand between the formula and its values.
        options = command.parse_intermixed_args([_no_option(a) for a in arguments[1:]])
        options.arguments = arguments
        return int(options.run(options, command))
    options = parser.parse_args(arguments)
    if not options.version:
        parser.error("which command? explain, draw, train or doctor")
    from minigrad import __version__

    print(f"minigrad {__version__}")
    return OK


def _no_option(argument: str) -> str:
    """A formula may start with a minus: a space before it tells argparse that it is no option. ``-o`` is the only short one."""
    attached = argument.startswith("-o") and argument.endswith(tuple(f".{kind}" for kind in FORMATS))
    is_option = argument in ("-h", "-o", "-", "--") or argument.startswith("--") or attached
    return " " + argument if argument.startswith("-") and not is_option else argument


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    from minigrad import training_cli
    from minigrad.expression import FUNCTIONS

    raw = argparse.RawDescriptionHelpFormatter
    functions = textwrap.fill(" ".join(sorted(FUNCTIONS)), 110, initial_indent="  ", subsequent_indent="  ")
    formula = f"{FORMULA}functions:\n{functions}\n"
    parser = argparse.ArgumentParser(
        prog="minigrad",
        description="Explain and draw gradients, train a small network, and examine the installation.",
        epilog=CODES,
        formatter_class=raw,
    )
    parser.add_argument("--version", action="store_true", help="show minigrad's version")
    group = parser.add_subparsers(metavar="COMMAND", dest="command")

    def command(name: str, run: Any, about: str, epilog: str = "") -> argparse.ArgumentParser:
        made = group.add_parser(name, help=about, description=about, epilog=epilog + CODES, formatter_class=raw)
        made.set_defaults(run=run)
        made.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return made

    explain = command(
        "explain", _explain, "show a formula's forward and backward pass, step by step, and its gradients", EXPLAIN + formula
    )
    draw = command("draw", _draw, "draw a formula's graph with its values and gradients", DRAW + formula)
    train = command(
        "train",
        training_cli.run,
        "train a small network, and keep its weights, its history and pictures",
        training_cli.EXAMPLES,
    )
    training_cli.add_to(train)
    doctor = command("doctor", _doctor, "say what is installed here, what works, and what to do about the rest")
    for made in (explain, draw):
        made.add_argument("formula", metavar="FORMULA", help="in quotes")
        made.add_argument("values", metavar="NAME=VALUE", nargs="*", help="a value for each name of the formula")
        made.add_argument("--wrt", metavar="NAMES", help="only these inputs ask for gradients, as in --wrt x,y (default: all)")
    explain.add_argument("--json", action="store_true", help="names, values and gradients as JSON (nan and inf as strings)")
    draw.add_argument("-o", "--output", metavar="FILE", help="file to write, its suffix says the format; - for standard output")
    draw.add_argument(
        "--format", choices=FORMATS, help="the format, if no suffix says it (default: svg; dot on standard output)"
    )
    doctor.add_argument("--json", action="store_true", help="the report as JSON")
    return parser, {"explain": explain, "draw": draw, "train": train, "doctor": doctor}


class Computed:
    """A formula after its forward and backward pass."""

    def __init__(self, text: str, arguments: Sequence[str], wrt: str | None) -> None:
        import numpy as np

        from minigrad import expression
        from minigrad.graph import ALL, record_mode
        from minigrad.tensor import tensor

        self.expression: Expression = expression.parse(text)
        arrays = expression.parse_values(arguments)
        self.expression.check(arrays)
        self.asking = _asking(self.expression, list(arrays), wrt)
        # Everything is recorded, so that conditions are part of the picture, and nothing that it shows is dropped.
        with _float64(), record_mode(ALL):
            self.inputs = {
                name: tensor(array, dtype="float64", requires_grad=name in self.asking, name=name)
                for name, array in arrays.items()
            }
            self.result, self.named = self.expression.evaluate(self.inputs)
        _forget_lines(self.result)
        self.seed: Any = None
        self.note = "No input asks for a gradient: this is the forward pass only."
        if not self.asking:
            return
        if not self.result.requires_grad:
            raise expression.ExpressionError(
                f"the result does not depend on {', '.join(self.asking)} in a way that has a derivative",
                self.expression.text,
                hint="A comparison is true or false: choose between values with where(x > 0, a, b).",
            )
        self.seed = np.ones(self.result.shape)
        self.result.backward(self.seed, retain_graph=True)
        self.note = ""
        if self.result.shape != ():
            self.note = (
                f"The result has shape {self.result.shape}: backward starts from a gradient of ones, "
                f"so these are the gradients of its sum."
            )

    @property
    def name(self) -> str:
        return self.expression.name or "result"


def _forget_lines(result: Any) -> None:
    """Source lines are those of the program that records: here the script that starts the command line. Not worth a mention."""
    found, stack = set(), [result.node]
    while stack:
        node = stack.pop()
        if node is not None and node not in found:
            found.add(node)
            stack.extend(node.parents)
            if node.extra is not None:
                node.extra.where = None


@contextlib.contextmanager
def _float64() -> Iterator[None]:
    """Python's floats become float64 inside, as the values of the command line are."""
    from minigrad import backend

    before = backend.get_default_dtype()
    backend.set_default_dtype("float64")
    try:
        yield
    finally:
        backend.set_default_dtype(before)


def _asking(formula: Expression, given: list[str], wrt: str | None) -> list[str]:
    """The inputs that ask for gradients."""
    if wrt is None:
        return given
    names = [name.strip() for name in wrt.split(",") if name.strip()]
    for name in names:
        if name not in given:
            meant = difflib.get_close_matches(name, given, 1, 0.5)
            hint = f"did you mean {meant[0]}?" if meant else f"the inputs are {', '.join(given) or 'none'}"
            what = (
                f"{name} is assigned in the formula, and --wrt takes inputs"
                if name in formula.outputs
                else f"there is no input {name!r}"
            )
            raise CommandError(f"--wrt: {what}: {hint}", WRONG)
    return names


def _explain(options: argparse.Namespace, command: argparse.ArgumentParser) -> int:
    computed = Computed(options.formula, options.values, options.wrt)
    if options.json:
        print_json(_as_data(computed))
        return OK
    from minigrad import viz

    print(viz.explain(computed.result, gradient=computed.seed, limit=None))
    print()
    print("\n".join(_summary(computed)))
    return OK


def _summary(computed: Computed) -> list[str]:
    """What the table leaves out: the result to its last digits, large gradients in full, gradients that do not exist."""
    from minigrad import viz

    lines = _show(f"{computed.name} = ", computed.result)
    if computed.note:
        lines.append(computed.note)
    for name in computed.asking:
        gradient = computed.inputs[name].grad
        label = f"d {computed.name} / d {name} = "
        if gradient is None:
            lines.append(f"{label}none: no path with a derivative leads from the result to {name}")
        elif not viz.format.is_small(gradient.numpy()):
            lines += _show(label, gradient)
    return lines + _first_anomaly(computed)


def _first_anomaly(computed: Computed) -> list[str]:
    """Which operation or rule a NaN or an infinity in the answer comes from."""
    import numpy as np

    import minigrad as mg

    shown = [computed.result, *(t.grad for t in computed.inputs.values() if t.grad is not None)]
    if all(np.isfinite(t.numpy()).all() for t in shown):
        return []
    from minigrad.expression import ExpressionError

    asking = [computed.inputs[name] for name in computed.asking]
    try:
        with mg.detect_anomaly(), np.errstate(all="ignore"):
            result, _ = computed.expression.evaluate(computed.inputs)
            if asking:
                mg.gradients(result, asking, computed.seed, allow_unused=True)
    except (mg.AnomalyError, ExpressionError) as error:
        text = getattr(error, "message", str(error))
        return ["", f"Not finite: {re.sub(r', at [^ ]+:[0-9]+', '', text)}"]
    return ["", "Not finite: a value that was given is a NaN or an infinity."]


def _show(label: str, value: Any) -> list[str]:
    """A value behind a label; the rows of a matrix below each other."""
    import numpy as np

    with np.printoptions(precision=DIGITS, linewidth=120, threshold=sys.maxsize):
        array = value.numpy()
        text = f"{float(array):.{DIGITS}g}" if array.shape == () else np.array2string(array, prefix=label)
    return (label + text).split("\n")


def _as_data(computed: Computed) -> dict[str, Any]:
    values = {
        name: {"value": _plain(x), "shape": list(x.shape), "gradient": None if x.grad is None else _plain(x.grad)}
        for name, x in computed.inputs.items()
    }
    return {
        "formula": computed.expression.text,
        "result": {"name": computed.expression.name, "value": _plain(computed.result), "shape": list(computed.result.shape)},
        "seed": computed.seed.tolist() if computed.asking else None,
        "inputs": values,
        "intermediates": {name: _plain(x) for name, x in computed.named.items() if name != computed.expression.name},
    }


def _plain(value: Any) -> Any:
    return plain_list(value.numpy().tolist())


def _draw(options: argparse.Namespace, command: argparse.ArgumentParser) -> int:
    path, kind = _target(options, command)
    computed = Computed(options.formula, options.values, options.wrt)
    from minigrad import viz

    try:
        if kind == "html":
            viz.player(computed.result, gradient=computed.seed, title=computed.expression.text).save(path)
        else:
            drawing = viz.draw(computed.result, gradient=computed.seed)
            if path == "-":
                text = getattr(drawing, TEXTS[kind])
                print(text if isinstance(text, str) else text())
                return OK
            drawing.save(path)
    except BrokenPipeError:
        raise
    except (OSError, ImportError, RuntimeError) as error:
        raise CommandError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}", NO_OUTPUT) from error
    print(path)
    if computed.note:
        print(computed.note, file=sys.stderr)
    return OK


def _target(options: argparse.Namespace, command: argparse.ArgumentParser) -> tuple[str, str]:
    """The file to write and its format; a contradiction is an error of usage, found before any work is done."""
    path = options.output or f"graph.{options.format or 'svg'}"
    if path == "-":
        kind = options.format or "dot"
        if kind not in TEXTS:
            command.error(f"argument -o: standard output takes {', '.join(TEXTS)}, not {kind}: name a file")
        return path, kind
    suffix = os.path.splitext(path)[1][1:].lower()
    if not suffix and options.format:
        return f"{path}.{options.format}", options.format
    if suffix not in FORMATS:
        command.error(f"argument -o: {path!r} says no format: end it in one of {', '.join('.' + kind for kind in FORMATS)}")
    if options.format not in (None, suffix):
        command.error(f"argument --format: {options.format} contradicts the suffix of {path!r}: leave one of them out")
    return path, suffix


def _doctor(options: argparse.Namespace, command: argparse.ArgumentParser) -> int:
    from minigrad import doctor

    report = doctor.examine()
    if options.json:
        print_json(report)
    else:
        print(doctor.text(report))
    return OK if report["ok"] else WRONG
