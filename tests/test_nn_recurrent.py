"""RNN, LSTM, GRU and their cells against PyTorch in float64, against loops over single sequences, and their gradients."""

from __future__ import annotations

import contextlib
import copy
import inspect
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.errors import ShapeError
from minigrad.graph import ancestors
from minigrad.ops.recurrent import OPERATIONS
from minigrad.testing import check_grads
from tests.test_nn_layers import close, torch_or_skip

T, N, D, H = 5, 4, 3, 6
LENGTHS = [3, 5, 1, 4]


def told(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items()) or "default"
    return str(value)


def listed(state: Any) -> list[Any]:
    return list(state) if isinstance(state, tuple) else [state]


def bare(states: list[Any]) -> Any:
    return tuple(states) if len(states) > 1 else states[0]


def pair(name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """Ours and PyTorch's, with the same weights, loaded from PyTorch's state dict."""
    torch = torch_or_skip()
    theirs = getattr(torch.nn, name)(*args, **options).double()
    rng = np.random.default_rng(7)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(rng.normal(size=tuple(p.shape))))
    ours = getattr(nn, name)(*args, **options).double()
    ours.load_state_dict(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    return ours, theirs


def state_shapes(module: Any, *leading: int) -> list[tuple[int, ...]]:
    if "LSTM" not in type(module).__name__:
        return [(*leading, module.hidden_size)]
    return [(*leading, module.proj_size or module.hidden_size), (*leading, module.hidden_size)]


def compare_gradients(ours: Any, theirs: Any, leaves: list[tuple[Any, Any]], outputs: list[tuple[Any, Any]], seed: int) -> None:
    """Outputs, then every gradient of a random combination of all of them."""
    torch = torch_or_skip()
    rng = np.random.default_rng(seed)
    loss, their_loss = 0, 0
    for i, (y, u) in enumerate(outputs):
        close(y.detach(), u.detach(), f"output {i}")
        g = rng.normal(size=y.shape)
        loss, their_loss = loss + (y * g).sum(), their_loss + (u * torch.tensor(g)).sum()
    loss.backward()
    their_loss.backward()
    for i, (x, t) in enumerate(leaves):
        close(x.grad, t.grad, f"gradient of input {i}")
    wanted = dict(theirs.named_parameters())
    assert [name for name, _ in ours.named_parameters()] == list(wanted)
    for name, p in ours.named_parameters():
        close(p.grad, wanted[name].grad, f"gradient of {name}")


def leaf_pair(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Any, Any]:
    data = rng.normal(size=shape)
    return mg.tensor(data, requires_grad=True), torch_or_skip().tensor(data, requires_grad=True)


# ---- layers against PyTorch ----------------------------------------------------------------------------------------------


def grid() -> Iterator[tuple[str, dict[str, Any]]]:
    kinds = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("LSTM", {"proj_size": 2}), ("GRU", {})]
    for (name, own), layers, both, bias in itertools.product(kinds, (1, 2), (False, True), (True, False)):
        options = {**own, "num_layers": layers, "bidirectional": both, "bias": bias}
        yield name, {k: v for k, v in options.items() if v != {"num_layers": 1, "bidirectional": False, "bias": True}.get(k)}
    for name in ("RNN", "LSTM", "GRU"):
        yield name, {"batch_first": True}
        yield name, {"num_layers": 3, "bidirectional": True, "batch_first": True}


LAYERS = list(grid())


@pytest.mark.parametrize("given_state", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize("kind", ["batch", "single", "lengths"])
@pytest.mark.parametrize(("name", "options"), LAYERS, ids=told)
def test_layer_agrees_with_pytorch(name: str, options: dict[str, Any], kind: str, given_state: bool) -> None:
    torch = torch_or_skip()
    ours, theirs = pair(name, D, H, **options)
    rng = np.random.default_rng(1)
    first = ours.batch_first
    x, t = leaf_pair((T, D) if kind == "single" else (N, T, D) if first else (T, N, D), rng)
    layers = ours.num_layers * (2 if ours.bidirectional else 1)
    leading = (layers,) if kind == "single" else (layers, N)
    states = [leaf_pair(shape, rng) for shape in state_shapes(ours, *leading)] if given_state else []
    hx, ht = (bare([s[i] for s in states]) if states else None for i in (0, 1))
    if kind == "lengths":
        y, last = ours(x, hx, lengths=LENGTHS)
        packed = torch.nn.utils.rnn.pack_padded_sequence(t, torch.tensor(LENGTHS), batch_first=first, enforce_sorted=False)
        packed, their_last = theirs(packed, ht)
        u, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=first, total_length=T)
    else:
        y, last = ours(x, hx)
        u, their_last = theirs(t, ht)
    outputs = [(y, u), *zip(listed(last), listed(their_last), strict=True)]
    compare_gradients(ours, theirs, [(x, t), *states], outputs, 2)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_dropout_stands_between_layers_as_in_pytorch(name: str) -> None:
    """With p = 1 PyTorch draws the same: what a layer gives to the next is 0, what the last gives is not."""
    ours, theirs = pair(name, D, H, num_layers=2, dropout=1.0)
    x, t = leaf_pair((T, N, D), np.random.default_rng(1))
    for training in (True, False):
        (y, last), (u, their_last) = ours.train(training)(x), theirs.train(training)(t)
        close(y.detach(), u.detach(), "output")
        for s, v in zip(listed(last), listed(their_last)):
            close(s.detach(), v.detach(), "state")


# ---- cells against PyTorch -----------------------------------------------------------------------------------------------

CELLS: list[tuple[str, dict[str, Any]]] = [
    (name, options) for name in ("RNNCell", "LSTMCell", "GRUCell") for options in ({}, {"bias": False})
] + [("RNNCell", {"nonlinearity": "relu"})]


@pytest.mark.parametrize("given_state", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize("leading", [(N,), (1,), ()], ids=str)
@pytest.mark.parametrize(("name", "options"), CELLS, ids=told)
def test_cell_agrees_with_pytorch(name: str, options: dict[str, Any], leading: tuple[int, ...], given_state: bool) -> None:
    ours, theirs = pair(name, D, H, **options)
    rng = np.random.default_rng(1)
    x, t = leaf_pair((*leading, D), rng)
    cell = [(*leading, H)] * (2 if name == "LSTMCell" else 1)
    states = [leaf_pair(shape, rng) for shape in cell] if given_state else []
    hx, ht = (bare([s[i] for s in states]) if states else None for i in (0, 1))
    last, their_last = ours(x, hx), theirs(t, ht)
    last, their_last = ours(x, last), theirs(t, their_last)
    compare_gradients(ours, theirs, [(x, t), *states], list(zip(listed(last), listed(their_last), strict=True)), 2)


def test_arguments_are_pytorchs() -> None:
    torch = torch_or_skip()
    shared = "input_size hidden_size num_layers bias batch_first dropout bidirectional"
    wanted = {
        "RNN": shared.replace("num_layers", "num_layers nonlinearity") + " device dtype",
        "LSTM": f"{shared} proj_size device dtype",
        "GRU": f"{shared} device dtype",
    }
    base = inspect.signature(torch.nn.RNNBase).parameters
    for name, names in wanted.items():
        have = inspect.signature(getattr(nn, name)).parameters
        assert [k for k, p in have.items() if p.kind is not p.KEYWORD_ONLY] == names.split()
        assert all(have[k].default == base[k].default for k in names.split() if k != "nonlinearity")
    for name in ("RNNCell", "LSTMCell", "GRUCell"):
        have, want = (inspect.signature(getattr(lib.nn, name)).parameters for lib in (mg, torch))
        assert [(k, p.default) for k, p in have.items() if p.kind is not p.KEYWORD_ONLY] == [
            (k, p.default) for k, p in want.items()
        ]


# ---- without PyTorch -----------------------------------------------------------------------------------------------------

ALL = [
    *((name, options) for name in ("RNN", "LSTM", "GRU") for options in ({}, {"num_layers": 2, "bidirectional": True})),
    ("LSTM", {"proj_size": 2, "bidirectional": True}),
    ("GRU", {"reset_after": False}),
    ("GRU", {"reset_after": False, "bias": False, "num_layers": 2, "bidirectional": True}),
    ("RNN", {"nonlinearity": "relu", "batch_first": True, "bias": False}),
]


def seeded(name: str, *args: Any, **options: Any) -> Any:
    module = getattr(nn, name)(*args, **options, dtype="float64")
    rng = np.random.default_rng(3)
    module.load_state_dict({path: rng.normal(size=value.shape) for path, value in module.state_dict().items()})
    return module


@pytest.mark.parametrize(("name", "options"), ALL, ids=told)
def test_lengths_are_a_loop_over_single_sequences(name: str, options: dict[str, Any]) -> None:
    module = seeded(name, D, H, **options)
    rng = np.random.default_rng(4)
    data = rng.normal(size=(T, N, D))
    layers = module.num_layers * (2 if module.bidirectional else 1)
    start = [rng.normal(size=shape) for shape in state_shapes(module, layers, N)]
    padded = data.copy()
    for n, length in enumerate(LENGTHS):
        padded[length:, n] = np.nan  # whatever the padding holds
    given = padded.swapaxes(0, 1) if module.batch_first else padded
    x = mg.tensor(given, requires_grad=True)
    y, last = module(x, bare([mg.tensor(s) for s in start]), lengths=mg.tensor(LENGTHS))
    g = rng.normal(size=(T, N, y.shape[-1]))
    upstream = [rng.normal(size=s.shape) for s in start]
    y = y.swapaxes(0, 1) if module.batch_first else y
    loss = (y * g).sum() + sum(((s * v).sum() for s, v in zip(listed(last), upstream)), mg.tensor(0.0))
    loss.backward()
    batched = {path: p.grad.numpy() for path, p in module.named_parameters()}
    dx = x.grad.numpy().swapaxes(0, 1) if module.batch_first else x.grad.numpy()

    module.zero_grad()
    for n, length in enumerate(LENGTHS):
        one = mg.tensor(data[:length, n], requires_grad=True)
        alone, end = module(one, bare([mg.tensor(s[:, n]) for s in start]))
        close(y.numpy()[:length, n], alone.numpy(), "output")
        assert not y.numpy()[length:, n].any()
        assert not dx[length:, n].any()
        for s, e in zip(listed(last), listed(end), strict=True):
            close(s.numpy()[:, n], e.numpy(), "state")
        (
            (alone * g[:length, n]).sum() + sum(((e * v[:, n]).sum() for e, v in zip(listed(end), upstream)), mg.tensor(0.0))
        ).backward()
        close(dx[:length, n], one.grad.numpy(), "gradient of the input")
    for path, p in module.named_parameters():
        close(batched[path], p.grad.numpy(), f"gradient of {path}")


def test_full_and_empty_lengths() -> None:
    module = seeded("LSTM", D, H, bidirectional=True)
    x = mg.tensor(np.random.default_rng(0).normal(size=(T, N, D)))
    for a, b in zip(module(x)[0], module(x, lengths=[T] * N)[0]):
        assert np.array_equal(a.numpy(), b.numpy())
    start = tuple(mg.tensor(np.random.default_rng(i).normal(size=(2, N, H))) for i in (1, 2))
    y, last = module(x, start, lengths=np.array([T, 0, 2, 0]))
    assert not y.numpy()[:, [1, 3]].any()
    for s, e in zip(start, last):
        assert np.array_equal(s.numpy()[:, [1, 3]], e.numpy()[:, [1, 3]]), "a sequence without steps keeps its state"


@pytest.mark.parametrize(
    ("cell", "layer", "options"),
    [("RNNCell", "RNN", {}), ("RNNCell", "RNN", {"nonlinearity": "relu"}), ("LSTMCell", "LSTM", {}), ("GRUCell", "GRU", {}),
     ("GRUCell", "GRU", {"reset_after": False}), ("GRUCell", "GRU", {"reset_after": False, "bias": False})],
    ids=told,
)  # fmt: skip
def test_a_layer_is_its_cell_in_a_loop(cell: str, layer: str, options: dict[str, Any]) -> None:
    one, all_of_them = seeded(cell, D, H, **options), seeded(layer, D, H, **options)
    x = mg.tensor(np.random.default_rng(0).normal(size=(T, N, D)))
    y, last = all_of_them(x)
    state = None
    for t in range(T):
        state = one(x[t], state)
        close(listed(state)[0].numpy(), y[t].numpy(), "output")
    for a, b in zip(listed(state), listed(last)):
        close(a.numpy(), b[0].numpy(), "state")


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def test_gru_of_the_notes() -> None:
    """Notes 001: r, u = sigmoid(W [h; x] + b), the candidate tanh(W_h [r * h; x] + b_h), h' = u * h + (1 - u) * candidate."""
    module = seeded("GRUCell", D, H, reset_after=False)
    W, U, b, c = (np.split(p.numpy(), 3) for p in module.parameters())
    rng = np.random.default_rng(0)
    x, h = rng.normal(size=D), rng.normal(size=H)
    Wr, Wu, Wh = (np.concatenate([u, w], axis=1) for w, u in zip(W, U))
    br, bu, bh = (p + q for p, q in zip(b, c))
    r, u = (sigmoid(M @ np.concatenate([h, x]) + v) for M, v in ((Wr, br), (Wu, bu)))
    candidate = np.tanh(Wh @ np.concatenate([r * h, x]) + bh)
    close(module(mg.tensor(x), mg.tensor(h)).numpy(), u * h + (1 - u) * candidate, "h'")
    other = seeded("GRUCell", D, H)
    assert not np.allclose(other(mg.tensor(x), mg.tensor(h)).numpy(), u * h + (1 - u) * candidate)
    assert repr(module) == "GRUCell(3, 6, reset_after=False)"
    assert repr(nn.GRU(3, 6, 2, reset_after=False)) == "GRU(3, 6, num_layers=2, reset_after=False)"


def flat(out: Any) -> tuple[Any, ...]:
    return tuple(itertools.chain.from_iterable(listed(part) for part in out)) if isinstance(out, tuple) else (out,)


@pytest.mark.parametrize("lengths", [None, [1, 3]], ids=["full", "lengths"])
@pytest.mark.parametrize(("name", "options"), ALL, ids=told)
def test_gradients_of_order_one_and_two(name: str, options: dict[str, Any], lengths: list[int] | None) -> None:
    rng = np.random.default_rng(0)
    module = getattr(nn, name)(2, 3, **options, dtype="float64")
    names = [path for path, _ in module.named_parameters()]
    values = [rng.normal(size=p.shape) for p in module.parameters()]
    x = rng.normal(size=(2, 3, 2) if module.batch_first else (3, 2, 2))
    layers = module.num_layers * (2 if module.bidirectional else 1)
    states = [rng.normal(size=shape) for shape in state_shapes(module, layers, 2)]

    def f(x: Any, *rest: Any) -> Any:
        hx, parameters = bare(list(rest[: len(states)])), dict(zip(names, rest[len(states) :]))
        return flat(nn.functional_call(module, parameters, (x, hx), {"lengths": lengths}))

    check_grads(f, x, *states, *values, order=2)


@pytest.mark.parametrize(("name", "options"), [*CELLS, ("GRUCell", {"reset_after": False})], ids=told)
def test_cell_gradients_of_order_one_and_two(name: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    cell = getattr(nn, name)(2, 3, **options, dtype="float64")
    names = [path for path, _ in cell.named_parameters()]
    values = [rng.normal(size=p.shape) for p in cell.parameters()]
    states = [rng.normal(size=(4, 3)) for _ in range(2 if name == "LSTMCell" else 1)]

    def f(x: Any, *rest: Any) -> Any:
        hx, parameters = bare(list(rest[: len(states)])), dict(zip(names, rest[len(states) :]))
        return flat(nn.functional_call(cell, parameters, (x, hx)))

    check_grads(f, rng.normal(size=(4, 2)), *states, *values, order=2)


def test_dropout_is_reproducible_and_only_between_layers_in_training() -> None:
    def run(**options: Any) -> Any:
        mg.manual_seed(0)
        return nn.GRU(D, H, 2, dropout=0.5, **options)(mg.ones((T, N, D)))[0].numpy()

    assert np.array_equal(run(), run())
    first = [run(generator=mg.random.generator(s)) for s in (1, 1, 2)]
    assert np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], first[2])
    module = nn.GRU(D, H, 2, dropout=0.5)
    x = mg.ones((T, N, D))
    assert not np.array_equal(module(x)[0].numpy(), module(x)[0].numpy())
    module.eval()
    assert np.array_equal(module(x)[0].numpy(), module(x)[0].numpy())
    module.train()
    assert np.array_equal(module(x)[1].numpy()[0], module(x)[1].numpy()[0]), "the first layer comes before any dropout"


def test_first_values() -> None:
    mg.manual_seed(0)
    module = nn.LSTM(20, 100, 2, bidirectional=True, proj_size=30)
    for path, p in module.named_parameters():
        values = p.numpy()
        assert p.dtype == np.float32
        assert np.abs(values).max() <= 0.1, path
        assert abs(values.std() - 0.1 / np.sqrt(3)) < 0.003, path
    shapes = {path: p.shape for path, p in module.named_parameters()}
    assert shapes["weight_ih_l0"] == (400, 20)
    assert shapes["weight_ih_l1_reverse"] == (400, 60)
    assert shapes["weight_hh_l1"] == (400, 30)
    assert shapes["weight_hr_l0_reverse"] == (30, 100)


def test_truncated_bptt_cuts_the_graph() -> None:
    """The gradient of a chunk's loss reaches the chunks before it through the state, and not through a detached one."""
    for cut in (False, True):
        module = seeded("LSTM", D, H)
        chunks = [mg.tensor(np.random.default_rng(k).normal(size=(T, N, D)), requires_grad=True) for k in (0, 1)]
        _, state = module(chunks[0])
        before = [s.numpy().copy() for s in state]
        state = nn.detach_state(state) if cut else state
        assert isinstance(state, tuple)
        assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, state))
        assert all(s.requires_grad is not cut for s in state)
        module(chunks[1], state)[0].sum().backward()
        assert chunks[1].grad is not None
        assert (chunks[0].grad is None) is cut


def test_truncated_bptt_learns_with_bounded_graphs() -> None:
    mg.manual_seed(0)
    module, state, reach = nn.GRU(1, 4), None, []
    for _ in range(3):
        output, state = module(mg.ones((5, 1, 1)), state)
        output.sum().backward()
        state = nn.detach_state(state)
        reach.append(module.weight_hh_l0.grad is not None)
        module.zero_grad()
    assert all(reach)
    assert nn.detach_state(None) is None
    nested = nn.detach_state({"a": [mg.ones(2, requires_grad=True) * 2], "b": None})
    assert not nested["a"][0].requires_grad
    assert nested["b"] is None


def test_copies_and_flatten_parameters() -> None:
    module = nn.RNN(D, H)
    twin = copy.deepcopy(module)
    module.flatten_parameters()
    x = mg.ones((T, N, D))
    assert np.array_equal(module(x)[0].numpy(), twin(x)[0].numpy())
    assert module(x)[0].dtype == np.float32
    assert module(x.numpy())[0].shape == (T, N, H)


def test_summary_counts() -> None:
    told = nn.summary(nn.LSTM(10, 20, batch_first=True), (3, 5, 10))
    assert told.total_parameters == 4 * 20 * (10 + 20 + 2)
    assert told.multiply_adds == 15 * told.total_parameters
    assert told.rows[0].output_shape == (3, 5, 20)


def test_the_reverse_direction_reads_from_the_end() -> None:
    both, one = nn.RNN(D, H, bidirectional=True), nn.RNN(D, H)
    one.load_state_dict({k.removesuffix("_reverse"): v for k, v in both.state_dict().items() if k.endswith("_reverse")})
    x = mg.tensor(np.random.default_rng(0).normal(size=(T, N, D)).astype("float32"))
    y, h = both(x)
    back, end = one(mg.flip(x, 0))
    assert np.array_equal(y.numpy()[..., H:], back.numpy()[::-1])
    assert np.array_equal(h.numpy()[1], end.numpy()[0])


# ---- errors --------------------------------------------------------------------------------------------------------------

X = mg.ones((T, N, D))
WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: nn.RNN(0, 3), ValueError, "RNN: input_size=0: expected 1 or more"),
    (lambda: nn.GRU(3, 3, num_layers=0), ValueError, "GRU: num_layers=0: expected 1 or more"),
    (lambda: nn.LSTMCell(3, -1), ValueError, "LSTMCell: hidden_size=-1"),
    (lambda: nn.RNN(3, 3, nonlinearity="sin"), ValueError, "nonlinearity='sin': expected 'tanh' or 'relu'"),
    (lambda: nn.RNN(3, 3, 2, dropout=1.5), ValueError, "expected 0 <= dropout <= 1, got 1.5"),
    (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, r"proj_size=4: expected 0 \(none\) to 3"),
    (lambda: nn.RNN(3, 4, 1, dropout=0.5), UserWarning, "acts between layers, and there is 1: use num_layers=2"),
    (lambda: nn.RNN(2, 4)(X), mg.ShapeError, r"expects an input of shape \(T, N, 2\) or \(T, 2\), got \(5, 4, 3\). Build it with input_size=3"),
    (lambda: nn.RNN(3, 4, batch_first=True)(mg.ones(3)), mg.ShapeError, r"shape \(N, T, 3\) or \(T, 3\), got \(3,\)"),
    (lambda: nn.RNN(3, 4)(mg.ones((0, 2, 3))), mg.ShapeError, "at least one step"),
    (lambda: nn.GRU(3, 4, 2)(X, mg.ones((1, 4, 4))), mg.ShapeError, r"h_0 of shape \(2, 4, 4\), .*, got \(1, 4, 4\)"),
    (lambda: nn.GRU(3, 4)(mg.ones((5, 3)), mg.ones((1, 1, 4))), mg.ShapeError, r"h_0 of shape \(1, 4\), .*, got \(1, 1, 4\)"),
    (lambda: nn.LSTM(3, 4)(X, mg.ones((1, 4, 4))), TypeError, r"a tuple \(h_0, c_0\), got a Tensor"),
    (lambda: nn.LSTM(3, 4)(X, (mg.ones((1, 4, 4)),)), TypeError, r"a tuple \(h_0, c_0\), got a tuple of 1"),
    (lambda: nn.LSTM(3, 4)(X, (mg.ones((1, 4, 4)), mg.ones((1, 4, 5)))), mg.ShapeError, r"c_0 of shape \(1, 4, 4\)"),
    (lambda: nn.GRU(3, 4)(X, (mg.ones((1, 4, 4)),)), TypeError, "a tensor h_0, got a tuple of 1"),
    (lambda: nn.RNN(3, 4)(X, lengths=[1, 2]), mg.ShapeError, r"lengths: expected 4 numbers, .*, got shape \(2,\)"),
    (lambda: nn.RNN(3, 4)(X, lengths=[1, 2, 3, 6]), mg.ShapeError, r"lengths \[1, 2, 3, 6\]: expected 0 to 5, the size of the time axis, 0"),
    (lambda: nn.RNN(3, 4)(X, lengths=[1.0, 2, 3, 4]), mg.DtypeError, "lengths: expected integers, got float64"),
    (lambda: nn.RNN(3, 4)(mg.ones((5, 3)), lengths=[5]), mg.ShapeError, r"this input is one sequence; cut it, as in x\[:length\]"),
    (lambda: nn.GRUCell(3, 4)(X), mg.ShapeError, r"\(N, 3\) or \(3,\), got \(5, 4, 3\). A cell takes one step; nn.GRU takes sequences"),
    (lambda: nn.GRUCell(2, 4)(mg.ones(3)), mg.ShapeError, "Build it with input_size=3"),
    (lambda: nn.LSTMCell(3, 4)(mg.ones((2, 3)), (mg.ones((2, 4)), mg.ones(4))), mg.ShapeError, r"c_0 of shape \(2, 4\), .*, got \(4,\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_errors_say_what_was_expected(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) if error is not UserWarning else pytest.warns(UserWarning, match=message):
        call()


# ---- one operation for all steps -----------------------------------------------------------------------------------------

ONE: list[tuple[str, dict[str, Any]]] = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("GRU", {})]
OPERATION = {"RNN": "rnn", "LSTM": "lstm", "GRU": "gru"}


def operations(y: Any) -> set[str]:
    return {node.op.name for node in ancestors([y.node]) if node.op is not None}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
@pytest.mark.parametrize(("name", "options"), ONE, ids=told)
def test_all_steps_at_once_are_the_steps(name: str, options: dict[str, Any], lengths: Any, dtype: str) -> None:
    """Inside inspect() every step is recorded: outputs, states and all gradients agree, in both directions."""
    module = seeded(name, D, H, bidirectional=True, **options).to(dtype)
    rng = np.random.default_rng(5)
    x = mg.tensor(rng.normal(size=(T, N, D)).astype(dtype), requires_grad=True)
    start = [mg.tensor(rng.normal(size=s).astype(dtype), requires_grad=True) for s in state_shapes(module, 2, N)]
    results, seen = [], []
    for how in (contextlib.nullcontext, mg.inspect):
        with how():
            y, last = module(x, bare(start), lengths=lengths)
            loss = mg.sum(mg.sin(y)) + sum((mg.sum(mg.cos(s)) for s in listed(last)), mg.tensor(0.0, dtype=dtype))
        found = mg.gradients(loss, [x, *start, *module.parameters()])
        results.append([v.numpy() for v in (y, *listed(last), *found)])
        seen.append(operations(loss))
    whole = OPERATION[name] + ("_relu" if options else "")
    assert whole in seen[0]
    assert seen[1].isdisjoint({whole})
    assert "linear" in seen[1] - seen[0]
    rtol = 1e-11 if dtype == "float64" else 2e-4
    for once, steps in zip(*results, strict=True):
        assert once.dtype == steps.dtype == dtype
        np.testing.assert_allclose(once, steps, rtol=rtol, atol=rtol * np.abs(steps).max())


@pytest.mark.parametrize(("name", "options"), ONE, ids=told)
def test_an_empty_batch_and_a_single_step(name: str, options: dict[str, Any]) -> None:
    module = seeded(name, D, H, **options)
    for shape in ((T, 0, D), (1, 1, D)):
        x = mg.tensor(np.ones(shape), requires_grad=True)
        y, last = module(x)
        (mg.sum(y) + mg.sum(listed(last)[-1])).backward()
        assert y.shape == (*shape[:2], H)
        assert x.grad.shape == shape
        assert bool(x.grad.numpy().any()) == bool(x.size) or options  # ReLU may be off
    with pytest.raises(ShapeError, match=r"expected \(T, N, I\) with T >= 1"):
        OPERATIONS["gru"](mg.ones((0, 2, D)), mg.ones((3 * H, D)), None, mg.ones((3 * H, H)), None, mg.ones((2, H)))


@pytest.mark.parametrize("name", OPERATION.values())
def test_without_gradients_no_gates_are_kept(name: str) -> None:
    """What the way back reads lies behind the output, only where there will be one."""
    module = seeded(name.upper(), D, H)
    x = mg.tensor(np.random.default_rng(0).normal(size=(T, N, D)))
    kept, _ = module(x)
    with mg.no_grad():
        bare_output, _ = module(x)
    assert np.array_equal(kept.numpy(), bare_output.numpy())

    def memory(y: Any) -> int:
        array = y._data
        while array.base is not None:
            array = array.base
        return int(array.size)

    assert memory(bare_output) <= (T + 1) * N * H
    assert memory(kept) >= 2 * T * N * H


@pytest.mark.parametrize("name", OPERATION.values())
def test_a_pass_does_not_see_the_gradient_of_the_pass_before(name: str) -> None:
    """The rules of a node share their work, also where the same array of upstream gradients was written to in between."""
    module = seeded(name.upper(), D, H)
    x = mg.tensor(np.random.default_rng(0).normal(size=(T, N, D)), requires_grad=True)
    y, _ = module(x)
    up = np.ones(y.shape)
    for scale, wanted in ((1.0, x), (3.0, module.weight_hh_l0), (0.5, module.weight_ih_l0), (2.0, x)):
        up[...] = scale
        (found,) = mg.gradients(y, wanted, mg.asarray(up), retain_graph=True)
        (fresh,) = mg.gradients(module(x)[0], wanted, np.full(y.shape, scale))
        assert np.array_equal(found.numpy(), fresh.numpy())


@pytest.mark.parametrize("name", OPERATION.values())
def test_third_derivatives(name: str) -> None:
    """Against the recorded steps, which inspect() differentiates."""
    module = seeded(name.upper(), 2, 2)
    data = np.random.default_rng(0).normal(size=(2, 1, 2))

    def third() -> Any:
        x = mg.tensor(data, requires_grad=True)
        f = mg.sum(module(x)[0])
        for _ in range(2):
            (f,) = mg.gradients(f, x, create_graph=True)
            f = mg.sum(f * f)
        return mg.gradients(f, x)[0].numpy()

    once = third()
    with mg.inspect():
        steps = third()
    np.testing.assert_allclose(once, steps, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OPERATION.values())
def test_threads_do_not_share(name: str) -> None:
    """Passes that run at once give the bits that they give alone."""
    module = seeded(name.upper(), D, H)
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(T, N, D)) for _ in range(8)]

    def gradient(data: Any) -> Any:
        x = mg.tensor(data, requires_grad=True)
        return [g.numpy() for g in mg.gradients(mg.sum(mg.sin(module(x)[0])), [x, *module.parameters()])]

    alone = [gradient(data) for data in inputs]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(gradient, inputs), alone, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
