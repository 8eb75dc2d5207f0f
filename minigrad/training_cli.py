"""``minigrad train``: train a small network on data that needs no download, and keep its weights, its history and two pictures.

What it needs beyond NumPy (the extra ``train``) is imported when it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from minigrad.outcome import INTERRUPTED, NO_OUTPUT, OK, WRONG, CommandError, plain_list, print_json

if TYPE_CHECKING:
    from minigrad.nn import ArrayDataset, History, Module

EXAMPLES = """\
examples:
  minigrad train digits
  minigrad train digits --model lenet --augment --out out/lenet
  minigrad train digits --model transformer --optimizer adamw --lr 3e-3 --epochs 20 --patience 5
  minigrad train moons --quiet --json

data sets (70 % to train, 10 % to validate, 20 % to test):
  digits  1,797 handwritten digits of 8x8 pixels, from scikit-learn
  moons   1,000 points of the plane in two interleaved half circles, for --model mlp
models:
  mlp          one hidden layer of 64 units (moons: two of 32)
  lenet        LeNet-5 of 1998, on digits enlarged to 32x32
  gru          reads the 8 rows of a digit one after the other
  transformer  sees the 8 rows at once, as 8 tokens
files in the folder:
  weights.safetensors  the weights with the smallest validation loss, for model.load_state_dict(mg.load(...))
  history.json         the options, the result, and loss, accuracy and learning rate of each epoch
  curve.png            loss and accuracy over the epochs
  graph.svg            the graph of the loss of two examples, forward and backward

"""


class Recipe(NamedTuple):
    """A model for a data set, and how long and fast it learns: ``make(nn, models)`` builds it."""

    make: Callable[[Any, Any], Any]
    epochs: int
    rate: float


RECIPES = {
    ("digits", "mlp"): Recipe(lambda nn, models: nn.Sequential(nn.Flatten(), models.MLP(64, 64, 10)), 40, 3e-3),
    ("digits", "lenet"): Recipe(lambda nn, models: nn.Sequential(nn.Upsample(scale_factor=4), models.LeNet5()), 15, 2e-3),
    ("digits", "gru"): Recipe(lambda nn, models: nn.Sequential(nn.Flatten(1, 2), models.RecurrentClassifier(8, 10)), 25, 5e-3),
    ("digits", "transformer"): Recipe(
        lambda nn, models: nn.Sequential(nn.Flatten(1, 2), models.TransformerClassifier(8, 10)), 25, 2e-3
    ),
    ("moons", "mlp"): Recipe(lambda nn, models: models.MLP(2, 32, 32, 2), 40, 1e-2),
}
"""By data set and model; the rate is Adam's."""

OPTIMIZERS: dict[str, tuple[str, float, dict[str, float]]] = {
    "sgd": ("SGD", 20.0, {"momentum": 0.9}),
    "adam": ("Adam", 1.0, {}),
    "adamw": ("AdamW", 1.0, {"weight_decay": 1e-2}),
}
"""The class, its rate as a multiple of Adam's, and its other options."""

SPLIT = (0.7, 0.1, 0.2)


def add_to(made: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    datasets, models = (sorted({key[i] for key in RECIPES}) for i in (0, 1))
    made.add_argument("dataset", choices=datasets, help="what to learn")
    made.add_argument("--model", choices=models, default="mlp", help="what learns it (default: mlp)")
    made.add_argument(
        "--epochs", type=_positive(int), metavar="N", help="how often the data are seen, at most (default: by model)"
    )
    made.add_argument("--batch-size", type=_positive(int), default=32, metavar="N", help="examples to a step (default: 32)")
    made.add_argument(
        "--lr",
        type=_positive(float),
        metavar="RATE",
        help="the first learning rate; it falls along a cosine (default: by model)",
    )
    made.add_argument("--optimizer", choices=list(OPTIMIZERS), default="adam", help="default: adam")
    made.add_argument(
        "--patience", type=_positive(int), metavar="N", help="stop after N epochs without a smaller validation loss"
    )
    made.add_argument("--augment", action="store_true", help="turn training images by up to 10 degrees, and add noise")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="of the first weights and the order (default: 0)")
    made.add_argument("-o", "--out", metavar="DIR", help="the folder for the files (default: out/DATASET-MODEL)")
    made.add_argument(
        "--fast-blas", action="store_true", help="let OpenBLAS use AVX-512 if it chose not to (see: minigrad doctor)"
    )
    made.add_argument("--no-plot", action="store_true", help="write no pictures")
    made.add_argument("--quiet", action="store_true", help="print the result only")
    made.add_argument("--json", action="store_true", help="print the result as JSON, as in history.json")


def _positive(kind: type[Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    read.__name__ = f"positive {kind.__name__}"  # what argparse calls it: "invalid positive int value: '0'"
    return read


def run(options: argparse.Namespace, command: argparse.ArgumentParser) -> int:
    """Train, report, write."""
    from minigrad.errors import AnomalyError

    if options.fast_blas:
        _restart_with_fast_blas(options.arguments)

    recipe = RECIPES.get((options.dataset, options.model))
    if recipe is None:
        command.error(f"argument --model: {options.model} is for digits; {options.dataset} takes mlp")
    if options.augment and options.dataset != "digits":
        command.error("argument --augment: only images can be turned; leave it out, or train digits")
    _require(("sklearn", "safetensors") if options.no_plot else ("sklearn", "safetensors", "matplotlib"))
    folder = _folder(Path(options.out or f"out/{options.dataset}-{options.model}"))
    options.epochs, options.lr = options.epochs or recipe.epochs, options.lr or recipe.rate * OPTIMIZERS[options.optimizer][1]
    try:
        model, history, data = _train(options, recipe)
    except AnomalyError as error:
        raise CommandError(f"{str(error).split('. ')[0].removeprefix('fit: ')}: try --lr {options.lr / 10:g}", WRONG) from error
    report = _report(options, model, history, data)
    try:
        written = _write(folder, options, model, report, history, data)
    except OSError as error:
        raise CommandError(f"cannot write to {folder}: {error.strerror or error}", NO_OUTPUT) from error
    if options.json:
        print_json(report)
    else:
        if not options.quiet:
            print(history)
        print(_told(report))
        if not options.quiet:
            print(f"written: {', '.join(str(folder / name) for name in written)}")
    return INTERRUPTED if history.stopped == "interrupted" else OK


def _restart_with_fast_blas(arguments: list[str]) -> None:
    """The same command line in place of this process, with another environment, if that makes a difference.

    OpenBLAS chooses its kernel when NumPy loads, which is long over. It does not come here twice: with the variable set there is
    nothing left to set.
    """
    from minigrad import doctor

    variables = doctor.fast_blas(dict(os.environ))
    if variables:
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, "-m", "minigrad", *arguments], {**os.environ, **variables})  # noqa: S606


def _require(packages: tuple[str, ...]) -> None:
    missing = []
    for name in packages:
        try:
            import_module(name)
        except ImportError:
            missing.append({"sklearn": "scikit-learn"}.get(name, name))
    if missing:
        raise CommandError(f"train needs {' and '.join(missing)}: pip install 'minigrad[train]'", NO_OUTPUT)


def _folder(folder: Path) -> Path:
    """It is made before the training, not found impossible after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"cannot make the folder {folder}: {error.strerror or error}", NO_OUTPUT) from error
    if not os.access(folder, os.W_OK):
        raise CommandError(f"cannot write to {folder}: no permission", NO_OUTPUT)
    return folder


def _dataset(name: str) -> ArrayDataset:
    from sklearn import datasets

    from minigrad import nn

    if name == "moons":
        points, kinds = datasets.make_moons(1000, noise=0.2, random_state=0)
        return nn.ArrayDataset(points.astype("float32"), kinds)
    found = datasets.load_digits()
    return nn.ArrayDataset((found.images[:, None] / 16).astype("float32"), found.target)


def _train(options: argparse.Namespace, recipe: Recipe) -> tuple[Module, History, tuple[ArrayDataset, ...]]:
    import numpy as np

    import minigrad as mg
    from minigrad import nn, optim
    from minigrad.nn import models
    from minigrad.nn.data import Compose, Noise, Rotate

    # The parts do not depend on the seed: models and seeds are compared on one test set.
    train, validation, test = _dataset(options.dataset).split(SPLIT, seed=0, stratify=True)
    if options.augment:
        train.transform = Compose(Rotate(10), Noise(0.05))
    mg.manual_seed(options.seed)
    model = recipe.make(nn, models)
    if not options.quiet and not options.json:
        print(f"{options.dataset}: {len(train):,} examples to train, {len(validation):,} to validate, {len(test):,} to test")
        print(nn.summary(model, test[:1][0]), flush=True)
    kind, _, others = OPTIMIZERS[options.optimizer]
    optimizer = getattr(optim, kind)(model.parameters(), lr=options.lr, **others)
    with np.errstate(over="ignore", invalid="ignore"):  # a loss that runs away is an error with a name
        history = nn.fit(
            model, train, loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=options.epochs, validation=validation,
            batch_size=options.batch_size, metric=nn.accuracy, patience=options.patience, seed=options.seed,
            scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs), progress=False if options.quiet else None,
        )  # fmt: skip
    return model, history, (train, validation, test)


def _report(options: argparse.Namespace, model: Module, history: History, data: tuple[ArrayDataset, ...]) -> dict[str, Any]:
    from minigrad import __version__, nn

    tested = nn.evaluate(model, data[2], loss=nn.CrossEntropyLoss(), metric=nn.accuracy)
    named = ("dataset", "model", "optimizer", "lr", "epochs", "batch_size", "patience", "augment", "seed")
    return {
        "minigrad": __version__,
        "options": {name: getattr(options, name) for name in named},
        "parameters": sum(p.size for p in model.parameters()),
        "examples": dict(zip(("train", "validation", "test"), map(len, data))),
        "stopped": history.stopped,
        "best_epoch": history.best_epoch,
        "test_loss": plain_list(tested["loss"]),
        "test_accuracy": tested["metric"],
        "history": {name: plain_list(values) for name, values in history.items()},
    }


def _told(report: dict[str, Any]) -> str:
    n, accuracy = report["examples"]["test"], report["test_accuracy"]
    return f"test accuracy {accuracy:.2%} ({round(accuracy * n)} of {n}), test loss {float(report['test_loss']):.4f}"


def _write(
    folder: Path, options: argparse.Namespace, model: Module, report: dict[str, Any], history: History,
    data: tuple[ArrayDataset, ...],
) -> list[str]:  # fmt: skip
    """The files, weights first: whatever fails later, they are there."""
    from minigrad import saving

    told = {**report["options"], **{name: report[name] for name in ("minigrad", "stopped", "test_loss", "test_accuracy")}}
    metadata = {name: str(value) for name, value in told.items()} | {"architecture": repr(model)}
    saving.save(folder / "weights.safetensors", model, metadata=metadata)
    content = json.dumps(report, indent=2, allow_nan=False) + "\n"
    saving._write(folder / "history.json", content.encode())
    written = ["weights.safetensors", "history.json"]
    if options.no_plot:
        return written
    title = f"{options.model} on {options.dataset}: test accuracy {report['test_accuracy']:.1%}"
    if history.epochs:
        history.plot(folder / "curve.png", title=title, metric="accuracy")
        written.append("curve.png")
    try:
        _drawing(options, model, data[2]).save(folder / "graph.svg")
        written.append("graph.svg")
    except (ImportError, RuntimeError) as error:
        print(f"minigrad: graph.svg was not drawn: {error}", file=sys.stderr)
    return written


def _drawing(options: argparse.Namespace, model: Module, test: ArrayDataset) -> Any:
    """The graph of the loss of two examples."""
    import minigrad as mg
    from minigrad import nn, viz

    examples, labels = test[:2]
    model.zero_grad()
    with mg.inspect():
        loss = nn.CrossEntropyLoss()(model(mg.tensor(examples, name=options.dataset)), mg.tensor(labels, name="labels"))
    loss.backward()
    return viz.draw(loss, title=f"{options.model} on {options.dataset}: the loss of two examples")
