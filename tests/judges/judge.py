"""What the programs here print: each result a line `NAME: VALUE`, the same on every run; each time a line `time NAME: SECONDS`.

A program is a row of functions marked @part; `run()` at its end calls them in order. What a part returns is its results: a
tensor or array (printed as a hash of its bytes, and as sums for those that two native runs do not give alike), a plain
value, or a dictionary of these. A part that raises is a line too, `NAME: raises ...`, and the next part runs; one that
raises Skipped is `NAME: skipped ...`. scripts/gpu-check compares the lines.
"""
import argparse
import hashlib
import os
import re
import sys
import time

import numpy

# "cpu" tries a program of PyTorch's without a GPU.
DEVICE = os.environ.get("JUDGE_DEVICE", "cuda")
_parts = []


class Skipped(Exception):
    """This cannot be judged here, and why."""


def part(work):
    _parts.append(work)
    return work


def array(value):
    """A tensor or array of any library as NumPy's, bits unchanged."""
    if isinstance(value, numpy.ndarray):
        return value
    if hasattr(value, "detach"):
        import torch

        value = value.detach().resolve_conj().resolve_neg()
        if value.layout != torch.strided:
            value = value.to_dense()
        value = value.cpu().contiguous()
        if value.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
            # NumPy has neither: a wider type holds each of their values.
            value = value.float()
        return value.numpy()
    if hasattr(value, "get"):
        return value.get()
    return numpy.asarray(value)


def shown(value):
    """One value as the text of its line."""
    if value is None or isinstance(value, (str, bytes, bool, int)):
        return str(value).replace("\n", "\\n")
    if isinstance(value, float):
        return float(value).hex()
    found = numpy.ascontiguousarray(array(value))
    text = f"{hashlib.sha256(found.tobytes()).hexdigest()[:16]} {found.dtype}{list(found.shape)}"
    if found.dtype.kind in "fciub" and found.size:
        wide = found.astype(numpy.complex128 if found.dtype.kind == "c" else numpy.float64)
        wide = wide[numpy.isfinite(wide)]
        text += f" sum={complex(wide.sum()).real:.9e} size={float(numpy.abs(wide).sum()):.9e}"
    return text


def result(name, value):
    # In one piece, as several processes may print.
    print(f"{name}: {shown(value)}\n", end="", flush=True)


def took(name, seconds):
    print(f"time {name}: {seconds:.6f}", flush=True)


def _flat(name, value):
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _flat(f"{name}.{key}", one)
    elif isinstance(value, (list, tuple)):
        for key, one in enumerate(value):
            yield from _flat(f"{name}.{key}", one)
    else:
        yield name, value


def one_line(error):
    """An error as one line without folders, which differ from run to run; of an error in a helper thread, that thread's."""
    lines = str(error).strip().split("\n")
    inner = [line for line in lines[1:] if re.match(r"[\w.]*(Error|Exception): ", line)]
    text = inner[-1] if lines[0].startswith("Caught ") and inner else lines[0]
    text = re.sub(r"\S*/(?=[^/\s]+)", "", text)
    return f"{type(error).__name__}: {text}"[:200]


def call(name, work):
    """Run one part; its lines."""
    begin = time.monotonic()
    try:
        for key, value in _flat(name, work()):
            result(key, value)
    except Skipped as why:
        print(f"{name}: skipped {why}", flush=True)
    except Exception as error:  # whatever a library raises is what its user sees
        print(f"{name}: raises {one_line(error)}", flush=True)
        if os.environ.get("JUDGE_TRACE"):
            raise
    took(name, time.monotonic() - begin)


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="parts, by name")
    chosen = parser.parse_args([word for word in sys.argv[1:] if word.startswith("--only")])
    wanted = set(filter(None, chosen.only.split(",")))
    begin = time.monotonic()
    for work in _parts:
        if not wanted or work.__name__ in wanted:
            call(work.__name__, work)
    took("all", time.monotonic() - begin)


def median_time(work, finish, repeats=5):
    """Median of seconds for work() and then finish(), after one for warmth."""
    found = []
    for _ in range(repeats + 1):
        begin = time.monotonic()
        work()
        finish()
        found.append(time.monotonic() - begin)
    return sorted(found[1:])[repeats // 2]
