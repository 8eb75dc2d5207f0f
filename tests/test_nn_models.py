"""Architectures: the papers' tables and parameter counts, torchvision's names, gradients that reach every parameter."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import models
from minigrad.nn.models.fractalnet import Fractal
from minigrad.nn.models.googlenet import TABLE, Inception

NO_TORCH = "PyTorch is not installed: parity is not checked"


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters of zeros that take no memory before they are read: 138 million draws would take seconds and 550 MB."""

    def zeros(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        tensor._data = np.zeros(tensor.shape, tensor.dtype)
        return tensor

    for name in ("uniform_", "normal_", "trunc_normal_", "kaiming_normal_"):
        monkeypatch.setattr(nn.init, name, zeros)


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


def table(model: nn.Module, shape: tuple[int, ...], *kinds: str) -> list[tuple[Any, ...]]:
    """(height, width, maps) or (units,) after each layer of these kinds, and its parameters."""
    rows = [row for row in nn.summary(model, shape).rows if row.type in kinds]
    return [((*row.output_shape[2:], row.output_shape[1]), row.parameters) for row in rows]


# ---- parameter counts and tables -------------------------------------------------------------------------------------------

COUNTS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "LeNet-5": (models.lenet5, 61_706),
    "AlexNet": (models.alexnet, 60_965_224),
    "AlexNet, one group": (lambda: models.alexnet(groups=1), 62_378_344),
    "AlexNet, torchvision": (models.alexnet_one_weird_trick, 61_100_840),
    "ZFNet": (models.zfnet, 62_357_608),
    "VGG-11": (models.vgg11, 132_863_336),
    "VGG-13": (models.vgg13, 133_047_848),
    "VGG-16": (models.vgg16, 138_357_544),
    "VGG-19": (models.vgg19, 143_667_240),
    "VGG-11 BN": (models.vgg11_bn, 132_868_840),
    "VGG-13 BN": (models.vgg13_bn, 133_053_736),
    "VGG-16 BN": (models.vgg16_bn, 138_365_992),
    "VGG-19 BN": (models.vgg19_bn, 143_678_248),
    "GoogLeNet": (lambda: models.googlenet(aux_logits=False), 6_624_904),
    "GoogLeNet with heads": (models.googlenet, 13_004_888),
    "GoogLeNet, paper": (lambda: models.googlenet(aux_logits=False, paper=True), 6_998_552),
    "GoogLeNet with heads, paper": (lambda: models.googlenet(paper=True), 13_378_280),
    "ResNet-18": (models.resnet18, 11_689_512),
    "ResNet-34": (models.resnet34, 21_797_672),
    "ResNet-50": (models.resnet50, 25_557_032),
    "ResNet-101": (models.resnet101, 44_549_160),
    "ResNet-152": (models.resnet152, 60_192_808),
    "ResNeXt-50 32x4d": (models.resnext50_32x4d, 25_028_904),
    "ResNeXt-101 32x8d": (models.resnext101_32x8d, 88_791_336),
    "ResNeXt-101 64x4d": (models.resnext101_64x4d, 83_455_272),
    "Wide ResNet-50-2": (models.wide_resnet50_2, 68_883_240),
    "Wide ResNet-101-2": (models.wide_resnet101_2, 126_886_696),
    "WRN-28-10": (models.WideResNet, 36_479_194),
    "WRN-16-8": (lambda: models.WideResNet(16, 8), 10_961_370),
    "SE-ResNet-18": (models.se_resnet18, 11_778_592),
    "SE-ResNet-50": (models.se_resnet50, 28_088_024),
    "SE-ResNet-101": (models.se_resnet101, 49_326_872),
    "SE-ResNeXt-50": (models.se_resnext50_32x4d, 27_559_896),
    "DenseNet-121": (models.densenet121, 7_978_856),
    "DenseNet-161": (models.densenet161, 28_681_000),
    "DenseNet-169": (models.densenet169, 14_149_480),
    "DenseNet-201": (models.densenet201, 20_013_928),
}


@pytest.mark.usefixtures("lazy")
@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name: str) -> None:
    build, expected = COUNTS[name]
    assert count(build()) == expected


def test_lenet_table() -> None:
    model = models.LeNet5()
    rows = nn.summary(model, (1, 1, 32, 32)).rows
    assert [(row.path, row.output_shape[1:], row.parameters) for row in rows if row.path not in ("", "activation")] == [
        ("c1", (6, 28, 28), 156), ("s2", (6, 14, 14), 0), ("c3", (16, 10, 10), 2416), ("s4", (16, 5, 5), 0),
        ("c5", (120, 1, 1), 48120), ("f6", (84,), 10164), ("output", (10,), 850),
    ]  # fmt: skip
    assert next(row for row in rows if row.path == "c1").multiply_adds == 122_304  # the paper's connections


@pytest.mark.usefixtures("lazy")
def test_alexnet_table() -> None:
    kinds = ("Conv2d", "MaxPool2d", "Linear")
    expected = [
        ((55, 55, 96), 34_944), ((27, 27, 96), 0), ((27, 27, 256), 614_656), ((13, 13, 256), 0), ((13, 13, 384), 885_120),
        ((13, 13, 384), 1_327_488), ((13, 13, 256), 884_992), ((6, 6, 256), 0), ((4096,), 37_752_832), ((4096,), 16_781_312),
        ((1000,), 4_097_000),
    ]  # fmt: skip
    assert table(models.alexnet(groups=1), (1, 3, 227, 227), *kinds) == expected
    for place, halved in ((2, 307_456), (5, 663_936), (6, 442_624)):
        expected[place] = (expected[place][0], halved)
    assert table(models.alexnet(), (1, 3, 227, 227), *kinds) == expected


@pytest.mark.usefixtures("lazy")
def test_zfnet_table() -> None:
    rows = table(models.zfnet(), (1, 3, 224, 224), "Conv2d", "MaxPool2d")
    assert [shape for shape, _ in rows] == [
        (110, 110, 96), (55, 55, 96), (26, 26, 256), (13, 13, 256), (13, 13, 384), (13, 13, 384), (13, 13, 256), (6, 6, 256)
    ]  # fmt: skip


@pytest.mark.usefixtures("lazy")
def test_vgg_table() -> None:
    rows = table(models.vgg16(), (1, 3, 224, 224), "Conv2d", "MaxPool2d", "Linear")
    expected: list[Any] = []
    before = 3
    for side, maps, layers in ((224, 64, 2), (112, 128, 2), (56, 256, 3), (28, 512, 3), (14, 512, 3)):
        for _ in range(layers):
            expected.append(((side, side, maps), 9 * before * maps + maps))
            before = maps
        expected.append(((side // 2, side // 2, maps), 0))
    assert rows == [*expected, ((4096,), 102_764_544), ((4096,), 16_781_312), ((1000,), 4_097_000)]


@pytest.mark.usefixtures("lazy")
@pytest.mark.parametrize("paper", [False, True])
def test_googlenet_table(paper: bool) -> None:
    rows = nn.summary(models.googlenet(paper=paper), (1, 3, 224, 224), depth=1).rows
    shapes = {row.path: row.output_shape[1:] for row in rows}
    assert not any(path.startswith("aux") for path in shapes)  # only training uses them
    expected = {
        "conv1": (64, 112, 112), "maxpool1": (64, 56, 56), "conv3": (192, 56, 56), "maxpool2": (192, 28, 28),
        "inception3a": (256, 28, 28), "inception3b": (480, 28, 28), "maxpool3": (480, 14, 14), "inception4a": (512, 14, 14),
        "inception4b": (512, 14, 14), "inception4c": (512, 14, 14), "inception4d": (528, 14, 14), "inception4e": (832, 14, 14),
        "maxpool4": (832, 7, 7), "inception5a": (832, 7, 7), "inception5b": (1024, 7, 7), "avgpool": (1024, 1, 1), "fc": (1000,),
    }  # fmt: skip
    assert {path: shapes[path] for path in expected} == expected


@pytest.mark.usefixtures("lazy")
@pytest.mark.parametrize("build", [models.resnet18, models.resnet50, models.densenet121])
def test_sides_of_the_stages(build: Callable[[], nn.Module]) -> None:
    rows = nn.summary(build(), (1, 3, 64, 64), depth=2).rows
    sides = [
        row.output_shape[-1] for row in rows if row.path.removeprefix("features.").startswith(("conv", "layer", "denseblock"))
    ]
    assert list(dict.fromkeys(sides)) == [32, 16, 8, 4, 2]


# ---- names -----------------------------------------------------------------------------------------------------------------


def resnet18_names() -> list[tuple[str, tuple[int, ...]]]:
    """Torchvision's, in its order."""

    def norm(path: str, n: int) -> list[tuple[str, tuple[int, ...]]]:
        names = ("weight", "bias", "running_mean", "running_var")
        return [*((f"{path}.{name}", (n,)) for name in names), (f"{path}.num_batches_tracked", ())]

    found: list[tuple[str, tuple[int, ...]]] = [("conv1.weight", (64, 3, 7, 7)), *norm("bn1", 64)]
    before = 64
    for stage, block in itertools.product(range(1, 5), range(2)):
        path, n = f"layer{stage}.{block}", 32 * 2**stage
        found += [(f"{path}.conv1.weight", (n, before, 3, 3)), *norm(f"{path}.bn1", n)]
        found += [(f"{path}.conv2.weight", (n, n, 3, 3)), *norm(f"{path}.bn2", n)]
        if before != n:
            found += [(f"{path}.downsample.0.weight", (n, before, 1, 1)), *norm(f"{path}.downsample.1", n)]
        before = n
    return [*found, ("fc.weight", (1000, 512)), ("fc.bias", (1000,))]


@pytest.mark.usefixtures("lazy")
def test_resnet18_names_are_torchvisions() -> None:
    found = [(name, tuple(value.shape)) for name, value in models.resnet18().state_dict().items()]
    assert found == resnet18_names()
    assert len(found) == 122


NAMES: dict[str, tuple[Callable[[], nn.Module], int, list[str]]] = {
    "alexnet": (models.alexnet_one_weird_trick, 16, [
        *(f"features.{i}.{name}" for i in (0, 3, 6, 8, 10) for name in ("weight", "bias")),
        *(f"classifier.{i}.{name}" for i in (1, 4, 6) for name in ("weight", "bias")),
    ]),
    "vgg16": (models.vgg16, 32, [
        *(f"features.{i}.{name}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28) for name in ("weight", "bias")),
        *(f"classifier.{i}.{name}" for i in (0, 3, 6) for name in ("weight", "bias")),
    ]),
    "vgg11_bn": (models.vgg11_bn, 62, ["features.0.weight", "features.1.running_mean", "features.25.bias", "features.26.weight"]),
    "resnet50": (models.resnet50, 320, ["layer1.0.conv3.weight", "layer1.0.bn3.bias", "layer1.0.downsample.1.running_var"]),
    "googlenet": (models.googlenet, 364, [
        "conv1.conv.weight", "conv1.bn.running_mean", "inception3a.branch1.conv.weight", "inception3a.branch2.1.bn.weight",
        "inception5b.branch4.1.conv.weight", "aux1.conv.bn.bias", "aux1.fc1.weight", "aux2.fc2.bias", "fc.weight",
    ]),
    "densenet121": (models.densenet121, 727, [
        "features.conv0.weight", "features.norm0.weight", "features.denseblock1.denselayer1.norm1.weight",
        "features.transition1.conv.weight", "features.denseblock3.denselayer24.conv2.weight", "features.transition3.norm.bias",
        "features.norm5.running_var", "classifier.weight", "classifier.bias",
    ]),
}  # fmt: skip


@pytest.mark.usefixtures("lazy")
@pytest.mark.parametrize("name", NAMES)
def test_names_are_torchvisions(name: str) -> None:
    build, size, some = NAMES[name]
    names = list(build()._state())
    assert len(names) == size
    assert [n for n in names if n in some] == some
    assert len(some) < 16 or names == some


def test_all_lists_what_is_there() -> None:
    assert sorted(models.__all__) == sorted(set(models.__all__))
    for name in models.__all__:
        assert len((getattr(models, name).__doc__ or "").split()) >= 2 or name[0].islower(), name


# ---- forward and backward --------------------------------------------------------------------------------------------------

SMALL: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: models.MLP(6, 8, 7, 5, dropout=0.2, batch_norm=True), (4, 6)),
    "softmax regression": (lambda: models.SoftmaxRegression(6, 5), (4, 6)),
    "lenet5": (lambda: models.lenet5(5, activation=nn.ReLU, pool=nn.MaxPool2d), (2, 1, 32, 32)),
    "alexnet": (lambda: models.alexnet(5, hidden=8), (2, 3, 67, 67)),
    "alexnet_one_weird_trick": (lambda: models.alexnet_one_weird_trick(5, hidden=8), (2, 3, 63, 63)),
    "zfnet": (lambda: models.zfnet(5, hidden=8), (2, 3, 64, 64)),
    "vgg": (lambda: models.VGG((4, "M", 8, "M"), 5, hidden=8), (2, 3, 14, 14)),
    "vgg, batch norm": (lambda: models.VGG((4, "M", 8, "M"), 5, batch_norm=True, hidden=8), (2, 3, 14, 14)),
    "googlenet": (lambda: models.googlenet(5), (2, 3, 33, 33)),
    "googlenet, paper": (lambda: models.googlenet(5, paper=True), (2, 3, 33, 33)),
    "resnet, basic": (lambda: models.ResNet(models.BasicBlock, [1, 1, 1], 5), (2, 3, 32, 32)),
    "resnet, bottleneck": (lambda: models.ResNet(models.Bottleneck, [2, 1], 5, zero_init_residual=True), (2, 3, 32, 32)),
    "resnext": (lambda: models.ResNet(models.Bottleneck, [1, 1], 5, groups=4, width_per_group=4), (2, 3, 32, 32)),
    "wide_resnet": (lambda: models.WideResNet(10, 2, 5, dropout=0.3), (2, 3, 16, 16)),
    "senet": (lambda: models.ResNet(models.BasicBlock, [1, 1], 5, gate=lambda n: models.SqueezeExcitation(n, n // 16)), (2, 3, 32, 32)),
    "densenet": (lambda: models.DenseNet(4, (2, 3), 8, drop_rate=0.1, num_classes=5), (2, 3, 32, 32)),
    "fractalnet": (
        lambda: models.FractalNet(3, (4, 8), 5, drop_path=0.0, global_drop_path=0.0, dropout=(0.0, 0.1)), (2, 3, 8, 8)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_parameter(name: str) -> None:
    mg.manual_seed(0)
    build, shape = SMALL[name]
    model = build()
    x = mg.random.normal(shape)
    out = model(x)
    heads = out if isinstance(out, tuple) else (out,)
    assert len(heads) == (3 if name.startswith("googlenet") else 1)
    assert all(head.shape == (shape[0], 5) for head in heads)
    own = F.one_hot(mg.tensor(np.arange(shape[0]) % 5), 5)
    sum(-mg.sum(own * F.log_softmax(head)) for head in heads).backward()
    for path, p in model.named_parameters():
        assert p.grad is not None, path
        assert p.grad.shape == p.shape
        assert bool(mg.all(mg.isfinite(p.grad))), path
    first = next(iter(model.parameters()))
    assert (
        name == "googlenet, paper" or float(mg.sum(mg.abs(first.grad))) > 0
    )  # N(0, 0.01) without normalisation: the ReLUs may die


@pytest.mark.parametrize("name", SMALL)
def test_evaluation_is_deterministic_and_leaves_the_state(name: str) -> None:
    mg.manual_seed(1)
    build, shape = SMALL[name]
    model = build().eval()
    assert not any(module.training for module in model.modules())
    x, before = mg.random.normal(shape), model.state_dict()
    with mg.no_grad():
        first, second = model(x), model(x)
        alone = model(x[:1])
    assert isinstance(first, mg.Tensor)
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    np.testing.assert_allclose(first.numpy()[:1], alone.numpy(), rtol=1e-3, atol=1e-5)  # examples do not see each other
    for path, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[path].numpy(), err_msg=path)
    twin = build().eval()
    twin.load_state_dict(before)
    with mg.no_grad():
        np.testing.assert_array_equal(twin(x).numpy(), first.numpy())


def test_training_counts_batches() -> None:
    model = models.ResNet(models.BasicBlock, [1], 5)
    model(mg.ones((2, 3, 16, 16)))
    assert all(int(b) == 1 for path, b in model.named_buffers() if path.endswith("num_batches_tracked"))
    assert float(mg.max(mg.abs(model.bn1.running_mean))) > 0


# ---- parity with PyTorch ---------------------------------------------------------------------------------------------------


def torch_resnet(torch: Any, state: dict[str, Any], x: Any, training: bool, groups: int = 1) -> Any:
    """A residual network as its paper's equations over a state dict, written with PyTorch's functions only."""
    f = torch.nn.functional

    def norm(x: Any, path: str) -> Any:
        running = [state[f"{path}.running_{kind}"].clone() for kind in ("mean", "var")]
        return f.batch_norm(x, *running, state[f"{path}.weight"], state[f"{path}.bias"], training)

    def conv(x: Any, path: str, stride: int = 1, groups: int = 1) -> Any:
        w = state[f"{path}.weight"]
        return f.conv2d(x, w, state.get(f"{path}.bias"), stride, w.shape[-1] // 2, 1, groups)

    x = f.max_pool2d(f.relu(norm(conv(x, "conv1", 2), "bn1")), 3, 2, 1)
    paths = dict.fromkeys(".".join(name.split(".")[:2]) for name in state if name.startswith("layer"))
    for path in paths:
        stride = 2 if path.endswith(".0") and not path.startswith("layer1") else 1
        basic = f"{path}.conv3.weight" not in state
        y = f.relu(norm(conv(x, f"{path}.conv1", stride if basic else 1), f"{path}.bn1"))
        y = norm(conv(y, f"{path}.conv2", 1 if basic else stride, groups), f"{path}.bn2")
        if not basic:
            y = norm(conv(f.relu(y), f"{path}.conv3"), f"{path}.bn3")
        if f"{path}.se.fc1.weight" in state:
            squeezed = y.mean((2, 3), keepdim=True)
            y = y * torch.sigmoid(conv(f.relu(conv(squeezed, f"{path}.se.fc1")), f"{path}.se.fc2"))
        if f"{path}.downsample.0.weight" in state:
            x = norm(conv(x, f"{path}.downsample.0", stride), f"{path}.downsample.1")
        x = f.relu(x + y)
    return f.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


RESIDUAL: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18": (lambda: models.resnet18(7), 1),
    "bottleneck": (lambda: models.ResNet(models.Bottleneck, [2, 1], 7), 1),
    "resnext": (lambda: models.ResNet(models.Bottleneck, [1, 1], 7, groups=4, width_per_group=8), 4),
    "senet": (lambda: models.ResNet(models.BasicBlock, [1, 2], 7, gate=lambda n: models.SqueezeExcitation(n, n // 16)), 1),
}


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", RESIDUAL)
def test_residual_networks_agree_with_pytorch(name: str, training: bool) -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    mg.manual_seed(2)
    build, groups = RESIDUAL[name]
    model = build().double().train(training)
    rng = np.random.default_rng(0)
    for path, b in model.named_buffers():  # statistics that are not the initial 0 and 1
        if "running" in path:
            b._data = rng.uniform(0.5, 1.5, b.shape)
    data = rng.standard_normal((2, 3, 33, 33))
    learned = {path for path, _ in model.named_parameters()}
    state = {path: torch.tensor(v.numpy()).requires_grad_(path in learned) for path, v in model.state_dict().items()}
    x, tx = mg.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    y, ty = model(x), torch_resnet(torch, state, tx, training, groups)
    np.testing.assert_allclose(y.numpy(), ty.detach().numpy(), rtol=1e-9, atol=1e-11)
    if name == "resnet18" and not training:  # its gradients once are enough: 11 million of them
        return
    weights = rng.standard_normal(y.shape)
    mg.sum(y * weights).backward()
    (ty * torch.tensor(weights)).sum().backward()
    pairs = [("input", x.grad, tx.grad), *((path, p.grad, state[path].grad) for path, p in model.named_parameters())]
    for path, mine, theirs in pairs:
        scale = float(theirs.abs().max())
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-7, atol=1e-9 * scale, err_msg=path)


def test_sequential_networks_agree_with_pytorch() -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    t = torch.nn
    mg.manual_seed(3)
    mine = models.alexnet_one_weird_trick(5, hidden=8).double().eval()
    theirs = t.Sequential()
    theirs.features = t.Sequential(
        t.Conv2d(3, 64, 11, 4, 2), t.ReLU(), t.MaxPool2d(3, 2), t.Conv2d(64, 192, 5, padding=2), t.ReLU(), t.MaxPool2d(3, 2),
        t.Conv2d(192, 384, 3, padding=1), t.ReLU(), t.Conv2d(384, 256, 3, padding=1), t.ReLU(),
        t.Conv2d(256, 256, 3, padding=1), t.ReLU(), t.MaxPool2d(3, 2),
    )  # fmt: skip
    theirs.avgpool = t.Sequential(t.AdaptiveAvgPool2d(6), t.Flatten())
    theirs.classifier = t.Sequential(
        t.Dropout(), t.Linear(9216, 8), t.ReLU(), t.Dropout(), t.Linear(8, 8), t.ReLU(), t.Linear(8, 5)
    )  # fmt: skip
    theirs = theirs.double().eval()
    mine.load_state_dict(theirs.state_dict())
    data = np.random.default_rng(1).standard_normal((2, 3, 95, 95))
    with mg.no_grad():
        np.testing.assert_allclose(
            mine(mg.tensor(data)).numpy(), theirs(torch.tensor(data)).detach().numpy(), rtol=1e-9, atol=1e-12
        )


def torch_parts(torch: Any, state: dict[str, Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Convolution and normalisation in evaluation, by path in a state dict, with PyTorch's functions."""
    f = torch.nn.functional

    def conv(x: Any, path: str, stride: int = 1) -> Any:
        w = state[f"{path}.weight"]
        return f.conv2d(x, w, state.get(f"{path}.bias"), stride, w.shape[-1] // 2)

    def norm(x: Any, path: str, eps: float = 1e-5) -> Any:
        names = ("running_mean", "running_var", "weight", "bias")
        return f.batch_norm(x, *(state[f"{path}.{name}"] for name in names), False, 0.1, eps)

    return conv, norm


def shaken(model: nn.Module) -> nn.Module:
    """In float64, with parameters and statistics that tell the layers apart, in evaluation."""
    rng = np.random.default_rng(4)
    for path, value in model.double()._state().items():
        if value.ndim == 4:
            value._data = rng.standard_normal(value.shape) / np.sqrt(np.prod(value.shape[1:]))
        elif "num_batches" not in path:
            value._data = rng.uniform(0.5, 1.5, value.shape)
    return model.eval()


@pytest.mark.parametrize("paper", [False, True])
def test_googlenet_agrees_with_pytorch(paper: bool) -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    f = torch.nn.functional
    model = shaken(models.googlenet(7, aux_logits=False, paper=paper))
    state = {path: torch.tensor(v.numpy()) for path, v in model.state_dict().items()}
    conv, norm = torch_parts(torch, state)

    def basic(x: Any, path: str, stride: int = 1) -> Any:
        x = conv(x, f"{path}.conv", stride)
        return f.relu(x if paper else norm(x, f"{path}.bn", 0.001))

    def pool(x: Any, size: int = 3) -> Any:
        return f.max_pool2d(x, size, 2, ceil_mode=True)

    def lrn(x: Any) -> Any:
        return f.local_response_norm(x, 5) if paper else x

    def inception(x: Any, row: str) -> Any:
        p = f"inception{row}"
        two, three = (basic(basic(x, f"{p}.branch{i}.0"), f"{p}.branch{i}.1") for i in (2, 3))
        return torch.cat([basic(x, f"{p}.branch1"), two, three, basic(f.max_pool2d(x, 3, 1, 1), f"{p}.branch4.1")], 1)

    data = np.random.default_rng(5).standard_normal((2, 3, 65, 65))
    x = lrn(pool(basic(torch.tensor(data), "conv1", 2)))
    x = pool(lrn(basic(basic(x, "conv2"), "conv3")))
    for row in TABLE:
        x = inception(x, row)
        if row == "3b":
            x = pool(x)
        elif row == "4e":
            x = pool(x, 3 if paper else 2)
    expected = f.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"]).numpy()
    with mg.no_grad():
        np.testing.assert_allclose(model(mg.tensor(data)).numpy(), expected, rtol=1e-9)


def test_densenet_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    f = torch.nn.functional
    model = shaken(models.DenseNet(4, (3, 2), 8, num_classes=7))
    state = {path: torch.tensor(v.numpy()) for path, v in model.state_dict().items()}
    conv, norm = torch_parts(torch, state)
    data = np.random.default_rng(6).standard_normal((2, 3, 41, 41))
    x = f.max_pool2d(f.relu(norm(conv(torch.tensor(data), "features.conv0", 2), "features.norm0")), 3, 2, 1)
    for block, layers in ((1, 3), (2, 2)):
        if block == 2:
            x = f.avg_pool2d(conv(f.relu(norm(x, "features.transition1.norm")), "features.transition1.conv"), 2)
        for i in range(1, layers + 1):
            p = f"features.denseblock{block}.denselayer{i}"
            y = conv(f.relu(norm(x, f"{p}.norm1")), f"{p}.conv1")
            x = torch.cat([x, conv(f.relu(norm(y, f"{p}.norm2")), f"{p}.conv2")], 1)
    x = f.relu(norm(x, "features.norm5")).mean((2, 3))
    expected = f.linear(x, state["classifier.weight"], state["classifier.bias"]).numpy()
    with mg.no_grad():
        np.testing.assert_allclose(model(mg.tensor(data)).numpy(), expected, rtol=1e-9)


# ---- AlexNet's, GoogLeNet's and DenseNet's parts ---------------------------------------------------------------------------


def test_alexnet_normalises_as_its_paper_says() -> None:
    norm = models.alexnet(5, hidden=2).features[2]
    a = np.random.default_rng(0).uniform(0, 30, (1, 9, 2, 2))
    b = np.empty_like(a)
    for i in range(9):  # the paper's equation, where alpha is not divided by n
        b[:, i] = a[:, i] / (2 + 1e-4 * (a[:, max(0, i - 2) : i + 3] ** 2).sum(1)) ** 0.75
    np.testing.assert_allclose(norm(mg.tensor(a)).numpy(), b, rtol=1e-12)


def test_alexnet_begins_as_its_paper_says() -> None:
    model = models.alexnet(5, hidden=8)
    biases = {path: float(p.mean()) for path, p in model.named_parameters() if path.endswith("bias")}
    assert {path for path, value in biases.items() if value == 1} == {
        "features.4.bias", "features.10.bias", "features.12.bias", "classifier.0.bias", "classifier.3.bias"
    }  # fmt: skip
    assert set(biases.values()) == {0.0, 1.0}
    assert abs(float(model.features[8].weight.numpy().std()) - 0.01) < 1e-4


def test_he_initialisation() -> None:
    weight = models.ResNet(models.BasicBlock, [1], 5).layer1[0].conv1.weight.numpy()
    assert abs(weight.std() - (2 / (64 * 9)) ** 0.5) < 1e-3


def test_a_block_that_begins_at_zero_passes_its_input_on() -> None:
    model = models.ResNet(models.Bottleneck, [2], 5, zero_init_residual=True)
    x = mg.abs(mg.random.normal((2, 256, 4, 4)))
    np.testing.assert_array_equal(model.layer1[1](x).numpy(), x.numpy())


def test_inception_puts_its_branches_together() -> None:
    block = Inception(TABLE["3a"], batch_norm=False)
    assert block.branch3[1].conv.kernel_size == (5, 5)
    x = mg.random.normal((1, 192, 6, 6))
    y = block(x)
    assert y.shape == (1, 64 + 128 + 32 + 32, 6, 6)
    np.testing.assert_array_equal(y.numpy()[:, 64:192], block.branch2(x).numpy())
    chain = [sum((row[1], row[3], row[5], row[6])) for row in TABLE.values()]
    assert chain == [256, 480, 512, 512, 512, 528, 832, 832, 1024]


def test_googlenet_without_heads_returns_scores_in_training() -> None:
    out = models.googlenet(5, aux_logits=False)(mg.ones((2, 3, 32, 32)))
    assert out.shape == (2, 5)
    assert models.GoogLeNetOutputs._fields == ("logits", "aux_logits2", "aux_logits1")


def test_dense_layers_see_all_before_them() -> None:
    model = models.DenseNet(4, (3,), 8, num_classes=5)
    block = model.features.denseblock1
    assert [layer.conv1.in_channels for layer in block.children()] == [8, 12, 16]
    x = mg.random.normal((1, 8, 5, 5))
    np.testing.assert_array_equal(block(x).numpy()[:, :8], x.numpy())


# ---- FractalNet ------------------------------------------------------------------------------------------------------------


def test_a_fractal_is_the_mean_of_its_columns() -> None:
    f = Fractal(3, 3, 4).eval().double()
    x = mg.random.normal((1, 3, 5, 5), dtype="float64")
    half = f.first(x)
    np.testing.assert_allclose(half.numpy(), (f.first.short(x) + f.first.second(f.first.first(x))).numpy() / 2, rtol=1e-12)
    second = f.second
    ends = f.short(x) + second.short(half) + second.second(second.first(half))
    np.testing.assert_allclose(f(x).numpy(), ends.numpy() / 3, rtol=1e-12)  # one join of three columns, not two of two


@pytest.mark.parametrize(("column", "convolutions"), [(0, 1), (1, 2), (2, 4)])
def test_a_column_alone_is_a_plain_network(column: int, convolutions: int) -> None:
    f = Fractal(3, 3, 4)
    f(mg.ones((2, 3, 5, 5)), column).sum().backward()
    reached = [path for path, p in f.named_parameters() if path.endswith("conv.weight") and p.grad is not None]
    assert len(reached) == convolutions
    assert len([p for path, p in f.named_parameters() if path.endswith("conv.weight")]) == 7


def test_drop_path_keeps_one_column_and_follows_the_seed() -> None:
    x = mg.random.normal((2, 3, 8, 8))
    net = models.FractalNet(3, (4, 4), 5, drop_path=0.999, global_drop_path=0.0, dropout=(0.0, 0.0))
    outs = []
    for seed in (4, 4, 5, 6, 7):
        mg.manual_seed(seed)
        outs.append(net(x).numpy())
    assert all(np.isfinite(out).all() for out in outs)
    np.testing.assert_array_equal(outs[0], outs[1])
    assert any(not np.array_equal(outs[0], out) for out in outs[2:])

    def columns(seed: int) -> int:
        model = models.FractalNet(3, (4, 4), 5, global_drop_path=1.0, dropout=(0.0, 0.0), generator=np.random.default_rng(seed))
        model(x).sum().backward()
        reached = sum(p.grad is not None for path, p in model.named_parameters() if path.endswith("conv.weight"))
        return reached // 2  # per block: the same column in both

    assert {columns(seed) for seed in range(12)} == {1, 2, 4}


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="column=3: there are 3"):
        models.FractalNet(3, (4,), 5, dropout=(0.0,))(mg.ones((1, 3, 4, 4)), column=3)


# ---- models of one layer, and MLP ------------------------------------------------------------------------------------------

SCORES = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])  # notes: cat, car, frog for three images


def with_scores(model: nn.Linear) -> nn.Linear:
    """A model of three inputs that gives ``SCORES`` for the three unit vectors."""
    model.load_state_dict({"weight": SCORES.T, "bias": np.zeros(3)})
    return model


def test_svm_loss_of_the_notes() -> None:
    model = with_scores(models.LinearSVM(3, 3, dtype="float64"))
    each = [float(model.loss(mg.eye(3, dtype="float64")[i : i + 1], [i])) for i in range(3)]
    np.testing.assert_allclose(each, [2.9, 0.0, 12.9], atol=1e-12)
    np.testing.assert_allclose(float(model.loss(mg.eye(3, dtype="float64"), [0, 1, 2])), 15.8 / 3)
    assert model.predict(mg.eye(3, dtype="float64")).tolist() == [1, 1, 1]


def test_softmax_loss_of_the_notes() -> None:
    model = with_scores(models.SoftmaxRegression(3, 3, dtype="float64"))
    x = mg.eye(3, dtype="float64")
    assert round(float(model.loss(x[:1], [0])), 4) == 2.0404
    np.testing.assert_allclose(model.probabilities(x[:1]).numpy(), [[0.13, 0.87, 0.0]], atol=5e-3)
    model.loss(x[:1], [0]).backward()
    np.testing.assert_allclose(model.bias.grad.numpy(), model.probabilities(x[:1]).numpy()[0] - [1, 0, 0], rtol=1e-12)


def test_gradients_of_one_score() -> None:
    x = mg.tensor([[1.0, -2.0], [0.5, 3.0]], dtype="float64")
    w, b = np.array([[0.3, -0.4]]), np.array([0.1])
    s = x.numpy() @ w[0] + b[0]
    cases: list[tuple[Any, Any, Any]] = [
        (models.LinearRegression, [2.0, -1.0], lambda y: s - y),
        (models.LogisticRegression, [1.0, 0.0], lambda y: 1 / (1 + np.exp(-s)) - y),
        (models.Perceptron, [-1.0, 1.0], lambda y: np.where(y * s < 0, -y, 0)),
    ]
    for kind, y, gradient in cases:
        model = kind(2, dtype="float64")
        model.load_state_dict({"weight": w, "bias": b})
        model.loss(x, y).backward()
        np.testing.assert_allclose(model.bias.grad.numpy(), gradient(np.array(y)).mean(keepdims=True), rtol=1e-12)
        np.testing.assert_allclose(model.weight.grad.numpy()[0], gradient(np.array(y)) @ x.numpy() / 2, rtol=1e-12)
        with pytest.raises(mg.ShapeError, match="one label for each example"):
            model.loss(x, [[1.0], [0.0]])


def test_the_perceptron_learns_what_is_separable() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    x = x[np.abs(x @ [1.0, 2.0] - 0.3) > 0.2]
    y = np.where(x @ [1.0, 2.0] > 0.3, 1.0, -1.0)
    model = models.Perceptron(2, dtype="float64")
    for _ in range(200):
        for i in range(len(x)):
            model.zero_grad()
            model.loss(mg.tensor(x[i : i + 1]), y[i : i + 1]).backward()
            for p in model.parameters():
                p._data = p._data - p.grad.numpy()
        if np.array_equal(model.predict(mg.tensor(x)).numpy(), y):
            break
    else:
        pytest.fail("200 passes over separable points")


def test_logistic_regression_survives_large_scores() -> None:
    model = models.LogisticRegression(1, dtype="float64")
    model.load_state_dict({"weight": [[1.0]], "bias": [0.0]})
    x = mg.tensor([[1000.0], [-1000.0]], dtype="float64")
    assert float(model.loss(x, [1.0, 0.0])) == 0.0
    assert float(model.loss(x, [0.0, 1.0])) == 1000.0
    assert model.predict(x).tolist() == [1, 0]
    assert model.probabilities(x).tolist() == [1.0, 0.0]


def test_the_2_2_2_network_of_the_notes() -> None:
    model = models.MLP(2, 2, 2, activation=nn.Sigmoid).double()
    model.load_state_dict({
        "0.weight": [[0.15, 0.20], [0.25, 0.30]], "0.bias": [0.35, 0.35], "2.weight": [[0.40, 0.45], [0.50, 0.55]],
        "2.bias": [0.60, 0.60],
    })  # fmt: skip
    out = mg.sigmoid(model(mg.tensor([0.05, 0.10], dtype="float64")))
    np.testing.assert_allclose(out.numpy(), [0.7513650696, 0.7729284653], atol=1e-10)
    error = mg.sum((mg.tensor([0.01, 0.99], dtype="float64") - out) ** 2) / 2
    assert round(float(error), 9) == 0.298371109
    error.backward()
    assert round(float(model[0].weight.grad[0, 0]), 10) == 0.0004385677
    assert round(float(model[2].weight.grad[0, 0]), 10) == 0.0821670406


def test_mlp_layers() -> None:
    model = models.MLP(8, 6, 4, 3, activation=nn.Tanh, dropout=0.1, batch_norm=True)
    assert [type(m).__name__ for m in model] == [*["Linear", "BatchNorm1d", "Tanh", "Dropout"] * 2, "Linear"]
    assert model[0].bias is None
    assert model[-1].bias is not None
    assert [type(m).__name__ for m in model[:3]] == ["Linear", "BatchNorm1d", "Tanh"]
    assert model[:3][0] is model[0]
    assert count(models.MLP(784, 128, 10)) == 101_770


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: models.MLP(5), "at least"),
        (lambda: models.VGG((8, "P")), "unknown entry 'P'"),
        (lambda: models.WideResNet(20), r"6 n \+ 4"),
        (lambda: models.ResNet(models.BasicBlock, [1], groups=2), "only Bottleneck"),
        (lambda: models.FractalNet(2, (4, 4)), "one of each"),
    ],
)
def test_arguments_that_do_not_fit(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
