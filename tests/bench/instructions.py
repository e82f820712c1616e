"""Instructions of the program's own that a call takes in the guest library: `scripts/bench instructions`.

Counted, not timed, so noise does not touch it; on the CPU device, over the local carrier. tests/loopback holds the limits.
"""
import tempfile

import ways
from ways import Front, host


def add_options(parser):
    pass


def run(options):
    ways.prepare(["local"])
    with tempfile.TemporaryDirectory(prefix="gpuferry-bench.") as folder, Front(folder, "cpu") as front:
        counts = ways.on_host("local", [host.program("instructions")], front, folder)
    if not options.json:
        for name, count in (counts or {}).items():
            print(f"{name:24}{count:6}")
    return counts
