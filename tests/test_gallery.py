"""The gallery: every picture is what its code draws, lies within sane limits, and has no text outside of its box."""

from __future__ import annotations

import functools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the gallery's film is drawn with matplotlib: pip install 'minigrad[examples]'")
pytest.importorskip("pygraphviz", reason="the gallery's layouts need Graphviz: pip install 'minigrad[viz]'")

from docs import pictures
from minigrad.viz import dot, tikz
from tests.test_viz_outputs import box, overlap, texts

ALL = [picture for section in pictures.SECTIONS.values() for picture in section]
DRAWN = [picture for picture in ALL if picture not in (pictures.player, pictures.memory, pictures.film)]
OWN = [picture for picture in ALL if picture not in pictures.NAMES]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?(?![\w#])")
VOLATILE = re.compile(r'BGCOLOR="#\w+"|penwidth=\S+|pictures\.py:\d+')
"""The colours of heat maps and the widths of arrows follow the numbers, to the last digit."""
WIDEST, TALLEST, HEAVIEST = 3100, 2300, 400_000


@functools.cache
def made(picture):
    return pictures.make(picture)


def file(picture):
    return (pictures.FOLDER / pictures.image(picture)).resolve()


def same(new, old):
    """Equal words, and numbers that agree to three digits: machines round float32 sums differently."""
    new, old = (VOLATILE.sub("", text) for text in (new, old))
    if NUMBER.split(new) != NUMBER.split(old):
        return False
    pairs = zip(map(float, NUMBER.findall(new)), map(float, NUMBER.findall(old)))
    return all(math.isclose(a, b, rel_tol=2e-3, abs_tol=1e-6) for a, b in pairs)


def test_same_knows_a_difference():
    assert same('x [label="0.1234" penwidth=1.25]', 'x [label="0.1235" penwidth=1.3]')
    assert not same("0.1234", "0.1334")
    assert not same("n1 -> n2", "n1 -> n3")
    assert not same("tanh 1", "relu 1")


@pytest.mark.parametrize("picture", DRAWN, ids=pictures.name)
def test_a_picture_is_what_its_code_draws(picture):
    path = pictures.FOLDER / f"{pictures.name(picture)}.dot"
    assert same(pictures.dot(made(picture)), path.read_text(encoding="utf-8")), (
        f"{path.name} is out of date: run `python -m docs.make gallery`, and look at the picture"
    )


@pytest.mark.parametrize("picture", ALL, ids=pictures.name)
def test_a_picture_is_neither_too_large_nor_too_heavy(picture):
    path = file(picture)
    assert 1000 < path.stat().st_size < HEAVIEST
    if path.suffix == ".svg":
        width, height = map(float, re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', path.read_text()).groups())
        assert 100 < width <= WIDEST
        assert 100 < height <= TALLEST


@pytest.mark.parametrize("picture", DRAWN, ids=pictures.name)
def test_texts_lie_in_their_boxes_and_on_nothing_else(picture):
    layout = json.loads(dot.render(tikz.hinted(pictures.dot(made(picture))), "json"))
    nodes = [thing for thing in layout["objects"] if "pos" in thing]
    for node in nodes:
        left, bottom, right, top = box(node)
        inside = list(texts(node))
        for i, (text, (a, b, c, d)) in enumerate(inside):
            assert left <= a + 0.5, (node["name"], text)
            assert c <= right + 0.5, (node["name"], text)
            assert bottom <= b + 0.5, (node["name"], text)
            assert d <= top + 0.5, (node["name"], text)
            assert not any(overlap((a, b, c, d), other) for _, other in inside[:i]), (node["name"], text)
    labels = [found for edge in layout.get("edges", []) for found in texts(edge)]
    for i, (text, place) in enumerate(labels):
        for node in nodes:
            assert not overlap(place, box(node), 2.0), f"{text!r} lies on {node['name']}"
        for other, there in labels[:i]:
            assert not overlap(place, there, 2.0), f"{text!r} lies on {other!r}"
    for i, node in enumerate(nodes):
        assert not any(overlap(box(node), box(other)) for other in nodes[:i]), node["name"]


def points(edge, each=12):
    """Places along an edge, which is made of Bezier curves."""
    for op in edge.get("_draw_", []):
        if op["op"] in "bB":
            places = np.array(op["points"])
            t = np.linspace(0, 1, each)[:, None]
            for k in range(0, len(places) - 3, 3):
                a, b, c, d = places[k : k + 4]
                yield from (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d


@pytest.mark.parametrize("picture", [p for p in DRAWN if p in OWN], ids=pictures.name)
def test_no_arrow_runs_through_the_name_of_a_frame(picture):
    layout = json.loads(dot.render(tikz.hinted(pictures.dot(made(picture))), "json"))
    names = [found for thing in layout["objects"] if thing["name"].startswith("cluster") for found in texts(thing)]
    for edge in layout.get("edges", []):
        for x, y in points(edge):
            for text, (left, bottom, right, top) in names:
                assert not (left < x < right and bottom < y < top), text


@pytest.mark.parametrize("picture", OWN, ids=pictures.name)
def test_the_code_shown_runs_by_itself(picture):
    exec("\n".join([*pictures.IMPORTS, pictures.code(picture)]), {"__name__": "a_program"})


def test_the_page_is_up_to_date():
    page = pictures.FOLDER / "README.md"
    assert page.read_text(encoding="utf-8") == pictures.page(), "run `python -m docs.make gallery`"
    for link in re.findall(r'(?:src="|\]\()([^")#]+)', pictures.page()):
        assert (page.parent / link).exists(), link


def test_nothing_else_lies_in_the_gallery():
    expected = {"README.md", "player.html", "player.png"}
    expected |= {Path(pictures.image(p)).name for p in OWN} | {f"{pictures.name(p)}.dot" for p in DRAWN}
    assert {path.name for path in pictures.FOLDER.iterdir()} == expected


def test_the_player_is_one_page_of_the_gallery_without_network():
    page = (pictures.FOLDER / "player.html").read_text(encoding="utf-8")
    assert len(page) < 300_000
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="?https?:', page)
