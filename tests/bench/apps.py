"""Programs of PyTorch and CuPy, natively and through gpuferry: `scripts/bench apps`.

ResNet50 and GPT-2 (124 million parameters) in plain PyTorch with random weights, a compiled model, a replayed graph, many small
copies, a load of several GB; CuPy element by element. Where PyTorch, CuPy or a GPU is missing they are skipped, by name.
"""
import importlib.util
import pathlib
import sys
import tempfile

import ways
from ways import Front, Table, host, say

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
# Package, program, its parts.
SETS = (
    ("torch", "pytorch.py", ("resnet", "resnet-training", "gpt2-decode", "gpt2-training", "compile", "graph", "small-copies", "load")),
    ("cupy", "cupy.py", ("element-wise",)),
)
ALL = [name for _, _, names in SETS for name in names]


def add_options(parser):
    ways.add_options(parser, rounds=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each program (default 2)")
    parser.add_argument("--apps", default=",".join(ALL), help=f"of {', '.join(ALL)}")


def run(options):
    chosen, wanted = ways.chosen(options), options.apps.split(",")
    for name in set(wanted) - set(ALL):
        raise SystemExit(f"bench: no program named {name}; there are {', '.join(ALL)}")
    skipped, commands = [], []
    for package, program, names in SETS:
        names = [name for name in names if name in wanted]
        if options.device == "cpu" or importlib.util.find_spec(package) is None:
            why = "the CPU device is no measure for it" if options.device == "cpu" else f"no {package} for {sys.executable}"
            skipped += [f"{name} ({why})" for name in names]
        elif names:
            commands.append([sys.executable, PROGRAMS / program, "--seconds", options.seconds, *names])
    for what in skipped:
        say("SKIPPED:", what)
    table, trouble = Table(chosen), []
    if commands:
        ways.prepare(chosen)
        with tempfile.TemporaryDirectory(prefix="gpuferry-bench.") as folder, Front(folder, options.device) as front:
            for number in range(options.rounds):
                for command in commands:
                    for way in chosen:
                        say(f"round {number + 1} of {options.rounds}: {command[1].name}, {way}")
                        figures = ways.run(way, command, front, folder)
                        table.add(way, figures)
                        if number == 0:
                            trouble += [f"{way}: {k}: {v}" for k, v in (figures or {}).items() if isinstance(v, str)]
    if not options.json:
        print(table.show())
        print("\n".join(trouble))
    return {"rounds": options.rounds, "figures": table.summary(), "skipped": skipped, "trouble": trouble}
