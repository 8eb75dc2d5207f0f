"""What is recorded: :func:`no_grad`, :func:`enable_grad`, :func:`inspect`. Each is a context manager and a decorator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from minigrad.graph import ALL, GRAD, OFF, record_mode, recording


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside: ``with mg.no_grad():``, or ``@mg.no_grad()`` on a function. Per thread and async task.

    Example:
        >>> import minigrad as mg
        >>> w = mg.tensor(1.0, requires_grad=True)
        >>> with mg.no_grad():
        ...     print((w * 2).requires_grad)
        False
    """
    with record_mode(OFF):
        yield


@contextmanager
def enable_grad() -> Iterator[None]:
    """Record again inside a :func:`no_grad` block.

    Example:
        >>> import minigrad as mg
        >>> w = mg.tensor(1.0, requires_grad=True)
        >>> with mg.no_grad(), mg.enable_grad():
        ...     print((w * 2).requires_grad)
        True
    """
    with record_mode(GRAD):
        yield


@contextmanager
def inspect() -> Iterator[None]:
    """Record everything inside, for looking at: all values however large, constants, and the source line of each operation.

    Costs memory (no value is dropped, not even by backward) and about 2 us an operation; outside it nothing is paid.

    Example:
        >>> import minigrad as mg
        >>> with mg.inspect():
        ...     y = mg.exp(mg.tensor([0.0]))
        >>> y.node.op.name
        'exp'
    """
    with record_mode(ALL):
        yield


def is_grad_enabled() -> bool:
    """Whether operations on tensors that ask for gradients are being recorded.

    Example:
        >>> import minigrad as mg
        >>> mg.is_grad_enabled()
        True
    """
    return recording.get()[0] != OFF
