"""Models of sequences: PyTorch's outputs and gradients, counts, causality, padding, decoding against exhaustive search."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import models
from minigrad.nn.models._decoding import beam_search, evaluating, sample
from minigrad.testing import check_grads

RTOL = 1e-9
Rng = np.random.default_rng
SOURCE = np.array([[3, 5, 8, 2], [4, 2, 0, 0], [6, 7, 1, 0]])
TARGET = np.array([[1, 5, 3], [1, 6, 2], [1, 1, 4]])


def torch_or_skip() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: parity is not checked")


def close(ours: Any, theirs: Any, what: str = "") -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, what
    assert ours.dtype == theirs.dtype, what
    np.testing.assert_allclose(ours, theirs, rtol=RTOL, atol=RTOL * max(1.0, np.abs(theirs).max(initial=0)), err_msg=what)


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


SMALL: dict[str, Callable[..., Any]] = {
    "char gru": lambda **o: models.CharRNN(9, 6, **o),
    "char lstm": lambda **o: models.CharRNN(9, 6, num_layers=2, kind="lstm", embedding_dim=3, **o),
    "char rnn": lambda **o: models.CharRNN(9, 6, kind="rnn", embedding_dim=3, **o),
    "gpt": lambda **o: models.GPT(9, 7, 2, 2, 8, **{"dropout": 0.0, **o}),
    "seq2seq": lambda **o: models.Seq2Seq(9, 7, 4, 6, 5, **o),
    "transformer": lambda **o: models.Seq2SeqTransformer(9, 7, 8, 2, 2, 16, **{"dropout": 0.0, **o}),
    "transformer, shared": lambda **o: models.Seq2SeqTransformer(
        9, None, 8, 2, 1, 16, norm_first=True, **{"dropout": 0.0, **o}
    ),
}


def build(name: str, **options: Any) -> Any:
    mg.manual_seed(0)
    return SMALL[name](dtype="float64", **options)


def logits(model: Any, *inputs: Any) -> Any:
    out = model(*inputs)
    return out[0] if isinstance(out, tuple) else out


def inputs_of(name: str) -> tuple[Any, ...]:
    return (SOURCE,) if name.startswith(("char", "gpt")) else (SOURCE, TARGET)


# ---- parity with PyTorch: the same names, so the weights go over by state dict -----------------------------------------------


def torch_char(torch: Any, kind: str, embedding: int | None, layers: int) -> Any:
    class Char(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = None if embedding is None else torch.nn.Embedding(9, embedding)
            self.rnn = getattr(torch.nn, kind.upper())(embedding or 9, 6, layers, batch_first=True)
            self.head = torch.nn.Linear(6, 9)

        def forward(self, tokens: Any) -> Any:
            x = self.embedding(tokens) if self.embedding else torch.nn.functional.one_hot(tokens, 9).double()
            return self.head(self.rnn(x)[0])

    return Char()


def torch_seq2seq(torch: Any) -> Any:
    t = torch.nn

    class RNNSearch(t.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source_embedding, self.target_embedding = t.Embedding(9, 4), t.Embedding(7, 4)
            self.encoder = t.GRU(4, 6, batch_first=True, bidirectional=True)
            self.bridge = t.Linear(6, 6)
            self.attention = t.ModuleDict(
                {
                    "query_proj": t.Linear(6, 5, bias=False),
                    "key_proj": t.Linear(12, 5, bias=False),
                    "energy": t.Linear(5, 1, bias=False),
                }
            )
            self.decoder, self.readout, self.head = t.GRUCell(4 + 12, 6), t.Linear(18 + 4, 6), t.Linear(3, 7)

        def forward(self, source: Any, target: Any) -> Any:
            lengths = (source != 0).sum(1)
            packed = t.utils.rnn.pack_padded_sequence(self.source_embedding(source), lengths, True, enforce_sorted=False)
            h, last = self.encoder(packed)
            h, _ = t.utils.rnn.pad_packed_sequence(h, True, total_length=source.shape[1])
            s, out = torch.tanh(self.bridge(last[1])), []
            for i in range(target.shape[1]):
                y = self.target_embedding(target[:, i])
                e = self.attention.energy(torch.tanh(self.attention.query_proj(s)[:, None] + self.attention.key_proj(h)))[
                    ..., 0
                ]
                a = torch.softmax(e.masked_fill(source == 0, -math.inf), 1)
                c = (a[..., None] * h).sum(1)
                s = self.decoder(torch.cat([y, c], 1), s)
                pieces = self.readout(torch.cat([s, y, c], 1)).reshape(len(y), 3, 2)
                out.append(self.head(pieces.max(2).values))
            return torch.stack(out, 1)

    return RNNSearch()


def torch_transformer(torch: Any, sizes: tuple[int, int | None], layers: int, norm_first: bool, tied: bool) -> Any:
    t, d = torch.nn, 8

    class Translator(t.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source_embedding = t.Embedding(sizes[0], d)
            self.target_embedding = self.source_embedding if sizes[1] is None else t.Embedding(sizes[1], d)
            self.transformer = t.Transformer(d, 2, layers, layers, 16, 0.0, batch_first=True, norm_first=norm_first)
            self.head = t.Linear(d, sizes[1] or sizes[0], bias=not tied)
            if tied:
                self.head.weight = self.target_embedding.weight

        def forward(self, source: Any, target: Any) -> Any:
            position, i = torch.arange(9.0, dtype=torch.float64)[:, None], torch.arange(0.0, d, 2, dtype=torch.float64)
            angle = position * torch.exp(-math.log(10000.0) * i / d)
            P = torch.stack([angle.sin(), angle.cos()], 2).reshape(9, d)
            x = self.source_embedding(source) * d**0.5 + P[: source.shape[1]]
            y = self.target_embedding(target) * d**0.5 + P[: target.shape[1]]
            mask = torch.triu(torch.ones(target.shape[1], target.shape[1], dtype=torch.bool), 1)
            pad = source == 0
            return self.head(self.transformer(x, y, tgt_mask=mask, src_key_padding_mask=pad, memory_key_padding_mask=pad))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pre-norm layers have no nested tensors, it says
        return Translator()


def torch_gpt(torch: Any, layers: int, heads: int, d: int) -> Any:
    t = torch.nn

    class Conv1D(t.Module):
        def __init__(self, rows: int, columns: int) -> None:
            super().__init__()
            self.weight, self.bias = t.Parameter(torch.zeros(rows, columns)), t.Parameter(torch.zeros(columns))

        def forward(self, x: Any) -> Any:
            return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).reshape(*x.shape[:-1], -1)

    def block() -> Any:
        return t.ModuleDict(
            {
                "ln_1": t.LayerNorm(d),
                "attn": t.ModuleDict({"c_attn": Conv1D(d, 3 * d), "c_proj": Conv1D(d, d)}),
                "ln_2": t.LayerNorm(d),
                "mlp": t.ModuleDict({"c_fc": Conv1D(d, 4 * d), "c_proj": Conv1D(4 * d, d)}),
            }
        )

    class Net(t.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = t.Embedding(9, d), t.Embedding(7, d)
            self.h, self.ln_f = t.ModuleList([block() for _ in range(layers)]), t.LayerNorm(d)

        def forward(self, tokens: Any) -> Any:
            N, T = tokens.shape
            x = self.wte(tokens) + self.wpe(torch.arange(T))
            for b in self.h:
                q, k, v = (u.reshape(N, T, heads, d // heads).transpose(1, 2) for u in b.attn.c_attn(b.ln_1(x)).split(d, 2))
                scores = q @ k.transpose(2, 3) / math.sqrt(d // heads)
                hidden = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
                y = torch.softmax(scores.masked_fill(hidden, -math.inf), -1) @ v
                x = x + b.attn.c_proj(y.transpose(1, 2).reshape(N, T, d))
                u = b.mlp.c_fc(b.ln_2(x))
                u = 0.5 * u * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
                x = x + b.mlp.c_proj(u)
            return self.ln_f(x) @ self.wte.weight.T

    return Net()


TWINS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    **{
        f"char {kind}, {layers}, {embedding}": (
            lambda k=kind, n=layers, e=embedding: models.CharRNN(9, 6, n, k, e),
            lambda torch, k=kind, n=layers, e=embedding: torch_char(torch, k, e, n),
        )
        for kind, layers, embedding in [("rnn", 1, None), ("lstm", 1, None), ("gru", 1, None), ("lstm", 2, 3), ("gru", 2, 3)]
    },
    "seq2seq": (lambda: models.Seq2Seq(9, 7, 4, 6, 5), torch_seq2seq),
    **{
        f"transformer, {sizes}, {'pre' if first else 'post'}, {'tied' if tied else 'free'}": (
            lambda s=sizes, f=first, tie=tied: models.Seq2SeqTransformer(*s, 8, 2, 2, 16, 0.0, tie, f, dtype="float64"),
            lambda torch, s=sizes, f=first, tie=tied: torch_transformer(torch, s, 2, f, tie),
        )
        for sizes, first, tied in [
            ((9, 7), False, False),
            ((9, 7), True, True),
            ((9, None), False, True),
            ((9, None), True, False),
        ]
    },
    "gpt": (lambda: models.GPT(9, 7, 2, 2, 8, 0.0), lambda torch: torch_gpt(torch, 2, 2, 8)),
}


@pytest.mark.parametrize("name", TWINS)
def test_outputs_and_gradients_are_pytorchs(name: str) -> None:
    torch = torch_or_skip()
    make, make_torch = TWINS[name]
    ours, theirs = make().double(), make_torch(torch).double()
    rng = Rng(1)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(rng.normal(scale=0.5, size=tuple(p.shape))))
    ours.load_state_dict(theirs.state_dict())
    assert set(ours.state_dict()) == set(theirs.state_dict())
    inputs = inputs_of(name)
    y, u = logits(ours, *map(mg.tensor, inputs)), theirs(*map(torch.tensor, inputs))
    close(y.detach(), u.detach(), "logits")
    g = rng.normal(size=y.shape)
    y.backward(g)
    u.backward(torch.tensor(g))
    gradients = dict(theirs.named_parameters())
    for path, p in ours.named_parameters():
        close(p.grad, gradients[path].grad, path)


# ---- sizes ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters of zeros that take no memory before they are read."""

    def zeros(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        tensor._data = np.zeros(tensor.shape, tensor.dtype)
        return tensor

    for name in ("uniform_", "normal_", "xavier_uniform_", "kaiming_uniform_"):
        monkeypatch.setattr(nn.init, name, zeros)


@pytest.mark.usefixtures("lazy")
@pytest.mark.parametrize(
    ("make", "published"),
    [(models.gpt2, 124_439_808), (models.gpt2_medium, 354_823_168), (models.gpt2_large, 774_030_080), (models.gpt2_xl, 1_557_611_200)],
)  # fmt: skip
def test_gpt2_has_the_published_sizes(make: Callable[[], Any], published: int) -> None:
    model = make()
    d, n = model.wte.weight.shape[1], len(model.h)
    assert count(model) == published == 50257 * d + 1024 * d + n * (12 * d * d + 13 * d) + 2 * d
    assert d // model.h[0].attn.n_head == 64


def transformer_size(V: int, d: int, ff: int, layers: int) -> int:
    attention, norm = 4 * d * (d + 1), 2 * d
    encoder = attention + ff * (2 * d + 1) + d + 2 * norm
    return V * d + layers * encoder + layers * (encoder + attention + norm) + 2 * norm


def test_transformer_has_the_size_of_its_table() -> None:
    assert transformer_size(37_000, 512, 2048, 6) == 63_084_544
    assert transformer_size(37_000, 1024, 4096, 6) == 214_249_472
    for layers in (1, 3):
        total = transformer_size(11, 8, 20, layers)
        assert count(models.Seq2SeqTransformer(11, None, 8, 2, layers, 20)) == total
        assert count(models.Seq2SeqTransformer(11, 13, 8, 2, layers, 20)) == total + 13 * 8
        assert count(models.Seq2SeqTransformer(11, 13, 8, 2, layers, 20, tied=False)) == total + 13 * 8 + 13 * 9


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("embedding", [None, 5])
def test_char_rnn_has_the_size_of_its_table(kind: str, embedding: int | None) -> None:
    V, H, g, E = 11, 7, {"rnn": 1, "gru": 3, "lstm": 4}[kind], embedding or 11
    expected = (V * E if embedding else 0) + g * H * (E + H + 2) + g * H * (2 * H + 2) + H * V + V
    assert count(models.CharRNN(V, H, 2, kind, embedding)) == expected


def test_seq2seq_has_the_size_of_its_table() -> None:
    V, W, E, H, A = 11, 13, 5, 8, 6
    rows = [(V + W) * E, 2 * 3 * H * (E + H + 2), H * H + H, A + A * H + 2 * A * H, 3 * H * (E + 3 * H + 2),
            H * (3 * H + E) + H, W * H // 2 + W]  # fmt: skip
    assert count(models.Seq2Seq(V, W, E, H, A)) == sum(rows)


def test_gpt_has_the_names_of_the_published_weights() -> None:
    model = models.GPT(9, 7, 1, 2, 8)
    block = ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"]
    names = [f"h.0.{part}.{kind}" for part in block for kind in ("weight", "bias")]
    assert list(model.state_dict()) == ["wte.weight", "wpe.weight", *names, "ln_f.weight", "ln_f.bias"]
    assert model.h[0].attn.c_attn.weight.shape == (8, 24)  # in, out
    published = {**model.state_dict(), "h.0.attn.bias": np.tri(7)[None, None]}
    assert models.GPT(9, 7, 1, 2, 8).load_state_dict(published, strict=False).unexpected_keys == ["h.0.attn.bias"]


def test_gpt_begins_as_its_paper_says() -> None:
    mg.manual_seed(0)
    model = models.GPT(300, 200, 8, 2, 32)
    for path, p in model.named_parameters():
        if p.ndim == 2:
            std = 0.02 / 4 if path.endswith("c_proj.weight") else 0.02
            assert abs(p.numpy().std() / std - 1) < 0.1, path
        else:
            assert set(p.tolist()) == {1.0 if path.endswith("weight") else 0.0}, path


# ---- gradients -----------------------------------------------------------------------------------------------------------------

TINY: dict[str, tuple[Callable[[], Any], tuple[Any, ...]]] = {
    "char gru": (lambda: models.CharRNN(3, 2), (np.array([[0, 2, 1]]),)),
    "char lstm": (lambda: models.CharRNN(3, 2, 2, "lstm", 2), (np.array([[0, 2, 1]]),)),
    "seq2seq": (lambda: models.Seq2Seq(4, 3, 2, 2, 2), (np.array([[1, 3], [2, 0]]), np.array([[1, 2], [1, 1]]))),
    "transformer": (
        lambda: models.Seq2SeqTransformer(4, 3, 4, 2, 1, 3, 0.0), (np.array([[1, 3], [2, 0]]), np.array([[1, 2], [1, 1]]))
    ),
    "gpt": (lambda: models.GPT(3, 3, 1, 2, 4, 0.0), (np.array([[0, 2, 1]]),)),
}  # fmt: skip


@pytest.mark.parametrize("name", TINY)
def test_first_and_second_derivatives(name: str) -> None:
    make, inputs = TINY[name]
    mg.manual_seed(3)
    model = make().double()
    rng = Rng(2)
    values = {path: rng.normal(scale=0.7, size=p.shape) for path, p in model.named_parameters()}

    def f(*parameters: Any) -> Any:
        out = nn.functional_call(model, dict(zip(values, parameters)), inputs)
        return out[0] if isinstance(out, tuple) else out

    check_grads(f, *values.values(), order=2)


# ---- what may depend on what -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_a_later_token_changes_no_earlier_score(name: str) -> None:
    model = build(name)
    *source, tokens = inputs_of(name)
    changed = tokens.copy()
    changed[:, 2:] = (changed[:, 2:] + 1) % 7
    with mg.no_grad():
        a, b = logits(model, *source, tokens).numpy(), logits(model, *source, changed).numpy()
    np.testing.assert_array_equal(a[:, :2], b[:, :2])
    assert (np.abs(a[:, 2:] - b[:, 2:]).max(-1) > 1e-6).all()


@pytest.mark.parametrize("name", [name for name in SMALL if not name.startswith(("char", "gpt"))])
def test_padding_has_no_influence(name: str) -> None:
    model = build(name)
    with mg.no_grad():
        together = model(SOURCE, TARGET).numpy()
        longer = model(np.pad(SOURCE, ((0, 0), (0, 3))), TARGET).numpy()
        np.testing.assert_allclose(longer, together, rtol=1e-12)
        for row, target, own in zip(SOURCE, TARGET, together):
            alone = model(row[row != 0][None], target[None]).numpy()[0]
            np.testing.assert_allclose(alone, own, rtol=1e-12)
        np.testing.assert_allclose(model(SOURCE, np.pad(TARGET, ((0, 0), (0, 2)))).numpy()[:, :3], together, rtol=1e-12)


def test_gradients_of_padding_are_zero() -> None:
    for name in ("seq2seq", "transformer"):
        model = build(name)
        (model(SOURCE, TARGET) * Rng(0).normal(size=(3, 3, 7))).sum().backward()
        gradient = model.source_embedding.weight.grad.numpy()
        assert (gradient[0] == 0).all(), name
        assert (np.abs(gradient[1:9]).max(1) > 0).all(), name


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_char_rnn_reads_on_where_it_stopped(kind: str) -> None:
    mg.manual_seed(0)
    model = models.CharRNN(9, 6, 2, kind, dtype="float64")
    whole, end = model(SOURCE)
    first, state = model(SOURCE[:, :2])
    second, last = model(SOURCE[:, 2:], state)
    np.testing.assert_allclose(np.concatenate([first.numpy(), second.numpy()], 1), whole.numpy(), rtol=1e-12)
    for a, b in zip(end, last) if kind == "lstm" else [(end, last)]:
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)
    close(model(SOURCE[0])[0].numpy(), whole[0].numpy(), "one sequence without a batch")


def test_truncated_backpropagation_sees_one_piece() -> None:
    model = build("char gru")
    _, state = model(SOURCE[:, :2])
    carried = nn.detach_state(state)
    for start, expected in ((state, True), (carried, False)):
        model.zero_grad()
        logits, _ = model(SOURCE[:, 2:], start)
        logits.sum().backward()
        used = np.abs(model.rnn.weight_ih_l0.grad.numpy()).max(0) > 0  # by letter: one-hot
        assert set(np.flatnonzero(used)) == set(SOURCE[:, 2:].ravel()) | (set(SOURCE[:, :2].ravel()) if expected else set())


@pytest.mark.parametrize("name", SMALL)
def test_dropout_only_while_training(name: str) -> None:
    model = build(name, dropout=0.5)
    inputs = inputs_of(name)

    def run(seed: int) -> Any:
        mg.manual_seed(seed)
        return logits(model, *inputs).numpy()

    assert (run(1) == run(1)).all()
    assert np.abs(run(1) - run(2)).max() > 1e-6
    model.eval()
    assert (run(1) == run(2)).all()
    twin = build(name, dropout=0.0)
    twin.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(run(1), logits(twin, *inputs).numpy())


def test_float32_stays() -> None:
    for name, make in SMALL.items():
        out = logits(make(), *inputs_of(name))
        assert out.dtype == "float32", name


# ---- attention -----------------------------------------------------------------------------------------------------------------


def test_seq2seq_attends_as_the_layer_does() -> None:
    model = build("seq2seq")
    with mg.no_grad():
        scores, weights = model(SOURCE, TARGET, need_weights=True)
        s, h, _, _ = model.encode(SOURCE)
        context, first = model.attention(s[:, None], h, key_padding_mask=SOURCE == 0)
        close(first[:, 0].numpy(), weights[:, 0].numpy(), "weights")
        y = model.target_embedding(mg.tensor(TARGET[:, 0]))
        new = model.decoder(mg.concat([y, context[:, 0]], -1), s)
        out = model.head(F.maxout(model.readout(mg.concat([new, y, context[:, 0]], -1)), 2))
        close(out.numpy(), scores[:, 0].numpy(), "scores")
    np.testing.assert_allclose(weights.numpy().sum(-1), 1, rtol=1e-12)
    assert (weights.numpy()[np.broadcast_to((SOURCE == 0)[:, None], (3, 3, 4))] == 0).all()


def test_seq2seq_has_both_forms_of_the_gru() -> None:
    after, before = build("seq2seq"), build("seq2seq", reset_after=False)
    before.load_state_dict(after.state_dict())
    assert np.abs(after(SOURCE, TARGET).numpy() - before(SOURCE, TARGET).numpy()).max() > 1e-6


def test_attention_maps_are_those_of_every_layer() -> None:
    model = build("transformer", dropout=0.3)
    plain = build("transformer")
    plain.load_state_dict(model.state_dict())
    maps = models.attention_maps(model, SOURCE, TARGET)
    places = ["encoder.layers.{}.self_attn", "decoder.layers.{}.self_attn", "decoder.layers.{}.multihead_attn"]
    assert set(maps) == {f"transformer.{place.format(i)}" for place in places for i in range(2)}
    for path, weights in maps.items():
        size = {"e": (4, 4), "d": (3, 3)}[path[12]] if "self" in path else (3, 4)
        assert weights.shape == (3, 2, *size)
        np.testing.assert_allclose(weights.numpy().sum(-1), 1, rtol=1e-12)
        if size[1] == 4:
            assert (weights.numpy()[np.broadcast_to((SOURCE == 0)[:, None, None], weights.shape)] == 0).all()
        else:
            assert (weights.numpy()[..., ~np.tri(3, dtype=bool)] == 0).all()
    x = plain._embed(plain.source_embedding, mg.tensor(SOURCE))
    _, direct = plain.transformer.encoder.layers[0].self_attn(x, x, x, SOURCE == 0, average_attn_weights=False)
    close(maps["transformer.encoder.layers.0.self_attn"].numpy(), direct.numpy())
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with pytest.raises(mg.ShapeError):
        models.attention_maps(model, SOURCE, TARGET[0])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


# ---- writing -------------------------------------------------------------------------------------------------------------------

WRITERS = [name for name in SMALL if name.startswith(("char", "gpt"))]


@pytest.mark.parametrize("name", WRITERS)
def test_generation_repeats_with_the_seed(name: str) -> None:
    model = build(name, dropout=0.4)
    a, b, c = (model.generate([[1, 2], [3, 4]], 12, seed=seed).numpy() for seed in (5, 5, 6))
    assert (a == b).all()
    assert (a != c).any()
    assert a.shape == (2, 14)
    assert (a[:, :2] == [[1, 2], [3, 4]]).all()
    assert a.dtype == "int64"
    mg.manual_seed(5)
    assert (model.generate([[1, 2], [3, 4]], 12).numpy() == a).all()  # the global generator, from the same seed
    assert model.training
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("name", WRITERS)
def test_cold_generation_writes_the_likeliest(name: str) -> None:
    model = build(name, dropout=0.4)
    text = [1, 2]
    model.eval()
    for _ in range(10):  # beyond GPT's block of 7
        seen = text[-7:] if name == "gpt" else text
        text.append(int(logits(model, np.array([seen])).numpy()[0, -1].argmax()))
    assert model.generate([1, 2], 10, temperature=0).tolist() == text
    assert model.generate([1, 2], 10, top_k=1, seed=3).tolist() == text
    assert not model.training
    assert not model.generate([1, 2], 1).requires_grad


def test_samples_follow_the_softmax() -> None:
    scores = np.array([1.0, -1.0, 0.5, 2.0])
    for temperature, k in ((1.0, None), (0.5, None), (2.0, 3)):
        drawn = sample(np.broadcast_to(scores, (40_000, 4)), temperature, Rng(0), k)
        p = np.exp(scores / temperature) * (np.argsort(np.argsort(-scores)) < (k or 4))
        np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 40_000, p / p.sum(), atol=0.01)
    with pytest.raises(ValueError, match="temperature=-1"):
        sample(scores, -1, Rng(0))


def test_each_module_is_in_its_mode_again() -> None:
    model = build("gpt")
    model.h[1].eval()
    with evaluating(model):
        assert not any(m.training for m in model.modules())
        assert not mg.is_grad_enabled()
    assert model.training
    assert not model.h[1].mlp.training
    assert model.h[0].mlp.training


TRANSLATORS = ["seq2seq", "transformer"]
START, END = 1, 2


def log_p(model: Any, source: Any, target: list[int]) -> float:
    """log p(target | source), from one forward of the whole."""
    with mg.no_grad():
        scores = model(np.array([source]), np.array([[START, *target[:-1]]]))
        logs = mg.log_softmax(scores)[0].numpy()
    return float(sum(logs[i, token] for i, token in enumerate(target)))


def sharp(name: str) -> Any:
    """A small model whose scores differ much, so that sequences end at different lengths."""
    model = build(name).eval()
    for _, p in model.named_parameters():
        p._data = p._data * 3
    return model


@pytest.mark.parametrize("name", TRANSLATORS)
def test_greedy_is_the_likeliest_each_time(name: str) -> None:
    model = sharp(name)
    expected = []
    for row in SOURCE:
        text = [START]
        while len(text) < 7 and text[-1] != END:
            text.append(int(model(row[row != 0][None], np.array([text])).numpy()[0, -1].argmax()))
        expected.append(text[1:])
    longest = max(map(len, expected))
    written = model.greedy(SOURCE, START, END, 6)
    assert written.tolist() == [text + [0] * (longest - len(text)) for text in expected]
    assert not written.requires_grad


@pytest.mark.parametrize("name", TRANSLATORS)
def test_greedy_stops_when_all_have_ended(name: str) -> None:
    model = build(name)
    first = model.greedy(SOURCE[:1], START, 99, 1).item()
    assert model.greedy(SOURCE[:1], START, first, 5).tolist() == [[first]]  # it taken for the end
    assert model.greedy(SOURCE, START, END, 0).shape == (3, 0)


@pytest.mark.parametrize("name", TRANSLATORS)
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_wide_beams_are_exact(name: str, penalty: float) -> None:
    model, source, longest = sharp(name), [3, 5, 8], 3
    every = [
        list(text)
        for n in range(1, longest + 1)
        for text in itertools.product(range(7), repeat=n)
        if END not in text[:-1] and (text[-1] == END or n == longest)
    ]
    expected = sorted(((log_p(model, source, t) / len(t) ** penalty, t) for t in every), reverse=True)
    found = model.beam(source, START, END, width=7**longest, max_length=longest, length_penalty=penalty)
    assert len(found) == len(every)
    np.testing.assert_allclose([score for _, score in found], [score for score, _ in expected], rtol=1e-9)
    assert [text for text, _ in found[:5]] == [text for _, text in expected[:5]]


@pytest.mark.parametrize("name", TRANSLATORS)
def test_narrow_beams(name: str) -> None:
    model, source = sharp(name), [3, 5, 8]
    ((text, score),) = model.beam(source, START, END, width=1, max_length=6, length_penalty=0.0)
    assert text == model.greedy([source], START, END, 6).tolist()[0]
    assert score == pytest.approx(log_p(model, source, text))
    found = model.beam(source, START, END, width=3, max_length=6, length_penalty=0.0)
    assert len(found) == 3
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
    for text, score in found:
        assert score == pytest.approx(log_p(model, source, text))
        assert END not in text[:-1]
        assert len(text) == 6 or text[-1] == END


def test_beams_find_what_the_greedy_choice_misses() -> None:
    """The likeliest first letter leads to two unlikely ones; state follows its beginning."""
    table = {(): [0.6, 0.4, 0.0], (0,): [0.5, 0.5, 0.0], (1,): [0.05, 0.05, 0.9]}

    def step(last: Any, state: Any) -> Any:
        (text,) = state
        text = mg.concat([text, last[:, None]], 1) if last.tolist()[0] != 9 else text
        rows = [table.get(tuple(row), [0.1, 0.1, 0.8]) for row in text.tolist()]
        with np.errstate(divide="ignore"):
            return mg.tensor(np.log(rows)), (text,)

    def search(width: int) -> Any:
        return beam_search(step, (mg.zeros((1, 0), "int64"),), 9, 2, width, 3)

    assert search(1)[0][0] == [0, 0, 2]
    text, score = search(2)[0]
    assert text == [1, 2]
    assert score == pytest.approx(math.log(0.4 * 0.9))
    with pytest.raises(ValueError, match="width=0"):
        search(0)


# ---- learning, and misuse ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_every_model_can_learn_its_example_by_heart(name: str) -> None:
    model = build(name)
    *source, tokens = inputs_of(name)
    wanted = Rng(0).integers(0, 7, tokens.shape)
    optimizer = mg.optim.Adam(model.parameters(), lr=0.01 if name == "transformer" else 0.04)  # post-norm, without warm-up
    for _ in range(60):
        scores = logits(model, *source, tokens)
        loss = F.cross_entropy(scores.reshape((-1, scores.shape[-1])), wanted.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3
    assert all(p.grad is not None and np.isfinite(p.grad.numpy()).all() for p in model.parameters())


def test_misuse_is_told() -> None:
    with pytest.raises(ValueError, match="kind='GRU': expected 'rnn', 'lstm', 'gru'"):
        models.CharRNN(9, 6, kind="GRU")
    with pytest.raises(ValueError, match="hidden_size=7: expected an even number"):
        models.Seq2Seq(9, 7, 4, 7)
    with pytest.raises(ValueError, match="n_embd=8 does not divide into n_head=3"):
        models.GPT(9, 7, 1, 3, 8)
    with pytest.raises(mg.ShapeError, match=r"T <= 7 integers|T <= 7, got \(1, 8\).*block_size"):
        build("gpt")(np.zeros((1, 8), int))
    for name in SMALL:
        model, inputs = build(name), inputs_of(name)
        with pytest.raises(mg.ShapeError, match=r"of T >= 1 integers, got \(3, 0\)"):
            model(*inputs[:-1], inputs[-1][:, :0])
        with pytest.raises(IndexError, match="expected 0 to"):
            model(*inputs[:-1], inputs[-1] + 90)
    with pytest.raises(mg.ShapeError, match=r"expects an input of shape \(N, T\) of T >= 1 integers, got \(4,\)"):
        build("gpt")(SOURCE[0])
    for source in ([[3, 0, 4]], [[0, 0]], [[0, 3]]):
        with pytest.raises(mg.ShapeError, match="padding 0 only after their end"):
            build("seq2seq")(np.array(source), TARGET[:1])
