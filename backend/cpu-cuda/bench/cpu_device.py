"""The CPU device against PoCL and against plain C loops: `scripts/bench cpu-device`.

Every way runs in a process of its own. In each round each of them does the same kernel, one after the other (A B C, A B C,
...), so that what else the machine does falls on all; the figure is the median over the rounds. The results of the first
launch are compared with those of the C loops.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CACHE = pathlib.Path(os.environ.get("GPUFERRY_CACHE", ROOT / ".cache"))
KERNELS = ["vadd", "saxpy", "blur", "mandelbrot", "nbody", "matmul", "reduce", "shuffle"]
# A measurement lasts about this long.
SAMPLE_MS = 30
# Sums are made in another order, and products and sums fused.
TOLERANCE = 1e-3


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each kernel and way (default 9)")
    parser.add_argument("--kernels", default=",".join(KERNELS), help="only these, with commas between")
    parser.add_argument("--cores", choices=["one", "all", "both"], default="both")


def say(*words):
    print("bench:", *words, file=sys.stderr)


def build(out):
    """The driver library and the loops, with and without OpenMP."""
    command = ["cargo", "build", "--release", "-p", "cpu-cuda", "--message-format=json-render-diagnostics"]
    made = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    library = None
    for line in made.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["target"]["name"] == "cpu_cuda":
            library = next((f for f in message["filenames"] if f.endswith(".so")), library)
    loops = {}
    for cores, options in (("1", []), ("0", ["-fopenmp"])):
        loops[cores] = str(out / f"loops{cores}.so")
        gcc = ["gcc", "-O2", "-shared", "-fPIC", *options, "-o", loops[cores], HERE / "loops.c", "-lm"]
        subprocess.run(gcc, check=True)
    return library, loops


def pocl():
    """The OpenCL loader and the environment that makes it find PoCL, or None, with the reason told."""
    icd = pathlib.Path("/etc/OpenCL/vendors/pocl.icd")
    environment = {"POCL_CACHE_DIR": str(CACHE / "pocl-kernels"), "POCL_AFFINITY": "0"}
    if icd.exists():
        environment["OCL_ICD_VENDORS"] = str(icd)
        return "libOpenCL.so.1", environment
    got = subprocess.run([ROOT / "scripts/setup/fetch", "pocl"])
    folder = CACHE / "pocl/usr/lib/x86_64-linux-gnu"
    if got.returncode != 0 or not (folder / "libOpenCL.so.1").exists():
        say("SKIPPED: PoCL: not installed, and scripts/setup/fetch cannot get it; no figures against it")
        return None
    environment["OCL_ICD_VENDORS"] = str(folder / "libpocl.so.2")
    environment["LD_LIBRARY_PATH"] = str(folder)
    return str(folder / "libOpenCL.so.1"), environment


class Way:
    """A process that measures on request."""

    def __init__(self, way, library, file, cores, environment):
        command = [sys.executable, HERE / "ways.py", way, library, file, cores]
        self.process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def measure(self, kernel, launches):
        self.process.stdin.write(json.dumps({"kernel": kernel, "launches": launches}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[2]} ended")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def same(values, wanted):
    return all(abs(v - w) <= TOLERANCE * max(1.0, abs(w)) for v, w in zip(values, wanted))


def compare(ways, kernel, rounds):
    """Medians in milliseconds of a launch, by way; and what the first launch took longer."""
    launches, samples, firsts = {}, {}, {}
    for name, way in ways.items():
        first = way.measure(kernel, 1)
        samples[name], firsts[name] = first["sample"], first["first"]
        once = max(way.measure(kernel, 1)["ms"], 1e-3)
        launches[name] = max(1, min(1000, round(SAMPLE_MS / once)))
    times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(way.measure(kernel, launches[name])["ms"])
    wrong = [name for name in ways if not same(samples[name], samples["gcc -O2"])]
    if wrong:
        raise SystemExit(f"bench: {kernel}: other results than gcc -O2: {', '.join(wrong)}")
    medians = {name: statistics.median(list_) for name, list_ in times.items()}
    return medians, {name: firsts[name] - medians[name] for name in ways}


def table(cores, rows):
    width = os.cpu_count() if cores == "all" else 1
    print(f"\n{cores} core{'s: ' + str(width) if cores == 'all' else ''}; ms a launch; ratios below 1: the CPU device is faster; compiling: ms that the first launch took longer")
    print(f"{'kernel':<12}{'CPU device':>12}{'PoCL':>10}{'gcc -O2':>10}{'to PoCL':>10}{'to gcc':>10}{'compiling':>11}{'PoCL':>8}")
    for row in rows:
        cell = lambda value, digits: f"{value:.{digits}f}" if value is not None else "-"
        print(
            f"{row['kernel']:<12}{cell(row['ms']['CPU device'], 3):>12}{cell(row['ms'].get('PoCL'), 3):>10}"
            f"{cell(row['ms']['gcc -O2'], 3):>10}{cell(row['to_pocl'], 2):>10}{cell(row['to_gcc'], 2):>10}"
            f"{cell(row['compiling']['CPU device'], 1):>11}{cell(row['compiling'].get('PoCL'), 1):>8}"
        )


def run(options):
    """Measures; answers what --json prints."""
    out = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "bench"
    out.mkdir(parents=True, exist_ok=True)
    library, loops = build(out)
    opencl = pocl()
    result = {"bench": "cpu-device", "rounds": options.rounds, "cores": {}}
    for cores in ["one", "all"] if options.cores == "both" else [options.cores]:
        count = "1" if cores == "one" else "0"
        ways = {"CPU device": Way("cuda", library, HERE / "kernels.ptx", count, {"GPUFERRY_CPU_MEMORY": "1G"})}
        if opencl:
            threads = {"POCL_MAX_PTHREAD_COUNT": "1"} if cores == "one" else {}
            ways["PoCL"] = Way("opencl", opencl[0], HERE / "kernels.cl", count, {**opencl[1], **threads})
        ways["gcc -O2"] = Way("loops", loops[count], "-", count, {})
        rows = []
        for kernel in options.kernels.split(","):
            say(f"{cores} core{'s' if cores == 'all' else ''}: {kernel}")
            ms, compiling = compare(ways, kernel, options.rounds)
            mine = ms["CPU device"]
            to_pocl = mine / ms["PoCL"] if "PoCL" in ms else None
            rows.append({"kernel": kernel, "ms": ms, "to_pocl": to_pocl, "to_gcc": mine / ms["gcc -O2"], "compiling": compiling})
        for way in ways.values():
            way.close()
        result["cores"][cores] = rows
        if not options.json:
            table(cores, rows)
    return result
