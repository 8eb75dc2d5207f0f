"""Threads, processes, tasks and generators: the same numbers as alone. Threads change every microsecond here, or as they please."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import minigrad as mg
from minigrad import threads
from minigrad.guards import is_exact
from minigrad.testing.kinds import EVERY
from minigrad.testing.oracles import backward
from minigrad.testing.soak import program_of

WORKERS = 8


@pytest.fixture(autouse=True)
def switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*works: Callable[[], Any]) -> list[Any]:
    """Call them all at once, each in a thread of its own; their results, or the first error."""
    barrier = threading.Barrier(len(works))

    def start(work: Callable[[], Any]) -> Any:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [job.result() for job in [pool.submit(start, work) for work in works]]


def leaf(value: Any) -> mg.Tensor:
    return mg.tensor(np.asarray(value, np.float64), requires_grad=True)


# ---- recording and backward -------------------------------------------------------------------------------------------------------


def test_random_programs_in_many_threads_are_what_they_are_alone() -> None:
    programs = [program_of(k, "threads", EVERY) for k in range(160)]
    alone = [backward(program, program.inputs) for program in programs]

    def work(first: int) -> None:
        for k in range(first, len(programs), 3):
            found = backward(programs[k], programs[k].inputs)
            assert_array_equal(found.value, alone[k].value, err_msg=str(programs[k]))
            for ours, theirs in zip(found.grads, alone[k].grads):
                assert_array_equal(ours, theirs, err_msg=str(programs[k]))

    with np.errstate(all="ignore"):
        together(*(lambda k=k: work(k % 3) for k in range(WORKERS)))


def test_separate_graphs_on_shared_leaves() -> None:
    w, b = leaf(np.arange(6.0).reshape(2, 3)), leaf([1.0, 2.0, 3.0])
    xs = [np.random.default_rng(k).normal(size=(4, 2)) for k in range(WORKERS)]

    def loss(x: Any) -> Any:
        return mg.sum(mg.tanh(x @ w + b) ** 2)

    expected = [[g.numpy() for g in mg.gradients(loss(x), (w, b))] for x in xs]

    def work(k: int) -> None:
        for _ in range(25):
            for ours, theirs in zip(mg.gradients(loss(xs[k]), (w, b)), expected[k]):
                assert_array_equal(ours.numpy(), theirs)

    together(*(lambda k=k: work(k) for k in range(WORKERS)))
    assert w.grad is None


@pytest.mark.parametrize("create", [False, True])
def test_no_contribution_to_a_shared_leaf_is_lost(create: bool) -> None:
    w = leaf(np.zeros(5))

    def work(k: int) -> None:
        for _ in range(100):
            (w * float(k)).sum().backward(create_graph=create)  # whole numbers: any order of adding gives the same bits

    together(*(lambda k=k: work(k) for k in range(WORKERS)))
    assert_array_equal(w.grad.numpy(), np.full(5, 100.0 * sum(range(WORKERS))))


def test_many_passes_at_once_through_one_graph_that_is_kept() -> None:
    x = leaf([0.5, 1.0, 2.0])
    h = mg.exp(x) * x
    y = (h * h).sum()
    (expected,) = mg.gradients(y, x, retain_graph=True)

    def work() -> None:
        for _ in range(40):
            assert_array_equal(mg.gradients(y, x, retain_graph=True)[0].numpy(), expected.numpy())

    together(*[work] * WORKERS)


def test_of_many_passes_through_one_graph_that_is_released_each_is_right_or_refused() -> None:
    refused = 0
    for _ in range(20):
        x = leaf(np.linspace(0.1, 1, 600))  # too large for its values to be kept
        h = x
        for _ in range(10):
            h = mg.sin(h) * h
        y = h.sum()
        (expected,) = mg.gradients(y, x, retain_graph=True)

        def work(x: Any = x, y: Any = y, expected: Any = expected) -> int:
            try:
                assert_array_equal(mg.gradients(y, x)[0].numpy(), expected.numpy())
            except mg.MinigradError:  # another thread had released it
                return 1
            return 0

        refused += sum(together(work, work, work))
    assert refused


def test_each_thread_sees_its_own_hooks_and_none_is_lost() -> None:
    seen: list[int] = []

    def work(x: Any, k: int) -> None:
        x.register_hook(lambda g: seen.append(k))

    for _ in range(50):
        x = leaf([1.0])
        together(*(lambda k=k, x=x: work(x, k) for k in range(4)))
        seen.clear()
        (x * 2).sum().backward()
        assert sorted(seen) == [0, 1, 2, 3]


def test_guards_hold_while_others_record() -> None:
    shared = np.ones(8)

    def work(k: int) -> None:
        for n in range(30):
            a, x = np.full(8, float(n)), leaf(np.ones(8))
            y = (x * a * shared).sum()
            if n % 2:
                a += 1
                with pytest.raises(mg.ChangedValueError):
                    y.backward()
            else:
                y.backward()
                assert_array_equal(x.grad.numpy(), a)

    together(*(lambda k=k: work(k) for k in range(WORKERS)))


def test_a_write_by_another_thread_between_forward_and_backward_is_noticed() -> None:
    x, a = leaf([1.0, 2.0]), np.ones(2)
    recorded, written = threading.Event(), threading.Event()

    def record() -> None:
        y = (x * a).sum()
        recorded.set()
        assert written.wait(20)
        with pytest.raises(mg.ChangedValueError):
            y.backward()

    def write() -> None:
        assert recorded.wait(20)
        a[0] = 3
        written.set()

    together(record, write)


# ---- modes ------------------------------------------------------------------------------------------------------------------------


def test_modes_belong_to_a_thread() -> None:
    barrier, x = threading.Barrier(4), leaf([1.0])

    def plain() -> None:
        for _ in range(20):
            barrier.wait()
            assert (x * 2).requires_grad
            assert (x * 2).node.where is None
            barrier.wait()

    def off() -> None:
        for _ in range(20):
            with mg.no_grad():
                barrier.wait()
                assert not (x * 2).requires_grad
                with mg.enable_grad():
                    assert (x * 2).requires_grad
                barrier.wait()

    def inspecting() -> None:
        for _ in range(20):
            with mg.inspect():
                barrier.wait()
                assert (x * 2).node.where is not None
                barrier.wait()

    before = is_exact()

    def exact() -> None:
        for _ in range(20):
            with mg.guarding("sums" if before else "exact"):
                barrier.wait()
                assert is_exact() != before
                barrier.wait()
            assert is_exact() == before

    together(plain, off, inspecting, exact)


def test_a_new_thread_begins_with_gradients_on() -> None:
    with mg.no_grad():
        assert together(mg.is_grad_enabled) == [True]


def test_modes_belong_to_a_task() -> None:
    x = leaf([1.0])

    async def off(turns: int) -> None:
        with mg.no_grad():
            for _ in range(turns):
                await asyncio.sleep(0)
                assert not (x * 2).requires_grad

    async def on(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
            assert (x * 2).requires_grad

    async def main() -> None:
        await asyncio.gather(off(20), on(20), off(13), on(7))
        assert mg.is_grad_enabled()

    asyncio.run(main())


def test_a_task_begins_in_the_mode_of_who_started_it_and_a_thread_of_asyncio_too() -> None:
    async def main() -> None:
        async def asked() -> bool:
            return mg.is_grad_enabled()

        with mg.no_grad():
            task = asyncio.create_task(asked())
            assert not await asyncio.to_thread(mg.is_grad_enabled)
        assert not await task

    asyncio.run(main())


def test_a_generator_that_is_left_in_a_mode_leaves_its_caller_in_it() -> None:
    """Python's generators share the context of who runs them: why a decorated generator is refused."""

    def numbers() -> Iterator[bool]:
        with mg.no_grad():
            yield mg.is_grad_enabled()
        yield mg.is_grad_enabled()

    found = numbers()
    assert next(found) is False
    assert not mg.is_grad_enabled()
    assert next(found) is True
    assert mg.is_grad_enabled()
    with pytest.raises(TypeError, match="generator"):
        mg.no_grad(numbers)


def test_gradients_through_generators() -> None:
    def parts(x: Any) -> Iterator[Any]:
        for k in range(3):
            yield x[k] ** (k + 1)

    x = leaf([2.0, 3.0, 4.0])
    sum(parts(x)).backward()
    assert_array_equal(x.grad.numpy(), [1.0, 6.0, 48.0])


# ---- compiled steps ---------------------------------------------------------------------------------------------------------------


def test_a_compiled_function_in_many_threads() -> None:
    w = np.random.default_rng(0).normal(size=(5, 3))

    @mg.compile
    def f(x: Any) -> Any:
        return mg.tanh(x @ w).sum(axis=1)

    xs = [np.random.default_rng(k).normal(size=(1 + k % 2, 5)) for k in range(WORKERS)]
    expected = [np.tanh(x @ w).sum(axis=1) for x in xs]

    def work(k: int) -> None:
        held = []
        for _ in range(15):
            held.append(f(mg.asarray(xs[k])))
        for found in held:  # results of earlier calls too are nobody else's buffers
            np.testing.assert_allclose(found.numpy(), expected[k], rtol=1e-12)

    together(*(lambda k=k: work(k) for k in range(WORKERS)))


def test_compiled_steps_of_their_own_in_many_threads() -> None:
    def train(compiled: bool, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        w, x = leaf(rng.normal(size=(3,))), rng.normal(size=(6, 3))
        optimizer = mg.optim.Adam([w], lr=0.1)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = mg.mean((x @ w - 1.0) ** 2)
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = mg.compile(step) if compiled else step
        for _ in range(10):
            run(mg.asarray(x))
        return w.numpy().copy()

    expected = [train(False, k) for k in range(4)]
    for ours, theirs in zip(together(*(lambda k=k: train(True, k) for k in range(4))), expected):
        assert_array_equal(ours, theirs)


def test_draws_from_the_global_generator_are_neither_lost_nor_doubled() -> None:
    mg.manual_seed(5)
    expected = sorted(mg.random.uniform(4).tolist() for _ in range(200))
    mg.manual_seed(5)
    found = together(*[lambda: [mg.random.uniform(4).tolist() for _ in range(50)]] * 4)
    assert sorted(row for rows in found for row in rows) == expected


# ---- the pool ---------------------------------------------------------------------------------------------------------------------


def test_shared_work_inside_shared_work_in_many_threads() -> None:
    def inner(pieces: Iterator[int]) -> None:
        found.extend(pieces)

    def outer(pieces: Iterator[int]) -> None:
        for _ in pieces:
            threads.share(inner, 5)

    found: list[int] = []
    together(*[lambda: threads.share(outer, 6)] * WORKERS)
    assert sorted(found) == sorted([*range(5)] * 6 * WORKERS)


def test_an_error_in_shared_work_reaches_the_caller_and_the_pool_goes_on() -> None:
    def fails(pieces: Iterator[int]) -> None:
        for piece in pieces:
            if piece == 2:
                raise KeyError(piece)

    for _ in range(20):
        with pytest.raises(KeyError):
            threads.share(fails, 8)
    done: list[int] = []
    threads.share(done.extend, 8)
    assert sorted(done) == [*range(8)]


def test_shared_work_is_done_in_the_mode_of_who_asked() -> None:
    modes: list[bool] = []

    def ask(pieces: Iterator[int]) -> None:
        modes.extend(mg.is_grad_enabled() for _ in pieces)

    with mg.no_grad():
        threads.share(ask, 50)
    assert modes == [False] * 50


# ---- processes --------------------------------------------------------------------------------------------------------------------


def gradient_of(x: mg.Tensor) -> mg.Tensor:
    """Runs in another process."""
    assert x.requires_grad
    assert x.grad is None
    threads.share(lambda pieces: [None for _ in pieces], 4)  # its pool is its own
    mg.sum(mg.exp(x) * x).backward()
    assert x.grad is not None
    return x.grad


def fitted(model: Any) -> Any:
    for p in model.parameters():
        p.data = p.data + 1
    return model


@pytest.mark.parametrize("method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_tensors_and_models_go_to_processes_and_back(method: str) -> None:
    threads.share(lambda pieces: [None for _ in pieces], 4)  # threads of a pool do not outlive a fork
    xs = [leaf([float(k), 1.0]) for k in range(3)]
    expected = [mg.grad(lambda x: mg.sum(mg.exp(x) * x))(x.numpy()).numpy() for x in xs]
    model = mg.nn.Sequential(mg.nn.Linear(2, 3), mg.nn.Tanh())
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        for found, theirs in zip(pool.map(gradient_of, xs), expected):
            assert_array_equal(found.numpy(), theirs)
        back = pool.submit(fitted, model).result(60)
    for name, p in back.named_parameters():
        assert_array_equal(p.numpy(), dict(model.named_parameters())[name].numpy() + 1)
        assert p.requires_grad
    assert type(back) is type(model)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_other_threads_run_backward_leaves_no_lock_behind() -> None:
    stop, x = threading.Event(), leaf(np.ones(4))

    def work() -> None:
        while not stop.is_set():
            (x * 2).sum().backward()

    busy = [threading.Thread(target=work) for _ in range(3)]
    for thread in busy:
        thread.start()
    try:
        for _ in range(15):
            child = os.fork()
            if child == 0:  # nothing of pytest may run here
                signal.alarm(20)  # a deadlock ends as a signal
                y = leaf(np.ones(3))
                for _ in range(3):
                    (y * 3).sum().backward()
                (x * 2).sum().backward()
                os._exit(0 if y.grad.numpy().tolist() == [9.0] * 3 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in busy:
            thread.join()


# ---- copies -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "shares", "keeps_grad"),
    [
        (copy.copy, True, False),
        (copy.deepcopy, False, True),
        *(((lambda t, n=n: pickle.loads(pickle.dumps(t, n))), False, False) for n in range(2, pickle.HIGHEST_PROTOCOL + 1)),
    ],
)
def test_what_a_copy_keeps(way: Callable[[Any], Any], shares: bool, keeps_grad: bool) -> None:
    x = mg.tensor(np.array([1.0, 2.0]), requires_grad=True, name="x")
    (x * 3).sum().backward()
    twin = way(x)
    assert_array_equal(twin.numpy(), x.numpy())
    assert (twin.requires_grad, twin.name, twin.dtype, type(twin)) == (True, "x", x.dtype, type(x))
    assert np.shares_memory(twin.numpy(), x.numpy()) == shares
    assert (twin.grad is not None) == keeps_grad
    if keeps_grad:
        assert not np.shares_memory(twin.grad.numpy(), x.grad.numpy())
    (twin * 5).sum().backward()
    assert_array_equal(twin.grad.numpy(), [8.0, 8.0] if keeps_grad else [5.0, 5.0])
    assert_array_equal(x.grad.numpy(), [3.0, 3.0])


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_computed_tensor_says_that_a_copy_would_lose_its_graph(way: Callable[[Any], Any]) -> None:
    h = leaf([1.0]) * 2
    with pytest.raises(mg.MinigradError, match="detach"):
        way(h)
    assert way(h.detach()) is not None


def test_tensors_without_gradients_and_of_any_dtype_are_pickled() -> None:
    for x in (mg.tensor([1, 2]), mg.tensor(True), mg.zeros((0, 3)), mg.tensor(np.float16(2)), mg.tensor([1.0]) * 2):
        twin = pickle.loads(pickle.dumps(x))
        assert_array_equal(twin.numpy(), x.numpy())
        assert (twin.dtype, twin.shape, twin.requires_grad) == (x.dtype, x.shape, False)


def test_a_shared_tensor_stays_shared_in_a_deep_copy_and_a_pickle() -> None:
    x = leaf([1.0, 2.0])
    for way in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        a, b = way([x, x])
        assert a is b
        assert a is not x
