"""The ways in which one program is measured: natively, over the local carrier, in a User-Mode Linux guest.

Rounds go through all ways in one order, A B C A B C, so that what else the machine does falls on all of them; a figure is
the median over the rounds, with the least and the largest. The first round warms up and is not counted.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
if (ROOT / "bundle").exists():
    os.environ.setdefault("GPUFERRY_BIN", str(ROOT / "bin"))
    os.environ.setdefault("GPUFERRY_CACHE", str(ROOT / "cache"))
sys.path.insert(0, str(ROOT / "scripts" / "setup"))
import host  # noqa: E402
from kernels import CACHE, gpuferry_module  # noqa: E402

WAYS = ("native", "local", "uml")
LIMIT = 300


def add_options(parser, ways="native,local", rounds=5):
    parser.add_argument("--device", default="cuda:0" if host.has_gpu() else "cpu", help="cpu or cuda:N")
    parser.add_argument("--ways", default=ways, help=f"of {', '.join(WAYS)} (default {ways})")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"that count, after one that does not (default {rounds})")


class Budget:
    """Seconds for a whole bench: what would not be done in time is not begun, and what was measured counts."""

    def __init__(self, seconds):
        self.end, self.longest = time.monotonic() + seconds, {}

    def left(self):
        return self.end - time.monotonic()

    def allows(self, what):
        return self.left() > 1.1 * self.longest.get(what, 5)

    def run(self, what, work, *arguments):
        """`work`'s answer, called with its arguments and its time limit."""
        begin = time.monotonic()
        answer = work(*arguments, max(self.left(), 1))
        self.longest[what] = max(self.longest.get(what, 0), time.monotonic() - begin)
        return answer


def say(*words):
    print("bench:", *words, file=sys.stderr, flush=True)


def chosen(options):
    ways = [way for way in options.ways.split(",") if way]
    for way in ways:
        if way not in WAYS:
            raise SystemExit(f"bench: no way named {way}; there are {', '.join(WAYS)}")
    return ways


def prepare(ways):
    """Build and fetch what the ways need. Cargo and curl may talk: to standard error, as standard output is for results."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        host.build()
        if "uml" in ways:
            host.fetch_shown("busybox", "uml")
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def environment(way, front, folder):
    """That of a program on this machine."""
    if way == "native":
        return host.direct(front.device, folder)
    return host.environment(folder, host.GUEST_LIBRARY, f"unix:{front.local}")


def on_host(way, command, front, folder, limit=LIMIT, variables=None):
    """A program's JSON, or None with the reason told. `variables` are added to its environment."""
    out, added = pathlib.Path(folder) / "out", variables or {}
    with out.open("w+") as output, out.with_suffix(".err").open("w+") as errors:
        process = subprocess.Popen(list(map(str, command)), env=environment(way, front, folder) | added, stdout=output, stderr=errors)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = f"not done after {limit:.0f} s"
        output.seek(0)
        errors.seek(0)
        return parsed(way, status, output.read(), errors.read())


def boot(script, front, out, limit, memory):
    """A User-Mode Linux guest that has this machine's files and runs a shell script; `out` is its $OUT."""
    bundled = CACHE / "kmod" / "uml.ko"
    module = bundled if (ROOT / "bundle").exists() else gpuferry_module("uml")
    return host.guest("uml", "uml", front, script, out, ["--memory", memory, "--timeout", f"{limit:.0f}", "--root", "host", "--module", module])


def in_guest(command, front, folder, limit=LIMIT, variables=None, memory="2G"):
    """The same in a User-Mode Linux guest that has this machine's files."""
    out = pathlib.Path(folder) / "uml"
    out.mkdir(exist_ok=True)
    for name in ("status", "out", "err"):
        (out / name).unlink(missing_ok=True)
    words = " ".join(map(str, command))
    exports = {"LD_LIBRARY_PATH": host.libraries(folder, host.GUEST_LIBRARY)} | (variables or {})
    words = "; ".join([f"export {name}={value}" for name, value in exports.items()] + [f"{words} >$OUT/out 2>$OUT/err; echo $? >$OUT/status"])
    console, _ = boot(words, front, out, limit, memory).communicate()
    read = lambda name: (out / name).read_text() if (out / name).exists() else ""  # noqa: E731
    status = read("status").strip()
    status = int(status) if status.isdigit() else f"the guest left no status; its console ends: {console.strip()[-300:]}"
    return parsed("uml", status, read("out"), read("err"))


def parsed(way, status, text, error):
    """All JSON objects of the text as one. What a program said before it failed counts too."""
    figures, decoder, at = {}, json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except ValueError:
            break
        figures |= found
        at = text.find("{", end)
    if status:
        say(f"{way}: failed ({status}): {error.strip()[-500:]}")
    return figures or None


def run(way, command, front, folder, limit=LIMIT, variables=None, memory="2G"):
    if way == "uml":
        return in_guest(command, front, folder, limit, variables, memory)
    return on_host(way, command, front, folder, limit, variables)


class Front(host.Front):
    """gpuferryd for a measurement; logs little."""

    def __init__(self, folder, device):
        self.device = device
        super().__init__(folder, device, "info")


def flat(figures):
    """A figure of two numbers as two figures."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield f"{name} p50", value["p50_us"]
            yield f"{name} p99", value["p99_us"]
        elif isinstance(value, (int, float)):
            yield name, value


class Table:
    """Figures by name and way, over rounds."""

    def __init__(self, ways):
        self.ways, self.values = ways, {}

    def add(self, way, figures):
        for name, value in flat(figures or {}):
            self.values.setdefault(name, {}).setdefault(way, []).append(value)

    def summary(self):
        return {
            name: {way: {"median": statistics.median(v), "least": min(v), "most": max(v), "rounds": len(v)} for way, v in of.items()}
            for name, of in self.values.items()
        }

    def show(self):
        """Rows: figure, then for each way the median, the spread, and the share of the first way's."""
        first = self.ways[0]
        rows = [["figure", *(word for way in self.ways for word in ((way, "spread") if way == first else (way, "spread", f"/ {first}")))]]
        for name, of in self.summary().items():
            row = [name]
            for way in self.ways:
                got = of.get(way)
                if got is None:
                    row += ["-", ""] if way == first else ["-", "", ""]
                    continue
                spread = (got["most"] - got["least"]) / got["median"] * 100 if got["median"] else 0
                row += [f"{got['median']:.4g}", f"{spread:.0f} %"]
                if way != first:
                    base = of.get(first, {}).get("median")
                    row.append(f"{got['median'] / base:.2f}" if base else "")
            rows.append(row)
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
