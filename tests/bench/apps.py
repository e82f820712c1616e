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
    ("torch", "pytorch.py", ("resnet", "resnet-training", "gpt2-decode", "gpt2-training", "graph", "small-copies", "load", "compile")),
    ("cupy", "cupy.py", ("element-wise",)),
)
ALL = [name for _, _, names in SETS for name in names]
# PyTorch's libraries are read through the guest's own memory, and the largest program holds 3 GiB twice.
GUEST_MEMORY = "12G"


def add_options(parser):
    ways.add_options(parser, rounds=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each program (default 2)")
    parser.add_argument("--apps", default=",".join(ALL), help=f"of {', '.join(ALL)}")
    parser.add_argument("--budget", type=float, default=1800, metavar="SECONDS", help="what would take longer is left out (default 1800)")


def compiled(folder):
    """Where compilers keep what they made, so that the first process alone compiles: a guest has the folder under another name."""
    place = lambda root: {"TORCHINDUCTOR_CACHE_DIR": f"{root}/inductor", "TRITON_CACHE_DIR": f"{root}/triton"}  # noqa: E731
    here, more = pathlib.Path(folder) / "uml", {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
    here.mkdir(exist_ok=True)
    return {"native": place(here) | more, "local": place(here) | more, "uml": place("$OUT") | more}


def measure(options, chosen, commands, table):
    """What programs said that is no figure. A first run of what compiles warms up, as does each program by itself."""
    trouble, budget = [], ways.Budget(options.budget)
    with tempfile.TemporaryDirectory(prefix="gpuferry-bench.") as folder, Front(folder, options.device) as front:
        variables = compiled(folder)

        def once(command, way, limit):
            return ways.run(way, command, front, folder, limit, variables[way], GUEST_MEMORY)

        if any("compile" in command for command in commands):
            say("compiling, not counted")
            once([sys.executable, PROGRAMS / "pytorch.py", "--seconds", 0.1, "compile"], "native", budget.left())
        for number in range(options.rounds):
            for command in commands:
                for way in chosen:
                    what = f"round {number + 1} of {options.rounds}: {command[1].name}, {way}"
                    if not budget.allows((command[1], way)):
                        say(f"{what}: left out for lack of time")
                        continue
                    say(what)
                    figures = budget.run((command[1], way), once, command, way)
                    table.add(way, figures)
                    trouble += [f"{way}: {k}: {v}" for k, v in (figures or {}).items() if isinstance(v, str)]
    return sorted(set(trouble))


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
        trouble = measure(options, chosen, commands, table)
    if not options.json:
        print(table.show())
        print("\n".join(trouble))
    return {"rounds": options.rounds, "figures": table.summary(), "skipped": skipped, "trouble": trouble}
