"""Errors speak of the user's program: the operation, the variables' names, shapes, what was expected, what to do."""

from __future__ import annotations

import inspect as python_inspect
import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import errors
from minigrad.nn import functional as F  # noqa: N812


def leaf(value, **kwargs):
    return mg.tensor(np.asarray(value, np.float64), requires_grad=True, **kwargs)


def message(kind, f):
    with pytest.raises(kind) as caught:
        f()
    return str(caught.value)


def holds(text, *parts):
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in {text!r}"


def test_every_error_is_a_minigrad_error_and_the_built_in_one():
    builtin = {
        "ShapeError": ValueError, "DtypeError": TypeError, "DeviceError": TypeError, "NotInGraphError": ValueError,
        "FreedGraphError": RuntimeError, "ChangedValueError": RuntimeError, "BadIndexError": IndexError, "MinigradError": RuntimeError,
        "AnomalyError": FloatingPointError,
    }  # fmt: skip
    declared = dict(python_inspect.getmembers(errors, python_inspect.isclass))
    assert set(declared) == set(builtin)
    for name, cls in declared.items():
        assert getattr(mg, name) is cls
        assert issubclass(cls, errors.MinigradError)
        assert issubclass(cls, builtin[name])
        assert cls.__doc__


def test_shapes_that_do_not_broadcast():
    weights, bias = leaf(np.ones((3, 4))), leaf(np.ones(3))
    text = message(mg.ShapeError, lambda: weights + bias)
    holds(text, "add(weights: float64[3, 4], bias: float64[3])", "Axis -1 has sizes 3 and 4", "x[:, None]")
    a, b = np.ones((2, 1, 5)), leaf(np.ones((3, 4, 5)))
    holds(
        message(ValueError, lambda: a * b),
        "multiply(array: float64[2, 1, 5], b: float64[3, 4, 5])",
        "Axis -3 has sizes 2 and 3",
    )


def test_a_given_name_goes_before_the_variables():
    w, x = leaf(np.ones(3), name="encoder.weight"), mg.tensor(np.ones(2))
    holds(message(mg.ShapeError, lambda: w - x), "subtract(encoder.weight: float64[3], x: float64[2])")


def test_names_inside_containers():
    params = {"w": leaf(np.ones(3))}
    layers = [leaf(np.ones(2)), leaf(np.ones(2))]
    holds(message(mg.ShapeError, lambda: params["w"] * layers[1]), "params['w']: float64[3]", "layers[1]: float64[2]")


def test_matmul():
    weights, x = leaf(np.ones((3, 4))), leaf(np.ones((3, 2)))
    holds(
        message(mg.ShapeError, lambda: weights @ x),
        "matmul(weights: float64[3, 4], x: float64[3, 2])", "size 4", "size 3", ".mT",
    )  # fmt: skip
    holds(message(mg.ShapeError, lambda: weights @ 2.0), "matmul", "2.0")


@pytest.mark.parametrize(
    ("f", "parts"),
    [
        (lambda x: x.reshape(4, 4), ["reshape(x: float64[2, 3])"]),
        (lambda x: x.permute(0, 0), ["permute_dims: axes (0, 0) name an axis twice"]),
        (lambda x: mg.concat([x, mg.ones((2, 3, 1))]), ["concat: shapes (2, 3), (2, 3, 1)", "use stack"]),
        (lambda x: mg.concat([]), ["concat: needs at least one array"]),
        (lambda x: mg.broadcast_to(x, (2, 2)), ["broadcast_to(x: float64[2, 3])"]),
        (lambda x: mg.squeeze(x, 0), ["squeeze: axis 0 of shape (2, 3) has size 2"]),
    ],
)
def test_parameters_that_do_not_fit(f, parts):
    x = leaf(np.ones((2, 3)))
    holds(message(ValueError, lambda: f(x)), *parts)
    holds(message(mg.MinigradError, lambda: f(x)), *parts)


@pytest.mark.parametrize(("f", "name"), [(lambda x: x[7], "getitem"), (lambda x: mg.sum(x, axis=2), "sum")])
def test_an_index_or_axis_out_of_range_names_the_tensor(f, name):
    x = leaf(np.ones(3))
    for kind in (IndexError, mg.ShapeError):
        holds(message(kind, lambda: f(x)), f"{name}(x: float64[3])", "out of bounds")


def test_dtypes_that_an_operation_cannot_take():
    weights = leaf(np.ones(2))
    holds(message(mg.DtypeError, lambda: weights & True), "bitwise_and(weights: float64[2], True)")
    holds(message(mg.DtypeError, lambda: weights + "a"), "add: expected a Tensor, an array or a number, got str: 'a'")


@pytest.mark.parametrize(
    "data",
    [[[1, 2], [3]], "abc", [object()], [None], {"a": 1}, np.array(["x"])],
    ids=lambda v: re.sub(r" at 0x[0-9a-f]+", "", repr(v)),
)
def test_data_that_are_no_numbers_in_a_regular_list(data):
    text = message(mg.DtypeError, lambda: mg.tensor(data))
    holds(text, "regular (nested) list")


# Rules that users write
def test_a_rule_of_the_wrong_shape():
    bad = mg.primitive(lambda a: a * 2, lambda g, y, a: g[:2], name="double")
    x = leaf(np.ones(3))
    text = message(mg.ShapeError, lambda: bad(x).sum().backward())
    holds(text, "double: its gradient rule for operand 1 returned shape (2,)", "(3,)", "missing transpose or sum")
    low = mg.primitive(lambda a: a * 2, lambda g, y, a: g.sum(), name="low")
    holds(message(mg.ShapeError, lambda: low(x).sum().backward()), "low: its gradient rule for operand 1 returned shape ()")


def test_a_rule_that_raises_keeps_its_error_and_gets_a_note():
    def rule(g, y, a, b):
        raise KeyError("mine")

    bad = mg.primitive(lambda a, b: a * b, None, rule, name="product")
    x = leaf(np.ones((2, 3)))
    with pytest.raises(KeyError, match="mine") as caught:
        bad(x, x).sum().backward()
    assert caught.value.__notes__ == ["minigrad: in the gradient rule of product for operand 2, output shape (2, 3)"]


def test_a_rule_that_forgets_to_return():
    bad = mg.primitive(lambda a: a * 2, lambda g, y, a: None, name="double")
    with pytest.raises(AttributeError) as caught:
        bad(leaf(np.ones(3))).sum().backward()
    holds(caught.value.__notes__[0], "gradient rule of double for operand 1")


def test_a_forward_function_that_raises():
    def forward(a, times):
        raise ZeroDivisionError("mine")

    bad = mg.primitive(forward, lambda g, y, a, times: g, name="bad")
    x = leaf(np.ones(3))
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        bad(x, 3)
    holds(caught.value.__notes__[0], "bad(x: float64[3]) with times=3: mine")


def test_misuse_of_primitive():
    holds(message(TypeError, lambda: mg.primitive(3)), "forward must be a function of arrays, not int")
    holds(message(TypeError, lambda: mg.primitive(lambda a: a, lambda *_: 0, lambda *_: 0, name="f")), "f: 2 rules", "only 1")
    holds(
        message(ValueError, lambda: mg.primitive(lambda a: a, lambda *_: 0, needs="b", name="f")),
        "f: needs='b'",
        "first operand",
    )
    text = message(ValueError, lambda: mg.primitive(lambda a, b: a, None, None, needs=("a",), name="f"))
    holds(text, "needs has 1 entries for 2 rules")


def test_a_primitive_binds_its_arguments_as_its_forward_does():
    scaled = mg.primitive(lambda a, by=2.0: a * by, lambda g, y, a, by: g * by, needs="", name="scaled")
    x = leaf(3.0)
    assert scaled(x).item() == 6.0
    assert mg.grad(lambda x: scaled(x, by=5.0))(3.0).item() == 5.0
    assert scaled(np.float64(3.0)) == 6.0  # arrays to arrays
    with pytest.raises(TypeError, match=r"scaled\(\) missing 1 required positional argument"):
        scaled()
    with pytest.raises(TypeError, match=r"scaled\(\) got an unexpected keyword argument 'wrong'"):
        scaled(x, wrong=1)
    assert scaled.op.name == scaled.__name__ == "scaled"
    assert "scaled" not in mg.primitive.__globals__["TABLE"]  # the table is minigrad's own


def test_user_primitives_differentiate_twice_and_are_checked_for_dtype():
    cube = mg.primitive(lambda a: a**3, lambda g, y, a: g * 3 * a**2, needs="a", name="cube")
    assert mg.grad(mg.grad(cube))(2.0).item() == 12.0
    wide = mg.primitive(lambda a: a * 2, lambda g, y, a: np.asarray(g, np.float64) * 2, needs="", name="wide")
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    wide(x).sum().backward()
    assert x.grad.dtype == np.float32
    stretched = mg.primitive(lambda a, b: a + b, lambda g, y, a, b: g, lambda g, y, a, b: g, needs="", name="stretched")
    row = leaf(np.ones((1, 3)))
    stretched(row, leaf(np.ones((2, 1)))).sum().backward()  # broadcasting is undone for user rules too
    assert row.grad.tolist() == [[2.0, 2.0, 2.0]]


def test_notes_are_not_repeated_for_minigrads_own_errors():
    x = leaf(np.ones(3))
    with pytest.raises(mg.ShapeError) as caught:
        (x + x).backward()
    assert not getattr(caught.value, "__notes__", [])


# NaN
def test_the_operation_that_makes_a_nan_is_named():
    x = leaf(np.array([1.0, -1.0]))
    with pytest.raises(mg.AnomalyError) as caught, mg.detect_anomaly(), np.errstate(invalid="ignore"):
        mg.exp(mg.log(x) * 2)
    holds(str(caught.value), "log: produced nan at [1] from finite operands (x: -1.0 at [1])", f"at {__file__}:", "epsilon")


def test_a_nan_that_was_given_is_nobodys_fault_and_passes():
    x = leaf(np.array([1.0, np.nan]))
    with mg.detect_anomaly():
        (x * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 2.0])


def test_the_rule_that_makes_an_infinity_is_named():
    x = leaf(np.array([4.0, 0.0]))
    with mg.detect_anomaly(), pytest.raises(mg.AnomalyError) as caught:
        mg.sum(mg.sqrt(x)).backward()
    holds(str(caught.value), "sqrt: its gradient rule for operand 1 produced inf at [1]", "x: 0.0", f"at {__file__}:")
    assert x.grad is None
    y = mg.sum(mg.sqrt(x))
    y.backward()
    assert np.isinf(x.grad.numpy()[1])


# ---- every shape error speaks of what was given --------------------------------------------------------------------------------

APPLES, PEARS, ROW, CUBE, IMAGES = (3, 4), (5, 6), (7,), (2, 3, 4), (2, 3, 8, 8)
MISFITS = {
    # the user's call: what the message must have besides the names, shapes, and the operation
    "apples + pears": "Axis -1 has sizes 4 and 6", "mg.where(apples > 0, apples, pears)": "Axis -1", "mg.maximum(apples, pears)": "Axis -1",
    "apples ** pears": "Axis -1", "mg.atan2(apples, pears)": "Axis -1", "mg.clip(apples, pears, None)": "Axis -1", "apples @ pears": "size 4.*size 5",
    "apples @ row": "size 4.*size 7", "mg.concat([apples, pears])": "but for axis 0", "mg.stack([apples, pears])": "must be equal",
    "apples.reshape(5, 5)": "size 12", "mg.permute_dims(cube, (0, 1))": "each of its 3 axes once", "mg.broadcast_to(apples, (5, 5))": "must be 1",
    "apples.sum(axis=3)": "axis 3", "mg.mean(apples, axis=3)": "axis 3", "mg.softmax(apples, axis=5)": "axis 5", "mg.max(apples, axis=2)": "axis 2",
    "mg.logsumexp(apples, axis=9)": "axis 9", "mg.cumulative_sum(apples, axis=3)": "axis 3", "mg.argmax(apples, axis=3)": "axis 3",
    "mg.sort(apples, axis=3)": "axis 3", "mg.take(apples, [9], axis=0)": "index 9.*axis 0", "mg.take(apples, [0], axis=4)": "axis 4",
    "apples[7]": "index 7.*axis 0", "apples[0, 0, 0]": "too many indices", "mg.take_along_axis(apples, [[0]], 5)": "axis 5",
    "mg.einsum('ij,jk->ik', apples, pears)": "'j' has sizes 4 and 5", "mg.einsum('ijk->i', apples)": "names 3 axes",
    "mg.tensordot(apples, pears, 1)": "4, 5", "mg.vecdot(apples, pears)": "axis -1", "mg.linalg.cholesky(apples)": "square",
    "mg.linalg.norm(apples, axis=4)": "axis 4", "mg.pad(apples, ((1, 1),) * 3)": "2 pairs", "mg.flip(apples, axis=4)": "axis 4",
    "mg.roll(apples, 1, axis=4)": "axis 4", "mg.repeat(apples, [1, 2], axis=0)": "axis 0 of size 3", "mg.split(apples, 5)": "5 equal parts",
    "mg.squeeze(apples, axis=0)": "axis 0.*size 3", "mg.expand_dims(apples, axis=7)": "axis 7", "mg.swapaxes(apples, 0, 4)": "axis 4",
    "mg.moveaxis(apples, 0, 5)": "axis 5", "mg.tril(row)": "two axes", "mg.diagonal(row)": "two axes", "mg.topk(apples, 9)": "axis -1.*4 elements",
    "mg.unstack(apples, axis=4)": "axis 4", "mg.broadcast_arrays(apples, pears)": "equal or 1", "mg.meshgrid(apples, row)": "vectors",
    "mg.linalg.lstsq(apples, pears)": "expected", "mg.linalg.qr(row)": "matrices", "mg.linalg.matrix_power(apples, 2)": "square",
    "apples.backward()": "only a tensor with one element", "mg.gradients(apples * 2, apples, row)": "must agree", "np.fft.rfft(apples, axis=5)": "axis 5",
    "apples.at[0].set(row)": "7.*4", "apples.flatten(1, 5)": "axes 1 to 5",
    # the functional interface
    "F.linear(apples, pears)": "the size n in the last axis", "F.linear(pears, pears, row)": "bias has shape.*one number per output",
    "F.conv2d(images, mg.ones((2, 4, 3, 3)))": "4 channels, got 3", "F.conv2d(images, mg.ones((2, 3, 3, 3)), row)": r"bias of shape \(2,\)",
    "F.conv2d(images, mg.ones((2, 3, 9, 9)))": "at least 9.*got 8", "F.conv1d(images, mg.ones((2, 3, 3)))": "expected 3 axes",
    "F.conv_transpose2d(images, mg.ones((4, 2, 3, 3)))": "4 channels, got 3", "F.max_pool2d(images, 9)": "at least 9", "F.avg_pool2d(apples, 2)": "4 axes",
    "F.adaptive_avg_pool2d(row, 2)": "4 axes", "F.batch_norm(images, row, row)": r"running_mean.*one number per channel \(axis 1",
    "F.batch_norm(images, None, None, row, training=True)": r"weight.*one number per channel \(axis 1", "F.layer_norm(apples, (5,))": "last axes",
    "F.layer_norm(apples, (4,), row)": "weight has shape", "F.rms_norm(apples, (4,), row)": "weight has shape", "F.group_norm(images, 3, row)": "weight.*axis 1",
    "F.group_norm(images, 2)": "axis 1", "F.scaled_dot_product_attention(apples, pears, pears)": r"\(..., L, d\)", "F.cosine_similarity(apples, pears)": "Axis -1",
    "F.pairwise_distance(apples, pears)": "Axis -1", "F.pixel_shuffle(images, 2)": r"C \* 2\*\*2", "F.pixel_unshuffle(images, 3)": r"H \* 3",
    "F.fold(images, (4, 4), 2)": "3 axes", "F.unfold(images, 9)": "at least 9", "F.interpolate(apples, size=3)": r"after \(N, C\)",
    "F.pad(images, (1,))": "two per axis", "F.local_response_norm(apples, 2)": r"\(N, C, ...\)", "F.softmax(apples, dim=4)": "axis 4",
    "F.normalize(apples, dim=4)": "axis 4", "F.glu(apples[:, :3])": "axis -1.*2 parts", "F.mse_loss(apples, pears)": "Axis -1 is feature",
    "F.cross_entropy(apples, mg.tensor([0, 1]))": "4 classes in axis 1", "F.embedding(mg.tensor([9]), apples)": "3 rows",
}  # fmt: skip


@pytest.mark.parametrize("call", MISFITS)
def test_a_misfit_names_the_variables_their_shapes_and_the_axis(call):
    """Where NumPy's own message is passed on, the operation, names and shapes come before it."""
    apples, pears, row, cube, images = (mg.ones(shape, requires_grad=True) for shape in (APPLES, PEARS, ROW, CUBE, IMAGES))
    here = {"apples": apples, "pears": pears, "row": row, "cube": cube, "images": images}
    user = {"mg": mg, "np": np, "F": mg.nn.functional, "__name__": "somebody"}
    source = f"def use({', '.join(here)}):\n    {call}\n"
    exec(source, user)
    text = message(mg.ShapeError, lambda: user["use"](**here))
    named = [name for name in here if re.search(rf"\b{name}\b", call.replace(f"{name}[:, :3]", ""))]
    for name in named:
        assert re.search(rf"\b{name}\b", text), f"{name} is not named in {text!r}"
        sizes = ", ".join(map(str, here[name].shape))
        assert f"[{sizes}]" in text or f"({sizes})" in text or f"({sizes},)" in text, f"the shape of {name} is not in {text!r}"
    assert re.search(MISFITS[call], text), f"{MISFITS[call]!r} is not in {text!r}"


def test_layers_name_themselves_the_variable_and_the_fix():
    model = mg.nn.Sequential(mg.nn.Linear(4, 3), mg.nn.ReLU(), mg.nn.Linear(5, 1))
    batch = mg.ones((2, 4))
    holds(
        message(mg.ShapeError, lambda: model(batch)),
        "Sequential.2",
        "(..., 5)",
        "got (2, 3)",
        "in_features=3",
        "batch: float32[2, 4]",
    )
    pictures = mg.ones((2, 3, 8, 8))
    holds(message(mg.ShapeError, lambda: mg.nn.Conv2d(4, 2, 3)(pictures)), "pictures: float32[2, 3, 8, 8]", "in_channels=3")


def test_arrays_and_lists_of_the_user_are_named_too():
    table, parts = np.ones((3, 4)), [mg.ones((2, 2)), mg.ones((3, 3))]
    holds(message(mg.ShapeError, lambda: mg.take(table, [0], axis=7)), "table: float64[3, 4]")
    holds(message(mg.ShapeError, lambda: mg.concat(parts)), "parts[0]: float32[2, 2]", "parts[1]: float32[3, 3]")


def test_names_are_not_told_twice_and_not_where_there_are_none():
    apples, pears = mg.ones(APPLES), mg.ones(PEARS)
    assert message(mg.ShapeError, lambda: apples + pears).count("apples") == 1
    assert "given" not in message(mg.ShapeError, lambda: mg.concat([mg.ones(2), mg.ones((3, 3))]))
    assert str(mg.ShapeError("of somebody else's")) == "of somebody else's"


# ---- anomaly mode: who cries, and who does not -----------------------------------------------------------------------------------

INF, UPPER = np.inf, np.triu(np.full((3, 3), -np.inf), 1)


def fires(f):
    with np.errstate(all="ignore"), pytest.raises(mg.AnomalyError) as caught, mg.detect_anomaly():
        f()
    return str(caught.value)


class Broken(mg.nn.Module):
    def __init__(self):
        self.lin = mg.nn.Linear(2, 2)

    def forward(self, a):
        return mg.log(self.lin(a) * 0).sum()


@mg.no_grad
def unrecorded(x):
    return mg.log(x) + 1


@pytest.mark.parametrize(
    ("f", "told"),
    [
        (lambda x: mg.log(x), r"log: produced -inf at \[0\] from finite operands \(x: 0.0 at \[0\]\)"),
        (lambda x: mg.sum(mg.reshape(mg.exp(mg.log(x) * -1) - 1, (1, 2))), "log: produced -inf"),
        (lambda x: (mg.log(x) * 2).sum().backward(), "log: produced -inf"),
        (lambda x: mg.log(x[0]).backward(), "log: produced -inf"),
        (lambda x: Broken()(mg.ones((1, 2))).backward(), r"log: produced -inf at \[0, 0\]"),
        (lambda x: unrecorded(x), "log: produced -inf"),
        (lambda x: np.log(x), "log: produced -inf"),
        (lambda x: mg.ones(2) / x, r"divide: produced inf at \[0\]"),
        (lambda x: mg.matmul(mg.full((2, 2), 1e30), mg.full((2, 2), 1e30)), r"matmul: produced inf at \[0, 0\]"),
        (lambda x: mg.tensor([INF]) - mg.tensor([INF]), r"subtract: produced nan at \[0\] from infinities"),
        (lambda x: mg.sum(x * INF), r"multiply: produced nan at \[0\] from infinities"),
        (lambda x: mg.where(x >= 0, mg.log(x), 0.0).sum(), "log: produced -inf"),  # this one is taken
        (lambda x: mg.sqrt(x).sum().backward(), "sqrt: its gradient rule for operand 1 produced inf"),
        (lambda x: mg.gradients(mg.gradients((x**1.5).sum(), x, create_graph=True)[0].sum(), x), "power: its gradient rule"),
        (lambda x: mg.grad(lambda a: mg.sqrt(a).sum())(x), "sqrt: its gradient rule"),
    ],
)  # fmt: skip
def test_anomalies_are_named_with_their_line(f, told):
    x = leaf([0.0, 1.0])
    text = fires(lambda: f(x))
    assert re.search(told, text), text
    assert re.search(r"at .*test_errors\.py:\d+", text), text


def heads(**options):
    x = mg.ones((3, 1, 4), requires_grad=True)
    return mg.nn.MultiheadAttention(4, 2)(x, x, x, **options)[0].sum()


@pytest.mark.parametrize(
    "f",
    [
        lambda x, s: mg.where(x > 0, mg.sqrt(x), 0.0), lambda x, s: mg.where(x > 0, mg.log(x), 0.0), lambda x, s: mg.where(x == 0, 0.0, 1 / x),
        lambda x, s: mg.where(x > 0, mg.log(x) * 2 + 1, x),
        lambda x, s: mg.softmax(s + UPPER), lambda x, s: mg.softmax(mg.where(UPPER == 0, s, -INF)), lambda x, s: mg.exp(s + UPPER),
        lambda x, s: mg.logsumexp(mg.where(UPPER == 0, s, -INF), axis=-1), lambda x, s: mg.maximum(x, -INF),
        lambda x, s: F.masked_softmax(s[:2, :2], mg.tensor([[0.0, -INF], [-INF, -INF]])),
        lambda x, s: F.scaled_dot_product_attention(s[None], s[None], s[None], is_causal=True),
        lambda x, s: heads(attn_mask=mg.tensor(UPPER != 0)), lambda x, s: heads(attn_mask=mg.tensor(UPPER.astype("f4"))),
        lambda x, s: F.max_pool2d(s[None, None], 3, padding=1), lambda x, s: F.ctc_loss(mg.log_softmax(s[:, None]), mg.tensor([[1]]), [3], [1]),
        lambda x, s: F.binary_cross_entropy(x, mg.ones(2)), lambda x, s: F.cross_entropy(s, [0, 1, -100]), lambda x, s: mg.std(x * 0 + 1),
        lambda x, s: F.cosine_similarity(x * 0, x, dim=0), lambda x, s: mg.linalg.norm(x * 0), lambda x, s: np.nanmean(x * mg.tensor([1.0, np.nan])),
    ],
)  # fmt: skip
def test_what_is_no_anomaly_passes(f):
    """Branches that are not taken, infinities that become numbers again, masks of -inf: forward, backward, and of second order."""
    x, s = leaf([0.0, 1.0]), leaf(np.ones((3, 3)))
    with np.errstate(all="ignore"), mg.detect_anomaly():
        y = mg.sum(f(x, s))
        mg.gradients(y, [x, s], create_graph=True, retain_graph=True, allow_unused=True)
        if y.requires_grad:
            y.backward()


@pytest.mark.parametrize("f", [
    lambda x: mg.exp(mg.log(x)), lambda x: mg.logsumexp(mg.log(x)), lambda x: mg.log(x)[1:],
    lambda x: mg.where((x > 0).reshape(1, 2), mg.log(x).reshape(1, 2), 0.0),
])  # fmt: skip
def test_an_infinity_that_becomes_a_number_is_none_of_the_forward_pass(f):
    """Backward it is one: 0 * inf, the local gradient of log at 0."""
    with np.errstate(all="ignore"), mg.detect_anomaly():
        assert np.isfinite(f(leaf([0.0, 1.0])).numpy()).all()


def test_anomaly_mode_ends_with_its_block_and_nests():
    x = leaf([0.0, 1.0])
    with np.errstate(all="ignore"):
        with pytest.raises(mg.AnomalyError, match="log"), mg.detect_anomaly():
            with mg.detect_anomaly():
                y = mg.log(x)
            assert y.node is not None  # the inner block leaves it to the outer
            z = mg.where(x > 0, y, 0.0)  # which takes it up,
            mg.sum(y)  # but also reads it
        assert np.isfinite(z.numpy()).all()
        assert np.isinf(mg.log(x).numpy()[0])
        with pytest.raises(KeyError), mg.detect_anomaly():  # an error of the block's own is not hidden
            mg.log(x)
            raise KeyError


def test_anomaly_mode_is_a_decorator():
    @mg.detect_anomaly
    def loss(x):
        return mg.log(x).sum()

    with np.errstate(all="ignore"), pytest.raises(mg.AnomalyError, match="log"):
        loss(leaf([0.0]))
