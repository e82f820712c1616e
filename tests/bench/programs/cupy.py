"""Figures of CuPy programs as JSON: cupy.py [--seconds S] NAME..., or --serve FOLDER."""
import pathlib
import statistics
import sys
import time

import served

# This file has the package's name.
sys.path = [path for path in sys.path if pathlib.Path(path or ".").resolve() != pathlib.Path(__file__).resolve().parent]
import cupy  # noqa: E402

BYTES, ROUNDS = 4 << 20, 50


def element_wise():
    a, b = (cupy.random.rand(BYTES // 4, dtype=cupy.float32) for _ in range(2))

    def step():
        c = a
        for _ in range(ROUNDS):
            c = c * b + a
        cupy.cuda.Device().synchronize()

    def measure(seconds):
        for _ in range(5):
            step()
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 5:
            begin = time.perf_counter()
            step()
            times.append(time.perf_counter() - begin)
        return {f"CuPy, {2 * ROUNDS} element-wise steps of {BYTES >> 20} MiB, ms": statistics.median(times) * 1000}

    return measure


if __name__ == "__main__":
    served.main(__doc__, {"element-wise": element_wise})
