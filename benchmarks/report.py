"""The figures as text, as a picture, and as the table of docs/performance.md."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import textwrap
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS, REFERENCE
from benchmarks.measure import ROOT, Plan

Found = dict[str, Any]
DOCS = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- table: python -m benchmarks --write-docs -->", "<!-- end of the table -->"


def machine(plan: Plan) -> Found:
    """Where and how it was measured."""
    from minigrad import doctor

    packages = sorted({c.package for c in CONTENDERS.values()})
    return {
        "machine": doctor.cpu() | {"system": f"{platform.system()} {platform.machine()}", "python": platform.python_version()},
        "blas": doctor.blas(),
        "versions": {name: v for name in packages if (v := _version(name))},
        "plan": plan._asdict(),
        "load": [load()],
        "workloads": {},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def load() -> float | None:
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def heading(found: Found) -> str:
    cpu, blas, plan = found["machine"], found["blas"], found["plan"]
    kernel = "SkylakeX, set by --avx512" if plan["avx512"] else blas["kernel"]
    return (
        f"{cpu['name']}, {cpu['usable']} cores, {cpu['system']}, Python {cpu['python']}; NumPy's BLAS: {blas['name']} "
        f"{blas['version'] or ''}, kernel {kernel}\n"
        + ", ".join(f"{name} {version}" for name, version in found["versions"].items())
        + f"\n{plan['threads']} threads, {plan['rounds']} interleaved rounds in {plan['processes']} processes of each contender"
    )


def lines(work: Found) -> str:
    """A workload's table: time over PyTorch's, the quartiles, the time itself, and the memory a run takes."""
    told = [work["title"]]
    if work["rows"]:
        told.append(f"  {'':24}{'time / PyTorch':>15}   {'quartiles':^15}{'median':>12}{'memory':>12}")
    else:
        told.append(f"  agree with PyTorch: {', '.join(CONTENDERS[n].title for n in work['agree'] if n != REFERENCE)}")
    for name, row in sorted(work["rows"].items(), key=lambda item: item[1]["median"]):
        spread = "" if name == REFERENCE else f"{row['low']:.3g}-{row['high']:.3g}"
        told.append(
            f"  {CONTENDERS[name].title:24}{row['median']:15.3g}   {spread:^15}{1e3 * row['seconds']:9.3g} ms"
            f"{row['growth'] / 2**20:8.1f} MiB"
        )
    for name, why in work["absent"].items():
        told.append(f"  {CONTENDERS[name].title:24}{'FAILED' if why['fault'] else 'left out'}: {why['reason']}")
    return "\n".join(told)


def write(path: str | Path, content: str) -> None:
    """Whole or not at all."""
    part = Path(f"{path}.part")
    part.write_text(content)
    part.replace(path)


def table(found: Found) -> str:
    """Markdown: a row for each workload, a column for each contender that ran one."""
    names = [n for n in CONTENDERS if n != REFERENCE and any(n in w["rows"] for w in found["workloads"].values())]
    head = ["", *(CONTENDERS[n].title for n in names), "PyTorch, ms"]
    rows = [head, ["---"] * len(head)]
    for work in found["workloads"].values():
        cells = [_cell(work["rows"].get(n), bold=CONTENDERS[n].package == "minigrad") for n in names]
        rows.append([work["title"], *cells, f"{1e3 * work['rows'][REFERENCE]['seconds']:.3g}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(row: Found | None, bold: bool) -> str:
    if row is None:
        return "-"
    median = f"{row['median']:.2g}" if row["median"] < 10 else f"{row['median']:.0f}"
    return f"**{median}** [{row['low']:.2g}, {row['high']:.2g}]" if bold else median


def write_docs(found: Found) -> None:
    text = DOCS.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise SystemExit(f"{DOCS} has no place for the table, between {BEGIN} and {END}")
    loads = " before, ".join(str(v) for v in found["load"]) + (" after" if len(found["load"]) > 1 else "")
    about = heading(found).replace("\n", ".\n") + f"; load {loads}."
    write(DOCS, f"{before}{BEGIN}\n\n{about}\n\n{table(found)}\n\n{END}{after}")


COLOURS = {
    "eager": "#1b6ca8", "compiled": "#0b3c5d", "avx512": "#328cc1", "hand": "#9aa5b1", "torch_compile": "#d9822b",
    "jax": "#7c5295", "autograd": "#b5651d", "mygrad": "#5a9367", "chainer": "#c0392b", "tinygrad": "#777777",
}  # fmt: skip


COLUMNS = 4


def plot(found: Found, path: str) -> None:
    """A panel of horizontal bars for each workload, on one logarithmic scale: left of the line is faster than PyTorch."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from None
    works = list(found["workloads"].values())
    names = [n for n in CONTENDERS if n != REFERENCE and any(n in w["rows"] for w in works)]
    every = [w["rows"][n][k] for w in works for n in names if n in w["rows"] for k in ("low", "high")]
    limits = min([0.5, *every]) / 3, max([2.0, *every]) * 2.2  # room for the figures
    rows, columns = -(-len(works) // COLUMNS), min(COLUMNS, len(works))
    figure = Figure(figsize=(max(8, 1.5 + 3.7 * columns), 1.0 + rows * (0.55 + 0.16 * len(names))), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for panel in panels[len(works) :]:
        panel.set_axis_off()
    for k, work in enumerate(works):
        _panel(panels[k], work, names)
        panels[k].tick_params(axis="x", labelbottom=k + columns >= len(works))
    panels[0].set_xscale("log")
    panels[0].set_xlim(*limits)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    panels[0].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    figure.suptitle(
        f"Time / PyTorch's, {found['plan']['threads']} threads, {found['machine']['name']}: left of 1 is faster", fontsize=14
    )
    figure.supxlabel("logarithmic; bars are medians, lines quartiles of interleaved rounds", fontsize=10)
    part = f"{path}.part"
    figure.savefig(part, dpi=150, format=Path(path).suffix.removeprefix(".") or "png")
    os.replace(part, path)


def _panel(axes: Any, work: Found, names: list[str]) -> None:
    axes.set_title(textwrap.fill(work["title"], 44), fontsize=9, loc="left")
    axes.set_yticks(range(len(names)), [CONTENDERS[n].title for n in names], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.axvline(1, color="#222222", linewidth=1)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    for y, name in enumerate(names):
        row = work["rows"].get(name)
        if row is None:
            continue
        median, faster = row["median"], row["median"] < 1
        axes.barh(y, median - 1, 0.8, left=1, color=COLOURS[name])
        axes.plot([row["low"], row["high"]], [y, y], color="#222222", linewidth=0.9)
        axes.annotate(
            f"{median:.2g}" if median < 100 else f"{median:.0f}",
            (min(row["low"], median) if faster else max(row["high"], median), y),
            xytext=(-4 if faster else 4, 0), textcoords="offset points", va="center", ha="right" if faster else "left",
            fontsize=7.5, color="#222222", fontweight="bold" if CONTENDERS[name].package == "minigrad" else "normal",
        )  # fmt: skip
