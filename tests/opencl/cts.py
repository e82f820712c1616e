#!/usr/bin/env python3
"""Runs Khronos' OpenCL-CTS, one process a test with a time limit, and compares runs.

    cts.py run CTS RESULTS [--suite NAME]... [--leave SUITE.TEST]... [--limit SECONDS] [--only RESULTS] [--jobs N] [--together N]
                           [--deadline SECONDS]
    cts.py table NAME=RESULTS...

CTS is the folder where OpenCL-CTS was built (the one with test_conformance/). `run` uses the OpenCL that the environment gives its
programs, and writes RESULTS: a line a test with suite, test, verdict and seconds. What stands there already is not run again, so that
a run that was interrupted goes on. --only leaves out what did not pass in another run, --leave a test by its name. --together runs
so many tests of a suite in one process first, and then those that did not pass in it, each alone: where the start of a process
takes long. --deadline ends the run after so many seconds and leaves the rest for another. `table` counts verdicts, and names each
test that passed in the first run and not in another; its exit status is 1 if there is one.
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


def output(path, tests, limit):
    """Runs tests in one process: its exit status, None if it took too long, and what it printed."""
    with subprocess.Popen([path, *tests], cwd=path.parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True) as process:
        try:
            printed, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
            return None, printed
    return process.returncode, printed


def verdict(status, printed):
    """What came of a test that had a process of its own."""
    if status is None:
        return "too slow"
    if status < 0:
        return "crashed"
    if status != 0:
        return "failed"
    return "skipped" if re.search(rb"^(SKIPPED |\w+ skipped)", printed, re.MULTILINE) else "passed"


def passed_together(path, tests, limit):
    """Runs tests in one process: those that passed, with what each printed."""
    _, printed = output(path, tests, limit)
    found = {}
    for part in re.split(rb"^(?=\w+\.\.\.$)", printed, flags=re.MULTILINE)[1:]:
        test = part.split(b"...", 1)[0].decode()
        if re.search(rb"^%s passed$" % test.encode(), part, re.MULTILINE) and b"clFinish failed" not in part:
            found[test] = part
    return found


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
    groups = []
    for suite in arguments.suite or USUAL:
        path = program(arguments.cts, suite)
        if path is None:
            print(f"cts: {suite}: not built, not run", file=sys.stderr)
            continue
        names = [test for test in tests(path) if (suite, test) not in done and f"{suite}.{test}" not in arguments.leave]
        names = [test for test in names if passed is None or (suite, test) in passed]
        step = arguments.together
        groups += [(path, suite, names[at:at + step]) for at in range(0, len(names), step)]

    end = time.monotonic() + arguments.deadline

    def alone(path, suite, test):
        start = time.monotonic()
        left = end - start
        if left <= 0:
            return ""
        status, printed = output(path, [test], min(arguments.limit, left))
        (logs / f"{suite}.{test}").write_bytes(printed)
        if status is None and left < arguments.limit:
            return ""
        return f"{suite}\t{test}\t{verdict(status, printed)}\t{time.monotonic() - start:.1f}\n"

    def group(path, suite, names):
        start = time.monotonic()
        left = end - start
        found = passed_together(path, names, min(arguments.limit, left)) if len(names) > 1 and left > 0 else {}
        each = (time.monotonic() - start) / max(len(found), 1)
        for test, printed in found.items():
            (logs / f"{suite}.{test}").write_bytes(printed)
        lines = [f"{suite}\t{test}\tpassed\t{each:.1f}\n" for test in found]
        return "".join(lines + [alone(path, suite, test) for test in names if test not in found])

    with open(arguments.results, "a", encoding="utf-8") as results, concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for lines in concurrent.futures.as_completed([pool.submit(group, *each) for each in groups]):
            results.write(lines.result())
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
    runs.add_argument("--leave", action="append", default=[], metavar="SUITE.TEST")
    runs.add_argument("--jobs", type=int, default=1)
    runs.add_argument("--together", type=int, default=1)
    runs.add_argument("--deadline", type=float, default=float("inf"))
    runs.set_defaults(command=run)
    tables = commands.add_parser("table")
    tables.add_argument("runs", nargs="+", metavar="NAME=RESULTS")
    tables.set_defaults(command=table)
    arguments = parser.parse_args()
    sys.exit(arguments.command(arguments))


if __name__ == "__main__":
    main()
