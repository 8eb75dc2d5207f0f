"""Attention and transformers against PyTorch in float64, against their equations, and their gradients of order 1 and 2."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F  # noqa: N812
from minigrad.testing import check_grads

RTOL = 1e-9
L, S, N, H, E = 3, 5, 2, 2, 4
INF = math.inf
Rng = np.random.default_rng


def torch_or_skip() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: parity is not checked")


def close(ours: Any, theirs: Any, what: str) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, what
    assert ours.dtype == theirs.dtype, what
    # Many gradients here are 0 but for rounding (that of a key's bias always): so the scale has a floor.
    np.testing.assert_allclose(ours, theirs, rtol=RTOL, atol=RTOL * max(1.0, np.abs(theirs).max(initial=0)), err_msg=what)


def twins(name: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Ours and PyTorch's, with the same random values, loaded from PyTorch's state dict."""
    torch = torch_or_skip()
    theirs = getattr(torch.nn, name)(*args, **kwargs).double()
    ours = getattr(nn, name)(*args, **kwargs).double()
    rng = Rng(1)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(rng.normal(size=tuple(p.shape))))
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [k for k, _ in ours.named_parameters()] == [k for k, _ in theirs.named_parameters()]
    return ours, theirs


def as_torch(x: Any) -> Any:
    torch = torch_or_skip()
    return torch.tensor(x) if isinstance(x, np.ndarray) else x


def agree(ours: Any, theirs: Any, inputs: tuple[Any, ...], **options: Any) -> None:
    """Outputs, weights if there are any, gradients of all inputs and parameters."""
    torch = torch_or_skip()
    xs = [mg.tensor(x, requires_grad=True) for x in inputs]
    ts = [torch.tensor(x, requires_grad=True) for x in inputs]
    out = ours(*xs, **{k: mg.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()})
    wanted = theirs(*ts, **{k: as_torch(v) for k, v in options.items()})
    pairs = list(zip(out, wanted, strict=True)) if isinstance(out, tuple) else [(out, wanted)]
    pairs = [(a, b) for a, b in pairs if not (a is None and b is None)]
    rng = Rng(7)
    ours_loss, their_loss = 0, 0
    for i, (y, u) in enumerate(pairs):
        close(y.detach(), u.detach(), f"output {i}")
        g = rng.normal(size=y.shape)
        ours_loss, their_loss = ours_loss + (y * g).sum(), their_loss + (u * torch.tensor(g)).sum()
    ours_loss.backward()
    their_loss.backward()
    for i, (x, t) in enumerate(zip(xs, ts)):
        close(x.grad, t.grad, f"gradient of input {i}")
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        close(p.grad, q.grad, f"gradient of {name}")


def later(rows: int, columns: int) -> Any:
    """The boolean causal mask of modules: True above the diagonal."""
    return ~np.tri(rows, columns, dtype=bool)


def mask_of(kind: str, shape: tuple[int, ...], seed: int = 3) -> Any:
    """A mask under which every row keeps its first column; in float, some of the others are just less likely."""
    rng = Rng(seed)
    mask = rng.random(shape) < 0.4
    mask[..., 0] = False
    return mask if kind == "bool" else np.where(mask, -INF, rng.normal(size=shape))


# ---- scaled_dot_product_attention ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)], ids=str)
@pytest.mark.parametrize("mask", [None, "bool", "float", "causal"])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_scaled_dot_product_attention_is_pytorchs(lead: tuple[int, ...], mask: str | None, scale: float | None) -> None:
    torch = torch_or_skip()
    rng = Rng(0)
    data = [rng.normal(size=(*lead, *shape)) for shape in ((L, 4), (S, 4), (S, 6))]
    options: dict[str, Any] = {"is_causal": True} if mask == "causal" else {}
    if mask in ("bool", "float"):
        options["attn_mask"] = ~mask_of("bool", (L, S)) if mask == "bool" else mask_of("float", (L, S))
    xs = [mg.tensor(x, requires_grad=True) for x in data]
    ts = [torch.tensor(x, requires_grad=True) for x in data]
    y = F.scaled_dot_product_attention(*xs, scale=scale, **options)
    u = torch.nn.functional.scaled_dot_product_attention(*ts, scale=scale, **{k: as_torch(v) for k, v in options.items()})
    close(y.detach(), u.detach(), "output")
    g = rng.normal(size=y.shape)
    y.backward(g)
    u.backward(torch.tensor(g))
    for x, t in zip(xs, ts):
        close(x.grad, t.grad, "gradient")
    close(F.scaled_dot_product_attention(*data, scale=scale, **options), u.detach(), "plain arrays")


def test_masks_that_are_learned_and_heads_that_are_shared() -> None:
    torch = torch_or_skip()
    rng = Rng(0)
    data = [rng.normal(size=s) for s in ((2, 4, L, 4), (2, 2, S, 4), (2, 2, S, 6), (4, L, S))]
    xs = [mg.tensor(x, requires_grad=True) for x in data]
    ts = [torch.tensor(x, requires_grad=True) for x in data]
    y = F.scaled_dot_product_attention(*xs, enable_gqa=True)
    u = torch.nn.functional.scaled_dot_product_attention(*ts, enable_gqa=True)
    close(y.detach(), u.detach(), "output")
    g = rng.normal(size=y.shape)
    y.backward(g)
    u.backward(torch.tensor(g))
    for x, t in zip(xs, ts):
        close(x.grad, t.grad, "gradient")


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_query_that_may_attend_to_nothing_gets_zeros_and_gives_none(kind: str) -> None:
    rng = Rng(0)
    q, k, v = (mg.tensor(rng.normal(size=(2, 3, 4)), requires_grad=True) for _ in range(3))
    may = np.array([[True, False, True], [False, False, False], [True, True, True]])
    mask = may if kind == "bool" else np.where(may, 0.0, -INF)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert (y.numpy()[:, 1] == 0).all()
    others = F.scaled_dot_product_attention(q[:, ::2], k, v, attn_mask=mask[::2])
    assert (y.numpy()[:, ::2] == others.numpy()).all()
    y.sum().backward()
    assert (q.grad.numpy()[:, 1] == 0).all()
    assert all(np.isfinite(x.grad.numpy()).all() for x in (q, k, v))


def test_dropout_of_weights_repeats_with_the_seed_and_keeps_the_mean() -> None:
    q, k, v = (mg.tensor(Rng(i).normal(size=(2, 3, 4))) for i in range(3))

    def run(p: float) -> Any:
        mg.manual_seed(5)
        return F.scaled_dot_product_attention(q, k, v, dropout_p=p).numpy()

    assert (run(0.5) == run(0.5)).all()
    assert not np.allclose(run(0.5), run(0.0))
    many = F.scaled_dot_product_attention(mg.zeros((4000, 2)), mg.zeros((9, 2)), mg.ones((9, 1)), dropout_p=0.5)
    assert abs(many.numpy().mean() - 1) < 0.02


@pytest.mark.parametrize("mask", [None, "bool", "float", "causal", "nothing"])
def test_gradients_of_scaled_dot_product_attention(mask: str | None) -> None:
    rng = Rng(0)
    data = [rng.normal(size=s) for s in ((2, 2, 3), (2, 3, 3), (2, 3, 2))]
    options: dict[str, Any] = {"is_causal": True} if mask == "causal" else {}
    if mask == "nothing":
        options["attn_mask"] = np.array([[False] * 3, [True] * 3])
    if mask == "bool":
        options["attn_mask"] = ~mask_of("bool", (2, 3))
    if mask == "float":  # also with respect to the mask
        check_grads(F.scaled_dot_product_attention, *data, rng.normal(size=(2, 3)), order=2)
    else:
        check_grads(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options), *data, order=2)


def test_errors_of_scaled_dot_product_attention() -> None:
    q, k = mg.zeros((2, 3, 4)), mg.zeros((2, 5, 4))
    attend = F.scaled_dot_product_attention
    with pytest.raises(mg.ShapeError, match=r"expected shapes \(..., L, d\), .* got \(2, 3, 4\), \(2, 5, 4\), \(2, 3, 4\)"):
        attend(q, k, q)
    with pytest.raises(mg.ShapeError, match=r"attn_mask of shape \(5, 3\) does not broadcast to the scores' \(2, 3, 5\)"):
        attend(q, k, k, np.ones((5, 3), bool))
    with pytest.raises(mg.DtypeError, match="attn_mask: expected booleans or floating values, got dtype int64; compare it"):
        attend(q, k, k, np.ones((3, 5), "int64"))
    with pytest.raises(ValueError, match="is_causal=True with attn_mask"):
        attend(q, k, k, np.ones((3, 5), bool), is_causal=True)
    with pytest.raises(mg.ShapeError, match="enable_gqa: the heads"):
        attend(mg.zeros((3, 2, 4)), mg.zeros((2, 2, 4)), mg.zeros((2, 2, 4)), enable_gqa=True)


def test_dtypes_stay() -> None:
    for dtype in ("float32", "float64"):
        q = mg.zeros((3, 4), dtype)
        assert F.scaled_dot_product_attention(q, q, q, is_causal=True).dtype == dtype
        assert F.scaled_dot_product_attention(q, q, q, np.zeros((3, 3))).dtype == dtype
        assert nn.MultiheadAttention(4, 2, dtype=dtype)(q, q, q, attn_mask=later(3, 3))[1].dtype == dtype
        assert nn.SinusoidalPositionalEncoding(4, dtype=dtype)(q).dtype == dtype


# ---- MultiheadAttention --------------------------------------------------------------------------------------------------

BUILDS: list[dict[str, Any]] = [
    {}, {"bias": False}, {"kdim": 3, "vdim": 6}, {"kdim": 3, "bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True},
    {"add_bias_kv": True, "add_zero_attn": True, "vdim": 6},
]  # fmt: skip
LAYOUTS = ["LNE", "NLE", "LE"]


def sequences(layout: str, *sizes: tuple[int, int], seed: int = 0) -> tuple[Any, ...]:
    """A random input (length, features) in each layout."""
    rng = Rng(seed)
    shape = {"LNE": lambda n, e: (n, N, e), "NLE": lambda n, e: (N, n, e), "LE": lambda n, e: (n, e)}[layout]
    return tuple(rng.normal(size=shape(n, e)) for n, e in sizes)


@pytest.mark.parametrize("build", BUILDS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("masks", ["none", "attn", "heads", "padding", "both"])
def test_multihead_attention_is_pytorchs(build: dict[str, Any], layout: str, masks: str) -> None:
    torch_or_skip()
    n = 1 if layout == "LE" else N
    for kind, need, average in [("bool", True, True), ("float", True, False), ("float", False, True)]:
        ours, theirs = twins("MultiheadAttention", E, H, batch_first=layout == "NLE", **build)
        inputs = sequences(layout, (L, E), (S, build.get("kdim", E)), (S, build.get("vdim", E)))
        options: dict[str, Any] = {"need_weights": need, "average_attn_weights": average}
        if masks in ("attn", "both"):
            options["attn_mask"] = mask_of(kind, (L, S))
        if masks == "heads":
            options["attn_mask"] = mask_of(kind, (n * H, L, S))
        if masks in ("padding", "both"):
            options["key_padding_mask"] = mask_of(kind, (S,) if layout == "LE" else (N, S), seed=5)
        agree(ours, theirs, inputs, **options)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_self_attention_with_the_causal_hint(need_weights: bool, padded: bool) -> None:
    torch = torch_or_skip()
    ours, theirs = twins("MultiheadAttention", E, H)
    (x,) = sequences("LNE", (S, E))
    mask = nn.Transformer.generate_square_subsequent_mask(S, dtype="float64").numpy()
    options: dict[str, Any] = {"attn_mask": mask, "need_weights": need_weights, "is_causal": True}
    if padded:
        options["key_padding_mask"] = np.where(np.arange(S) < np.array([[S], [2]]), 0.0, -INF)
    t, given = torch.tensor(x), mg.tensor(x)
    wanted = theirs(t, t, t, **{k: as_torch(v) for k, v in options.items()})
    got = ours(given, given, given, **options)
    close(got[0].detach(), wanted[0].detach(), "output")
    del options["attn_mask"]  # here the hint alone is enough
    close(ours(given, given, given, **options)[0].detach(), wanted[0].detach(), "output")
    if need_weights:
        close(got[1].detach(), wanted[1].detach(), "weights")


@pytest.mark.parametrize("need_weights", [True, False])
def test_fully_masked_sequences_give_the_output_bias(need_weights: bool) -> None:
    module = nn.MultiheadAttention(E, H, batch_first=True, dtype="float64")
    nn.init.normal_(module.out_proj.bias)
    x = mg.tensor(Rng(0).normal(size=(2, S, E)), requires_grad=True)
    padding = np.array([[True] * S, [False] * S])
    y, weights = module(x, x, x, key_padding_mask=padding, need_weights=need_weights)
    np.testing.assert_array_equal(y.numpy()[0], np.broadcast_to(module.out_proj.bias.numpy(), (S, E)))
    alone = module(x[1:], x[1:], x[1:])[0]
    np.testing.assert_allclose(y.numpy()[1], alone.numpy()[0], rtol=1e-12)
    y.sum().backward()
    assert (x.grad.numpy()[0] == 0).all()
    assert all(np.isfinite(p.grad.numpy()).all() for p in module.parameters())
    if need_weights:
        assert (weights.numpy()[0] == 0).all()


def test_a_future_token_does_not_move_the_past() -> None:
    module = nn.MultiheadAttention(E, H)
    x = Rng(0).normal(size=(S, E)).astype("float32")
    changed = x.copy()
    changed[3:] += 1
    a, b = (module(mg.tensor(z), mg.tensor(z), mg.tensor(z), is_causal=True)[0].numpy() for z in (x, changed))
    assert (a[:3] == b[:3]).all()
    assert not np.allclose(a[3:], b[3:])


def test_multihead_attention_is_heads_side_by_side() -> None:
    module = nn.MultiheadAttention(E, H, dtype="float64")
    x = Rng(0).normal(size=(L, E))
    w, b = module.in_proj_weight.numpy(), module.in_proj_bias.numpy()
    q, k, v = (x @ w[i : i + E].T + b[i : i + E] for i in (0, E, 2 * E))
    heads = []
    for h in range(H):
        part = slice(h * E // H, (h + 1) * E // H)
        scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(E / H))
        heads.append(scores / scores.sum(1, keepdims=True) @ v[:, part])
    expected = np.hstack(heads) @ module.out_proj.weight.numpy().T + module.out_proj.bias.numpy()
    given = mg.tensor(x)
    np.testing.assert_allclose(module(given, given, given)[0].numpy(), expected, rtol=1e-12)


def through(module: Any, count: int, **options: Any) -> tuple[Any, list[Any]]:
    """The module as a function of its inputs and all its parameters, and values of these."""
    names = [name for name, _ in module.named_parameters()]

    def f(*args: Any) -> Any:
        out = nn.functional_call(module, dict(zip(names, args[count:])), tuple(args[:count]), options)
        return out[0] if isinstance(out, tuple) else out

    return f, [0.5 * Rng(2).normal(size=p.shape) for p in module.parameters()]


@pytest.mark.parametrize(
    "build", [{}, {"kdim": 3, "vdim": 3, "bias": False}, {"add_bias_kv": True, "add_zero_attn": True}], ids=str
)
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"attn_mask": np.array([[True, True], [False, True]])}], ids=str)
def test_gradients_of_multihead_attention(build: dict[str, Any], options: dict[str, Any]) -> None:
    f, values = through(nn.MultiheadAttention(4, 2, dtype="float64", **build), 3, **options)
    size = build.get("kdim", 4)
    check_grads(f, *(Rng(0).normal(size=(2, e)) for e in (4, size, size)), *values, order=2)


def test_dropout_only_while_training() -> None:
    module = nn.MultiheadAttention(E, H, dropout=0.5)
    x = mg.ones((S, E))
    mg.manual_seed(1)
    _, weights = module(x, x, x, average_attn_weights=False)
    assert {round(float(w), 4) for w in weights.numpy().ravel()} == {0.0, round(2 / S, 4)}
    module.eval()
    np.testing.assert_allclose(module(x, x, x)[1].numpy(), 1 / S, rtol=1e-6)


def test_first_values_are_pytorchs() -> None:
    mg.manual_seed(0)
    module = nn.MultiheadAttention(64, 4, add_bias_kv=True)
    bound = math.sqrt(6 / (64 + 3 * 64))
    weight = module.in_proj_weight.numpy()
    assert abs(weight).max() <= bound
    assert abs(weight.std() - bound / math.sqrt(3)) < 0.02 * bound
    assert abs(module.out_proj.weight.numpy()).max() <= 1 / 8
    assert not module.in_proj_bias.numpy().any()
    assert not module.out_proj.bias.numpy().any()
    assert module.bias_k.numpy().std() > 0


def test_summary_counts_the_projections() -> None:
    x = mg.zeros((L, N, E))
    rows = nn.summary(nn.MultiheadAttention(E, H), x, x, x).rows
    assert sum(row.multiply_adds for row in rows) == 4 * L * N * (E * E + E)
    rows = nn.summary(nn.MultiheadAttention(E, H, kdim=3, vdim=6, bias=False), x, mg.zeros((S, N, 3)), mg.zeros((S, N, 6))).rows
    assert sum(row.multiply_adds for row in rows) == 2 * L * N * E * E + S * N * E * 9


def test_errors_of_multihead_attention() -> None:
    with pytest.raises(ValueError, match="embed_dim=10 does not divide into num_heads=3 heads; it does into 1, 2, 5, 10"):
        nn.MultiheadAttention(10, 3)
    with pytest.raises(ValueError, match="expected 0 <= dropout <= 1, got 2"):
        nn.MultiheadAttention(4, 2, dropout=2)
    module = nn.MultiheadAttention(E, H, kdim=3)
    q, k, v = mg.zeros((L, N, E)), mg.zeros((S, N, 3)), mg.zeros((S, N, E))
    with pytest.raises(
        mg.ShapeError, match=r"MultiheadAttention.*expects.*\(S, N, 3\) or \(S, 3\) for its key, got \(5, 2, 4\).*kdim=3"
    ):
        module(q, v, v)
    with pytest.raises(mg.ShapeError, match=r"\(L, N, 4\) or \(L, 4\) for its query, got \(1, 3, 2, 4\)"):
        module(q[None], k, v)
    with pytest.raises(mg.ShapeError, match=r"for its key, got \(5, 3\)"):
        module(q, k[:, 0], v)
    with pytest.raises(mg.ShapeError, match=r"expected as many keys as values, and one batch size in axis 1"):
        module(q, k, v[:3])
    with pytest.raises(mg.ShapeError, match=r"one batch size in axis 1 \(batch_first=False\)"):
        module(q[:, :1], k, v)
    with pytest.raises(
        mg.ShapeError, match=r"expected attn_mask of shape \(3, 5\) or \(4, 3, 5\), got \(5, 3\), for 3 queries"
    ):
        module(q, k, v, attn_mask=np.zeros((S, L), bool))
    with pytest.raises(mg.ShapeError, match=r"expected key_padding_mask of shape \(2, 5\), got \(5, 2\)"):
        module(q, k, v, key_padding_mask=np.zeros((S, N), bool))
    with pytest.raises(mg.ShapeError, match=r"expected key_padding_mask of shape \(5,\), got \(1, 5\)"):
        module(q[:, 0], k[:, 0], v[:, 0], key_padding_mask=np.zeros((1, S), bool))
    with pytest.raises(
        mg.DtypeError, match="MultiheadAttention: key_padding_mask: expected booleans or floating values, got dtype int64"
    ):
        module(q, k, v, key_padding_mask=np.zeros((N, S), "int64"))


# ---- AdditiveAttention and positions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("padded", [False, True])
def test_additive_attention_is_bahdanaus_equation(padded: bool) -> None:
    module = nn.AdditiveAttention(4, 3, 6, dtype="float64")
    rng = Rng(0)
    q, k, v = rng.normal(size=(N, L, 4)), rng.normal(size=(N, S, 3)), rng.normal(size=(N, S, 2))
    mask = np.arange(S) >= np.array([[3], [5]])
    w, u, energy = module.query_proj.weight.numpy(), module.key_proj.weight.numpy(), module.energy.weight.numpy()[0]
    context, weights = module(mg.tensor(q), mg.tensor(k), mg.tensor(v), mask if padded else None)
    for n, i in itertools.product(range(N), range(L)):
        keep = [j for j in range(S) if not (padded and mask[n, j])]
        e = np.exp([energy @ np.tanh(w @ q[n, i] + u @ k[n, j]) for j in keep])
        expected = np.zeros(S)
        expected[keep] = e / e.sum()
        np.testing.assert_allclose(weights.numpy()[n, i], expected, rtol=1e-12)
        np.testing.assert_allclose(context.numpy()[n, i], expected @ v[n], rtol=1e-12)


def test_additive_attention_edges() -> None:
    module = nn.AdditiveAttention(4, 3, 6)
    state, states = mg.ones((N, 4)), mg.ones((N, S, 3))
    context, weights = module(state[:, None], states, key_padding_mask=np.array([[True] * S, [False] * S]))
    assert context.shape == (N, 1, 3)
    assert not weights.numpy()[0].any()
    assert not context.numpy()[0].any()
    np.testing.assert_allclose(context.numpy()[1], 1, rtol=1e-6)
    with pytest.raises(mg.ShapeError, match=r"expected key_padding_mask of shape \(2, 5\).*got \(5, 2\)"):
        module(state[:, None], states, key_padding_mask=np.zeros((S, N), bool))
    with pytest.raises(mg.ShapeError, match=r"for one query pass query\[..., None, :\]"):
        module(state[0], states)
    with pytest.raises(mg.ShapeError, match=r"AdditiveAttention.query_proj"):
        module(states, states)


@pytest.mark.parametrize("mask", [None, np.array([[False, True, False]] * 2)], ids=["none", "padded"])
def test_gradients_of_additive_attention(mask: Any) -> None:
    f, values = through(nn.AdditiveAttention(3, 2, 4, dtype="float64"), 3, key_padding_mask=mask)
    check_grads(f, *(Rng(0).normal(size=s) for s in ((2, 2, 3), (2, 3, 2), (2, 3, 3))), *values, order=2)


@pytest.mark.parametrize("d", [1, 4, 7])
def test_sinusoidal_positions_are_the_papers_formula(d: int) -> None:
    module = nn.SinusoidalPositionalEncoding(d, max_len=50, dtype="float64")
    table = module(mg.zeros((50, d), "float64")).numpy()
    for t, column in itertools.product(range(50), range(d)):
        angle = t / 10000 ** (column // 2 * 2 / d)
        assert table[t, column] == pytest.approx(math.cos(angle) if column % 2 else math.sin(angle), abs=1e-12)
    assert not module.state_dict()


def test_sinusoidal_positions_move_by_rotation() -> None:
    p = nn.SinusoidalPositionalEncoding(6, max_len=20, dtype="float64").table.numpy()
    for i in range(3):
        a = 3 / 10000 ** (2 * i / 6)
        turn = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
        np.testing.assert_allclose(p[3:, 2 * i : 2 * i + 2], p[:-3, 2 * i : 2 * i + 2] @ turn.T, atol=1e-12)


@pytest.mark.parametrize("kind", ["SinusoidalPositionalEncoding", "LearnedPositionalEncoding"])
def test_positions_in_every_layout(kind: str) -> None:
    plain = getattr(nn, kind)(E, max_len=8)
    first = getattr(nn, kind)(E, max_len=8, batch_first=True)
    first.load_state_dict(plain.state_dict())
    table = plain(mg.zeros((8, E))).numpy()
    assert (plain(mg.zeros((S, N, E))).numpy() == table[:S, None]).all()
    assert (first(mg.zeros((N, S, E))).numpy() == table[None, :S]).all()
    assert (plain(mg.zeros((2, E)), offset=3).numpy() == table[3:5]).all()
    assert not getattr(nn, kind)(E, max_len=8, dropout=1.0)(mg.ones((2, E))).numpy().any()
    with pytest.raises(
        mg.ShapeError, match=r"expects an input of shape at most 8 positions in axis 0, got \(9, 4\).*positions 0 to 8"
    ):
        plain(mg.zeros((9, E)))
    with pytest.raises(mg.ShapeError, match=r"expects an input of shape \(N, L, 4\) or \(L, 4\), got \(2, 5\)"):
        first(mg.zeros((2, 5)))


def test_learned_positions_learn() -> None:
    f, values = through(nn.LearnedPositionalEncoding(3, max_len=4, dtype="float64"), 1)
    check_grads(lambda x, p: mg.sin(f(x, p)), Rng(0).normal(size=(2, 2, 3)), *values, order=2)
    module = nn.LearnedPositionalEncoding(3, max_len=4)
    module(mg.zeros((2, 5, 3))).sum().backward()
    assert module.weight.grad.numpy()[:, 0].tolist() == [5, 5, 0, 0]
    mg.manual_seed(0)
    assert abs(nn.LearnedPositionalEncoding(100, 100).weight.numpy().std() - 0.02) < 1e-3


# ---- transformers --------------------------------------------------------------------------------------------------------

FORMS = [
    {"norm_first": norm_first, "activation": activation, "bias": bias}
    for norm_first, activation, bias in [
        (False, "relu", True),
        (True, "gelu", True),
        (False, "gelu", False),
        (True, "relu", False),
    ]
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("masks", ["none", "attn", "both", "float"])
def test_layers_are_pytorchs(form: dict[str, Any], layout: str, masks: str) -> None:
    torch_or_skip()
    kind = "float" if masks == "float" else "bool"
    padding = (lambda n, seed: mask_of(kind, (n,) if layout == "LE" else (N, n), seed)) if masks in ("both", "float") else None
    options = {"dropout": 0.0, "layer_norm_eps": 1e-3, "batch_first": layout == "NLE", **form}
    x, memory = sequences(layout, (L, E), (S, E))

    ours, theirs = twins("TransformerEncoderLayer", E, H, 6, **options)
    given = {"src_mask": mask_of(kind, (L, L))} if masks != "none" else {}
    agree(ours, theirs, (x,), **given, **({"src_key_padding_mask": padding(L, 4)} if padding else {}))

    ours, theirs = twins("TransformerDecoderLayer", E, H, 6, **options)
    given = {"tgt_mask": mask_of(kind, (L, L)), "memory_mask": mask_of(kind, (L, S))} if masks != "none" else {}
    if padding:
        given |= {"tgt_key_padding_mask": padding(L, 4), "memory_key_padding_mask": padding(S, 6)}
    agree(ours, theirs, (x, memory), **given)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")  # PyTorch's, about a path that it does not take
def test_the_whole_transformer_is_pytorchs(form: dict[str, Any], layout: str) -> None:
    torch_or_skip()
    ours, theirs = twins("Transformer", E, H, 2, 2, 6, dropout=0.0, batch_first=layout == "NLE", **form)
    src, tgt = sequences(layout, (S, E), (L, E))
    agree(ours, theirs, (src, tgt))
    ours.zero_grad()
    theirs.zero_grad()
    padding = mask_of("float", (S,) if layout == "LE" else (N, S), seed=5)
    causal = nn.Transformer.generate_square_subsequent_mask(L, dtype="float64").numpy()
    options = {"src_key_padding_mask": padding, "memory_key_padding_mask": padding, "src_mask": mask_of("float", (S, S))}
    agree(ours, theirs, (src, tgt), tgt_mask=causal, tgt_is_causal=True, **options)


@pytest.mark.parametrize("form", FORMS[:2], ids=str)
@pytest.mark.parametrize("where", ["dropout", "dropout1", "dropout2", "dropout3", "self_attn", "multihead_attn"])
def test_dropouts_are_where_pytorchs_are(form: dict[str, Any], where: str) -> None:
    """Each in turn drops everything, in which no chance is left."""
    torch_or_skip()
    ours, theirs = twins("TransformerDecoderLayer", E, H, 6, 0.0, **form)
    for layer in (ours, theirs):
        dropout = getattr(layer, where)
        setattr(dropout, "dropout" if where.endswith("attn") else "p", 1.0)
    agree(ours, theirs, sequences("LNE", (L, E), (S, E)))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")
@pytest.mark.parametrize("norm", [False, True])
def test_stacks_are_pytorchs(norm: bool) -> None:
    torch = torch_or_skip()
    for layer, stack, count in (
        ("TransformerEncoderLayer", "TransformerEncoder", 1),
        ("TransformerDecoderLayer", "TransformerDecoder", 2),
    ):
        ours, theirs = (
            getattr(lib, stack)(getattr(lib, layer)(E, H, 6, 0.0), 2, lib.LayerNorm(E) if norm else None).double()
            for lib in (nn, torch.nn)
        )
        ours.load_state_dict(theirs.state_dict())
        agree(ours, theirs, sequences("LNE", (L, E), (S, E))[:count])


def test_activations_may_be_functions_or_modules() -> None:
    x = mg.tensor(Rng(0).normal(size=(L, E)))
    named = nn.TransformerEncoderLayer(E, H, 6, 0.0, "gelu", dtype="float64")
    for activation in (F.gelu, nn.GELU(), lambda z: F.gelu(z)):
        other = nn.TransformerEncoderLayer(E, H, 6, 0.0, activation, dtype="float64")
        other.load_state_dict(named.state_dict())
        assert (other(x).numpy() == named(x).numpy()).all()
    with pytest.raises(ValueError, match="activation='tanh': expected 'relu', 'gelu' or a callable"):
        nn.TransformerEncoderLayer(E, H, activation="tanh")


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("name", ["TransformerEncoderLayer", "TransformerDecoderLayer"])
def test_gradients_of_layers(name: str, norm_first: bool) -> None:
    count = 1 if name == "TransformerEncoderLayer" else 2
    options = {"is_causal": True} if count == 1 else {"tgt_is_causal": True}
    layer = getattr(nn, name)(2, 1, 3, 0.0, "gelu", 0.1, norm_first=norm_first, dtype="float64")
    f, values = through(layer, count, **options)
    check_grads(f, *(Rng(i).normal(size=(2, 2)) for i in range(count)), *values, order=2)


def test_gradients_of_a_transformer() -> None:
    model = nn.Transformer(2, 1, 1, 1, 2, 0.0, "gelu", layer_norm_eps=0.1, norm_first=True, bias=False, dtype="float64")
    f, values = through(model, 2, tgt_is_causal=True)
    check_grads(f, Rng(0).normal(size=(2, 2)), Rng(1).normal(size=(2, 2)), *values, order=2)


def test_the_causal_flag_is_the_explicit_mask() -> None:
    model = nn.Transformer(E, H, 1, 1, 6, 0.0)
    src, tgt = (mg.tensor(x.astype("float32")) for x in sequences("LNE", (S, E), (L, E)))
    flag = model(src, tgt, src_is_causal=True, tgt_is_causal=True, memory_is_causal=True).numpy()
    square = nn.Transformer.generate_square_subsequent_mask
    for make in (lambda a, b: later(a, b), lambda a, b: mg.tensor(np.where(later(a, b), -INF, 0.0))):
        mask = model(src, tgt, src_mask=make(S, S), tgt_mask=make(L, L), memory_mask=make(L, S)).numpy()
        assert (mask == flag).all()
    assert (model(src, tgt, tgt_is_causal=True).numpy() == model(src, tgt, tgt_mask=square(L)).numpy()).all()
    assert square(3).dtype == "float32"
    assert square(3, dtype="float64").tolist() == [[0, -INF, -INF], [0, 0, -INF], [0, 0, 0]]


def test_copies_in_a_stack_learn_apart_and_start_alike() -> None:
    layer = nn.TransformerEncoderLayer(E, H, 6)
    stack = nn.TransformerEncoder(layer, 2)
    names = [name for name, _ in stack.named_parameters()]
    assert names[0] == "layers.0.self_attn.in_proj_weight"
    assert len(names) == 2 * len(list(layer.parameters()))
    first, second = (list(part.parameters()) for part in stack.layers)
    assert all((a.numpy() == b.numpy()).all() and a is not b for a, b in zip(first, second))
    assert stack(mg.ones((L, E))).sum().backward() is None
    assert {p.name for p in stack.parameters()} == set(names)
    twin = copy.deepcopy(stack).eval()
    assert (twin(mg.ones((L, E))).numpy() == stack.eval()(mg.ones((L, E))).numpy()).all()


def test_transformers_start_with_xavier_matrices_and_drop_out_by_seed() -> None:
    mg.manual_seed(0)
    model = nn.Transformer(16, 2, 1, 1, 32)
    weight = model.encoder.layers[0].linear1.weight.numpy()
    assert abs(weight).max() <= math.sqrt(6 / 48)
    assert abs(weight).max() > 1 / math.sqrt(16)
    src, tgt = mg.ones((5, 3, 16)), mg.ones((4, 3, 16))
    runs = []
    for seed in (1, 1, 2):
        mg.manual_seed(seed)
        runs.append(model(src, tgt).numpy())
    assert (runs[0] == runs[1]).all()
    assert (runs[0] != runs[2]).any()
    model.eval()
    assert (model(src, tgt).numpy() == model(src, tgt).numpy()).all()


def test_errors_of_the_transformer() -> None:
    model = nn.Transformer(E, H, 1, 1, 6)
    with pytest.raises(
        mg.ShapeError, match=r"shapes \(5, 2, 4\) and \(3, 1, 4\): expected d_model=4 .* one batch size in axis 1"
    ):
        model(mg.zeros((S, N, E)), mg.zeros((L, 1, E)))
    with pytest.raises(mg.ShapeError, match="expected d_model=4"):
        model(mg.zeros((S, 6)), mg.zeros((L, 6)))
    with pytest.raises(mg.ShapeError, match=r"Transformer.decoder.layers.0.self_attn: expected attn_mask of shape \(3, 3\) or"):
        model(mg.zeros((S, N, E)), mg.zeros((L, N, E)), tgt_mask=later(S, S))


def test_custom_halves() -> None:
    class Sum(nn.Module):
        def forward(self, tgt: Any, memory: Any, **masks: Any) -> Any:
            return tgt + memory.sum()

    model = nn.Transformer(E, H, 1, 1, 6, custom_decoder=Sum())
    assert isinstance(model.decoder, Sum)
    assert model(mg.ones((S, E)), mg.ones((L, E))).shape == (L, E)


def test_arguments_are_pytorchs() -> None:
    torch = torch_or_skip()
    names = ["MultiheadAttention", "TransformerEncoderLayer", "TransformerDecoderLayer", "TransformerEncoder", "TransformerDecoder",
             "Transformer"]  # fmt: skip
    for name, method in itertools.product(names, ("__init__", "forward")):
        ours, theirs = (
            {k: p.default for k, p in inspect.signature(getattr(getattr(lib, name), method)).parameters.items()}
            for lib in (nn, torch.nn)
        )
        assert list(ours) == list(theirs), f"{name}.{method}"
        for k, default in theirs.items():
            assert ours[k] == default or (k == "activation" and ours[k] is F.relu), f"{name}.{method}({k})"


def test_a_transformer_learns_to_reverse() -> None:
    """Nothing but positions tells it where to look: 4 digits, all of them right in the end."""
    mg.manual_seed(0)
    rng = Rng(0)
    embed, positions = nn.Embedding(6, 16), nn.SinusoidalPositionalEncoding(16, batch_first=True)
    layer, head = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True), nn.Linear(16, 6)
    model = nn.ModuleList([embed, layer, head])
    optimizer = mg.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        x = rng.integers(0, 6, (32, 4))
        scores = head(layer(positions(embed(x))))
        loss = -(F.log_softmax(scores) * F.one_hot(x[:, ::-1].copy(), 6)).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = rng.integers(0, 6, (200, 4))
    assert (head(layer(positions(embed(x)))).numpy().argmax(-1) == x[:, ::-1]).mean() > 0.99
