"""Figures of CuPy programs as JSON: cupy.py [--seconds S] NAME..."""
import argparse
import json
import pathlib
import statistics
import sys
import time

# This file has the package's name.
sys.path = [path for path in sys.path if pathlib.Path(path or ".").resolve() != pathlib.Path(__file__).resolve().parent]
import cupy  # noqa: E402


def steps(step, seconds):
    for _ in range(5):
        step()
    cupy.cuda.Device().synchronize()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        begin = time.perf_counter()
        step()
        cupy.cuda.Device().synchronize()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def element_wise(seconds):
    a, b = cupy.random.rand(1 << 20, dtype=cupy.float32), cupy.random.rand(1 << 20, dtype=cupy.float32)

    def step():
        c = a
        for _ in range(50):
            c = c * b + a
        return c

    return {"CuPy, 100 element-wise steps of 4 MiB, ms": steps(step, seconds)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("names", nargs="+", choices=["element-wise"])
    options = parser.parse_args()
    print(json.dumps(element_wise(options.seconds)))


if __name__ == "__main__":
    main()
