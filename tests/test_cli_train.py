"""``minigrad train``: what it learns, prints and writes, and how it ends."""

from __future__ import annotations

import json
import os
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

import minigrad as mg
from minigrad import cli, nn, optim, outcome, training_cli
from minigrad.nn import models

pytest.importorskip("sklearn")
pytest.importorskip("safetensors")

FILES = ["curve.png", "graph.svg", "history.json", "weights.safetensors"]


def run(capsys, *arguments):
    code = cli.main(["train", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def usage_error(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", *arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_digits_are_learned_and_kept(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "new" / "digits"
    code, out, err = run(capsys, "digits", "--epochs", 8, "--out", folder)
    assert (code, err) == (0, "")
    assert sorted(os.listdir(folder)) == FILES
    told = json.loads((folder / "history.json").read_text())
    assert told["test_accuracy"] > 0.93
    assert told["examples"] == {"train": 1258, "validation": 180, "test": 359}
    assert told["options"]["epochs"] == len(told["history"]["loss"]) == 8
    assert (told["stopped"], told["parameters"]) == ("done", 4810)
    lines = out.splitlines()
    assert lines[0] == "digits: 1,258 examples to train, 180 to validate, 359 to test"
    assert "Parameters: 4,810 (4,810 trainable)" in lines
    right = round(told["test_accuracy"] * 359)
    assert lines[-2] == f"test accuracy {right / 359:.2%} ({right} of 359), test loss {told['test_loss']:.4f}"
    assert lines[-1].startswith("written: ")
    assert all(str(folder / name) in lines[-1] for name in FILES)

    model = nn.Sequential(nn.Flatten(), models.MLP(64, 64, 10))
    model.load_state_dict(mg.load(folder / "weights.safetensors"))
    *_, test = training_cli._dataset("digits").split(training_cli.SPLIT, seed=0, stratify=True)
    found = nn.evaluate(model, test, loss=nn.CrossEntropyLoss(), metric=nn.accuracy)
    assert found == {"loss": told["test_loss"], "metric": told["test_accuracy"]}
    metadata = mg.load_metadata(folder / "weights.safetensors")
    assert (metadata["model"], metadata["test_accuracy"]) == ("mlp", str(told["test_accuracy"]))
    assert metadata["architecture"] == repr(model)

    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    text = " ".join(ElementTree.parse(folder / "graph.svg").getroot().itertext())
    for part in ("mlp on digits: the loss of two examples", "1.2.weight", "gradient"):
        assert part in text


@pytest.mark.parametrize("model", ["gru", "lenet", "transformer"])
def test_every_model_learns(capsys, tmp_path, model):
    code, out, err = run(capsys, "digits", "--model", model, "--epochs", 2, "--json", "--no-plot", "--out", tmp_path)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["test_accuracy"] > 0.5
    assert told == json.loads((tmp_path / "history.json").read_text())
    assert sorted(os.listdir(tmp_path)) == ["history.json", "weights.safetensors"]


def test_moons_are_learned(capsys, tmp_path):
    code, out, _ = run(capsys, "moons", "--epochs", 15, "--quiet", "--no-plot", "--out", tmp_path)
    assert code == 0
    assert len(out.splitlines()) == 1
    assert json.loads((tmp_path / "history.json").read_text())["test_accuracy"] > 0.95


@pytest.mark.parametrize("optimizer", list(training_cli.OPTIMIZERS))
def test_every_optimizer_with_its_own_rate(capsys, tmp_path, optimizer):
    _, out, _ = run(capsys, "digits", "--optimizer", optimizer, "--epochs", 3, "--json", "--no-plot", "--out", tmp_path)
    told = json.loads(out)
    assert told["test_accuracy"] > 0.8
    assert told["history"]["lr"][0] == told["options"]["lr"] == pytest.approx(0.06 if optimizer == "sgd" else 0.003)
    assert told["history"]["lr"][-1] < told["history"]["lr"][0] / 2


def test_a_seed_repeats_a_training(capsys, tmp_path):
    def trained(*options):
        run(capsys, "digits", "--epochs", 2, "--no-plot", "--quiet", "--out", tmp_path, *options)
        told = json.loads((tmp_path / "history.json").read_text())
        del told["history"]["seconds"]
        return told, mg.load(tmp_path / "weights.safetensors")

    (first, weights), (again, same), (other, _) = trained(), trained(), trained("--seed", "1")
    assert first == again
    assert all((weights[name].numpy() == same[name].numpy()).all() for name in weights)
    assert first["history"]["loss"] != other["history"]["loss"]
    assert trained("--augment")[0]["history"]["loss"] != first["history"]["loss"]


def test_patience_ends_it_early(capsys, tmp_path):
    options = ("--epochs", 200, "--lr", 0.05, "--patience", 2, "--no-plot", "--json", "--out", tmp_path)
    _, out, _ = run(capsys, "moons", *options)
    told = json.loads(out)
    assert told["stopped"].startswith("early stopping at epoch ")
    assert len(told["history"]["loss"]) == told["best_epoch"] + 2 < 200


@pytest.mark.parametrize("steps", [1, 60])
def test_an_interrupt_writes_what_was_learned(capsys, tmp_path, monkeypatch, steps):
    pytest.importorskip("matplotlib")
    left, step = iter(range(steps)), optim.Adam.step

    def until_then(self, closure=None):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return step(self, closure)

    monkeypatch.setattr(optim.Adam, "step", until_then)
    code, out, _ = run(capsys, "digits", "--out", tmp_path)
    assert code == outcome.INTERRUPTED
    told = json.loads((tmp_path / "history.json").read_text())
    assert told["stopped"] == "interrupted"
    assert len(told["history"].get("loss", [])) == (0 if steps == 1 else 1)
    assert sorted(os.listdir(tmp_path)) == (FILES[1:] if steps == 1 else FILES)
    assert ("0 epochs, interrupted" if steps == 1 else "1 epoch, interrupted") in out
    assert all(np.isfinite(w.numpy()).all() for w in mg.load(tmp_path / "weights.safetensors").values())


def test_a_loss_that_runs_away_is_one_line(capsys, tmp_path):
    code, out, err = run(capsys, "digits", "--lr", "1e30", "--optimizer", "sgd", "--quiet", "--out", tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith("minigrad: error: the loss is ")
    assert err.endswith(": try --lr 1e+29\n")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("missing", "told"), [("sklearn", "scikit-learn"), ("safetensors", "safetensors"), ("matplotlib", "matplotlib")]
)
def test_a_missing_package_is_one_line(capsys, tmp_path, monkeypatch, missing, told):
    monkeypatch.setitem(sys.modules, missing, None)
    code, out, err = run(capsys, "digits", "--epochs", 1, "--out", tmp_path)
    assert (code, out) == (3, "")
    assert err == f"minigrad: error: train needs {told}: pip install 'minigrad[train]'\n"


def test_pictures_need_matplotlib_and_nothing_else_does(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = run(capsys, "moons", "--epochs", 1, "--no-plot", "--out", tmp_path)
    assert (code, err) == (0, "")


def test_a_folder_that_cannot_be_is_found_before_training(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(training_cli, "_train", lambda *args: pytest.fail("it trained"))
    (tmp_path / "file").write_text("mine")
    code, _, err = run(capsys, "digits", "--out", tmp_path / "file")
    assert (code, err) == (3, f"minigrad: error: cannot make the folder {tmp_path / 'file'}: File exists\n")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "history.json").mkdir()
    code, _, err = run(capsys, "moons", "--epochs", 1, "--quiet", "--out", tmp_path)
    assert code == 3
    assert err == f"minigrad: error: cannot write to {tmp_path}: Is a directory\n"


def test_without_graphviz_the_rest_is_written(capsys, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from minigrad import viz

    def no_back_end(*args, **kwargs):
        raise RuntimeError("no way to draw")

    monkeypatch.setattr(viz.Drawing, "save", no_back_end)
    code, out, err = run(capsys, "moons", "--epochs", 1, "--out", tmp_path)
    assert (code, err) == (0, "minigrad: graph.svg was not drawn: no way to draw\n")
    assert "graph.svg" not in out
    assert sorted(os.listdir(tmp_path)) == [name for name in FILES if name != "graph.svg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: dataset"),
        (["letters"], "argument dataset: invalid choice: 'letters'"),
        (["digits", "--model", "gpt"], "argument --model: invalid choice: 'gpt'"),
        (["moons", "--model", "lenet"], "argument --model: lenet is for digits; moons takes mlp"),
        (["moons", "--augment"], "argument --augment: only images can be turned"),
        (["digits", "--epochs", "0"], "argument --epochs: invalid positive int value: '0'"),
        (["digits", "--batch-size", "x"], "argument --batch-size: invalid positive int value: 'x'"),
        (["digits", "--lr", "-1"], "argument --lr: invalid positive float value"),
        (["digits", "--lr", "inf"], "argument --lr: invalid positive float value"),
    ],
)
def test_misuse_of_the_command_line(capsys, arguments, message):
    assert message in usage_error(capsys, *arguments)


def test_help_has_examples_that_are_understood(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    shown = capsys.readouterr().out
    _, commands = cli._parsers()
    examples = [line.split()[2:] for line in shown.splitlines() if line.startswith("  minigrad train ")]
    assert len(examples) == 4
    for example in examples:
        options = commands["train"].parse_args(example)
        assert (options.dataset, options.model) in training_cli.RECIPES
    for name in FILES:
        assert name in shown
    assert all(f"  {model}  " in shown for _, model in training_cli.RECIPES)


# ---- the models that read a digit row by row ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_recurrent_classifier_scores_the_last_state(kind):
    mg.manual_seed(0)
    model = models.RecurrentClassifier(3, 5, hidden_size=4, kind=kind)
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    _, last = model.rnn(mg.asarray(x))
    last = last[0] if kind == "lstm" else last
    expected = last.numpy()[0] @ model.head.weight.numpy().T + model.head.bias.numpy()
    np.testing.assert_allclose(model(mg.asarray(x)).numpy(), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="kind='lru': expected 'rnn', 'lstm', 'gru'"):
        models.RecurrentClassifier(3, 5, kind="lru")


def test_a_transformer_classifier_tells_the_order_by_positions_alone():
    mg.manual_seed(0)
    model = models.TransformerClassifier(3, 5, d_model=8, nhead=2)
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    forward, backward = model(mg.asarray(x)).numpy(), model(mg.asarray(x[:, ::-1].copy())).numpy()
    assert abs(forward - backward).max() > 1e-3
    nn.init.zeros_(model.positions.weight)
    forward, backward = model(mg.asarray(x)).numpy(), model(mg.asarray(x[:, ::-1].copy())).numpy()
    np.testing.assert_allclose(forward, backward, rtol=1e-4, atol=1e-5)
    with pytest.raises(mg.ShapeError, match=r"TransformerClassifier: expected \(N, T, 3\), got \(6, 3\)"):
        model(mg.asarray(x[0]))


@pytest.mark.parametrize("make", [models.RecurrentClassifier, models.TransformerClassifier])
def test_every_parameter_of_a_classifier_learns(make):
    mg.manual_seed(0)
    model = make(3, 5)
    x = mg.asarray(np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32"))
    nn.CrossEntropyLoss()(model(x), mg.tensor([0, 1, 2, 3])).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.numpy().any()]
    assert silent == []
