"""The pictures of the gallery: one function each, whose docstring is the caption and whose body is the code shown below it.

``python -m docs.make gallery`` makes them anew; a test fails while one of them differs from what its code draws.
"""

from __future__ import annotations

import html
import inspect
import re
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
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
    """LeNet-5, layer by layer, with the norms of the gradients that reach its outputs and its parameters."""
    images, labels = mg.random.normal((4, 1, 32, 32)), mg.tensor([3, 1, 4, 1])
    with mg.inspect():
        loss = F.cross_entropy(models.LeNet5()(images), labels)
    loss.backward()
    return viz.draw(loss, depth=1, show="op,shape,gradient", edges="none", rankdir="LR", title="LeNet-5")


def resnet18() -> Any:
    """ResNet-18: eleven million parameters in one picture, folded to its layers; one block is opened to show the skip connection."""
    images = mg.random.normal((2, 3, 64, 64))
    with mg.inspect():
        loss = mg.mean(models.resnet18()(images) ** 2)
    loss.backward()
    return viz.draw(loss, depth=1, unfold=["layer2.0"], show="op,shape", edges="none", rankdir="LR", title="ResNet-18")


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
    """A GRU over 50 steps, rolled: one cell, and arrows that hand its state to the next step."""
    cell, head = nn.GRUCell(4, 8), nn.Linear(8, 1)
    h = mg.zeros((4, 8))
    for x in mg.random.normal((50, 4, 4)):
        h = cell(x, h)
    loss = mg.mean(head(h) ** 2)
    loss.backward()
    return viz.draw(loss, show="op,shape", edges="none", rankdir="TB", title="A GRU over 50 steps")


def gru_unrolled() -> Any:
    """The same over three steps, unrolled: every step is a box, and the weights are used by all three."""
    cell, head = nn.GRUCell(4, 8), nn.Linear(8, 1)
    h = mg.zeros((4, 8))
    for x in mg.random.normal((3, 4, 4)):
        h = cell(x, h)
    loss = mg.mean(head(h) ** 2)
    loss.backward()
    return viz.draw(loss, fold=["GRUCell", "Linear"], show="op,shape,gradient", title="A GRU over three steps")


def lstm_cell() -> Any:
    """One step of an LSTM: what is kept, what is written, what is shown, and the sum that hands the gradient of c on."""
    x, c = mg.tensor(0.8, dtype="float64"), mg.tensor(-0.8, dtype="float64", requires_grad=True)
    W_f, W_i, W_g, W_o = (mg.tensor(v, dtype="float64", requires_grad=True) for v in (0.6, 0.9, 1.4, 1.1))
    f, i, g, o = mg.sigmoid(W_f * x), mg.sigmoid(W_i * x), mg.tanh(W_g * x), mg.sigmoid(W_o * x)
    new_c = f * c + i * g
    h = o * mg.tanh(new_c)
    h.backward()
    return viz.draw(h, show="op,value,gradient", title="One step of an LSTM")


def scaled_dot_product() -> Any:
    """Scaled dot-product attention of three queries over three keys."""
    Q, K, V = (mg.random.normal((3, 2), dtype="float64", requires_grad=True) for _ in range(3))
    scores = Q @ K.T / 2**0.5
    weights = mg.softmax(scores, axis=-1)
    output = weights @ V
    loss = mg.sum(output**2)
    loss.backward()
    return viz.draw(loss, arrays="heatmap", show="op,shape,value,gradient", title="softmax(Q Kᵀ / √d) V")


def multihead_attention() -> Any:
    """Multi-head self-attention, operation by operation."""
    x = mg.random.normal((2, 5, 8))
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    output, _ = attention(x, x, x)
    loss = mg.mean(output**2)
    loss.backward()
    return viz.draw(loss, show="op,shape", edges="none", rankdir="TB", title="Multi-head attention")


def transformer() -> Any:
    """The transformer of "Attention is all you need": six equal layers are one that repeats."""
    model = models.Seq2SeqTransformer(50, 50, d_model=32, nhead=4, dim_feedforward=64)
    source, target = mg.random.randint(3, 50, (2, 9)), mg.random.randint(3, 50, (2, 7))
    loss = mg.mean(model(source, target) ** 2)
    return viz.draw(
        loss, flow="forward", show="op,shape", depth=1, unfold=["encoder", "decoder"], rankdir="TB",
        title="Encoder and decoder, six layers each",
    )  # fmt: skip


def gpt() -> Any:
    """A GPT of twelve blocks: one is shown, with what goes around it."""
    model = models.GPT(vocab_size=65, block_size=32, n_layer=12, n_head=4, n_embd=32)
    tokens = mg.random.randint(0, 65, (2, 17))
    with mg.inspect():
        logits = model(tokens[:, :-1])
        loss = F.cross_entropy(mg.reshape(logits, (-1, 65)), mg.reshape(tokens[:, 1:], -1))
    loss.backward()
    return viz.draw(loss, fold=["mlp"], show="op,shape", edges="none", title="GPT")


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


def quiz() -> Any:
    """An exercise sheet: blanks in place of numbers, to be filled in and marked."""
    x, y, z = (mg.tensor(v, dtype="float64", requires_grad=True, name=n) for v, n in ((-2, "x"), (5, "y"), (-4, "z")))
    q = x + y
    f = q * z + x
    return viz.quiz(f, title="Fill in the blanks")


def film() -> Any:
    """A film of training: which layer's gradient vanishes, step by step. Its page has a slider for the step."""
    X, target = mg.random.normal((32, 4)), mg.random.normal((32, 1))
    layers = [layer for _ in range(5) for layer in (nn.Linear(4, 4), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(4, 1))
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    film = viz.Film(model)
    for _ in range(20):
        optimizer.zero_grad()
        loss = mg.mean((model(X) - target) ** 2)
        loss.backward()
        film.record(loss)
        optimizer.step()
    return film.draw(title="Five sigmoid layers: the gradient vanishes")


SECTIONS: dict[str, tuple[Callable[[], Any], ...]] = {
    "Figures of the lecture notes": tuple(FIGURES.values()),
    "Networks": (mlp, mlp_heatmaps, lenet, resnet18, inception),
    "Sequences and attention": (
        gru_rolled, gru_unrolled, lstm_cell, scaled_dot_product, multihead_attention, transformer, gpt, seq2seq,
    ),
    "Generative models, higher derivatives": (vae, gan, double_backprop),
    "When something is wrong": (shape_error, dead_relu, nan, vanishing),
    "Beyond one picture": (player, film, memory, quiz),
}  # fmt: skip
NAMES = {function: name for name, function in FIGURES.items()}
FOLDER = Path(__file__).parent / "gallery"
KEYS = "\ue014" * 16
"""The arrow to the right, as Selenium says it: into the backward pass of the player's example."""
ACROSS = 3
"""Thumbnails in a row of the index."""


def name(picture: Callable[[], Any]) -> str:
    """What a picture's files are called."""
    return NAMES.get(picture, picture.__name__)


def make(picture: Callable[[], Any]) -> Any:
    """What a picture's function returns, with random numbers that are the same each time."""
    mg.manual_seed(0)
    return picture()


def image(picture: Callable[[], Any]) -> str:
    """The file to look at, relative to the gallery."""
    return f"../images/{name(picture)}.svg" if picture in NAMES else f"{name(picture)}.{'png' if picture is player else 'svg'}"


def dot(made: Any) -> str:
    """The DOT text of what was made; "" if it is no drawing of a graph."""
    return str(getattr(getattr(made, "drawing", made), "source", ""))


def save(picture: Callable[[], Any], folder: Path = FOLDER) -> None:
    """Make one picture and write its files: the image and, of a drawing, its DOT text."""
    made = make(picture)
    made.save(folder / f"{name(picture)}.html" if picture is player else folder / image(picture))
    if picture is player:
        photograph(folder / "player.html", folder / "player.png")
    if source := dot(made):
        (folder / f"{name(picture)}.dot").write_text(source, encoding="utf-8")


def photograph(page: Path, png: Path, keys: str = KEYS) -> None:
    """A picture of a page in a headless Chromium after some keys were pressed; without one, the old picture stays."""
    programs = [shutil.which(program) for program in ("chromium", "chromedriver")]
    if None in programs:
        return
    from tests.browser import Browser

    browser = Browser(*map(str, programs))
    try:
        browser.open(page, width=1440, height=860)
        browser.press(*keys)
        browser.driver.save_screenshot(str(png))
    finally:
        browser.driver.quit()


def code(picture: Callable[[], Any]) -> str:
    """The body of a picture's function, as one would write it in a program."""
    text = textwrap.dedent(re.sub(r'\A.*?""".*?"""\n', "", inspect.getsource(picture), count=1, flags=re.DOTALL))
    return re.sub(r"^(\s*)return ", r"\1", text, flags=re.MULTILINE).rstrip()


def page() -> str:
    """docs/gallery/README.md."""
    lines = [
        "# Gallery",
        "",
        "Every picture is drawn by `minigrad.viz` from the program below it. Written by `python -m docs.make gallery`; do not edit.",
        "The programs begin with",
        "",
        "```python",
        *IMPORTS,
        "```",
    ]
    for title, pictures in SECTIONS.items():
        lines += ["", f"## {title}", "", "<table>"]
        for k in range(0, len(pictures), ACROSS):
            cells = (
                f'<td width="{100 // ACROSS}%"><a href="#{name(p)}"><img src="{image(p)}" alt="{alt(p)}"></a><br>{alt(p)}</td>'
                for p in pictures[k : k + ACROSS]
            )
            lines += ["<tr>", *cells, "</tr>"]
        lines.append("</table>")
    for title, pictures in SECTIONS.items():
        lines += ["", f"## {title}, with their code"]
        for p in pictures:
            lines += ["", f"### {name(p)}", "", caption(p), "", f"[![{name(p)}]({image(p)})]({image(p)})", ""]
            lines += ["[Open the page](player.html): a file that needs no network.", ""] if p is player else []
            if p in NAMES:
                lines += [
                    f"Its program checks every printed number, too: `{p.__name__}` in [examples/figures.py](../../examples/figures.py)."
                ]
            else:
                lines += ["```python", code(p), "```"]
    return "\n".join(lines) + "\n"


def caption(picture: Callable[[], Any]) -> str:
    """The first line of a picture's docstring."""
    return (picture.__doc__ or "").strip().splitlines()[0]


def alt(picture: Callable[[], Any]) -> str:
    """The same in HTML."""
    return html.escape(caption(picture))


IMPORTS = (
    "import minigrad as mg",
    "from minigrad import nn, viz",
    "from minigrad.nn import functional as F",
    "from minigrad.nn import models",
    "from minigrad.nn.models.googlenet import TABLE, Inception",
)


def write() -> None:
    """Make every picture and the page."""
    for pictures in SECTIONS.values():
        for picture in pictures:
            save(picture)
    (FOLDER / "README.md").write_text(page(), encoding="utf-8")
