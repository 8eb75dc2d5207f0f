"""``minigrad doctor``: what is installed, what works, and what to do about the rest. Each part is tried, not only looked up."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.metadata
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Report = dict[str, Any]

OPTIONAL = (
    "graphviz", "pygraphviz", "networkx", "matplotlib", "scikit-learn", "safetensors", "tqdm", "hypothesis", "threadpoolctl",
)  # fmt: skip
CUPY = ("cupy-cuda13x", "cupy-cuda12x", "cupy-cuda11x", "cupy")
"""The distributions that install CuPy."""
AVX512_KERNELS = ("skylakex", "cooperlake", "sapphirerapids")
"""OpenBLAS's kernels that use AVX-512."""
FASTER = {"OPENBLAS_CORETYPE": "SkylakeX"}
"""What makes OpenBLAS use the oldest of them, which every CPU with AVX-512 can run. It is read when NumPy loads."""
WORTH_IT = 1.1
"""How many times as fast matrix products must be for advice: less may be the machine's other work."""
TIMEOUT = 60
"""Seconds for a drawing program: its first start may build a font cache."""


def examine() -> Report:
    """Everything that the doctor knows, as plain data; ``ok`` says whether the core works, ``advice`` what to do."""
    advice: list[str] = []
    processor, library = cpu(), blas()
    library["speedup"] = measured_speedup(FASTER) if wastes_avx512(library, processor) else None
    report: Report = {
        "versions": versions(),
        "cpu": processor,
        "blas": library,
        "gpu": gpu(advice),
        "drawing": drawing(advice),
        "core": core(),
    }
    advice[:0] = blas_advice(report["blas"], report["cpu"], dict(os.environ))
    if not report["core"]["ok"]:
        advice.insert(0, "Reinstall minigrad and NumPy: pip install --force-reinstall minigrad numpy")
    return {"ok": report["core"]["ok"], **report, "advice": advice}


def text(report: Report) -> str:
    """The report as lines for a terminal."""
    lines: list[tuple[str, str]] = []
    for name, version in report["versions"].items():
        lines.append((name, version or "not installed"))
    processor, library, card, picture = report["cpu"], report["blas"], report["gpu"], report["drawing"]
    lines.append(
        ("CPU", f"{processor['name']}, {processor['usable']} usable, AVX-512 {'yes' if processor['avx512'] else 'no'}")
    )
    threads = f"{library['threads']} threads" if library["threads"] else "threads unknown"
    kernel = library["kernel"] or "unknown"
    if library["speedup"]:
        kernel += f" ({FASTER['OPENBLAS_CORETYPE']} measured: {library['speedup']:.2f} times as fast)"
    lines.append(("BLAS", f"{library['name']} {library['version'] or ''}, {threads}, kernel {kernel}"))
    lines.append(("GPU", card["text"]))
    lines.append(("drawing", picture["text"]))
    width = max(len(name) for name, _ in lines) + 2
    told = [f"{name:<{width}}{value}" for name, value in lines]
    if report["advice"]:
        told += ["", "Advice:", *(f"- {line}" for line in report["advice"])]
    last = "minigrad works here" if report["ok"] else f"minigrad does not work here: {report['core']['text']}"
    return "\n".join([*told, "", last])


def versions() -> dict[str, str | None]:
    """Versions of what minigrad uses; None where it is not installed."""
    from minigrad import __version__

    cupy = next((f"{v} ({name})" for name in CUPY if (v := _version(name))), None)
    return {
        "minigrad": __version__,
        "Python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        "NumPy": np.__version__,
        **{name: _version(name) for name in OPTIONAL},
        "CuPy": cupy,
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu() -> Report:
    """The processor's name, how many of them this process may use, and whether they have AVX-512."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    simd: Any = _config().get("SIMD Extensions", {})
    features = {*simd.get("baseline", ()), *simd.get("found", ())}
    # NumPy calls the set of features that OpenBLAS's SkylakeX kernels need AVX512_SKX, since 2.4 X86_V4.
    return {"name": name, "usable": usable, "avx512": bool(features & {"AVX512_SKX", "X86_V4"})}


def _config() -> Any:
    return np.show_config(mode="dicts")


def blas() -> Report:
    """The library behind NumPy's matrix products: from threadpoolctl if it is there, else from the library itself."""
    built = _config().get("Build Dependencies", {}).get("blas", {})
    found: Report = {"name": built.get("name", "unknown"), "version": built.get("version"), "threads": None, "kernel": None}
    for probe in (_by_threadpoolctl, _by_symbols):
        more = probe()
        if more:
            return {**found, **more}
    return found


def _by_threadpoolctl() -> Report | None:
    try:
        pools = importlib.import_module("threadpoolctl").threadpool_info()
    except ImportError:
        return None
    pools = [pool for pool in pools if pool.get("user_api") == "blas"]
    # SciPy brings a BLAS of its own: NumPy's lies beside NumPy.
    pools.sort(key=lambda pool: "numpy" not in Path(pool.get("filepath", "")).parent.name)
    if not pools:
        return None
    pool = pools[0]
    return {
        "name": pool["internal_api"], "version": pool["version"], "threads": pool["num_threads"], "kernel": pool.get("architecture"),
    }  # fmt: skip


def _by_symbols() -> Report | None:
    """Ask OpenBLAS: its functions carry a prefix in SciPy's builds, and a suffix where integers have 64 bits."""
    for path in _libraries():
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        for prefix in ("scipy_", ""):
            for suffix in ("64_", "", "_64"):
                corename = getattr(library, f"{prefix}openblas_get_corename{suffix}", None)
                config = getattr(library, f"{prefix}openblas_get_config{suffix}", None)
                threads = getattr(library, f"{prefix}openblas_get_num_threads{suffix}", None)
                if corename and config and threads:
                    corename.restype = config.restype = ctypes.c_char_p
                    words = config().decode().split()
                    return {
                        "name": "openblas",
                        "version": words[1] if len(words) > 1 else None,
                        "threads": threads(),
                        "kernel": corename().decode(),
                    }
    return None


def _libraries() -> Iterator[Path]:
    """Where NumPy's OpenBLAS may be: beside NumPy in its wheels, else among the libraries that this process has loaded."""
    home = Path(np.__file__).parent
    for folder in (home.parent / "numpy.libs", home / ".dylibs"):
        if folder.is_dir():
            yield from sorted(path for path in folder.iterdir() if "openblas" in path.name)
    with contextlib.suppress(OSError):
        maps = Path("/proc/self/maps").read_text()
        yield from sorted({Path(line.split()[-1]) for line in maps.splitlines() if "blas" in line and "/" in line})


def wastes_avx512(library: Report, processor: Report) -> bool:
    """Whether this is OpenBLAS on a CPU with AVX-512, and the kernel it chose does without."""
    kernel = library["kernel"]
    return bool(
        library["name"].endswith("openblas") and kernel and processor["avx512"] and kernel.lower() not in AVX512_KERNELS
    )


def fast_blas(environment: dict[str, str]) -> dict[str, str]:
    """The environment variables that a new process needs for OpenBLAS's AVX-512 kernel; none where that changes nothing.

    What the user chose stays: where ``OPENBLAS_CORETYPE`` is set there are none.

    Example:
        >>> from minigrad import doctor
        >>> doctor.fast_blas({"OPENBLAS_CORETYPE": "Haswell"})
        {}
    """
    return FASTER if FASTER.keys().isdisjoint(environment) and wastes_avx512(blas(), cpu()) else {}


_PRODUCTS = """
import sys, time
import numpy as np
a = np.ones((512, 512), np.float32)
for _ in sys.stdin:
    times = []
    for _ in range(9):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    print(min(times), flush=True)
"""
ROUNDS = 9


def measured_speedup(variables: dict[str, str]) -> float | None:
    """How many times as fast products of 512x512 float32 matrices are with these environment variables than without.

    Two processes take turns, and what counts is the median of the ratios: other work on the machine slows down both. None where
    one of them does not run.
    """
    processes = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _PRODUCTS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **more},
        )
        for more in ({}, variables)
    ]
    try:
        ratios = [_seconds(processes[0]) / _seconds(processes[1]) for _ in range(ROUNDS)]
    except (OSError, ValueError, ZeroDivisionError):
        return None
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return statistics.median(ratios)


def _seconds(process: subprocess.Popen[str]) -> float:
    if process.stdin is None or process.stdout is None:
        raise OSError("no pipes")
    print(file=process.stdin, flush=True)
    return float(process.stdout.readline())


def blas_advice(library: Report, processor: Report, environment: dict[str, str]) -> list[str]:
    """What could make matrix products faster."""
    advice = []
    speedup = library.get("speedup")
    if wastes_avx512(library, processor) and (speedup is None or speedup >= WORTH_IT):
        (name, value), forced = *FASTER.items(), environment.get("OPENBLAS_CORETYPE")
        chose = f"OPENBLAS_CORETYPE={forced} makes OpenBLAS use" if forced else "OpenBLAS chose"
        gain = "may be faster" if speedup is None else f"were {speedup:.2f} times as fast, as measured just now,"
        advice.append(
            f"This CPU has AVX-512, but {chose} the kernel {library['kernel']}, which does not use it. Matrix products {gain} with "
            f"another, which must be chosen before NumPy loads: {name}={value} python ... (minigrad train has --fast-blas for it)."
        )
    if library["threads"] and library["threads"] > processor["usable"]:
        advice.append(
            f"BLAS runs {library['threads']} threads on {processor['usable']} usable CPUs, which slows it down: set "
            f"OPENBLAS_NUM_THREADS={processor['usable']} (MKL_NUM_THREADS for MKL) before NumPy loads."
        )
    return advice


def gpu(advice: list[str]) -> Report:
    """Whether there is an NVIDIA GPU, and whether CuPy computes on it."""
    from minigrad import backend
    from minigrad.errors import DeviceError

    card = driver()
    installed = any(_version(name) for name in CUPY)
    report: Report = {"present": card is not None, "usable": False, **(card or {})}
    if not installed:
        if card is None:
            return {**report, "text": "no NVIDIA GPU found; the CPU computes (CuPy is not needed)"}
        extra = "cuda13" if card["cuda"] >= 13000 else "cuda12"
        advice.append(f"To compute on the GPU, install CuPy: pip install 'minigrad[{extra}]'")
        return {**report, "text": f"{card['name']}, but CuPy is not installed"}
    try:
        cp = backend.cupy()
        # Three parts that fail apart: memory, the compiler of kernels (NVRTC), and matrix products (cuBLAS).
        ones = cp.ones((2, 2), dtype=cp.float32)
        if float((ones * 3 @ ones).sum()) != 24.0:
            raise DeviceError("it computes wrong numbers")
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        if card is None:
            return {**report, "text": "no NVIDIA GPU or driver found; CuPy is installed but not used"}
        extra = "cuda13" if card["cuda"] >= 13000 else "cuda12"
        advice.append(
            f"CuPy does not compute on this GPU ({reason}). The driver supports CUDA {_cuda(card['cuda'])}: "
            f"pip install --force-reinstall 'minigrad[{extra}]', with only one CuPy package installed."
        )
        return {**report, "text": f"{card['name']}, but CuPy does not compute on it: {reason}"}
    name = card["name"] if card else cp.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return {**report, "present": True, "usable": True, "text": f"{name}, CuPy computes on it: use device='cuda'"}


def driver() -> Report | None:
    """The first GPU's name and the newest CUDA version (12040 is 12.4) of NVIDIA's driver; None without driver or GPU."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    count, version, device = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None
    library.cuDriverGetVersion(ctypes.byref(version))
    name = ctypes.create_string_buffer(100)
    library.cuDeviceGet(ctypes.byref(device), 0)
    library.cuDeviceGetName(name, len(name), device)
    return {"name": name.value.decode(errors="replace"), "count": count.value, "cuda": version.value}


def _cuda(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


_GRAPH = "digraph { x -> y }"
_PYGRAPHVIZ = (
    "import sys, pygraphviz; sys.stdout.buffer.write(pygraphviz.AGraph(string=sys.argv[1]).draw(format='svg', prog='dot'))"
)


def drawing(advice: list[str]) -> Report:
    """Which drawing back ends really render a graph of two nodes: pygraphviz with its own Graphviz, or a ``dot`` program."""
    works, faults = [], []
    for name, try_it in (("pygraphviz", _draw_with_pygraphviz), ("dot", _draw_with_dot)):
        fault = try_it()
        if fault is None:
            works.append(name)
        elif fault:
            faults.append(f"{name}: {fault}")
    if works:
        told = " and ".join(works)
        return {"ok": True, "back_ends": works, "text": f"{told} (rendered a graph){'; ' if faults else ''}{'; '.join(faults)}"}
    advice.append(
        "To draw SVG, PNG and PDF: pip install 'minigrad[viz]', or install Graphviz from https://graphviz.org/download."
    )
    return {"ok": False, "back_ends": [], "text": "; ".join(faults) or "no back end: only DOT text can be written"}


def _draw_with_pygraphviz() -> str | None:
    """None if it works, "" if it is not installed, else what went wrong. In a process of its own: a broken library may crash."""
    if _version("pygraphviz") is None:
        return ""
    return _render([sys.executable, "-c", _PYGRAPHVIZ, _GRAPH], None)


def _draw_with_dot() -> str | None:
    dot = shutil.which("dot")
    return "" if dot is None else _render([dot, "-Tsvg"], _GRAPH.encode())


def _render(command: list[str], stdin: bytes | None) -> str | None:
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=TIMEOUT, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0 and b"<svg" in done.stdout:
        return None
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def core() -> Report:
    """Differentiate x * tanh(x) and compare with the formula."""
    try:
        fault = _differentiate()
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    return {"ok": fault is None, "text": fault or "differentiated x * tanh(x)"}


def _differentiate() -> str | None:
    import minigrad as mg
    from minigrad.tensor import tensor

    if int(np.__version__.partition(".")[0]) < 2:
        return f"NumPy {np.__version__} is too old; minigrad needs 2.0 or newer"
    x = tensor(0.5, dtype="float64", requires_grad=True)
    (x * mg.tanh(x)).backward()
    expected = math.tanh(0.5) + 0.5 * (1 - math.tanh(0.5) ** 2)
    got = x.grad.item() if x.grad is not None else None
    if got is None or not math.isclose(got, expected, rel_tol=1e-12):
        return f"the derivative of x * tanh(x) at 0.5 is {expected}, minigrad says {got}"
    return None
