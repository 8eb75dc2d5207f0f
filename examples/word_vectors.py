"""Word vectors: what stands for what, learned from who stands beside whom (notes 003, week 9: CBOW, skip-gram, PMI).

A small grammar writes sentences such as "the king ate warm bread". Skip-gram with negative sampling sees pairs of neighbours only,
and yet words of one kind end up near each other, since they can stand in each other's place. What it learns is known, too: at
its minimum the product of two words' vectors is ``PMI(w, c) - log k = log p(c|w)/p(c) - log k`` (Levy & Goldberg 2014).

Run ``python -m examples.word_vectors``: some seconds; out/word_vectors.png shows how near each word is to each other one, and the
learned products against the counted PMI.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import minigrad as mg
from examples.plotting import GREY, figure, save
from minigrad.nn.models import SkipGram, negative_samples, pointwise_mutual_information, skip_gram_pairs

KINDS = {
    "people": "king queen farmer sailor teacher child",
    "animals": "cat dog horse sheep wolf bird",
    "food": "bread soup apple cheese rice fish",
    "tools": "hammer saw rope wheel lamp needle",
    "ate": "ate tasted cooked chewed",
    "used": "used mended sold dropped",
    "looks": "warm sweet fresh salty old rusty heavy broken",
}
WORDS = {kind: words.split() for kind, words in KINDS.items()}
SENTENCES = (("people", "ate", "warm sweet fresh salty", "food"), ("animals", "ate", "fresh old", "food"),
             ("people", "used", "old rusty heavy broken", "tools"), ("people", "used", "old", "animals"))  # fmt: skip
COUNT, DIM, WINDOW, NEGATIVES, EPOCHS, BATCH = 4000, 12, 2, 5, 12, 256


def write(rng: np.random.Generator) -> list[str]:
    """Sentences of the grammar, one after the other, each with a full stop."""
    text: list[str] = []
    for i in rng.choice(len(SENTENCES), COUNT, p=(0.3, 0.25, 0.3, 0.15)):
        text += [str(rng.choice(WORDS.get(part) or part.split())) for part in SENTENCES[i]] + ["."]
    return text


def learn(model: SkipGram, text: np.ndarray, rng: np.random.Generator) -> None:
    """Adam on minus the log-likelihood of pairs and of drawn negatives."""
    centre, around = skip_gram_pairs(text, WINDOW)
    counts = np.bincount(around)
    optimizer = mg.optim.Adam(model.parameters(), lr=0.01)
    schedule = mg.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for epoch in range(1, EPOCHS + 1):
        losses = []
        for batch in np.array_split(rng.permutation(len(centre)), len(centre) // BATCH):
            optimizer.zero_grad()
            loss = model.loss(centre[batch], around[batch], negative_samples(counts, (len(batch), NEGATIVES), 1.0, rng))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
        if epoch % 4 == 0:
            print(f"epoch {epoch:2d}: loss {np.mean(losses):.4f}")


def main(path: str | Path = "out/word_vectors.png", seed: int = 0) -> dict[str, float]:
    """Write, learn, check, draw; return the share of nearest words of the same kind, and the correlation with PMI."""
    rng = np.random.default_rng(seed)
    mg.manual_seed(seed)
    words, text = np.unique(write(rng), return_inverse=True)
    model = SkipGram(len(words), DIM)
    learn(model, text, rng)

    kind = {word: name for name, group in WORDS.items() for word in group}
    nearest = {word: str(words[model.nearest(i, 1)[0][0]]) for i, word in enumerate(words) if word in kind}
    pmi = pointwise_mutual_information(*skip_gram_pairs(text, WINDOW), len(words)) - np.log(NEGATIVES)
    product = model.given.weight.numpy() @ model.asked.weight.numpy().T
    seen = np.isfinite(pmi)
    found = {
        "nearest word is of the same kind": float(np.mean([kind[a] == kind.get(b) for a, b in nearest.items()])),
        "correlation with PMI - log k": float(np.corrcoef(product[seen], pmi[seen])[0, 1]),
    }
    for name, value in found.items():
        print(f"{name:33s} {value:.3f}")

    order = [int(np.flatnonzero(words == word)[0]) for word in kind]
    unit = (v := model.given.weight.numpy()[order]) / np.linalg.norm(v, axis=1, keepdims=True)
    fig, (left, right) = figure((1, 2), (14, 6.6), "Words used alike get vectors alike", width_ratios=(1.15, 1))
    image = left.imshow(unit @ unit.T, cmap="RdBu_r", vmin=-1, vmax=1)
    left.set_yticks(range(len(order)), words[order], fontsize=7)
    left.set(title="cosine between word vectors, by kind of word", xticks=[])
    for edge in np.cumsum([len(group) for group in WORDS.values()])[:-1] - 0.5:
        left.axhline(edge, color="white", linewidth=1)
        left.axvline(edge, color="white", linewidth=1)
    fig.colorbar(image, ax=left, shrink=0.8, pad=0.02).outline.set_visible(False)
    right.scatter(pmi[seen], product[seen], s=10, alpha=0.5, linewidths=0)
    ends = [pmi[seen].min(), pmi[seen].max()]
    right.plot(ends, ends, color=GREY, linewidth=1, linestyle="--")
    right.set(
        title="what a product of two vectors means", xlabel="counted: PMI(w, c) - log k", ylabel="learned: $v_w \\cdot u_c$"
    )
    save(fig, path)
    assert found["nearest word is of the same kind"] >= 0.9, nearest
    assert found["correlation with PMI - log k"] > 0.9
    return found


if __name__ == "__main__":
    main()
