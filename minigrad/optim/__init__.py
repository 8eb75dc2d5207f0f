"""Optimisers under PyTorch's names, their schedules, and minimisers of functions of a vector.

>>> import minigrad as mg
>>> w = mg.tensor([3.0, -2.0], requires_grad=True)
>>> optimizer = mg.optim.SGD([w], lr=0.1, momentum=0.5)
>>> for _ in range(60):
...     optimizer.zero_grad()
...     loss = (w * w).sum()
...     loss.backward()
...     optimizer.step()
>>> loss.item() < 1e-6
True
"""

from __future__ import annotations

from minigrad.optim import lr_scheduler
from minigrad.optim.adafactor import Adafactor
from minigrad.optim.adaptive import Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, Rprop
from minigrad.optim.base import Elementwise, Optimizer, OptimizerError
from minigrad.optim.grad_scaler import GradScaler
from minigrad.optim.lbfgs import LBFGS
from minigrad.optim.minimize import (
    LineSearchResult,
    Result,
    bfgs,
    conjugate_gradient,
    flatten,
    line_search,
    newton,
    unflatten,
)
from minigrad.optim.sgd import ASGD, SGD

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Elementwise",
    "GradScaler",
    "LineSearchResult",
    "NAdam",
    "Optimizer",
    "OptimizerError",
    "RAdam",
    "RMSprop",
    "Result",
    "Rprop",
    "bfgs",
    "conjugate_gradient",
    "flatten",
    "line_search",
    "lr_scheduler",
    "newton",
    "unflatten",
]
