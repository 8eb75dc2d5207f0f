"""dtypes never drift: through layers, losses, optimisers, hyperparameters of NumPy's; half precision, and loss scaling."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.errors import MinigradError
from minigrad.graph import Node
from minigrad.nn import functional as F  # noqa: N812
from minigrad.optim import GradScaler, OptimizerError
from minigrad.testing import check_grads
from tests import test_nn_layers as layers
from tests import test_nn_losses as losses

LAYERS = [*layers.CASES, *layers.WITHOUT_COUNTERPART]
FLOATS = ["float16", "float32"]


def foreign(outputs: list[Any]) -> list[str]:
    """The operations behind ``outputs`` that are wider than float32 (in which float16 may be added up), constants too."""
    stack: list[Node | None] = [y.node for y in outputs if y is not None]
    seen, found = set(), []
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.dtype.kind == "f" and node.dtype.itemsize > 4:
            found.append(f"{node.op.name if node.op else 'leaf'} {node.dtype} {node.shape}")
        stack += node.parents
    return found


def kept(f: Callable[..., Any], xs: list[Any], dtype: Any) -> None:
    """Forward, backward and the graph of the backward pass stay in ``dtype``, and nothing overflows on the way."""
    with mg.inspect():
        y = f(*xs)
        grads = mg.gradients(mg.sum(y), xs, create_graph=True, allow_unused=True)
    assert y.dtype == dtype
    assert all(g is None or g.dtype == dtype for g in grads)
    assert all(g is None or np.isfinite(g._data).all() for g in grads)
    assert not foreign([y, *grads])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("c", LAYERS, ids=str)
def test_layers_keep_their_dtype(c: layers.Case, dtype: str) -> None:
    module = getattr(nn, c.name)(*c.args, **c.kwargs).to(dtype)
    xs = [mg.tensor(x.astype(dtype), requires_grad=True) for x in layers.inputs_of(c)]
    kept(lambda *_: module(*xs), [*xs, *module.parameters()], dtype)
    assert all(v.dtype == dtype for v in module.state_dict().values() if v.dtype.kind == "f")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("c", [c for c in losses.CASES if c.operands[0].ndim == 2], ids=str)
def test_losses_keep_their_dtype(c: losses.Case, dtype: str) -> None:
    """Weights in float64 do not decide that of the loss."""
    operands = [mg.tensor(a.astype(dtype), requires_grad=True) if a.dtype.kind == "f" else a for a in c.operands]
    asking = [x for x in operands if isinstance(x, mg.Tensor)]
    y = getattr(F, c.name)(*operands, **c.options)
    assert y.dtype == dtype
    assert all(g is None or g.dtype == dtype for g in mg.gradients(mg.sum(y), asking, create_graph=True, allow_unused=True))


def make_others() -> Iterator[tuple[str, nn.Module, tuple[Any, ...]]]:
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    tokens = np.array([[1, 2, 0], [4, 4, 3]])
    for name, cell in itertools.product(("RNN", "GRU", "LSTM"), ("", "Cell")):
        yield name + cell, getattr(nn, name + cell)(4, 5), (x[0] if cell else x,)
    yield "GRU bidirectional", nn.GRU(4, 5, 2, bidirectional=True, batch_first=True), (x,)
    yield "MultiheadAttention", nn.MultiheadAttention(4, 2, batch_first=True), (x, x, x)
    yield "TransformerEncoderLayer", nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True), (x,)
    yield "TransformerDecoderLayer", nn.TransformerDecoderLayer(4, 2, 8, dropout=0.1, batch_first=True), (x, x)
    yield "Transformer", nn.Transformer(4, 2, 1, 1, 8, batch_first=True), (x, x)
    yield "Embedding", nn.Embedding(5, 3), (tokens,)
    yield "EmbeddingBag", nn.EmbeddingBag(5, 3), (tokens,)
    yield "SinusoidalPositionalEncoding", nn.SinusoidalPositionalEncoding(4), (x,)
    yield "LearnedPositionalEncoding", nn.LearnedPositionalEncoding(4, 8), (x,)
    yield "AdditiveAttention", nn.AdditiveAttention(4, 4, 3), (x[:, 0], x)
    for name in ("Dropout", "AlphaDropout", "FeatureAlphaDropout", "GaussianNoise"):
        yield name, getattr(nn, name)(0.5), (x,)
    yield "RReLU", nn.RReLU(), (x,)
    yield "DropConnect", nn.DropConnect(4, 3), (x,)


OTHERS = {name: (module, xs) for name, module, xs in make_others()}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", OTHERS)
def test_sequence_models_and_noise_keep_their_dtype(name: str, dtype: str) -> None:
    module, arrays = OTHERS[name]
    module.to(dtype).zero_grad()
    xs = [mg.tensor(x.astype(dtype), requires_grad=True) if x.dtype.kind == "f" else mg.tensor(x) for x in arrays]
    with mg.inspect():
        outs = [y for y in _flat(module(*xs)) if isinstance(y, mg.Tensor) and y.requires_grad]
        asking = [x for x in (*xs, *module.parameters()) if x.requires_grad]
        grads = mg.gradients(outs, asking, [mg.ones_like(y) for y in outs], create_graph=True, allow_unused=True)
    assert all(y.dtype == dtype for y in outs)
    assert all(g is None or g.dtype == dtype for g in grads)
    assert not foreign([*outs, *grads])


def _flat(y: Any) -> Iterator[Any]:
    if isinstance(y, (tuple, list)):
        for v in y:
            yield from _flat(v)
    else:
        yield y


# ---- hyperparameters of NumPy's ---------------------------------------------------------------------------------------------


def wide(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: np.float64(v) if type(v) is float else v for name, v in arguments.items()}


def defaults(f: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    bound = inspect.signature(f).bind(*args, **kwargs)
    bound.apply_defaults()
    return {name: v for name, v in bound.arguments.items() if name not in ("args", "kwargs")}


@pytest.mark.parametrize(
    "c", [c for c in LAYERS if float in map(type, defaults(getattr(nn, c.name), *c.args, **c.kwargs).values())], ids=str
)
def test_a_numpy_number_as_a_layers_hyperparameter_decides_no_dtype(c: layers.Case) -> None:
    make = getattr(nn, c.name)
    module = make(**wide(defaults(make, *c.args, **c.kwargs)))
    xs = [mg.tensor(x.astype("float32"), requires_grad=True) for x in layers.inputs_of(c)]
    kept(lambda *_: module(*xs), xs, "float32")


@pytest.mark.parametrize("c", [c for c in losses.SMALL if float in map(type, defaults(getattr(F, c.name), *c.operands, **c.options).values())], ids=str)  # fmt: skip
def test_a_numpy_number_as_a_losss_hyperparameter_decides_no_dtype(c: losses.Case) -> None:
    f = getattr(F, c.name)
    arguments = wide(defaults(f, *c.operands, **c.options))
    names = list(arguments)[: len(c.operands)]
    xs = [
        mg.tensor(a.astype("float32"), requires_grad=True) if a.dtype.kind == "f" else mg.tensor(a)
        for a in map(arguments.pop, names)
    ]
    arguments = {
        k: v.astype("float32") if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for k, v in arguments.items()
    }
    assert f(*xs, **arguments).dtype == "float32"


FUNCTIONS = {
    name: f for name, f in vars(F).items()
    if inspect.isfunction(f) and not name.startswith("_") and hasattr(f, "__wrapped__") and f.__module__ == F.__name__
}  # fmt: skip


def test_every_function_with_a_number_looks_at_it() -> None:
    """An annotation ``float`` in the functional interface comes with the decorator that makes NumPy's numbers Python's."""
    missing = [
        name
        for name, f in vars(F).items()
        if inspect.isfunction(f) and not name.startswith("_") and f.__module__.startswith("minigrad.nn") and f.__name__ == name
        and any(str(p.annotation).startswith("float") for p in inspect.signature(f).parameters.values())
        and not hasattr(f, "__wrapped__")
    ]  # fmt: skip
    assert missing == []


@pytest.mark.parametrize(
    "name", ["leaky_relu", "elu", "celu", "hardtanh", "softplus", "softshrink", "swish", "gaussian_noise", "dropout"]
)
def test_a_numpy_number_given_to_a_function(name: str) -> None:
    f = getattr(F, name)
    numbers = {k: np.float64(v) for k, v in defaults(f, None).items() if type(v) is float}
    assert numbers
    x = mg.tensor([0.5, -1.0], requires_grad=True)
    assert f(x, **numbers).dtype == "float32"
    (first,) = [np.float64(v) for v in defaults(f, None).values() if type(v) is float][:1]
    assert f(x, first).dtype == "float32"
    assert f(x.astype("float64"), **numbers).dtype == "float64"


def test_a_learned_temperature_stays_in_the_graph() -> None:
    beta = mg.tensor(1.5, requires_grad=True)
    F.swish(mg.tensor([1.0, 2.0]), beta).sum().backward()
    assert beta.grad is not None


@pytest.mark.parametrize("dtype", FLOATS)
def test_initialisers_and_schedules_keep_the_dtype(dtype: str) -> None:
    for name, f in vars(nn.init).items():
        if name.endswith("_") and callable(f) and not name.startswith("_"):
            t = mg.zeros((4, 4) if name not in ("dirac_",) else (4, 4, 3), dtype=dtype)
            needed = [p for p in list(inspect.signature(f).parameters.values())[1:] if p.default is p.empty]
            assert f(t, *(np.float64(0.5) for _ in needed)).dtype == dtype, name
    w = mg.ones(3, dtype=dtype, requires_grad=True)
    optimizer = mg.optim.SGD([w], lr=np.float64(0.1), momentum=np.float64(0.5))  # type: ignore[arg-type]
    schedule = mg.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5, eta_min=np.float64(1e-3))  # type: ignore[arg-type]
    for _ in range(3):
        (w * w).sum().backward()
        optimizer.step()
        schedule.step()
    assert w.dtype == dtype


# ---- half precision ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [
    lambda a, b: mg.tanh(a @ b), lambda a, b: mg.sum(a, axis=0) * b[0, 0], lambda a, b: F.layer_norm(a, (3,)) @ b,
    lambda a, b: F.softmax(a @ b), lambda a, b: F.cross_entropy(a @ b, [0, 1]), lambda a, b: F.gelu(a) @ mg.exp(b),
    lambda a, b: mg.linalg.norm(a, axis=1), lambda a, b: mg.var(a @ b, axis=0), lambda a, b: F.mse_loss(a @ b, mg.zeros((2, 4), dtype="float16")),
])  # fmt: skip
def test_gradients_in_float16_pass_the_checks(f: Any) -> None:
    rng = np.random.default_rng(0)
    check_grads(f, rng.normal(size=(2, 3)).astype("float16"), rng.normal(size=(3, 4)).astype("float16"), order=1)


def brain() -> np.dtype[Any]:
    pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed: bfloat16 is not checked")
    return mg.bfloat16  # type: ignore[attr-defined, no-any-return]


def test_bfloat16_is_made_converted_computed_and_differentiated() -> None:
    dtype = brain()
    x = mg.tensor([[1.0, -2.0], [3.0, 0.5]], dtype=dtype, requires_grad=True)
    w = mg.ones((2, 2), dtype=dtype, requires_grad=True)
    y = mg.sum(mg.tanh(x * w) + mg.maximum(x, w) - x / (w + w))
    y.backward()
    assert y.dtype == x.grad.dtype == w.grad.dtype == dtype  # type: ignore[union-attr]
    single = [mg.tensor(t.astype("float32").detach().numpy(), requires_grad=True) for t in (x, w)]
    a, b = single
    (mg.tanh(a * b) + mg.maximum(a, b) - a / (b + b)).sum().backward()
    for ours, theirs in ((x, a), (w, b)):
        np.testing.assert_allclose(ours.grad.numpy().astype("float32"), theirs.grad.numpy(), rtol=2e-2, atol=2e-2)  # type: ignore[union-attr]
    layer = nn.Linear(2, 3).to(dtype)
    assert all(p.dtype == dtype and p.requires_grad for p in layer.parameters())
    assert x.astype("float32").dtype == "float32"
    assert mg.tensor([1, 2]).astype(dtype).dtype == dtype


def test_bfloat16_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    with pytest.raises(mg.errors.DtypeError, match=r"pip install 'minigrad\[bfloat16\]'"):
        mg.bfloat16  # type: ignore[attr-defined]  # noqa: B018


# ---- loss scaling ------------------------------------------------------------------------------------------------------------


def tiny_problem(dtype: str = "float16") -> tuple[nn.Module, Any, Any]:
    """A regression whose loss is so small that its gradients vanish in float16: the targets are in units of 1e-4."""
    mg.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype(dtype)
    t = (1e-4 * np.tanh(x.astype("float64") @ rng.normal(size=(4, 1)))).astype(dtype)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1)).to(dtype)
    with mg.no_grad():
        for p in model[2].parameters():
            p *= 1e-3
    return model, mg.tensor(x), mg.tensor(t)


def train(scaler: GradScaler | None, steps: int = 40, clip: float | None = None) -> tuple[list[float], nn.Module]:
    model, x, t = tiny_problem()
    optimizer = mg.optim.SGD(model.parameters(), lr=2.0 if clip is None else 0.02)
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        error = (model(x) - t) * 0.01
        loss = mg.mean(error * error)
        wide_error = model(x).detach().numpy().astype("float64") - t.numpy().astype("float64")
        found.append(float((wide_error**2).mean()))
        if scaler is None:
            loss.backward()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            if clip is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            scaler.step(optimizer)
            scaler.update()
    return found, model


def test_a_float16_network_learns_with_loss_scaling_and_not_without() -> None:
    without, before = train(None)
    assert without[-1] == without[0]  # every gradient is 0: nothing moves
    assert all(p.grad is not None and not p.grad.numpy().any() for p in before.parameters())
    model, x, t = tiny_problem()
    mg.mean(mg.square((model(x) - t) * 0.01)).backward()
    assert not any(p.grad.numpy().any() for p in model.parameters())  # type: ignore[union-attr]

    scaler = GradScaler(init_scale=2.0**14)
    optimizer = mg.optim.Adam(model.parameters(), lr=1e-3)
    first = last = 0.0
    for _ in range(60):
        optimizer.zero_grad()
        error = (model(x) - t) * 0.01
        scaler.scale(mg.mean(error * error)).backward()
        scaler.step(optimizer)
        scaler.update()
        last = float(np.mean((model(x).numpy().astype("float64") - t.numpy().astype("float64")) ** 2))
        first = first or last
    assert last < first / 5
    assert all(p.dtype == "float16" and np.isfinite(p.numpy()).all() for p in model.parameters())


def test_small_updates_add_up_in_the_master_copy() -> None:
    """A step of 1e-4 is less than half of float16's at 1; ten of them are two steps of it."""
    w = mg.ones(3, dtype="float16", requires_grad=True)
    optimizer, scaler = mg.optim.SGD([w], lr=1e-4), GradScaler(init_scale=8.0)
    for _ in range(10):
        optimizer.zero_grad()
        scaler.scale(w.sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    np.testing.assert_array_equal(w.numpy(), np.float16(1 - 10 * 1e-4))
    w.data = np.full(3, 2.0, "float16")  # somebody else sets it: the copy follows
    optimizer.zero_grad()
    scaler.scale(w.sum()).backward()
    scaler.step(optimizer)
    assert abs(w.numpy()[0] - 2.0) < 2e-3
    assert all(v.dtype == np.float32 for s in optimizer.state.values() for v in s.values() if hasattr(v, "dtype"))


def test_float32_parameters_step_as_without_scaling() -> None:
    """A power of two changes no digit: bit for bit the same, and the gradient is a float32 one."""
    runs = []
    for scaler in (None, GradScaler(init_scale=2.0**10)):
        mg.manual_seed(1)
        model = nn.Linear(3, 2)
        optimizer = mg.optim.AdamW(model.parameters(), lr=0.1)
        for k in range(5):
            optimizer.zero_grad()
            loss = F.mse_loss(model(mg.tensor(np.random.default_rng(k).normal(size=(4, 3)).astype("f4"))), mg.zeros((4, 2)))
            if scaler is None:
                loss.backward()
                optimizer.step()
            else:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
        runs.append([p.numpy().tobytes() for p in model.parameters()])
    assert runs[0] == runs[1]


def test_clipping_between_unscaling_and_the_step() -> None:
    w = mg.tensor([3.0, 4.0], requires_grad=True)
    optimizer, scaler = mg.optim.SGD([w], lr=1.0), GradScaler(init_scale=1024.0)
    scaler.scale((w * w).sum()).backward()
    scaler.unscale_(optimizer)
    assert nn.utils.clip_grad_norm_([w], 1.0).item() == pytest.approx(10.0)
    scaler.step(optimizer)
    np.testing.assert_allclose(w.numpy(), [3 - 0.6, 4 - 0.8], rtol=1e-5)


def test_the_scale_moves_as_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity is not checked")
    ours, theirs = (
        GradScaler("cpu", init_scale=64.0, growth_interval=3),
        torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3),
    )
    w, v = mg.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    a, b = mg.optim.SGD([w], lr=0.1), torch.optim.SGD([v], lr=0.1)
    for bad in [0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]:
        factor = float("inf") if bad else 1.0
        for scaler, optimizer, x in ((ours, a, w), (theirs, b, v)):
            optimizer.zero_grad()
            scaler.scale((x * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        assert ours.get_scale() == theirs.get_scale()
        np.testing.assert_allclose(w.numpy(), v.detach().numpy(), rtol=1e-6)
    assert ours.state_dict() == theirs.state_dict()
    fresh = GradScaler()
    fresh.load_state_dict(theirs.state_dict())
    assert fresh.state_dict() == theirs.state_dict()


def test_two_optimisers_and_one_that_overflows() -> None:
    """Each leaves out its own step; the scale backs off if one of them did."""
    a, b = mg.ones(1, requires_grad=True), mg.ones(1, requires_grad=True)
    first, second = mg.optim.SGD([a], lr=1.0), mg.optim.SGD([b], lr=1.0)
    scaler = GradScaler(init_scale=4.0)
    one, two = scaler.scale([a.sum(), (b * float("inf")).sum()])
    one.backward()
    two.backward()
    scaler.step(first)
    assert scaler.step(second) is None
    scaler.update()
    assert (a.item(), b.item(), scaler.get_scale()) == (0.0, 1.0, 2.0)


def test_going_on_from_a_saved_state_bit_for_bit() -> None:
    def steps(w: Any, optimizer: Any, scaler: Any, n: int) -> None:
        for _ in range(n):
            optimizer.zero_grad()
            scaler.scale((w * w).sum()).backward()
            scaler.step(optimizer)
            scaler.update()

    start = np.linspace(0.1, 1.0, 5).astype("float16")
    w = mg.tensor(start, requires_grad=True)
    optimizer, scaler = mg.optim.Adam([w], lr=1e-4), GradScaler(init_scale=16.0)
    steps(w, optimizer, scaler, 7)
    v = mg.tensor(w.detach().numpy(), requires_grad=True)
    other, again = mg.optim.Adam([v], lr=1e-4), GradScaler()
    other.load_state_dict(optimizer.state_dict())
    again.load_state_dict(scaler.state_dict())
    assert np.asarray(other.state[v]["exp_avg"]).dtype == np.float32
    steps(w, optimizer, scaler, 7)
    steps(v, other, again, 7)
    assert w.numpy().tobytes() == v.numpy().tobytes()
    np.testing.assert_array_equal(scaler.state_dict()["masters"][0][0], again.state_dict()["masters"][0][0])


def test_a_compiled_step_scales_as_an_eager_one() -> None:
    def run(compiled: bool) -> tuple[list[float], bytes]:
        w = mg.tensor([1.0, 2.0], requires_grad=True)
        optimizer, scaler = mg.optim.SGD([w], lr=0.01), GradScaler(init_scale=4.0, growth_interval=2)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = ((w * x) ** 2).sum()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            return loss

        f: Any = mg.compile(step) if compiled else step
        with np.errstate(over="ignore", invalid="ignore"):
            told = [float(f(mg.tensor(np.array(x, "f4")))) for x in (1.0, 2.0, 1e30, 1.0, 2.0, 3.0)]
        return [*told, scaler.get_scale()], w.numpy().tobytes()

    assert run(True) == run(False)


def test_unscaling_inside_a_compiled_step_is_refused() -> None:
    w = mg.ones(2, requires_grad=True)
    optimizer, scaler = mg.optim.SGD([w], lr=0.1), GradScaler()

    def step() -> Any:
        loss = w.sum()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        return loss

    with pytest.raises(MinigradError, match=r"GradScaler\.unscale_ inside a compiled step"):
        mg.compile(step)()


def test_switched_off_everything_passes_through() -> None:
    w = mg.ones(2, requires_grad=True)
    optimizer, scaler = mg.optim.SGD([w], lr=0.5), GradScaler(enabled=False)
    loss = w.sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [0.5, 0.5]
    assert scaler.state_dict() == {}
    assert scaler.get_scale() == 1.0
    scaler.load_state_dict({})


def test_misuse_of_the_scaler_is_refused() -> None:
    w = mg.ones(2, requires_grad=True)
    optimizer, scaler = mg.optim.SGD([w], lr=0.1), GradScaler()
    with pytest.raises(
        MinigradError, match=r"no parameter of this SGD has a gradient: call scaler.scale\(loss\).backward\(\) first"
    ):
        scaler.step(optimizer)
    scaler.update(2.0)
    assert scaler.get_scale() == 2.0
    with pytest.raises(MinigradError, match="no gradient was looked at"):
        scaler.update()
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(MinigradError, match="already called for this SGD since the last update"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(MinigradError, match="called twice since the last update"):
        scaler.step(optimizer)
    with pytest.raises(TypeError, match="closure"):
        scaler.step(optimizer, lambda: w.sum())
    with pytest.raises(TypeError, match="expected a tensor, or a list or tuple of them, got float"):
        scaler.scale(1.0)
    with pytest.raises(OptimizerError, match="enabled=False"):
        scaler.load_state_dict({})
    for options in ({"init_scale": 0.0}, {"growth_factor": 1.0}, {"backoff_factor": 1.5}, {"growth_interval": 0}):
        with pytest.raises(OptimizerError, match=f"GradScaler: {next(iter(options))} must be"):
            GradScaler(**options)  # type: ignore[arg-type]
