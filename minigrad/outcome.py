"""How a command ends: its exit code, an error for the user, and JSON."""

from __future__ import annotations

import json
from typing import Any

OK, WRONG, USAGE, NO_OUTPUT, FAULT, INTERRUPTED, CLOSED = 0, 1, 2, 3, 70, 130, 141


class CommandError(Exception):
    """An error for the user, with the exit code it ends the command with."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def plain_list(value: Any) -> Any:
    """JSON knows no nan and no infinities: they become strings, which ``float`` reads back."""
    if isinstance(value, list):
        return [plain_list(item) for item in value]
    return value if not isinstance(value, float) or abs(value) < float("inf") else str(value)


def print_json(data: Any) -> None:
    """Indented, for those who read it."""
    print(json.dumps(data, indent=2, allow_nan=False))
