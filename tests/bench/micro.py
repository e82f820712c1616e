"""What single calls, launches and copies cost, natively and through gpuferry: `scripts/bench micro`.

One program (tests/programs/src/bin/latency) takes all figures. Times are in microseconds unless the name says otherwise: p50
and p99 of single calls, `_us` means over batches; bandwidths in GiB/s; rates a second. `native` is the device's own library in
the program's process, be it the vendor's or the CPU device.
"""
import tempfile

import ways
from ways import Front, Table, host, say


def add_options(parser):
    ways.add_options(parser)
    parser.add_argument("--seconds", type=float, default=0.1, help="for each figure (default 0.1)")
    parser.add_argument("--bulk", type=int, default=256, metavar="MIB", help="largest copy (default 256)")
    parser.add_argument("--figures", default="calls,launches,copies,bandwidth,memory,threads", help="groups of figures")


def run(options):
    chosen = ways.chosen(options)
    ways.prepare(chosen)
    command = [host.program("latency"), "--seconds", options.seconds, "--bulk", options.bulk, "--figures", options.figures]
    table, device = Table(chosen), None
    with tempfile.TemporaryDirectory(prefix="gpuferry-bench.") as folder, Front(folder, options.device) as front:
        for number in range(options.rounds + 1):
            for way in chosen:
                say(f"round {number} of {options.rounds}: {way}")
                figures = ways.run(way, command, front, folder)
                device = device or (figures or {}).get("device")
                if number:
                    table.add(way, figures)
    if not options.json:
        print(f"{device}; medians of {options.rounds} rounds, spread from least to most\n\n{table.show()}")
    return {"device": device, "rounds": options.rounds, "figures": table.summary()}
