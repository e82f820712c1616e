"""What calls cost on the CPU device, written down by every CI run: `scripts/bench record`.

Times of single calls, launches and small copies over the local carrier beside the library in the program's own process, and the
instructions of a call in the guest library. Times are for comparison between runs, and judge nothing; a figure that is missing does.
"""
import argparse
import json
import pathlib

import instructions
import micro
from ways import host, say

FIGURES = ("local_call_us", "waited_call p50", "launch_issue_us", "launches_per_s", "launch_and_synchronise p50", "to_device_64_b p50", "to_host_64_b p50")


def add_options(parser):
    parser.add_argument("--out", type=pathlib.Path, default=host.TARGET / "bench" / "record.json", help="file to write (default: in the target folder)")


def run(options):
    words = ["--device", "cpu", "--rounds", "2", "--seconds", "0.05", "--bulk", "4", "--figures", "calls,launches,copies"]
    parser = argparse.ArgumentParser()
    micro.add_options(parser)
    result = micro.run(argparse.Namespace(**vars(parser.parse_args(words)), json=options.json))
    counts = instructions.run(argparse.Namespace(json=options.json))
    missing = [f"{name}, {way}" for name in FIGURES for way in ("native", "local") if way not in result["figures"].get(name, {})]
    missing += [] if counts else ["instructions"]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"times": result, "instructions": counts}, indent=1))
    say(f"written to {options.out}")
    # Standard output is JSON's where that is asked for.
    say(*(["missing:", "; ".join(missing)] if missing else ["nothing is missing"]))
    if not options.json:
        print(f"bench: {1 - bool(missing)} passed, {int(bool(missing))} failed")
    if missing:
        raise SystemExit(1)
    return {"times": result, "instructions": counts}
