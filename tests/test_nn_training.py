"""The training loop against loops written out, its modes and stops, what an interrupt keeps, and its table and plot."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.errors import AnomalyError, ShapeError
from minigrad.nn.training import State
from minigrad.optim import lr_scheduler

COLUMNS = ["loss", "validation_loss", "metric", "validation_metric", "lr", "grad_norm"]
"""All but the seconds, which no two trainings share."""


def problem(n=60, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 3)).astype("float32")
    return x, (x[:, 0] * x[:, 1] > 0).astype("int64")


def network(seed=0, dropout=0.0):
    mg.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2))


def train(model=None, data=None, **options):
    model = network() if model is None else model
    options = {"loss": nn.CrossEntropyLoss(), "epochs": 3, "batch_size": 16, **options}
    optimizer = options.pop("optimizer", None) or optim.SGD(model.parameters(), lr=0.1)
    return model, nn.fit(model, problem() if data is None else data, optimizer=optimizer, **options)


def weights(model):
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def differ(a, b):
    return any((a[name] != b[name]).any() for name in a)


# ---- what a step and an epoch are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_fit_is_the_loop_written_out(clip_norm):
    x, y = problem()
    model, history = train(shuffle=False, clip_norm=clip_norm, metric=nn.accuracy, optimizer=None)
    other, criterion = network(), nn.CrossEntropyLoss()
    optimizer = optim.SGD(other.parameters(), lr=0.1)
    losses, hits, norms = [], [], []
    for _ in range(3):
        loss_sum = hit_sum = norm_sum = 0.0
        for start in range(0, 60, 16):
            batch, labels = mg.asarray(x[start : start + 16]), y[start : start + 16]
            optimizer.zero_grad()
            scores = other(batch)
            value = criterion(scores, mg.asarray(labels))
            value.backward()
            if clip_norm:
                norm_sum += len(labels) * nn.utils.clip_grad_norm_(other.parameters(), clip_norm).item()
            optimizer.step()
            loss_sum += len(labels) * value.item()
            hit_sum += (scores.numpy().argmax(axis=1) == labels).sum()
        losses.append(loss_sum / 60)
        hits.append(hit_sum / 60)
        norms.append(norm_sum / 60)
    assert_same(weights(model), weights(other))
    assert history.loss == pytest.approx(losses, rel=1e-12)
    assert history.metric == pytest.approx(hits, rel=1e-12)
    assert history.lr == [0.1] * 3
    assert history.grad_norm == (pytest.approx(norms, rel=1e-12) if clip_norm else [])
    assert (history.epochs, history.stopped, history.best_epoch) == (3, "done", None)
    assert len(history.seconds) == 3


def test_batches_of_ones_own_arrive_as_they_are():
    x, y = problem()
    own = [(x[:50], y[:50]), (x[50:], y[50:])]
    model, _ = train(data=own, batch_size=1)
    same, _ = train(data=[tuple(map(mg.asarray, batch)) for batch in own])
    assert_same(weights(model), weights(same))
    _, one = train(data=[own[0]], optimizer=None, epochs=1)
    _, two = train(data=own, epochs=1)
    assert one.loss != two.loss


def test_several_inputs_reach_the_model_and_other_things_pass():
    class Both(nn.Module):
        def __init__(self):
            self.w = nn.Parameter([1.0])

        def forward(self, a, b, scale=None):
            assert scale in (None, 2)
            return self.w * (a + b) * (scale or 1)

    a, b = np.ones((6, 1), "float32"), np.full((6, 1), 2, "float32")
    model = Both()
    _, history = train(model, (a, b, np.zeros((6, 1), "float32")), loss=nn.MSELoss(), epochs=1)
    assert history.loss == [9.0]
    _, history = train(Both(), [[a, b, 2, np.zeros((6, 1), "float32")]], loss=nn.MSELoss(), epochs=1)
    assert history.loss == [36.0]


def test_means_are_over_examples_not_batches():
    x = np.array([[0.0], [0.0], [0.0], [4.0]], "float32")
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    found = nn.evaluate(model, (x, 0 * x), loss=nn.MSELoss(), metric=lambda p, t: p.numpy().mean(), batch_size=3)
    assert found == {"loss": 4.0, "metric": 1.0}
    _, history = train(model, (x, 0 * x), loss=nn.MSELoss(), batch_size=3, shuffle=False, epochs=1,
                       optimizer=optim.SGD(model.parameters(), lr=0.0), validation=(x, 0 * x))  # fmt: skip
    assert history.loss == history.validation_loss == [4.0]


def test_an_optimiser_with_a_line_search_gets_its_closure():
    model = network()
    _, history = train(
        model,
        optimizer=optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe"),
        batch_size=60,
        epochs=3,
        metric=nn.accuracy,
    )
    assert history.loss[-1] < 0.2 < history.loss[0]
    assert len(history.metric) == 3


def test_a_line_search_may_try_what_is_not_finite():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    tried = []

    def loss(prediction, target):
        value = mg.mean((prediction - target) ** 2)
        tried.append(value.item())
        return value if len(tried) != 2 else value * math.inf

    x = np.ones((4, 1), "float32")
    optimizer = optim.LBFGS(model.parameters(), lr=10.0, line_search_fn="strong_wolfe")
    _, history = train(model, (x, 3 * x), loss=loss, optimizer=optimizer, epochs=1)
    assert history.loss == [4.0]
    assert len(tried) > 2
    assert abs(model.weight.item() - 3) < 0.1


def test_validation_keeps_its_order():
    seen, criterion = [], nn.MSELoss()

    def loss(prediction, target):
        if not mg.is_grad_enabled():
            seen.extend(target.numpy()[:, 0].tolist())
        return criterion(prediction, target)

    x, _ = problem(20)
    number = np.arange(20.0, dtype="float32")[:, None]
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=1e-4)
    train(model, (x, number), loss=loss, validation=(x, number), epochs=2, batch_size=8, optimizer=optimizer)
    assert seen == list(range(20)) * 2


# ---- reproducible ------------------------------------------------------------------------------------------------------------


def noisy(before=0, **options):
    x, y = problem()
    images = nn.ArrayDataset(x.reshape(-1, 1, 1, 3), y, transform=nn.data.Noise(0.1))
    model = network(dropout=0.5)
    model = nn.Sequential(nn.Flatten(), *model)
    mg.manual_seed(before)
    return train(model, images, validation=(x.reshape(-1, 1, 1, 3), y), metric=nn.accuracy, clip_norm=1.0, **options)


def test_a_seed_repeats_everything_and_leaves_the_global_generator_alone():
    mg.manual_seed(11)
    expected = mg.random.uniform(3).tolist()
    (model, history), (same, again) = noisy(seed=5), noisy(before=1, seed=5)
    assert_same(weights(model), weights(same))
    for name in COLUMNS:
        assert history[name] == again[name]
    assert differ(weights(model), weights(noisy(seed=6)[0]))
    mg.manual_seed(11)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))
    mg.manual_seed(11)
    train(model, epochs=1)
    assert mg.random.uniform(3).tolist() == expected


def test_without_a_seed_manual_seed_rules():
    def trained(seed):
        model = network(dropout=0.5)
        mg.manual_seed(seed)
        return weights(train(model, seed=None)[0])

    assert_same(trained(1), trained(1))
    assert differ(trained(1), trained(2))


def test_a_generator_goes_on_from_call_to_call():
    def trained(seeds):
        model = network(dropout=0.3)
        for seed in seeds:
            train(model, seed=seed, epochs=1)
        return weights(model)

    one, two = np.random.default_rng(0), np.random.default_rng(0)
    assert_same(trained([one, one]), trained([two, two]))
    assert differ(trained([0, 0]), trained([np.random.default_rng(0)] * 2))


def test_shuffle_can_be_turned_off():
    assert differ(weights(train()[0]), weights(train(shuffle=False)[0]))
    assert_same(weights(train(shuffle=False, seed=1)[0]), weights(train(shuffle=False, seed=2)[0]))


# ---- modes -------------------------------------------------------------------------------------------------------------------


class Watcher(nn.Module):
    """Notes in which mode, and whether recorded, it was called."""

    def __init__(self):
        self.linear, self.seen = nn.Linear(3, 2), []
        self.frozen = nn.Dropout(0.5)

    def forward(self, x):
        self.seen.append((self.training, mg.is_grad_enabled()))
        return self.frozen(self.linear(x))


@pytest.mark.parametrize("mode", [True, False])
def test_modes_are_set_and_put_back(mode):
    model = Watcher().train(mode)
    data = problem(10)
    train(model, data, validation=data, epochs=2, batch_size=10)
    assert model.seen == [(True, True), (False, False)] * 2
    assert (model.training, model.linear.training) == (mode, mode)
    model.seen.clear()
    nn.evaluate(model, data, loss=nn.CrossEntropyLoss())
    assert model.seen == [(False, False)]
    assert model.training is mode


def test_what_was_put_into_eval_mode_stays_there():
    model = Watcher()
    model.frozen.eval()
    modes = []
    train(model, batch_callbacks=[lambda s: modes.append((s.model.training, s.model.frozen.training))], validation=problem(10))
    assert set(modes) == {(True, False)}
    assert (model.training, model.frozen.training) == (True, False)


def test_modes_are_put_back_after_an_error():
    model = network().eval()

    def loss(prediction, target):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        train(model, loss=loss)
    assert not any(module.training for module in model.modules())
    assert mg.is_grad_enabled()


# ---- schedules ---------------------------------------------------------------------------------------------------------------


def test_schedules_step_each_epoch_or_each_batch():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.4)
    scheduler = lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    _, history = train(model, optimizer=optimizer, scheduler=scheduler)
    assert history.lr == [0.4, 0.2, 0.1]

    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=12)
    rates = []
    train(model, optimizer=optimizer, scheduler=scheduler, scheduler_per="batch",
          batch_callbacks=[lambda s: rates.append(s.optimizer.param_groups[0]["lr"])])  # fmt: skip
    other = optim.SGD([mg.zeros(1, requires_grad=True)], lr=0.1)
    expected = lr_scheduler.OneCycleLR(other, max_lr=0.5, total_steps=12)
    wanted = []
    for _ in range(12):
        if len(wanted) < 11:
            expected.step()
        wanted.append(other.param_groups[0]["lr"])
    assert rates[:11] == pytest.approx(wanted[:11], rel=1e-12)


@pytest.mark.parametrize("validated", [True, False])
def test_a_plateau_is_judged_by_the_validation_loss(validated):
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    told = []

    class Told(lr_scheduler.ReduceLROnPlateau):
        def step(self, metrics, epoch=None):
            told.append(metrics)
            super().step(metrics, epoch)

    _, history = train(
        model, optimizer=optimizer, scheduler=Told(optimizer, patience=0), validation=problem(10, 1) if validated else None
    )
    assert told == (history.validation_loss if validated else history.loss)


# ---- best weights, early stopping, callbacks ---------------------------------------------------------------------------------


def scripted(losses):
    """A loss that gives these values in validation, one an epoch."""
    left, criterion = iter(losses), nn.CrossEntropyLoss()

    def loss(prediction, target):
        return criterion(prediction, target) if mg.is_grad_enabled() else mg.tensor(next(left))

    return loss


def follow(kept):
    return lambda state: kept.append(weights(state.model))


@pytest.mark.parametrize("best", [True, False])
def test_best_weights_come_back(best):
    kept = []
    model, history = train(
        validation=problem(10, 1), loss=scripted([3.0, 1.0, 2.0, 1.0]), epochs=4, best=best, callbacks=[follow(kept)]
    )
    assert history.best_epoch == 2, "the first of equals"
    assert history.validation_loss == [3.0, 1.0, 2.0, 1.0]
    assert_same(weights(model), kept[1] if best else kept[3])
    assert differ(kept[1], kept[3])


def test_early_stopping_waits_its_patience():
    _, history = train(validation=problem(10, 1), loss=scripted([5.0, 4.0, 4.5, 3.0, 3.5, 3.0, 9.0, 0.0]), epochs=8, patience=3)
    assert history.stopped == "early stopping at epoch 7; best was 4"
    assert (history.epochs, history.best_epoch) == (7, 4)


def test_a_validation_loss_that_is_not_finite_is_never_best():
    _, history = train(validation=problem(10, 1), loss=scripted([math.nan, 2.0, math.nan, 1.0]), epochs=4)
    assert history.best_epoch == 4
    _, history = train(validation=problem(10, 1), loss=scripted([math.nan] * 4), epochs=4, patience=2)
    assert history.stopped == "early stopping at epoch 2; best was none"


def test_callbacks_see_the_state_and_can_stop():
    seen = []

    def enough(state):
        assert isinstance(state, State)
        seen.append((state.epoch, state.batch, state.batches, state.epochs, state.history.epochs, state.loss))
        return state.epoch == 2

    _, history = train(callbacks=[enough], epochs=5)
    assert [s[:5] for s in seen] == [(1, 4, 4, 5, 1), (2, 4, 4, 5, 2)]
    assert all(math.isfinite(s[5]) for s in seen)
    assert history.stopped == "stopped by enough in epoch 2"
    assert history.epochs == 2

    def by_raising(state):
        if (state.epoch, state.batch) == (2, 3):
            raise nn.StopTraining("that is enough")

    _, history = train(batch_callbacks=[by_raising])
    assert (history.stopped, history.epochs) == ("that is enough", 1)

    class Silent:
        def __call__(self, state):
            raise nn.StopTraining

    _, history = train(callbacks=[Silent()])
    assert history.stopped == "stopped in epoch 1"
    _, history = train(callbacks=[lambda state: 1.0, lambda state: np.True_], epochs=2)
    assert history.stopped == "done", "only True stops, not whatever a one-line callback happens to return"


# ---- interrupts --------------------------------------------------------------------------------------------------------------


def interrupt_at(epoch, batch):
    def callback(state):
        if (state.epoch, state.batch) == (epoch, batch):
            raise KeyboardInterrupt

    return callback


def test_an_interrupt_keeps_what_was_learned():
    kept = []
    model, history = train(batch_callbacks=[follow(kept), interrupt_at(2, 3)])
    assert (history.stopped, history.epochs) == ("interrupted", 1)
    assert len(kept) == 7
    assert_same(weights(model), kept[-1])


def test_an_interrupt_brings_back_the_best_weights():
    kept = []
    model, history = train(
        loss=scripted([2.0, 1.0, 3.0]), validation=problem(10, 1), epochs=5, callbacks=[follow(kept)], batch_callbacks=[interrupt_at(4, 2)]
    )  # fmt: skip
    assert (history.stopped, history.epochs, history.best_epoch) == ("interrupted", 3, 2)
    assert_same(weights(model), kept[1])


def test_an_interrupt_in_the_model_or_in_validation_is_an_interrupt_too():
    criterion, calls = nn.CrossEntropyLoss(), []

    def loss(prediction, target):
        calls.append(mg.is_grad_enabled())
        if calls.count(False) == 2 or len(calls) == 100:
            raise KeyboardInterrupt
        return criterion(prediction, target)

    model = network().eval()
    _, history = train(model, loss=loss, validation=problem(10, 1))
    assert (history.stopped, history.epochs) == ("interrupted", 1)
    assert len(history.loss) == len(history.validation_loss) == len(history.lr)
    assert not model.training
    assert mg.is_grad_enabled()


def test_a_second_interrupt_is_not_caught(monkeypatch):
    model = network()

    def again(state_dict, strict=True):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(model), "load_state_dict", lambda self, state_dict, strict=True: again(state_dict))
    with pytest.raises(KeyboardInterrupt):
        train(model, validation=problem(10, 1), batch_callbacks=[interrupt_at(2, 1)])
    assert model.training


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_ends_training_and_the_program_goes_on():
    program = """
        import numpy as np
        import minigrad as mg
        from minigrad import nn, optim

        x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
        model = nn.Linear(3, 1)
        before = model.weight.numpy().copy()
        tell = lambda state: print("epoch", flush=True) if state.epoch == 3 else None
        history = nn.fit(model, (x, x[:, :1]), loss=nn.MSELoss(), optimizer=optim.SGD(model.parameters(), lr=0.01),
                         epochs=10**9, callbacks=[tell])
        assert history.epochs >= 3 and (model.weight.numpy() != before).all()
        print(history.stopped)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "epoch\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, "interrupted\n", "")


# ---- what is not finite ------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_named_and_does_not_reach_the_weights():
    x, y = problem()
    x[40] = np.nan
    kept = []
    model = network()
    with pytest.raises(AnomalyError) as caught:
        train(model, (x, y), shuffle=False, batch_callbacks=[follow(kept)])
    text = str(caught.value)
    for part in (
        "the loss is nan in epoch 1, batch 3 of 4",
        "had before that batch",
        "it is 0.1",
        "clip_norm=1.0",
        "mg.detect_anomaly()",
    ):
        assert part in text
    assert_same(weights(model), kept[1])
    assert len(kept) == 2


def test_a_gradient_that_is_not_finite_does_not_reach_the_weights():
    model = nn.Linear(2, 1)
    nn.init.constant_(model.weight, 0.0)
    nn.init.constant_(model.bias, 0.0)
    before = weights(model)
    with pytest.raises(
        AnomalyError, match=r"finite, but not its gradient with respect to weight, bias, in epoch 1, batch 1 of 1"
    ):
        train(model, (np.ones((4, 2), "float32"), np.zeros(4)), loss=lambda p, t: mg.mean(mg.sqrt(p)))
    assert_same(weights(model), before)


def test_large_gradients_whose_sum_overflows_are_finite():
    model = nn.Linear(4, 1, bias=False)
    big = np.full((1, 4), 2e38, "float32")
    optimizer = optim.SGD(model.parameters(), lr=0.0)
    _, history = train(model, (big, np.zeros((1, 1), "float32")), loss=lambda p, t: mg.sum(p * 0 + model.weight.sum() * 2e38),
                       optimizer=optimizer, epochs=1)  # fmt: skip
    assert history.stopped == "done"


def test_weights_that_a_step_spoils_are_those_of_the_epoch_before():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    factor = iter([1.0, 1.0, 3e38, 1.0])

    def loss(prediction, target):
        return mg.mean(prediction) * next(factor)

    x = np.full((4, 1), 1.0, "float32")
    kept = []
    step_far = lambda s: s.optimizer.param_groups[0].update(lr=1e38) if s.epoch == 2 or s.batch == 2 else None  # noqa: E731
    with (
        np.errstate(over="ignore"),
        pytest.raises(AnomalyError, match=r"the loss is -?inf in epoch 2, batch 2 of 2.*it had at the start of that epoch"),
    ):
        train(
            model, (x, x), loss=loss, optimizer=optimizer, batch_size=2, epochs=2, callbacks=[follow(kept)],
            batch_callbacks=[step_far],
        )  # fmt: skip
    assert_same(weights(model), kept[0])


def test_detect_anomaly_names_the_operation():
    model = nn.Linear(2, 1)
    data = (np.ones((4, 2), "float32"), np.zeros((4, 1), "float32"))
    with pytest.raises(AnomalyError, match=r"^log: produced"), mg.detect_anomaly(), np.errstate(all="ignore"):
        train(model, data, loss=lambda p, t: mg.mean(mg.log(-mg.abs(p))))


# ---- progress ----------------------------------------------------------------------------------------------------------------


def test_progress_is_silent_off_a_terminal(capsys):
    train(validation=problem(10, 1))
    assert capsys.readouterr() == ("", "")


def test_the_bar_shows_loss_and_rate(capsys):
    pytest.importorskip("tqdm")
    train(validation=problem(10, 1), metric=nn.accuracy, progress=True, epochs=2)
    out, err = capsys.readouterr()
    assert out == ""
    last = err.split("\r")[-1]
    assert last.startswith("epoch 2/2 100% |")
    for part in (", loss ", ", lr 0.1", "validation "):
        assert part in last
    train(data=iter_only(), progress=True, epochs=1)
    assert "epoch 1/1" in capsys.readouterr().err


def test_the_bar_needs_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"pip install 'minigrad\[train\]'"):
        train(progress=True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert train()[1].stopped == "done"


def iter_only():
    class Endless:
        def __iter__(self):
            x, y = problem()
            yield x[:30], y[:30]
            yield x[30:], y[30:]

    return Endless()


def test_batches_without_a_length_will_do():
    seen = []
    train(data=iter_only(), batch_callbacks=[lambda s: seen.append((s.batch, s.batches))], epochs=1)
    assert seen == [(1, None), (2, None)]


# ---- misuse ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"loss": nn.CrossEntropyLoss}, TypeError, "loss: expected .* a loss that was made.* got the class CrossEntropyLoss"),
        ({"optimizer": optim.SGD}, TypeError, "optimizer: expected one that was made.* got the class SGD"),
        ({"scheduler": lr_scheduler.StepLR}, TypeError, "scheduler: expected one that was made"),
        ({"scheduler_per": "step"}, ValueError, "scheduler_per='step': expected 'epoch' or 'batch'"),
        ({"epochs": -1}, ValueError, "epochs=-1"),
        ({"patience": 3}, ValueError, "patience=3: expected .* validation data"),
        ({"patience": 0, "validation": problem()}, ValueError, "patience=0: expected 1 or more"),
        ({"data": iter([(1, 2)])}, TypeError, "train: expected .* used up after one epoch: make a list of it"),
        ({"validation": (b for b in [])}, TypeError, "validation: expected .* used up"),
        ({"data": np.zeros((3, 3))}, TypeError, "train: expected an ArrayDataset.* got a ndarray"),
        ({"data": []}, ValueError, "train gave no batches"),
        ({"data": [np.zeros((3, 3))]}, TypeError, r"a batch is \(inputs..., target\).* got a ndarray"),
        ({"data": (np.zeros((3, 3)),)}, TypeError, r"got 1 of them. To reconstruct x, pass \(x, x\)"),
        ({"loss": lambda p, t: p}, ShapeError, r"the loss must be one number.* of shape \(16, 2\)"),
        ({"loss": lambda p, t: 1.0}, ShapeError, "the loss must be one number.* got a float"),
    ],
)
def test_misuse_is_named(options, kind, message):
    with pytest.raises(kind, match=message):
        train(**options)


def test_misuse_of_model_and_schedule():
    with pytest.raises(TypeError, match="model: expected a Module; got a function"):
        nn.fit(lambda x: x, problem(), loss=nn.MSELoss(), optimizer=optim.SGD(network().parameters(), lr=0.1), epochs=1)
    optimizer = optim.SGD(network().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="ReduceLROnPlateau needs the loss of an epoch"):
        train(optimizer=optimizer, scheduler=lr_scheduler.ReduceLROnPlateau(optimizer), scheduler_per="batch")
    with pytest.raises(ValueError, match="the data gave no batches"):
        nn.evaluate(network(), [], loss=nn.MSELoss())


def test_batches_that_are_used_up_are_noticed():
    class Once:
        def __init__(self):
            self.left = [problem()]

        def __iter__(self):
            while self.left:
                yield self.left.pop()

    with pytest.raises(ValueError, match="no batches in epoch 2: it must give them anew"):
        train(data=Once())


def test_no_epochs_change_nothing():
    model = network()
    before = weights(model)
    _, history = train(model, epochs=0)
    assert_same(weights(model), before)
    assert (history.epochs, history.stopped, len(history)) == (0, "done", 0)


# ---- accuracy ----------------------------------------------------------------------------------------------------------------


def test_accuracy_counts_right_classes():
    scores = np.array([[1.0, 2, 0], [3, 1, 2], [0, 0, 1], [5, 6, 4]])
    assert nn.accuracy(mg.asarray(scores), np.array([1, 0, 0, 1])) == 0.75
    assert nn.accuracy(scores, np.array([1, 0, 2, 1])) == 1.0
    pixels = np.moveaxis(np.eye(3)[np.array([[0, 1], [2, 2]])], -1, 0)[None]
    assert nn.accuracy(pixels, np.array([[[0, 1], [2, 0]]])) == 0.75
    one = np.array([-2.0, 3.0, 0.5, -0.1])
    assert nn.accuracy(one, np.array([0, 1, 0, 0])) == nn.accuracy(one, np.array([-1, 1, -1, -1])) == 0.75
    assert nn.accuracy(one[:, None], np.array([[False], [True], [True], [False]])) == 1.0


@pytest.mark.parametrize(("scores", "classes"), [((4, 1), (4,)), ((4, 3), (5,)), ((4,), (4, 2)), ((4, 3, 5), (4, 3))])
def test_accuracy_refuses_what_is_no_score(scores, classes):
    with pytest.raises(ShapeError, match="accuracy: expected scores"):
        nn.accuracy(np.zeros(scores), np.zeros(classes, int))


# ---- truncated backpropagation through time ----------------------------------------------------------------------------------


class Next(nn.Module):
    def __init__(self, batch_first=False):
        self.rnn, self.head = nn.LSTM(2, 4, batch_first=batch_first), nn.Linear(4, 1)

    def forward(self, x, state=None):
        h, state = self.rnn(x, state)
        return self.head(h), state


def series(steps=23):
    rng = np.random.default_rng(0)
    return rng.normal(size=(steps, 3, 2)).astype("float32"), rng.normal(size=(steps, 3, 1)).astype("float32")


@pytest.mark.parametrize("clip_norm", [None, 0.1])
@pytest.mark.parametrize("length", [5, 23, 100])
def test_tbptt_is_truncation_written_out(length, clip_norm):
    x, y = series()
    mg.manual_seed(1)
    model = Next()
    other = Next()
    other.load_state_dict(model.state_dict())
    mean, state = nn.tbptt(
        model, x, y, loss=nn.MSELoss(), optimizer=optim.Adam(model.parameters(), lr=0.01), length=length, clip_norm=clip_norm
    )
    optimizer, carried, total = optim.Adam(other.parameters(), lr=0.01), None, 0.0
    for start in range(0, 23, length):
        piece, target = mg.asarray(x[start : start + length]), mg.asarray(y[start : start + length])
        prediction, carried = other(piece, carried)
        loss = mg.mean((prediction - target) ** 2)
        optimizer.zero_grad()
        loss.backward()
        if clip_norm:
            nn.utils.clip_grad_norm_(other.parameters(), clip_norm)
        optimizer.step()
        carried = tuple(mg.tensor(s.numpy()) for s in carried)
        total += loss.item() * len(piece)
    for name, value in weights(other).items():
        np.testing.assert_allclose(weights(model)[name], value, rtol=1e-6, atol=1e-9)
    assert mean == pytest.approx(total / 23, rel=1e-6)
    for s, expected in zip(state, carried):
        np.testing.assert_allclose(s.numpy(), expected.numpy(), rtol=1e-6)
        assert not s.requires_grad


def test_tbptt_along_axis_1_and_from_a_state():
    x, y = series()
    mg.manual_seed(1)
    model = Next()
    other = Next(batch_first=True)
    other.load_state_dict(model.state_dict())
    start = (mg.ones((1, 3, 4)), mg.zeros((1, 3, 4)))
    options = {"loss": nn.MSELoss(), "length": 7, "state": start}
    mean, _ = nn.tbptt(model, x, y, optimizer=optim.SGD(model.parameters(), lr=0.1), **options)
    same, _ = nn.tbptt(
        other, x.swapaxes(0, 1), y.swapaxes(0, 1), optimizer=optim.SGD(other.parameters(), lr=0.1), axis=1, **options
    )
    assert mean == pytest.approx(same, rel=1e-6)
    without, _ = nn.tbptt(Next(), x, y, optimizer=optim.SGD(model.parameters(), lr=0.1), **(options | {"state": None}))
    assert without != mean


def test_tbptt_says_where_it_failed():
    x, y = series()
    x[11] = np.nan
    model = Next()
    with pytest.raises(AnomalyError, match=r"tbptt: the loss is nan in the piece that begins at step 10"):
        nn.tbptt(model, x, y, loss=nn.MSELoss(), optimizer=optim.SGD(model.parameters(), lr=0.1), length=5)
    assert all(np.isfinite(w).all() for w in weights(model).values())


# ---- what importing costs ------------------------------------------------------------------------------------------------------


def test_saving_and_plotting_cost_nothing_until_they_are_used():
    program = """
        import sys
        import minigrad as mg
        from minigrad import nn
        assert {"safetensors", "matplotlib", "tqdm", "sklearn", "minigrad.saving"}.isdisjoint(sys.modules)
        assert mg.save is mg.save and {"save", "load", "load_metadata"} <= set(mg.__all__)
        assert "minigrad.saving" in sys.modules and "safetensors" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=120)


# ---- history -----------------------------------------------------------------------------------------------------------------


def test_a_history_is_a_mapping_of_what_was_measured():
    _, history = train(validation=problem(10, 1))
    assert list(history) == ["loss", "validation_loss", "lr", "seconds"]
    assert history["loss"] is history.loss
    assert dict(history)["lr"] == [0.1] * 3
    assert "metric" not in history
    with pytest.raises(KeyError, match="no 'metric'; measured were: loss, validation_loss, lr, seconds"):
        history["metric"]


def test_its_table_can_be_read():
    history = nn.History(best_epoch=2, stopped="done")
    for k in range(3):
        history.append(loss=1 / (k + 1), validation_loss=None, lr=0.001)
    assert repr(history).splitlines() == [
        "3 epochs, done; best was epoch 2",
        "epoch    loss     lr",
        "    1       1  0.001",
        "    2     0.5  0.001",
        "    3  0.3333  0.001",
    ]
    for _ in range(100):
        history.append(loss=1.0, lr=0.1)
    lines = repr(history).splitlines()
    assert len(lines) == 19
    assert "..." in lines[10]
    assert lines[-1].split() == ["103", "1", "0.1"]
    assert repr(nn.History()) == "0 epochs, running"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_plot_is_written(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    _, history = train(validation=problem(10, 1), metric=nn.accuracy)
    path = tmp_path / f"curve.{suffix}"
    figure = history.plot(path, title="Digits", metric="accuracy")
    assert path.read_bytes()[:4] in (b"\x89PNG", b"<?xm", b"%PDF")
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["training", "validation", f"best: epoch {history.best_epoch}"]
    np.testing.assert_array_equal(left.lines[0].get_ydata(), history.loss)
    np.testing.assert_array_equal(right.lines[1].get_ydata(), history.validation_metric)
    assert (left.get_ylabel(), right.get_ylabel(), right.get_xlabel()) == ("loss", "accuracy", "epoch")
    assert os.listdir(tmp_path) == [path.name], "nothing is left beside it"


def test_a_plot_of_losses_alone_and_of_nothing():
    pytest.importorskip("matplotlib")
    assert len(train()[1].plot().axes) == 1
    assert len(nn.History().plot().axes) == 1
    spread = nn.History(loss=[100.0, 1.0, 0.01])
    assert spread.plot().axes[0].get_yscale() == "log"
    assert nn.History(loss=[2.0, 1.0, 0.5]).plot().axes[0].get_yscale() == "linear"
    assert nn.History(loss=[100.0, -1.0, 0.01]).plot().axes[0].get_yscale() == "linear"


def test_a_plot_needs_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'minigrad\[train\]'"):
        nn.History().plot()
