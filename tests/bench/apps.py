"""Programs of PyTorch and CuPy, natively and through gpuferry: `scripts/bench apps`.

ResNet50 and GPT-2 (124 million parameters) in plain PyTorch with random weights, a compiled model, a replayed graph, many small
copies, a load of several GB; CuPy element by element. Each program is started once for each way and measured in rounds, after one that
makes the models. Where PyTorch, CuPy or a GPU is missing they are skipped, by name.
"""
import importlib.util
import pathlib
import sys
import tempfile
import threading

import ways
from running import Running, all_at_once, folder_of
from ways import Front, Table, say

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
# Package, program, its parts.
SETS = (
    ("torch", "pytorch.py", ("resnet", "resnet-training", "gpt2-decode", "gpt2-training", "graph", "compile", "small-copies", "load")),
    ("cupy", "cupy.py", ("element-wise",)),
)
ALL = [name for _, _, names in SETS for name in names]
# PyTorch's libraries are read through the guest's own memory, and the largest program holds 3 GiB twice.
GUEST_MEMORY = "12G"
# Seconds for a start: importing PyTorch in a guest.
START_LIMIT = 90


def add_options(parser):
    ways.add_options(parser, rounds=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each app in a round (default 2)")
    parser.add_argument("--apps", default=",".join(ALL), help=f"of {', '.join(ALL)}")
    parser.add_argument("--budget", type=float, default=1800, metavar="SECONDS", help="what would take longer is left out (default 1800)")


def variables(folder, command):
    """Where compilers keep what they made, so that one of the programs alone compiles: a guest has the folder under another name."""
    names = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton", "CUPY_CACHE_DIR": "cupy"}
    shared = folder_of(folder, command, "uml")
    shared.mkdir(exist_ok=True)
    of = lambda root: {name: f"{root}/{place}" for name, place in names.items()} | {"TORCHINDUCTOR_COMPILE_THREADS": "1"}  # noqa: E731
    return {"native": of(shared), "local": of(shared), "uml": of("$OUT")}


def started(command, chosen, front, folder, budget, table):
    """The program in each way, one after the other: what they say first is a figure too."""
    running, own = [], variables(folder, command)
    for way in chosen:
        say(f"{command[1].name}, {way}: start")
        each = Running(way, command, front, folder, own[way], GUEST_MEMORY, budget.left())
        table.add(way, each.answer(min(START_LIMIT, budget.left())))
        running.append(each)
    return running


def warm_up(running, names, seconds, budget):
    """Makes all apps, in all ways at once. What compiles is made by the first way before the others."""
    compiled = threading.Event()
    first = running[0]

    def work(each):
        order = sorted(names, key=lambda name: (name == "compile") != (each is first))
        for name in order:
            if name == "compile" and each is not first:
                compiled.wait(max(budget.left(), 0))
            figures = each.ask(name, seconds, max(budget.left(), 1))
            say(f"{each.way}: {name}: {figures}")
            if each is first and name == "compile":
                compiled.set()
        if each is first:
            compiled.set()

    all_at_once(work, running)


def measure(options, chosen, commands, table):
    """What programs said that is no figure."""
    trouble, budget = [], ways.Budget(options.budget)
    with tempfile.TemporaryDirectory(prefix="gpuferry-bench.") as folder, Front(folder, options.device) as front:
        for command, names in commands:
            running = started(command, chosen, front, folder, budget, table)
            try:
                warm_up(running, names, options.seconds, budget)
                for number in range(options.rounds):
                    say(f"round {number + 1} of {options.rounds}: {command[1].name}")
                    for name in names:
                        for each in running:
                            if not budget.allows((name, each.way)):
                                say(f"round {number + 1}: {name}, {each.way}: left out for lack of time")
                                continue
                            figures = budget.run((name, each.way), each.ask, name, options.seconds)
                            table.add(each.way, figures)
                            trouble += [f"{each.way}: {k}: {v}" for k, v in (figures or {}).items() if isinstance(v, str)]
            finally:
                all_at_once(Running.end, running)
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
            commands.append(([sys.executable, PROGRAMS / program], names))
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
