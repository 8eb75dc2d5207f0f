"""viz.draw of a compiled step."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim, viz
from minigrad.compiler.program import Instruction
from minigrad.compiler.schedule import Region


def training(width=256, rows=512):
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @mg.compile
    def step(x):
        optimizer.zero_grad()
        loss = mg.mean(mg.exp(-model(x)) ** 2)
        loss.backward()
        optimizer.step()
        return loss

    x = np.random.default_rng(0).normal(size=(rows, 8)).astype("float32")
    for _ in range(3):
        step(x)
    return step


def boxes(dot):
    return dict(re.findall(r"^  (\w+) \[label=<(.*)> style", dot, re.M))


def test_every_operation_and_every_gradient_is_there():
    step = training()
    drawing = viz.draw(step, title="a step")
    found = boxes(drawing.source)
    items = step.programs[0].items
    alone = [i for i in items if isinstance(i, Instruction) and i.view is None]
    assert sum("block by block</B>" in text for text in found.values()) == sum(isinstance(i, Region) for i in items) > 0
    for item in alone:
        assert any(f"<B>{item.op.name}</B>" in text for text in found.values())
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert any(f"<B>{name}.grad</B>" in text for text in found.values())
        assert any(f"<B>{name}</B>" in text for text in found.values())
    assert any("SGD.step" in text for text in found.values())
    arrows = re.findall(r"^  (\w+) -> (\w+)", drawing.source, re.M)
    assert {end for arrow in arrows for end in arrow} <= found.keys()
    assert "a step" in drawing.source
    assert drawing.svg().count("<svg") == 1


def test_a_long_program_is_drawn_in_few_boxes():
    w = mg.tensor(np.ones(4), requires_grad=True)

    def f():
        w.grad = None
        y = w
        for _ in range(400):
            y = mg.tanh(y * w)
        loss = y.sum()
        loss.backward()
        return loss

    step = mg.compile(f)
    for _ in range(3):
        step()
    found = boxes(viz.draw(step).source)
    assert len(found) < 130
    counted = sum(int(n) for text in found.values() for n in re.findall(r"<B>(\d+) operations", text))
    single = sum("<B>" in text and "operations" not in text for text in found.values())
    views = sum(i.view is not None for i in step.programs[0].program.instructions())
    assert counted + single >= sum(1 for _ in step.programs[0].program.instructions()) - views


def test_the_drawing_is_the_same_each_time():
    assert viz.draw(training()).source == viz.draw(training()).source


def test_a_step_that_is_not_compiled_yet():
    with pytest.raises(ValueError, match="second call"):
        viz.draw(mg.compile(lambda x: x))
