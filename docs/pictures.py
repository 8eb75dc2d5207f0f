"""The pictures of the gallery: one function each, whose docstring is the caption and whose body is the code shown beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minigrad as mg
from examples.figures import FIGURES
from minigrad import nn, viz
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import models
from minigrad.nn.models.googlenet import TABLE, Inception


# Networks
def mlp() -> Any:
    """A network of two layers: every value and gradient, with the modules around them."""
    X = mg.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    target = mg.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    loss = mg.mean((model(X) - target) ** 2)
    loss.backward()
    return viz.draw(loss, title="A network for exclusive or")


def mlp_heatmaps() -> Any:
    """Large arrays as heat maps: weights and their gradients, activations, and the units that a ReLU switched off."""
    X, labels = mg.random.normal((8, 6)), mg.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    with mg.inspect():
        loss = F.cross_entropy(model(X), labels)
    loss.backward()
    return viz.draw(loss, arrays="heatmap", show="op,shape,value,gradient")


def lenet() -> Any:
    """LeNet-5, layer by layer, with the norm of the gradient that reaches each."""
    images, labels = mg.random.normal((4, 1, 32, 32)), mg.tensor([3, 1, 4, 1])
    with mg.inspect():
        loss = F.cross_entropy(models.LeNet5()(images), labels)
    loss.backward()
    return viz.draw(loss, depth=1, title="LeNet-5")


def resnet18() -> Any:
    """ResNet-18: eleven million parameters in one picture, folded to its blocks, one of them opened to show the skip connection."""
    images = mg.random.normal((2, 3, 64, 64))
    with mg.inspect():
        loss = mg.mean(models.resnet18()(images) ** 2)
    loss.backward()
    return viz.draw(loss, unfold=["layer2.0"], show="op,shape,gradient", title="ResNet-18")


def inception() -> Any:
    """One Inception module of GoogLeNet: four branches of different filters, put together again."""
    x = mg.random.normal((1, 192, 14, 14))
    module = Inception(TABLE["3a"])
    with mg.inspect():
        loss = mg.mean(module(x) ** 2)
    loss.backward()
    return viz.draw(loss, depth=2, show="op,shape,gradient", title="An Inception module")


# Sequences
def gru_rolled() -> Any:
    """A GRU over 50 steps, rolled: one cell, and an arrow that hands its state to the next step."""
    cell, head = nn.GRUCell(8, 16), nn.Linear(16, 4)
    h = mg.zeros((4, 16))
    with mg.inspect():
        for x in mg.random.normal((50, 4, 8)):
            h = cell(x, h)
        loss = mg.mean(head(h) ** 2)
    loss.backward()
    return viz.draw(loss, title="A GRU over 50 steps")


def gru_unrolled() -> Any:
    """The same over three steps, unrolled: every step is a box, and the weights are used by all three."""
    cell, head = nn.GRUCell(8, 16), nn.Linear(16, 4)
    h = mg.zeros((4, 16))
    with mg.inspect():
        for x in mg.random.normal((3, 4, 8)):
            h = cell(x, h)
        loss = mg.mean(head(h) ** 2)
    loss.backward()
    return viz.draw(loss, fold=["GRUCell", "Linear"], show="op,shape,gradient", title="A GRU over three steps")


def lstm_cell() -> Any:
    """One step of an LSTM, written out: what is kept, what is written, what is shown, and the sum that lets gradients of c pass."""
    x, h, c = (mg.tensor(v, dtype="float64", name=name) for name, v in (("x", 0.5), ("h", 0.3), ("c", -0.8)))
    W_f, W_i, W_g, W_o = (mg.tensor(v, dtype="float64", requires_grad=True) for v in (0.6, 0.9, 1.4, 1.1))
    f, i, o = (mg.sigmoid(W * (x + h)) for W in (W_f, W_i, W_o))
    new_c = f * c + i * mg.tanh(W_g * (x + h))
    new_h = o * mg.tanh(new_c)
    new_h.backward()
    return viz.draw(new_h, show="op,value,gradient", title="One step of an LSTM")


def scaled_dot_product() -> Any:
    """Scaled dot-product attention of four queries over four keys."""
    Q, K, V = (mg.random.normal((4, 3), dtype="float64", requires_grad=True) for _ in range(3))
    scores = Q @ K.T / 3**0.5
    weights = mg.softmax(scores, axis=-1)
    output = weights @ V
    loss = mg.sum(output**2)
    loss.backward()
    return viz.draw(loss, arrays="heatmap", show="op,shape,value,gradient", title="softmax(Q Kᵀ / √d) V")


def multihead_attention() -> Any:
    """Multi-head self-attention, operation by operation."""
    x = mg.random.normal((2, 5, 8))
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    output, weights = attention(x, x, x)
    loss = mg.mean(output**2)
    loss.backward()
    return viz.draw(loss, show="op,shape", rankdir="TB", title="Multi-head attention")


def transformer() -> Any:
    """The transformer of "Attention is all you need": six equal layers are one that repeats."""
    model = models.Seq2SeqTransformer(50, 50, d_model=32, nhead=4, dim_feedforward=64)
    source, target = mg.random.randint(3, 50, (2, 9)), mg.random.randint(3, 50, (2, 7))
    with mg.inspect():
        loss = mg.mean(model(source, target) ** 2)
    loss.backward()
    return viz.draw(loss, depth=2, show="op,shape", edges="none", title="Encoder and decoder, six layers each")


def gpt() -> Any:
    """A GPT of twelve blocks: one is shown, with what goes around it."""
    model = models.GPT(vocab_size=65, block_size=32, n_layer=12, n_head=4, n_embd=32)
    tokens = mg.random.randint(0, 65, (2, 17))
    with mg.inspect():
        logits = model(tokens[:, :-1])
        loss = F.cross_entropy(mg.reshape(logits, (-1, 65)), mg.reshape(tokens[:, 1:], -1))
    loss.backward()
    return viz.draw(loss, show="op,shape,gradient", edges="none", title="GPT")


def seq2seq() -> Any:
    """Translation with attention: an encoder in both directions, and a decoder that looks back at each of its steps."""
    model = models.Seq2Seq(source_size=20, target_size=20, embedding_dim=8, hidden_size=12)
    source, target = mg.random.randint(3, 20, (2, 12)), mg.random.randint(3, 20, (2, 15))
    with mg.inspect():
        loss = mg.mean(model(source, target) ** 2)
    loss.backward()
    return viz.draw(loss, show="op,shape", edges="none", title="Sequence to sequence with attention")


# Generative models and higher derivatives
def vae() -> Any:
    """A variational autoencoder: the gradient passes through the noise by z = mu + exp(logvar / 2) e."""
    model = models.VAE(models.MLP(16, 8, 2 * 2), models.MLP(2, 8, 16), latent_dim=2)
    x = mg.random.bernoulli(0.5, (5, 16))
    loss = model.loss(x)
    loss.backward()
    return viz.draw(loss, fold=["encoder", "decoder"], show="op,shape", title="A variational autoencoder")


def gan() -> Any:
    """Two networks of a GAN, and their two losses: what the generator learns from comes back through the discriminator."""
    gan = models.GAN(models.MLP(4, 16, 2), models.MLP(2, 16, 1), latent_dim=4)
    real, fake = mg.random.normal((8, 2)), gan(gan.noise(8))
    d_loss, g_loss = gan.discriminator_loss(real, fake), gan.generator_loss(fake)
    d_loss.backward()
    g_loss.backward()
    return viz.draw([d_loss, g_loss], fold=["MLP"], show="op,shape,gradient", title="A generative adversarial network")


def double_backprop() -> Any:
    """A gradient penalty: the gradient of f is part of the loss, so backprop runs through backprop."""
    x = mg.tensor(1.5, dtype="float64", requires_grad=True)
    w = mg.tensor(0.8, dtype="float64", requires_grad=True)
    f = mg.tanh(w * x)
    (slope,) = mg.gradients(f, [x], create_graph=True)
    penalty = (slope - 1) ** 2
    penalty.backward()
    return viz.draw(penalty, title="The penalty (|df/dx| - 1)² and its gradient")


# When something is wrong
def shape_error() -> Any:
    """A forward pass that raised: the operation, the line, and the two sizes that disagree."""
    batch = mg.random.normal((4, 5))
    W1, W2 = mg.random.normal((5, 7), requires_grad=True), mg.random.normal((6, 2), requires_grad=True)
    try:
        with mg.inspect():
            mg.sum(mg.tanh(batch @ W1) @ W2)
    except mg.ShapeError as error:
        return viz.draw(error)


def dead_relu() -> Any:
    """Why does nothing learn? All units of the hidden layer are switched off."""
    X = mg.random.uniform((8, 3))
    W = mg.tensor([[-1.0, -2.0], [-3.0, -1.0], [-2.0, -2.0]], requires_grad=True)
    hidden = mg.relu(X @ W)
    loss = mg.mean((hidden - 1.0) ** 2)
    loss.backward()
    return viz.explain_grad(W, loss).draw()


def nan() -> Any:
    """Where does the NaN come from? From the rule of the square root at 0, not from where it was seen."""
    x = mg.tensor([3.0, 0.0], dtype="float64", requires_grad=True)
    distance = mg.sqrt(x * x)
    loss = mg.sum(distance)
    loss.backward()
    return viz.explain_grad(x, loss).draw()


def vanishing() -> Any:
    """A vanishing gradient, read off a rolled network: its norm from the first step to the last."""
    W, U = (mg.tensor(mg.random.normal((8, 8)).numpy() * s, requires_grad=True, name=n) for s, n in ((0.5, "W"), (0.2, "U")))
    h = mg.zeros((4, 8))
    for x in mg.random.normal((30, 4, 8)):
        h = mg.tanh(x @ W + h @ U)
    loss = mg.mean(h**2)
    loss.backward()
    return viz.draw(loss, title="30 steps of a simple recurrent network")


def memory() -> Any:
    """What LeNet-5 keeps for its backward pass, and when it lets go."""
    images, labels = mg.random.normal((64, 1, 32, 32)), mg.random.randint(0, 10, (64,))
    loss = F.cross_entropy(models.LeNet5()(images), labels)
    return viz.memory(loss)


def player() -> Any:
    """The player: a page that steps through both passes, says the rule and its numbers, and recomputes what you drag."""
    w0, x0, w1, x1, w2 = (
        mg.tensor(v, dtype="float64", requires_grad=True, name=name)
        for v, name in ((2, "w0"), (-1, "x0"), (-3, "w1"), (-2, "x1"), (-3, "w2"))
    )
    with mg.inspect():
        f = 1 / (1 + mg.exp(-(w0 * x0 + w1 * x1 + w2)))
    return viz.player(f, title="The sigmoid circuit, step by step")


SECTIONS: dict[str, tuple[Callable[[], Any], ...]] = {
    "Figures of the lecture notes": tuple(FIGURES.values()),
    "Networks": (mlp, mlp_heatmaps, lenet, resnet18, inception),
    "Sequences and attention": (
        gru_rolled, gru_unrolled, lstm_cell, scaled_dot_product, multihead_attention, transformer, gpt, seq2seq,
    ),
    "Generative models, higher derivatives": (vae, gan, double_backprop),
    "When something is wrong": (shape_error, dead_relu, nan, vanishing),
    "Beyond one picture": (player, memory),
}  # fmt: skip
