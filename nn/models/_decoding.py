"""How sequence models write: one token after another, the likeliest, one that is drawn, or several beginnings at a time.

A model takes part as ``step(last, state) -> logits, state``: the token written last of each of N sequences, a Tensor (N,), and a
tuple of Tensors with N rows that holds whatever else the model knows of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad import backend, nn, ops
from minigrad.modes import no_grad
from minigrad.tensor import Tensor, asarray

State = tuple[Any, ...]
Step = Callable[[Any, State], tuple[Any, State]]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """No graph and no dropout; afterwards each module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, training in modes:
            object.__setattr__(module, "training", training)


def sample(logits: Any, temperature: float, rng: np.random.Generator, top_k: int | None = None) -> Any:
    """One class for each row of logits (..., V), drawn from softmax(logits / temperature); the likeliest at temperature 0.

    The argument of the maximum of logits / temperature plus Gumbel noise has just that distribution.

    Args:
        logits: (..., V).
        temperature: below 1 the likely become likelier, above 1 all become alike.
        rng: where the noise comes from.
        top_k: draw among the k likeliest only.

    Raises:
        ValueError: for a negative temperature, or no class to draw from.
    """
    if temperature < 0 or (top_k is not None and top_k < 1):
        raise ValueError(f"generate: temperature={temperature}, top_k={top_k}: expected 0 or more, and 1 or more")
    scores = backend.to_numpy(logits._data) if isinstance(logits, Tensor) else np.asarray(logits)
    if top_k is not None and top_k < scores.shape[-1]:
        least = np.partition(scores, -top_k, axis=-1)[..., -top_k, None]
        scores = np.where(scores < least, -np.inf, scores)
    if temperature:
        scores = scores / temperature + rng.gumbel(size=scores.shape)
    return scores.argmax(-1)


def greedy(step: Step, state: State, start: int, end: int, padding: int, max_length: int) -> Tensor:
    """The likeliest token at each step, until all N sequences have ended: (N, L), L at most ``max_length``.

    The start is left out, the end is in it, what comes after it is padding.
    """
    count, device = len(state[0]), state[0].device
    last, alive = np.full(count, start), np.ones(count, bool)
    written = np.zeros((count, 0), last.dtype)
    while alive.any() and written.shape[1] < max_length:
        logits, state = step(asarray(last, device=device), state)
        last = np.where(alive, backend.to_numpy(logits._data).argmax(-1), padding)
        written = np.column_stack([written, last])
        alive &= last != end
    return asarray(written, device=device)


def beam_search(
    step: Step, state: State, start: int, end: int, width: int, max_length: int, length_penalty: float = 0.0
) -> list[tuple[list[int], float]]:
    """The likeliest sequences of a search that keeps ``width`` beginnings, best first: tokens with the end, and their score.

    Each step prolongs every beginning by every token and keeps the best; one that ends leaves the beam and takes its place with
    it (Sutskever et al. 2014; Graves 2012). The score is log p(tokens) / length**length_penalty; one that did not end within
    ``max_length`` counts as it is. With as many beginnings as there are sequences the search is exact.

    Args:
        step: of the model.
        state: of one sequence.
        start: what is written before the first token.
        end: the token that ends.
        width: how many beginnings, 1 for the greedy choice.
        max_length: how many tokens at most.
        length_penalty: 0 prefers short sequences, 1 the best mean.

    Raises:
        ValueError: for a width below 1.
    """
    if width < 1:
        raise ValueError(f"beam: width={width}: expected 1 or more beginnings to keep")
    live: list[list[int]] = [[]]
    done: list[tuple[list[int], float]] = []
    scores, last = np.zeros(1), np.array([start])
    for _ in range(max_length):
        logits, state = step(asarray(last, device=state[0].device), state)
        total = scores[:, None] + backend.to_numpy(ops.log_softmax(logits)._data)
        best = np.argsort(-total, axis=None, kind="stable")[: width - len(done)]
        parent, token = np.unravel_index(best, total.shape)
        longer = [[*live[p], int(t)] for p, t in zip(parent, token)]
        done += [(tokens, float(total.flat[i])) for tokens, i in zip(longer, best) if tokens[-1] == end]
        stays = token != end
        live, scores, last = [tokens for tokens in longer if tokens[-1] != end], total.flat[best[stays]], token[stays]
        if not live:
            break
        state = tuple(s[asarray(parent[stays], device=s.device)] for s in state)
    done += zip(live, scores.tolist())
    ranked = [(tokens, score / max(1, len(tokens)) ** length_penalty) for tokens, score in done]
    return sorted(ranked, key=lambda pair: -pair[1])


def tokens_of(model: nn.Module, tokens: Any, *axes: int) -> Tensor:
    """Tokens as a Tensor with one of these numbers of axes and at least one step."""
    given: Tensor = asarray(tokens)
    if given.ndim not in axes or not given.shape[-1]:
        expected = " or ".join({1: "(T,)", 2: "(N, T)"}[n] for n in axes)
        raise model._refuse(f"{expected} of T >= 1 integers", given, "Add the batch axis to one sequence: tokens[None].")
    return given
