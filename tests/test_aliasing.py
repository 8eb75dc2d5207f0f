"""Attacks: ways to change memory under a recorded graph. Each is computed right, refused, or noticed before a gradient is wrong.

A target is how somebody came by memory that a rule will read; a way is how it is written to. Every way is tried on every target.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from numpy.testing import assert_allclose, assert_array_equal

import minigrad as mg
from minigrad.guards import EXACT

CHANGED = "was changed in place after"
START = np.array([1.0, 2.0, 3.0, 4.0])


def leaf(value: Any) -> mg.Tensor:
    return mg.tensor(np.asarray(value, np.float64), requires_grad=True)


# ---- how to come by the memory: each gives (output, leaf, array that aliases what the rule reads) ---------------------------------


def raw_operand() -> tuple[Any, Any, Any]:
    x, a = leaf([1.0, 1, 1, 1]), START.copy()
    return (x * a).sum(), x, a


def shared_by_asarray() -> tuple[Any, Any, Any]:
    x, a = leaf([1.0, 1, 1, 1]), START.copy()
    return (x * mg.asarray(a)).sum(), x, a


def data_after() -> tuple[Any, Any, Any]:
    x, k = leaf([1.0, 1, 1, 1]), mg.tensor(START)
    return (x * k).sum(), x, k.data


def numpy_before() -> tuple[Any, Any, Any]:
    x, k = leaf([1.0, 1, 1, 1]), mg.tensor(START)
    a = k.numpy()
    return (x * k).sum(), x, a


def detached() -> tuple[Any, Any, Any]:
    x, k = leaf([1.0, 1, 1, 1]), leaf(START)
    return (x * k).sum(), x, k.detach().numpy()


def view_without_history() -> tuple[Any, Any, Any]:
    x, k = leaf([1.0, 1, 1, 1]), mg.tensor(np.stack([START, START]))
    y = (x * k).sum(axis=0)[:4].sum()
    return y, x, k[0].numpy()


def view_under_no_grad() -> tuple[Any, Any, Any]:
    x, k = leaf([1.0, 1, 1, 1]), leaf(np.concatenate([START, START]))
    y = (x * k[:4]).sum()
    with mg.no_grad():
        return y, x, k[:4].data


def output_that_its_rule_reads() -> tuple[Any, Any, Any]:
    x = leaf(np.log(START))
    h = mg.exp(x)
    return h.sum(), x, h.detach().data


def through_dlpack() -> tuple[Any, Any, Any]:
    x, k = leaf([1.0, 1, 1, 1]), mg.tensor(START)
    return (x * k).sum(), x, np.from_dlpack(k)


TARGETS = [
    raw_operand, shared_by_asarray, data_after, numpy_before, detached, view_without_history, view_under_no_grad,
    output_that_its_rule_reads, through_dlpack,
]  # fmt: skip


# ---- how to write: 50 ways --------------------------------------------------------------------------------------------------------


def by_pointer(a: Any) -> None:
    ctypes.cast(a.ctypes.data, ctypes.POINTER(ctypes.c_double))[1] = 9.0


def by_memmove(a: Any) -> None:
    ctypes.memmove(a.ctypes.data, np.full(4, 9.0).ctypes.data, 32)


def by_another_thread(a: Any) -> None:
    thread = threading.Thread(target=a.fill, args=(9.0,))
    thread.start()
    thread.join()


def by_setflags(a: Any) -> None:
    a.setflags(write=False)
    a.setflags(write=True)
    a[0] = 9


def by_nditer(a: Any) -> None:
    with np.nditer(a, op_flags=[["readwrite"]]) as it:
        for v in it:
            v[...] = 9


def by_structured_view(a: Any) -> None:
    a.view([("first", "f8"), ("second", "f8")])["second"] = 9


def by_record(a: Any) -> None:
    a.view([("first", "f8"), ("second", "f8")]).view(np.recarray).first = 9


def by_swap(a: Any) -> None:
    a[[0, 1]] = a[[1, 0]]


def by_at(a: Any) -> None:
    np.add.at(a, [0, 0], 1.0)


def by_unbuffered_out(a: Any) -> None:
    np.matmul(np.eye(4), a + 1, out=a)


def by_interface(a: Any) -> None:
    class Holder:
        __array_interface__ = a.__array_interface__

    np.asarray(Holder())[2] = 9


def by_frombuffer(a: Any) -> None:
    np.frombuffer(a.data, np.float64)[3] = 9


def by_torch(a: Any) -> None:
    torch = pytest.importorskip("torch")
    torch.from_numpy(a).mul_(2)


def by_bytes(a: Any) -> None:
    a.view(np.uint8)[7] ^= 1


def by_bit(a: Any) -> None:
    a.view(np.uint64)[0] += 1  # the least change there is


def by_base(a: Any) -> None:
    owner = a
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    owner.reshape(-1)[:4] += 1


WAYS: dict[str, Callable[[Any], Any]] = {
    "a[...] = 9": lambda a: a.__setitem__(..., 9),
    "a[0] = 9": lambda a: a.__setitem__(0, 9),
    "a[1:3] = 9": lambda a: a.__setitem__(slice(1, 3), 9),
    "a[mask] = 9": lambda a: a.__setitem__(np.array([True, False, False, True]), 9),
    "a[[3]] = 9": lambda a: a.__setitem__([3], 9),
    "a += 1": lambda a: a.__iadd__(1),
    "a *= 2": lambda a: a.__imul__(2),
    "a **= 2": lambda a: a.__ipow__(2),
    "a @= m": lambda a: a.__setitem__(..., a @ np.diag([2.0, 2, 2, 2])),
    "add(out=)": lambda a: np.add(a, 1, out=a),
    "exp(out=, where=)": lambda a: np.exp(a, out=a, where=np.array([True, False, True, False])),
    "cumsum(out=)": lambda a: np.cumsum(a, out=a),
    "matmul(out=)": by_unbuffered_out,
    "clip(out=)": lambda a: np.clip(a, 1.5, 2.5, out=a),
    "mean(out=)": lambda a: np.mean(np.ones((3, 4)) * 5, axis=0, out=a),
    "take(out=)": lambda a: np.take(np.arange(8.0), [7, 6, 5, 4], out=a),
    "choose(out=)": lambda a: np.choose([0, 0, 0, 0], [a + 1], out=a),
    "concatenate(out=)": lambda a: np.concatenate([np.zeros(2), np.zeros(2)], out=a),
    "einsum(out=)": lambda a: np.einsum("i->i", a + 1, out=a),
    "add.at": by_at,
    "add.accumulate(out=)": lambda a: np.add.accumulate(a.copy(), out=a),
    "fill": lambda a: a.fill(9),
    "sort rows": lambda a: a.reshape(2, 2)[:, ::-1].sort(axis=1),
    "sort backwards": lambda a: a[::-1].sort(),
    "partition": lambda a: a[::-1].partition(1),
    "put": lambda a: a.put([1], 9),
    "np.put": lambda a: np.put(a, [2], 9),
    "putmask": lambda a: np.putmask(a, a > 2, 0),
    "place": lambda a: np.place(a, a > 2, [0]),
    "copyto": lambda a: np.copyto(a, 0),
    "put_along_axis": lambda a: np.put_along_axis(a, np.array([1]), 9, 0),
    "fill_diagonal": lambda a: np.fill_diagonal(as_strided(a, (2, 2), (16, 8)), 9),
    "flat[1]": lambda a: a.flat.__setitem__(1, 9),
    "flat = ": lambda a: setattr(a, "flat", [9, 9, 9, 9]),
    "byteswap": lambda a: a.byteswap(inplace=True),
    "nan_to_num": lambda a: (a.__setitem__(0, np.nan), np.nan_to_num(a, copy=False, nan=5.0))[0],
    "shuffle": lambda a: np.random.default_rng(0).shuffle(a),
    "permuted(out=)": lambda a: np.random.default_rng(0).permuted(a, out=a),
    "random(out=)": lambda a: np.random.default_rng(0).random(out=a),
    "normal(out=)": lambda a: np.random.default_rng(0).standard_normal(out=a),
    "swap of two": by_swap,
    "memoryview": lambda a: memoryview(a).__setitem__(1, 9.0),
    "cast memoryview": lambda a: memoryview(a).cast("B").__setitem__(slice(0, 8), bytes(8)),
    "frombuffer": by_frombuffer,
    "ctypes array": lambda a: np.ctypeslib.as_ctypes(a).__setitem__(1, 9.0),
    "ctypes pointer": by_pointer,
    "memmove": by_memmove,
    "array interface": by_interface,
    "as_strided": lambda a: as_strided(a, (2,), (16,)).__setitem__(..., 9),
    "reversed view": lambda a: a[::-1].__setitem__(0, 9),
    "reshaped view": lambda a: a.reshape(2, 2).__setitem__((0, 1), 9),
    "transposed view": lambda a: a.reshape(2, 2).T.__setitem__((0, 1), 9),
    "sliding window": lambda a: np.lib.stride_tricks.sliding_window_view(a, 2, writeable=True).__setitem__((0, 0), 9),
    "broadcast view": lambda a: as_strided(a, (2, 4), (0, 8)).__setitem__((1, 2), 9),
    "structured view": by_structured_view,
    "record view": by_record,
    "integer view": by_bit,
    "byte view": by_bytes,
    "real part": lambda a: a.real.__setitem__(0, 9),
    "nditer": by_nditer,
    "parent array": by_base,
    "setflags": by_setflags,
    "torch.from_numpy": by_torch,
    "np.from_dlpack": lambda a: np.from_dlpack(a).__setitem__(2, 9) if a.flags.writeable else None,
    "another thread": by_another_thread,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_write_is_noticed_or_refused_or_harmless(way: str) -> None:
    for target in TARGETS:
        y, x, a = target()
        before = a.copy()
        with contextlib.suppress(*((ValueError, TypeError) if target is through_dlpack else ())):  # its array is read-only
            WAYS[way](a)
        if np.array_equal(a, before):
            assert target is through_dlpack or way == "np.from_dlpack", target.__name__
            y.backward()
            assert_allclose(x.grad.numpy(), START)
            continue
        with pytest.raises(mg.ChangedValueError, match=CHANGED):
            y.backward()
        assert x.grad is None, target.__name__


@pytest.mark.parametrize(("attribute", "value"), [("shape", (4, 1)), ("dtype", np.dtype(np.int64)), ("strides", (0,))])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_array_told_to_be_another_is_noticed(attribute: str, value: Any) -> None:
    y, x, a = raw_operand()
    setattr(a, attribute, value)
    with pytest.raises(mg.ChangedValueError, match=CHANGED):
        y.backward()
    assert x.grad is None


def test_a_guarded_array_cannot_be_resized() -> None:
    y, x, a = raw_operand()
    with pytest.raises(ValueError, match="cannot resize"):
        a.resize((2,), refcheck=False)
    y.backward()
    assert_array_equal(x.grad.numpy(), START)


# ---- large arrays -----------------------------------------------------------------------------------------------------------------

LARGE = {
    "one element of a million": lambda a: a.__setitem__(777_777, 0.5),
    "its last bit": lambda a: a.view(np.uint64).__setitem__(123_457, a.view(np.uint64)[123_457] + 1),
    "the first": lambda a: a.__setitem__(0, -1),
    "the last": lambda a: a.__setitem__(-1, -1),
    "a column": lambda a: a.reshape(1000, 1000)[:, 3].fill(0.0),
    "a row": lambda a: a.reshape(1000, 1000)[3].fill(0.0),
    "two rows exchanged": lambda a: a.reshape(1000, 1000).__setitem__([5, 900], a.reshape(1000, 1000)[[900, 5]]),
    "two columns exchanged": lambda a: a.reshape(1000, 1000).__setitem__(
        (slice(None), [3, 700]), a.reshape(1000, 1000)[:, [700, 3]]
    ),
    "sorted": lambda a: a.sort(),
    "reversed": lambda a: a.__setitem__(..., a[::-1].copy()),
    "rolled": lambda a: a.__setitem__(..., np.roll(a, 1)),
}


@pytest.mark.parametrize("how", ["exact", "sums"])
@pytest.mark.parametrize("way", LARGE)
def test_a_write_to_a_part_of_a_large_array_is_noticed(way: str, how: Any) -> None:
    a = np.random.default_rng(0).permutation(1_000_000).astype(float)
    x = leaf(1.0)
    with mg.guarding(how):
        y = (x * a).sum()
    LARGE[way](a)
    with pytest.raises(mg.ChangedValueError, match=CHANGED):
        y.backward()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "bool", "complex128"])
@pytest.mark.parametrize("order", ["C", "F", "strided", "backwards"])
def test_one_element_is_noticed_in_any_dtype_and_layout(dtype: str, order: str) -> None:
    n = 3 * EXACT + 5
    a = np.ones((n, 3), dtype, order="F" if order == "F" else "C")
    a = a[:, :2] if order == "strided" else a[::-1] if order == "backwards" else a
    from minigrad.guards import fingerprint

    before = fingerprint(a)
    assert fingerprint(a) == before
    for place in [(0, 0), (n - 1, 1), (n // 2 + 1, 0)]:
        a[place] = 0
        assert fingerprint(a) != before
        a[place] = 1
        assert fingerprint(a) == before


def test_an_exchange_of_two_elements_is_what_only_exact_guards_notice() -> None:
    for how, noticed in (("exact", True), ("sums", False)):
        a, x = np.arange(100_000.0), leaf(1.0)
        with mg.guarding(how):  # type: ignore[arg-type]
            y = (x * a).sum()
        a[[1, 2]] = a[[2, 1]]
        with pytest.raises(mg.ChangedValueError) if noticed else contextlib.nullcontext():
            y.backward()


def test_guarding_is_a_decorator_nests_and_refuses_other_words() -> None:
    from minigrad.guards import is_exact

    outside = is_exact()

    @mg.guarding("exact")
    def inside() -> bool:
        with mg.guarding("sums"):
            assert not is_exact()
        return is_exact()

    assert inside()
    assert is_exact() == outside
    with pytest.raises(ValueError, match="expected 'exact' or 'sums', got 'all'"):
        mg.guarding("all")  # type: ignore[arg-type]


# ---- what is copied, so that no write can harm ------------------------------------------------------------------------------------


def index_array() -> tuple[Any, Any, Any, Any]:
    x, i = leaf(START), np.array([0, 1])
    return (x[i] * 3).sum(), x, i, [3, 3, 0, 0]


def index_mask() -> tuple[Any, Any, Any, Any]:
    x, i = leaf(START), np.array([True, False, False, True])
    return (x[i] * 3).sum(), x, i, [3, 0, 0, 3]


def index_list() -> tuple[Any, Any, Any, Any]:
    x, i = leaf(START), [0, 1]
    return (x[i] * 3).sum(), x, i, [3, 3, 0, 0]


def two_index_arrays() -> tuple[Any, Any, Any, Any]:
    x, i = leaf(START), np.array([0, 1])
    return (x.reshape(2, 2)[i, np.array([1, 1])] * 3).sum(), x, i, [0, 3, 0, 3]


def taken() -> tuple[Any, Any, Any, Any]:
    x, i = leaf(START), np.array([0, 0])
    return mg.take(x, i).sum(), x, i, [2, 0, 0, 0]


def taken_along() -> tuple[Any, Any, Any, Any]:
    x, i = leaf(START), np.array([3, 3])
    return mg.take_along_axis(x, i).sum(), x, i, [0, 0, 0, 2]


def scattered() -> tuple[Any, Any, Any, Any]:
    x, i = leaf(START), np.array([0, 1, 2, 3])
    return (mg.scatter_add(mg.zeros(4, dtype="float64"), i, x) * START).sum(), x, i, START


def labels() -> tuple[Any, Any, Any, Any]:
    x, i = leaf(np.zeros((1, 4))), np.array([1])
    return mg.nn.functional.cross_entropy(x, i), x, i, [[0.25, -0.75, 0.25, 0.25]]


def condition() -> tuple[Any, Any, Any, Any]:
    x, c = leaf(START), np.array([True, False, True, False])
    return mg.where(c, x, 0.0).sum(), x, c, [1, 0, 1, 0]


def bounds() -> tuple[Any, Any, Any, Any]:
    x, low = leaf(START), np.array([2.0, 0.0, 5.0, 0.0])
    return mg.clip(x, low, None).sum(), x, low, [0, 1, 0, 1]


def exponent() -> tuple[Any, Any, Any, Any]:
    x, n = leaf(START), np.array([2, 2, 2, 2])
    return (x**n).sum(), x, n, 2 * START


def repeats() -> tuple[Any, Any, Any, Any]:
    x, n = leaf(START), np.array([1, 2, 1, 1])
    return mg.repeat(x, n).sum(), x, n, [1, 2, 1, 1]


def axes_list() -> tuple[Any, Any, Any, Any]:
    x, axes = leaf(START.reshape(1, 2, 2)), [2, 0, 1]
    return (mg.permute_dims(x, axes) * np.arange(4.0).reshape(2, 1, 2)).sum(), x, axes, [[[0, 2], [1, 3]]]


def pad_width() -> tuple[Any, Any, Any, Any]:
    x, width = leaf(START), [[1, 1]]
    return (mg.pad(x, width) * np.arange(6.0)).sum(), x, width, [1, 2, 3, 4]


def numbers_of_a_tensor() -> tuple[Any, Any, Any, Any]:
    a = START.copy()
    x = mg.tensor(a, requires_grad=True)
    return (x * x).sum(), x, a, 2 * START


def a_bytearray_copied() -> tuple[Any, Any, Any, Any]:
    buffer = bytearray(START.tobytes())
    x = mg.tensor(np.frombuffer(buffer), requires_grad=True)
    return (x * x).sum(), x, np.frombuffer(buffer), 2 * START


def out_of_band_pickle() -> tuple[Any, Any, Any, Any]:
    x = leaf(START)
    y, buffers = (x * x).sum(), []
    pickle.dumps(x, protocol=5, buffer_callback=buffers.append)
    return y, x, np.frombuffer(buffers[0]) if buffers else np.zeros(4), 2 * START


COPIED = [
    index_array, index_mask, index_list, two_index_arrays, taken, taken_along, scattered, labels, condition, bounds, exponent, repeats,
    axes_list, pad_width, numbers_of_a_tensor, a_bytearray_copied, out_of_band_pickle,
]  # fmt: skip


@pytest.mark.parametrize("case", COPIED, ids=lambda f: f.__name__)
def test_other_arguments_are_copied_or_guarded(case: Callable[[], Any]) -> None:
    y, x, argument, expected = case()
    if isinstance(argument, list):
        argument[:] = argument[::-1] if not isinstance(argument[0], list) else [[2, 0]]
    else:
        argument[...] = 0 if argument.dtype != bool else ~argument
    try:
        y.backward()
    except mg.ChangedValueError:
        assert x.grad is None
    else:
        assert_allclose(x.grad.numpy(), expected)


def test_new_data_leaves_the_old_graph_right() -> None:
    x, k = leaf([1.0, 1, 1, 1]), mg.tensor(START)
    y = (x * k).sum()
    k.data = np.zeros(4)
    y.backward()
    assert_array_equal(x.grad.numpy(), START)


def test_transforms_and_checkpoints_watch_what_they_use_later() -> None:
    a = START.copy()
    _, pull = mg.vjp(lambda x: x * a, np.ones(4))
    p = START.copy()
    _, pull_square = mg.vjp(lambda x: x * x, p)
    x, k = leaf([1.0, 1, 1, 1]), mg.tensor(START)
    given = mg.checkpoint(lambda x, k: mg.exp(x * k))(x, k).sum()
    c = START.copy()
    used = mg.checkpoint(lambda x: mg.exp(x * c))(x).sum()
    a[0], p[0], c[0], k.data[0] = 9, 9, 9, 9
    for later in (lambda: pull(np.ones(4)), lambda: pull_square(np.ones(4)), given.backward, used.backward):
        with pytest.raises(mg.ChangedValueError):
            later()
    assert x.grad is None


def test_a_compiled_step_reads_arrays_as_they_are_at_each_call() -> None:
    a, b, w = np.ones(3), np.ones(3), leaf(np.ones(3))

    @mg.compile
    def step(x: Any) -> Any:
        w.grad = None
        y = mg.sum(x * a * w)
        y.backward()
        return y

    held = []
    for k in range(6):
        held.append(step(b))
        assert held[-1].item() == 3 * (k + 1) ** 2
        assert_array_equal(w.grad.numpy(), np.full(3, (k + 1.0) ** 2))
        a += 1
        b += 1
    assert [y.item() for y in held] == [3.0 * (k + 1) ** 2 for k in range(6)]


def test_a_file_in_memory_is_watched(tmp_path: Any) -> None:
    path = tmp_path / "weights"
    START.tofile(path)
    a, x = np.memmap(path, np.float64, "r+"), leaf([1.0, 1, 1, 1])
    y = (x * a).sum()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as other:
        other[:8] = bytes(8)
    with pytest.raises(mg.ChangedValueError, match=CHANGED):
        y.backward()


def test_the_upstream_gradient_is_copied() -> None:
    x, g = leaf(START), np.ones(4)
    (x + 0.0).backward(g)
    g[...] = 100
    assert_array_equal(x.grad.numpy(), [1, 1, 1, 1])
    held = mg.asarray(g)
    x.grad = None
    x.clone().backward(held)
    held.data[...] = 0
    assert_array_equal(x.grad.numpy(), [100] * 4)


def test_gradients_and_their_aliases_are_apart() -> None:
    x = leaf(START)
    (x * 2).sum().backward()
    held = x.grad.numpy()
    held[...] = 100
    alias = held.copy()
    (x * 2).sum().backward()
    assert_array_equal(held, alias)
    assert_array_equal(x.grad.numpy(), alias + 2)


def test_a_hook_may_write_into_what_it_returned() -> None:
    x, kept = leaf(START), []
    h = x * 1.0

    def hook(g: Any) -> Any:
        kept.append(g.numpy() * 2)
        return mg.asarray(kept[-1])

    h.register_hook(hook)
    h.sum().backward()
    kept[0][...] = 100
    assert_array_equal(x.grad.numpy(), [2, 2, 2, 2])


# ---- what the error says ----------------------------------------------------------------------------------------------------------


def line_of(text: str) -> int:
    """The line of this file with that comment."""
    with open(__file__, encoding="utf-8") as file:
        return next(k for k, line in enumerate(file, 1) if line.rstrip().endswith(f"# {text}"))


def test_while_inspecting_both_lines_are_named() -> None:
    x, a = leaf([1.0, 1, 1, 1]), START.copy()
    x.name = "x"
    with mg.inspect():
        y = (x * a).sum()  # saved here
        z = y * 2  # still whole here
        a[0] = 9
        w = z + 1  # known to have changed here
    with pytest.raises(mg.ChangedValueError) as caught:
        w.backward()
    told = str(caught.value)
    assert f"multiply recorded it at {__file__}:{line_of('saved here')}" in told
    assert (
        f"changed between {__file__}:{line_of('still whole here')} and {__file__}:{line_of('known to have changed here')}"
        in told
    )


def test_while_inspecting_a_change_before_backward_ends_at_backward() -> None:
    x, a = leaf([1.0, 1, 1, 1]), START.copy()
    with mg.inspect():
        y = (x * a).sum()  # recorded last
    a[0] = 9
    with pytest.raises(mg.ChangedValueError) as caught:
        y.backward()  # backward here
    assert f"between {__file__}:{line_of('recorded last')} and {__file__}:{line_of('backward here')}" in str(caught.value)


def test_while_inspecting_several_arrays_the_right_one_is_told() -> None:
    x, a, b = leaf([1.0, 1, 1, 1]), START.copy(), START.copy()
    with mg.inspect():
        y = (x * a * b).sum()  # both
    b[0] = 9
    with pytest.raises(mg.ChangedValueError, match=rf"It was changed between {__file__}:{line_of('both')} and"):
        y.backward()


def test_while_inspecting_a_write_by_minigrad_has_its_line() -> None:
    x, k = leaf([1.0, 1, 1, 1]), mg.tensor(START, name="k")
    with mg.inspect():
        y = (x * k).sum()
        with mg.no_grad():
            k[0] = 9  # written here
    with pytest.raises(mg.ChangedValueError, match=rf"operand 2 'k'.*It was changed at {__file__}:{line_of('written here')}"):
        y.backward()
