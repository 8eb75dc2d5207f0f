"""Module: what belongs to it, its state, its scopes and words; containers; the summary table."""

from __future__ import annotations

import copy
import doctest
import gc
import importlib
import pickle
import pkgutil
import subprocess
import sys
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F  # noqa: N812


class Block(nn.Module):
    def __init__(self, n: int) -> None:
        self.fc = nn.Linear(n, n)
        self.norm = nn.BatchNorm1d(n)

    def forward(self, x: Any) -> Any:
        return mg.tanh(self.norm(self.fc(x)))


class MLP(nn.Module):
    def __init__(self, n: int = 4, depth: int = 2) -> None:
        self.layers = nn.ModuleList(Block(n) for _ in range(depth))
        self.drop = nn.Dropout(0.5)
        self.head = nn.Sequential(OrderedDict(flat=nn.Flatten(), out=nn.Linear(n, 3)))
        self.gain = nn.Parameter([1.0])
        self.register_buffer("offset", mg.zeros(3))
        self.register_buffer("scratch", mg.ones(2), persistent=False)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return self.gain * self.head(self.drop(x)) + self.offset


NAMES = ["gain", "layers.0.fc.weight", "layers.0.fc.bias", "layers.0.norm.weight", "layers.0.norm.bias", "layers.1.fc.weight",
         "layers.1.fc.bias", "layers.1.norm.weight", "layers.1.norm.bias", "head.out.weight", "head.out.bias"]  # fmt: skip


def nodes(t: mg.Tensor) -> list[Any]:
    found, stack = [], [t.node]
    while stack:
        node = stack.pop()
        if node is not None and node not in found:
            found.append(node)
            stack += node.parents
    return found


# ---- what belongs to it --------------------------------------------------------------------------------------------------


def test_names_are_paths() -> None:
    model = MLP()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert [name for name, _ in model.named_buffers()][:3] == ["offset", "scratch", "layers.0.norm.running_mean"]
    assert [name for name, _ in model.named_children()] == ["layers", "drop", "head"]
    assert [name for name, _ in model.named_modules()] == [
        "", "layers", "layers.0", "layers.0.fc", "layers.0.norm", "layers.1", "layers.1.fc", "layers.1.norm", "drop", "head", "head.flat",
        "head.out",
    ]  # fmt: skip
    assert [name for name, _ in model.named_parameters(prefix="net", recurse=False)] == ["net.gain"]
    assert len(list(model.parameters())) == 11
    assert model.get_submodule("layers.1.fc") is model.layers[1].fc
    assert model.get_submodule("") is model
    assert model.get_parameter("head.out.bias") is model.head.out.bias
    with pytest.raises(AttributeError, match=r"no module at 'layers.2'; did you mean 'layers.\d'"):
        model.get_submodule("layers.2")


def test_no_ceremony() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:  # no super().__init__()
            self.stack = [nn.Linear(2, 2), nn.Linear(2, 2)]
            self.heads = {"a": nn.Linear(2, 1), "deep": [nn.Parameter([1.0])]}
            self._hidden = [nn.Linear(2, 2)]
            self.size, self.items, self.nothing = 3, [1, 2], None

    names = [name for name, _ in Plain().named_parameters()]
    assert names == [
        "heads.deep.0", "stack.0.weight", "stack.0.bias", "stack.1.weight", "stack.1.bias", "heads.a.weight", "heads.a.bias",
    ]  # fmt: skip
    model = Plain()
    model.stack.append(nn.ReLU())
    assert "stack.2" in dict(model.named_modules())


def test_shared_parameters_come_once_but_are_saved_under_each_name() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.embed = nn.Embedding(5, 3)
            self.out = nn.Linear(3, 5, bias=False)
            self.out.weight = self.embed.weight
            self.again = self.embed

    model = Tied()
    assert [name for name, _ in model.named_parameters()] == ["embed.weight"]
    assert len(list(model.named_parameters(remove_duplicate=False))) == 3
    assert list(model.state_dict()) == ["embed.weight", "out.weight", "again.weight"]
    assert [name for name, _ in model.named_children()] == ["embed", "out"]
    assert copy.deepcopy(model).out.weight.shape == (5, 3)
    twin = copy.deepcopy(model)
    assert twin.out.weight is twin.embed.weight
    assert twin.out.weight is not model.out.weight


def test_a_module_inside_itself_is_no_endless_walk() -> None:
    model = MLP()
    model.me = model
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert len(model.state_dict()) == len(MLP().state_dict())


def test_a_typo_is_an_error_with_a_suggestion() -> None:
    model = MLP()
    with pytest.raises(AttributeError, match="'MLP' has no attribute 'haed'; did you mean 'head'"):
        model.haed  # noqa: B018
    with pytest.raises(AttributeError, match="its own attributes: in_features, out_features, weight, bias"):
        nn.Linear(2, 3).zzz  # noqa: B018
    assert not hasattr(model, "weights")


def test_a_parameter_is_not_replaced_by_something_else() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"Linear\.weight is a Parameter, and Tensor is not"):
        model.weight = model.weight * 2
    with pytest.raises(TypeError, match=r"Linear\.weight is a Parameter, and ndarray is not"):
        model.weight = np.zeros((2, 2))
    model.bias = None
    assert [name for name, _ in model.named_parameters()] == ["weight"]
    with mg.no_grad():
        model.weight *= 2.0
    assert isinstance(model.weight, nn.Parameter)


def test_buffers() -> None:
    model = MLP()
    model.offset = mg.ones(3)
    assert dict(model.named_buffers())["offset"].tolist() == [1, 1, 1]
    model.offset = None
    assert "offset" not in dict(model.named_buffers())
    with pytest.raises(TypeError, match="offset is a buffer: expected a Tensor or None, got list"):
        model.offset = [1.0]
    with pytest.raises(TypeError, match="expected a Tensor or None, got ndarray"):
        model.register_buffer("b", np.zeros(2))  # type: ignore[arg-type]
    for name in ("", "a.b", "forward", "training"):
        with pytest.raises(KeyError, match=r"cannot be a name|already an attribute"):
            model.register_buffer(name, mg.zeros(1))


def test_registering_is_setting() -> None:
    model = nn.Module()
    model.register_parameter("p", nn.Parameter([1.0]))
    model.register_parameter("q", None)
    model.add_module("m", nn.Linear(1, 1))
    assert [name for name, _ in model.named_parameters()] == ["p", "m.weight", "m.bias"]
    assert model.q is None


# ---- Parameter -----------------------------------------------------------------------------------------------------------


def test_parameter() -> None:
    values = np.array([1.0, 2.0])
    p = nn.Parameter(values)
    values[:] = 0
    assert p.tolist() == [1, 2]
    assert p.dtype == np.float64
    assert p.requires_grad
    assert isinstance(p, mg.Tensor)
    assert not nn.Parameter(values, requires_grad=False).requires_grad
    assert nn.Parameter([1, 2], requires_grad=False).dtype.kind == "i"
    assert nn.Parameter().shape == (0,)
    assert type(p * 2) is mg.Tensor
    with pytest.raises(mg.DtypeError, match="Parameter: dtype int64 has no gradient"):
        nn.Parameter([1, 2])
    for twin in (copy.deepcopy(p), pickle.loads(pickle.dumps(p)), copy.copy(p)):
        assert type(twin) is nn.Parameter
        assert twin.tolist() == [1, 2]
        assert twin.requires_grad


def test_names_of_parameters() -> None:
    model = MLP()
    model.head.out.weight.name = "mine"
    assert model.gain.name is None
    model(mg.ones((2, 4)))
    assert [p.name for p in model.parameters()] == [*NAMES[:-2], "mine", "head.out.bias"]
    outer = nn.Sequential(model)
    assert next(outer.parameters()).name == "0.gain"
    model.layers[0](mg.ones((2, 4)))  # called alone it knows less
    assert model.layers[0].fc.weight.name == "0.layers.0.fc.weight"
    late = nn.Linear(3, 3)
    outer.append(late)
    outer(mg.ones((2, 4)))
    assert late.weight.name == "1.weight"
    assert copy.deepcopy(outer)[1].weight.name == "1.weight"


def test_errors_and_graphs_name_parameters() -> None:
    model = MLP()
    y = model(mg.ones((2, 4)))
    assert {"layers.1.fc.weight", "gain"} <= {node.name for node in nodes(y)}
    model.head.out.weight._data = np.zeros((3, 9), np.float32)
    with pytest.raises(ValueError) as caught:
        model(mg.ones((2, 4)))
    assert "minigrad: in module MLP.head.out, a Linear(in_features=4, out_features=3, bias=True)" in caught.value.__notes__
    assert len(caught.value.__notes__) == 1


# ---- state ---------------------------------------------------------------------------------------------------------------


def test_state_dict_round_trip() -> None:
    mg.manual_seed(0)
    a, b = MLP(), MLP()
    a(mg.random.normal((8, 4)))
    state = a.state_dict()
    assert list(state)[:3] == ["gain", "offset", "layers.0.fc.weight"]
    assert "scratch" not in state
    assert not any(t.requires_grad for t in state.values())
    assert b.load_state_dict(state) == ([], [])
    x = mg.random.normal((5, 4))
    assert np.array_equal(a.eval()(x).numpy(), b.eval()(x).numpy())
    assert b.load_state_dict({name: t.numpy() for name, t in state.items()}, strict=True) == ([], [])


def test_a_state_dict_is_a_snapshot() -> None:
    model = nn.Linear(2, 2)
    state = model.state_dict()
    before = state["weight"].numpy().copy()
    with mg.no_grad():
        model.weight += 1.0
    model.weight.data[:] = 7
    assert np.array_equal(state["weight"].numpy(), before)
    model.load_state_dict(state)
    model.weight.data[:] = 7
    assert np.array_equal(state["weight"].numpy(), before)


def test_strict_errors_name_everything_and_change_nothing() -> None:
    model = MLP()
    state: dict[str, Any] = dict(model.state_dict())
    before = {name: t.numpy().copy() for name, t in state.items()}
    state = {name: mg.zeros(t.shape) for name, t in state.items()}
    del state["gain"]
    state["layers.0.fc.wieght"] = state.pop("layers.0.fc.weight")
    state["head.out.bias"] = np.zeros(5)
    state["offset"] = {}
    with pytest.raises(mg.MinigradError) as caught:
        model.load_state_dict(state)
    assert str(caught.value).splitlines() == [
        "load_state_dict: the state dict does not fit MLP; nothing was changed.",
        "  missing in the state dict: gain (1,)",
        "  missing in the state dict: layers.0.fc.weight (4, 4)",
        "  unexpected in the state dict: layers.0.fc.wieght (did you mean layers.0.fc.weight?)",
        "  does not fit: offset: expected an array, got dict (float() argument must be a string or a real number, not 'dict')",
        "  does not fit: head.out.bias: (3,) in the module, (5,) in the state dict",
        "Build the module as it was saved, or pass strict=False to skip what is missing or unexpected.",
    ]
    with pytest.raises(mg.MinigradError, match=r"\(3,\) in the module") as caught:
        model.load_state_dict(state, strict=False)
    assert "missing" not in str(caught.value)
    assert all(np.array_equal(before[name], t.numpy()) for name, t in model.state_dict().items())


def test_loading_what_fits() -> None:
    model = nn.Linear(2, 2)
    found = model.load_state_dict({"weight": np.ones((2, 2)), "extra": 1}, strict=False)
    assert (found.missing_keys, found.unexpected_keys) == (["bias"], ["extra"])
    assert model.weight.tolist() == [[1, 1], [1, 1]]
    assert model.weight.dtype == np.float32
    assert model.weight.requires_grad


def test_pytorchs_state_dict_loads_and_ours_loads_there() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity is not checked")

    def build(nn: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5), nn.ModuleList([nn.PReLU()])[0]
        )  # fmt: skip

    theirs, ours = build(torch.nn), build(nn)
    theirs(torch.randn(4, 1, 8, 8))
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(
        ours.eval()(mg.tensor(x)).numpy(), theirs.eval()(torch.tensor(x)).detach().numpy(), rtol=2e-5, atol=1e-6
    )
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({name: torch.tensor(t.numpy()) for name, t in build(nn).state_dict().items()})
    assert repr(ours) == repr(theirs)


# ---- changing all of it --------------------------------------------------------------------------------------------------


def test_train_and_eval() -> None:
    model = MLP()
    assert all(m.training for m in model.modules())
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert all(m.training for m in model.train().modules())


def test_freeze_and_unfreeze() -> None:
    model = MLP()
    model.layers.freeze()
    x = mg.ones((2, 4))
    model(x).sum().backward()
    assert all(p.grad is None for p in model.layers.parameters())
    assert all(p.grad is not None for p in model.head.parameters())
    assert model.freeze() is model
    assert not model(x).requires_grad
    assert all(p.requires_grad for p in model.unfreeze().parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_apply_goes_children_first() -> None:
    seen: list[str] = []
    assert isinstance(
        nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU())).apply(lambda m: seen.append(type(m).__name__)), nn.Sequential
    )
    assert seen == ["Linear", "ReLU", "Sequential", "Sequential"]


def test_to_another_dtype() -> None:
    model = MLP()
    before = list(model.parameters())
    y = model(mg.ones((2, 4)))
    assert model.to("float64") is model
    assert all(a is b for a, b in zip(before, model.parameters()))
    assert {p.dtype for p in model.parameters()} == {np.dtype("float64")}
    assert model.layers[0].norm.running_mean.dtype == np.float64
    assert model.layers[0].norm.num_batches_tracked.dtype == np.int64
    y.sum().backward()  # the old graph is as it was; its gradients are the old leaves'
    model(mg.ones((2, 4), dtype="float64")).sum().backward()
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype("float64")}
    assert model.float().gain.grad.dtype == np.float32
    assert model.to(mg.float16).half().double().cpu().gain.dtype == np.float64
    assert model.to("cpu", "float32").gain.dtype == np.float32
    assert [p.name for p in model.parameters()] == NAMES
    with pytest.raises(mg.DtypeError, match="expected a floating dtype for parameters, got int64"):
        model.to("int64")
    with pytest.raises(mg.DeviceError):
        model.to("cuda:99")


# ---- calling it ----------------------------------------------------------------------------------------------------------


def test_nodes_know_the_module_that_made_them() -> None:
    y = MLP()(mg.ones((2, 4)))
    scopes = {node.scope for node in nodes(y) if node.op is not None}
    assert scopes == {
        ("MLP",), ("MLP", "layers.0"), ("MLP", "layers.0", "fc"), ("MLP", "layers.0", "norm"), ("MLP", "layers.1"), ("MLP", "layers.1", "fc"),
        ("MLP", "layers.1", "norm"), ("MLP", "drop"), ("MLP", "head", "flat"), ("MLP", "head", "out"),
    }  # fmt: skip
    assert (mg.ones(1, requires_grad=True) * 2).node.scope == ()


def test_scopes_of_every_kind_of_container() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.lists = nn.ModuleList([nn.ModuleList([nn.Tanh()])])
            self.lists.append(nn.ModuleList([nn.Tanh()]))
            self.named = nn.ModuleDict({"a": nn.Tanh()})
            self.plain = [nn.Tanh()]
            self.row = nn.Sequential(nn.Tanh())

        def forward(self, x: Any) -> list[Any]:
            modules = [self.lists[0][0], self.lists[1][0], self.named["a"], self.plain[0], self.row, nn.Tanh()]
            return [m(x).node.scope for m in modules]

    assert Net()(mg.ones(1, requires_grad=True)) == [
        ("Net", "lists.0.0"), ("Net", "lists.1.0"), ("Net", "named.a"), ("Net", "plain.0"), ("Net", "row", "0"), ("Net", "Tanh"),
    ]  # fmt: skip


def test_the_outermost_call_counts() -> None:
    model = MLP()
    x = mg.ones((2, 4), requires_grad=True)
    assert model.layers[0].fc(x).node.scope == ("Linear",)
    with mg.no_grad():
        model(x)
    with pytest.raises(ValueError):
        model(mg.ones((2, 9)))
    assert (x * 2).node.scope == (), "a scope ends where its call ends, error or not"


def test_hooks() -> None:
    layer, seen = nn.Linear(2, 2), []
    first = layer.register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    second = layer.register_forward_hook(lambda m, args, out: seen.append((m, args[0].tolist(), out.shape)))
    third = layer.register_forward_hook(lambda m, args, out: out * 0)
    assert layer(mg.ones(2)).tolist() == [0, 0]
    assert seen == [(layer, [2, 2], (2,))]
    for hook in (first, second, third, third):
        hook.remove()
    layer(mg.ones(2))
    assert len(seen) == 1


def test_forward_must_be_there() -> None:
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no forward"):
        Empty()(1)


def test_a_graph_through_modules_is_freed_by_reference_counting() -> None:
    gc.collect()
    gc.disable()
    try:
        model = MLP()
        y = model(mg.ones((2, 4)))
        y.sum().backward()
        del y
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_functional_call() -> None:
    model = MLP().eval()
    x = mg.random.normal((3, 4))
    zero = mg.zeros(1)
    assert nn.functional_call(model, {"gain": zero, "offset": mg.ones(3)}, x).tolist() == np.ones((3, 3)).tolist()
    assert model.gain.tolist() == [1]
    assert model.offset.tolist() == [0, 0, 0]
    with pytest.raises(mg.MinigradError, match="has no parameter or buffer at gian"):
        nn.functional_call(model, {"gian": zero}, x)
    with pytest.raises(ValueError):
        nn.functional_call(model, {"gain": zero}, mg.ones((2, 9)))
    assert model.gain.tolist() == [1]
    line = nn.Linear(3, 1, bias=False, dtype="float64")
    h = mg.hessian(lambda w: (nn.functional_call(line, {"weight": w}, mg.eye(3, dtype="float64")) ** 2).sum())(
        line.weight.detach()
    )
    np.testing.assert_allclose(h.numpy().reshape(3, 3), 2 * np.eye(3))


def test_copies_and_pickles() -> None:
    model = MLP().eval()
    x = mg.ones((2, 4))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(twin(x).numpy(), model(x).numpy())
        with mg.no_grad():
            twin.gain += 1.0
        assert model.gain.item() == 1
        assert not twin.training


# ---- containers ----------------------------------------------------------------------------------------------------------


def test_sequential() -> None:
    s = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(s) == 3
    assert isinstance(s[1], nn.ReLU)
    assert s[-1] is s[2]
    assert [type(m).__name__ for m in s[:2]] == ["Linear", "ReLU"]
    assert s[1:][1] is s[2]
    s[1] = nn.Tanh()
    s.append(nn.Sigmoid()).insert(0, nn.Identity())
    assert [type(m).__name__ for m in s] == ["Identity", "Linear", "Tanh", "Linear", "Sigmoid"]
    assert list(dict(s.named_parameters())) == ["1.weight", "1.bias", "3.weight", "3.bias"]
    del s[0]
    assert isinstance(s.pop(-1), nn.Sigmoid)
    assert [name for name, _ in s.named_children()] == ["0", "1", "2"]
    named = nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh()))
    assert (named.a, named[1]) == (named[0], named.b)
    del named[0]
    assert [name for name, _ in named.named_children()] == ["b"]
    assert [name for name, _ in nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh()))[1:].named_children()] == ["b"]
    with pytest.raises(IndexError, match="Sequential: index 7 is out of range: it has 3 members"):
        s[7]
    with pytest.raises(TypeError, match="Sequential: expected a Module, got builtin_function"):
        nn.Sequential(abs)
    assert nn.Sequential()(5) == 5


def test_module_list_and_dict() -> None:
    layers = nn.ModuleList([nn.ReLU()])
    layers += [nn.Tanh(), nn.Tanh()]
    layers.insert(1, nn.Sigmoid())
    assert [type(m).__name__ for m in layers] == ["ReLU", "Sigmoid", "Tanh", "Tanh"]
    assert layers[1] in layers
    assert isinstance(layers[1:3], nn.ModuleList)
    table = nn.ModuleDict({"a": nn.Linear(1, 1)})
    table["b"] = nn.Tanh()
    assert list(table) == ["a", "b"]
    assert len(table) == 2
    assert "a" in table
    assert isinstance(table.pop("b"), nn.Tanh)
    assert [name for name, _ in table.named_parameters()] == ["a.weight", "a.bias"]
    with pytest.raises(KeyError, match="nothing is called 'c'; there are: a"):
        table["c"]
    with pytest.raises(KeyError, match="already an attribute"):
        table["pop"] = nn.Tanh()
    with pytest.raises(TypeError, match="expected a Module"):
        table["x"] = 3


def test_parameter_containers() -> None:
    ps = nn.ParameterList([[1.0], mg.ones(2)])
    ps.append([3.0])
    assert [name for name, _ in ps.named_parameters()] == ["0", "1", "2"]
    assert ps[1].requires_grad
    assert len(ps) == 3
    d = nn.ParameterDict({"a": [1.0]})
    d["b"] = mg.zeros(2)
    assert dict(d.named_parameters()).keys() == {"a", "b"}
    assert "a: float32[1]" in repr(d)


# ---- words ---------------------------------------------------------------------------------------------------------------

GOLDEN = """\
MLP(
  (layers): ModuleList(
    (0-1): 2 x Block(
      (fc): Linear(in_features=4, out_features=4, bias=True)
      (norm): BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    )
  )
  (drop): Dropout(p=0.5, inplace=False)
  (head): Sequential(
    (flat): Flatten(start_dim=1, end_dim=-1)
    (out): Linear(in_features=4, out_features=3, bias=True)
  )
)"""


def test_repr() -> None:
    assert repr(MLP()) == GOLDEN
    assert repr(nn.ModuleList([nn.ReLU(), nn.Tanh(), nn.Tanh()])) == "ModuleList(\n  (0): ReLU()\n  (1-2): 2 x Tanh()\n)"
    assert repr(nn.Sequential()) == "Sequential()"


# ---- summary -------------------------------------------------------------------------------------------------------------


def lenet() -> nn.Sequential:
    return nn.Sequential(OrderedDict(
        c1=nn.Conv2d(1, 6, 5), a1=nn.Tanh(), s2=nn.AvgPool2d(2), c3=nn.Conv2d(6, 16, 5), a3=nn.Tanh(), s4=nn.AvgPool2d(2),
        flat=nn.Flatten(), c5=nn.Linear(400, 120), a5=nn.Tanh(), f6=nn.Linear(120, 84), a6=nn.Tanh(), out=nn.Linear(84, 10),
    ))  # fmt: skip


LENET = """\
Layer (path)      Output shape     Parameters  Multiply-adds    Output
----------------------------------------------------------------------
Sequential        (1, 10)              61,706              -         -
  Conv2d (c1)     (1, 6, 28, 28)          156        122,304  18.4 KiB
  Tanh (a1)       (1, 6, 28, 28)            -              -  18.4 KiB
  AvgPool2d (s2)  (1, 6, 14, 14)            -              -   4.6 KiB
  Conv2d (c3)     (1, 16, 10, 10)       2,416        241,600   6.2 KiB
  Tanh (a3)       (1, 16, 10, 10)           -              -   6.2 KiB
  AvgPool2d (s4)  (1, 16, 5, 5)             -              -   1.6 KiB
  Flatten (flat)  (1, 400)                  -              -   1.6 KiB
  Linear (c5)     (1, 120)             48,120         48,120     480 B
  Tanh (a5)       (1, 120)                  -              -     480 B
  Linear (f6)     (1, 84)              10,164         10,164     336 B
  Tanh (a6)       (1, 84)                   -              -     336 B
  Linear (out)    (1, 10)                 850            850      40 B
----------------------------------------------------------------------
Parameters: 61,706 (61,706 trainable)
Multiply-adds: 423,038
Memory: input 4.0 KiB, parameters 241.0 KiB, outputs and their gradients 117.2 KiB, together 362.2 KiB"""


def test_summary_of_lenet() -> None:
    s = nn.summary(lenet(), (1, 1, 32, 32))
    shapes = {row.path: row.output_shape for row in s.rows}
    assert shapes["c1"] == (1, 6, 28, 28)
    assert shapes["s2"] == (1, 6, 14, 14)
    assert shapes["c3"] == (1, 16, 10, 10)
    assert shapes["s4"] == (1, 16, 5, 5)
    assert [shapes[name][1] for name in ("c5", "f6", "out")] == [120, 84, 10]
    counts = {row.path: (row.parameters, row.multiply_adds) for row in s.rows}
    assert counts["c1"] == (156, 122_304)  # the notes' connections of C1 (001 prints 122,804)
    assert counts["c3"] == (2416, 241_600)
    assert counts["c5"] == (48_120, 48_120)
    assert counts[""] == (61_706, 0)
    assert s.total_parameters == s.trainable_parameters == 61_706
    assert s.multiply_adds == 122_304 + 241_600 + 48_120 + 10_164 + 850
    assert s.input_bytes == 4 * 32 * 32
    assert s.parameter_bytes == 4 * 61_706
    outputs = 2 * 6 * 28 * 28 + 6 * 14 * 14 + 2 * 16 * 10 * 10 + 16 * 5 * 5 + 400 + 2 * 120 + 2 * 84 + 10
    assert s.output_bytes == 4 * outputs
    assert str(s) == LENET
    assert repr(s) == str(s)


def test_summary_of_the_notes_first_layers() -> None:
    alexnet = nn.summary(nn.Conv2d(3, 96, 11, stride=4), (1, 3, 227, 227))
    assert (alexnet.total_parameters, alexnet.rows[0].output_shape) == (34_944, (1, 96, 55, 55))
    assert nn.summary(nn.Conv2d(3, 10, 5, padding=2), (1, 3, 32, 32)).total_parameters == 760
    small = nn.summary(nn.Conv2d(3, 4, 4), (1, 3, 32, 32))
    assert (small.total_parameters, small.rows[0].output_shape) == (196, (1, 4, 29, 29))


def test_summary_changes_nothing() -> None:
    model = MLP()
    model.head.eval()
    mg.manual_seed(0)
    generator = mg.random.default_generator().bit_generator.state
    state = model.state_dict()
    nn.summary(model, (2, 4))
    assert mg.random.default_generator().bit_generator.state == generator
    assert all(np.array_equal(t.numpy(), model.state_dict()[name].numpy()) for name, t in state.items())
    assert (model.training, model.layers[0].training, model.head.training, model.head.out.training) == (
        True,
        True,
        False,
        False,
    )
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    model.freeze()
    assert nn.summary(model, (2, 4)).trainable_parameters == 0
    with pytest.raises(ValueError):
        nn.summary(model, (2, 9))
    assert model.training
    assert not model.layers[0]._forward_hooks


def test_summary_of_shared_and_repeated_modules() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            self.embed = nn.Embedding(7, 4)
            self.fc = nn.Linear(4, 4)
            self.out = nn.Linear(4, 7, bias=False)
            self.out.weight = self.embed.weight

        def forward(self, index: Any) -> tuple[Any, Any]:
            x = self.fc(self.fc(self.embed(index)))
            return self.out(x), x

    s = nn.summary(Twice(), mg.tensor([[1, 2, 3]]))
    assert [(row.path, row.parameters, row.again) for row in s.rows] == [
        ("", 48, False), ("embed", 28, False), ("fc", 20, False), ("fc", 0, True), ("out", 0, False),
    ]  # fmt: skip
    assert s.total_parameters == 48
    assert s.multiply_adds == 3 * (20 + 20 + 28)
    assert s.rows[0].output_shape == (1, 3, 7)
    assert "(again)" in str(s)
    assert len(nn.summary(Twice(), mg.tensor([1]), depth=0).rows) == 1


def test_summary_of_transposed_and_bilinear() -> None:
    assert (
        nn.summary(nn.ConvTranspose2d(2, 3, 4, stride=2), (5, 2, 6, 6)).multiply_adds == 5 * 36 * 2 * 3 * 16 + 5 * 3 * 14 * 14
    )
    assert nn.summary(nn.Bilinear(2, 3, 4), mg.ones((5, 2)), mg.ones((5, 3))).multiply_adds == 5 * (24 + 4)
    assert nn.summary(nn.Maxout(4, 3, 2), (5, 4)).multiply_adds == 5 * 30


# ---- the package ---------------------------------------------------------------------------------------------------------

MODULES = ["minigrad.nn", *(info.name for info in pkgutil.iter_modules(nn.__path__, "minigrad.nn."))]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(importlib.import_module(name), optionflags=flags).failed == 0


@pytest.mark.parametrize("name", [name for name in nn.__all__ if name not in ("functional", "init")])
def test_every_public_name_is_documented(name: str) -> None:
    assert len((vars(getattr(nn, name)).get("__doc__") or "").split()) >= 3 or not isinstance(getattr(nn, name), type)


def test_functional_lists_its_names() -> None:
    assert all(callable(getattr(F, name)) for name in F.__all__)


def test_nn_runs_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import minigrad as mg; mg.nn.Linear(2, 2)(mg.ones(2)).sum().backward()"
    subprocess.run([sys.executable, "-c", code], check=True)
