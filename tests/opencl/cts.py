#!/usr/bin/env python3
"""Runs Khronos' OpenCL-CTS, one process a test with a time limit, and compares runs.

    cts.py run CTS RESULTS [--suite NAME]... [--limit SECONDS] [--only RESULTS] [--jobs N] [--deadline SECONDS]
    cts.py table NAME=RESULTS...

CTS is the folder where OpenCL-CTS was built (the one with test_conformance/). `run` uses the OpenCL that the environment gives its
programs, and writes RESULTS: a line a test with suite, test, verdict and seconds. What stands there already is not run again, so that
a run that was interrupted goes on. --only leaves out what did not pass in another run. --deadline ends the run after so many seconds
and leaves the rest for another. `table` counts verdicts, and names each test
that passed in the first run and not in another; its exit status is 1 if there is one.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

# Suites that carry much between guest and host first; those that only compute last.
SUITES = ["api", "events", "computeinfo", "mem_host_flags", "device_partition", "buffers", "allocations", "profiling", "multiples",
          "compiler", "printf", "svm", "pipes", "device_timer", "cl_get_info", "cl_copy_images", "cl_fill_images",
          "cl_read_write_images", "samplerless_reads", "kernel_image_methods", "image_streams", "basic", "vectors", "atomics",
          "c11_atomics", "workgroups", "non_uniform_work_group", "subgroups", "generic_address_space", "spirv_new",
          "thread_dimensions", "commonfns", "geometrics", "relationals", "select", "integer_ops", "half", "contractions",
          "conversions", "bruteforce"]
# What is run where no suite is named.
USUAL = ["api", "events", "computeinfo", "mem_host_flags", "device_partition", "buffers"]
VERDICTS = ["passed", "failed", "skipped", "crashed", "too slow"]


def program(cts, suite):
    """The suite's program, or None where it was not built."""
    found = [path for path in pathlib.Path(cts).resolve().rglob(f"test_{suite}") if path.is_file() and os.access(path, os.X_OK)]
    return found[0] if found else None


def tests(path):
    """Names of the program's tests."""
    listed = subprocess.run([path, "--list"], cwd=path.parent, capture_output=True, text=True, timeout=60, check=True)
    return [line.strip() for line in listed.stdout.splitlines() if re.fullmatch(r"\t\w+", line)]


def verdict(path, test, limit, log):
    """Runs one test."""
    with subprocess.Popen([path, test], cwd=path.parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True) as process:
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            log(output)
            return "too slow"
    log(output)
    if process.returncode < 0:
        return "crashed"
    if process.returncode != 0:
        return "failed"
    return "skipped" if re.search(rb"^(SKIPPED |\w+ skipped)", output, re.MULTILINE) else "passed"


def read(path):
    """Results by suite and test."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    return {(row[0], row[1]): row[2] for row in rows}


def run(arguments):
    """The command `run`."""
    done = read(arguments.results)
    passed = None
    if arguments.only:
        passed = {test for test, was in read(arguments.only).items() if was == "passed"}
    logs = pathlib.Path(f"{arguments.results}.logs")
    logs.mkdir(parents=True, exist_ok=True)
    wanted = []
    for suite in arguments.suite or USUAL:
        path = program(arguments.cts, suite)
        if path is None:
            print(f"cts: {suite}: not built, not run", file=sys.stderr)
            continue
        all_tests = [test for test in tests(path) if (suite, test) not in done]
        wanted += [(path, suite, test) for test in all_tests if passed is None or (suite, test) in passed]

    end = time.monotonic() + arguments.deadline

    def one(path, suite, test):
        start = time.monotonic()
        left = end - start
        if left <= 0:
            return ""
        was = verdict(path, test, min(arguments.limit, left), (logs / f"{suite}.{test}").write_bytes)
        if was == "too slow" and left < arguments.limit:
            return ""
        return f"{suite}\t{test}\t{was}\t{time.monotonic() - start:.1f}\n"

    with open(arguments.results, "a", encoding="utf-8") as results, concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for line in concurrent.futures.as_completed([pool.submit(one, *test) for test in wanted]):
            results.write(line.result())
            results.flush()


def table(arguments):
    """The command `table`."""
    runs = [name.split("=", 1) for name in arguments.runs]
    runs = [(name, read(path)) for name, path in runs]
    suites = [suite for suite in SUITES if any(suite == of for _, found in runs for of, _ in found)]
    print("| suite | " + " | ".join(f"{name}: " + ", ".join(VERDICTS) for name, _ in runs) + " |")
    print("|---|" + "---|" * len(runs))
    for suite in suites:
        cells = []
        for _, found in runs:
            counts = [sum(1 for (of, _), was in found.items() if of == suite and was == each) for each in VERDICTS]
            cells.append(" ".join(str(count) for count in counts))
        print(f"| {suite} | " + " | ".join(cells) + " |")
    lost = 0
    first = runs[0][1]
    for name, found in runs[1:]:
        for (suite, test), was in sorted(first.items()):
            now = found.get((suite, test))
            if was == "passed" and now not in (None, "passed"):
                lost += 1
                print(f"{suite} {test}: passed in {runs[0][0]}, {now} in {name}")
    return 1 if lost else 0


def main():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    runs = commands.add_parser("run")
    runs.add_argument("cts")
    runs.add_argument("results")
    runs.add_argument("--suite", action="append", choices=SUITES)
    runs.add_argument("--limit", type=float, default=120)
    runs.add_argument("--only")
    runs.add_argument("--jobs", type=int, default=1)
    runs.add_argument("--deadline", type=float, default=float("inf"))
    runs.set_defaults(command=run)
    tables = commands.add_parser("table")
    tables.add_argument("runs", nargs="+", metavar="NAME=RESULTS")
    tables.set_defaults(command=table)
    arguments = parser.parse_args()
    sys.exit(arguments.command(arguments))


if __name__ == "__main__":
    main()
