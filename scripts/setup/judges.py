"""Runs tests/judges natively and forwarded, and compares what they print. Used by gpu-check."""
import concurrent.futures
import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import host
from kernels import ROOT

FOLDER = ROOT / "tests" / "judges"
sys.path.insert(0, str(FOLDER))
import catalog  # noqa: E402

# User-Mode Linux has one processor, and a system call costs it 50 times as much.
GUEST_SLOWER = 5
# Of a line that two native runs do not give alike, the sums must agree as closely as this.
TOLERANCE = 1e-3
SUM = re.compile(r"\b(sum|size)=([-+0-9.e]+|nan|inf)")
# Of the host's environment a guest gets what programs are found by, and what keeps libraries off a shared card's multicast.
KEPT = ("PYTHONPATH", "CUDA_HOME", "CUDA_PATH", "NCCL_NVLS_ENABLE", "TORCH_SYMM_MEM_DISABLE_MULTICAST", "NVSHMEM_DISABLE_NVLS")


# Where libraries keep what they compiled: each run compiles for itself.
CACHES = ("CUPY_CACHE_DIR", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "NUMBA_CACHE_DIR")


class Outcome:
    """How one run of one judge went."""

    def __init__(self, status, seconds, printed="", said="", skipped=None):
        self.status, self.seconds, self.said, self.skipped = status, seconds, said, skipped
        self.lines, self.times = parse(printed)

    @property
    def bad(self):
        return self.status != 0


def parse(printed):
    """(results by name, seconds by name). A line without a name is its own; equal names are counted."""
    lines, times = {}, {}
    for line in printed.splitlines():
        name, found, value = line.partition(": ")
        if found and name.startswith("time "):
            times[name[5:]] = float(value)
            continue
        key, count = name, 1
        while key in lines:
            count += 1
            key = f"{name} #{count}"
        lines[key] = value if found else ""
    return lines, times


def close(one, other):
    """Whether two values of a line that varies agree: their sums, relative to the sum of sizes."""
    sums, others = ([(kind, float(number)) for kind, number in SUM.findall(text)] for text in (one, other))
    if [kind for kind, _ in sums] != [kind for kind, _ in others] or not sums:
        return False
    scale = max(abs(number) for _, number in sums) or 1.0
    return all(abs(a - b) <= TOLERANCE * scale or a != a and b != b for (_, a), (_, b) in zip(sums, others))


def compare(native, other, again):
    """(verdict, details) of a forwarded run; again: gives the second native run, asked for only if lines differ."""
    if other.skipped:
        return f"skipped: {other.skipped}", []
    if native.bad:
        return "skipped: fails natively", [native.said]
    if other.bad:
        return "failed", [other.said]
    names = [name for name in {**native.lines, **other.lines} if native.lines.get(name) != other.lines.get(name)]
    known = [f"{name}: {native.lines.get(name)} became {other.lines.get(name)}: {catalog.KNOWN[name]}" for name in names if name in catalog.KNOWN]
    # A suite's count says of its lines what they say themselves.
    names = [name for name in names if name not in catalog.KNOWN and not (known and name == "count")]
    but = f", {len(known)} known to differ" if known else ""
    if not names:
        return f"same{but}", known
    second = again()
    varying = {name for name in names if name in native.lines and second.lines.get(name) != native.lines[name]}
    wrong = [name for name in names if name not in varying or not (
        close(native.lines[name], other.lines.get(name, "")) or other.lines.get(name) == second.lines.get(name)
    )]  # fmt: skip
    if not wrong:
        return f"same ({len(varying)} vary){but}", known
    return f"differs ({len(wrong)} lines)", [
        f"{name}: {native.lines.get(name, 'no such line')!r} became {other.lines.get(name, 'no line')!r}" for name in wrong
    ]


def last_line(text):
    """The line of a program's complaints that says most: its last error, or its last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\b\w*(Error|error|Exception|FATAL|Aborted|Segmentation)\b", line)]
    return (errors or lines or ["it said nothing"])[-1][:300]


def missing(judge):
    for name in judge.needs:
        try:
            if importlib.util.find_spec(name) is None:
                return f"Python package {name} is missing"
        except (ImportError, AttributeError):
            return f"Python package {name} is missing"
    return None


def compiler():
    """nvcc, or None."""
    found = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    return pathlib.Path(os.path.realpath(found)) if os.path.exists(found) else None


class Bench:
    """Everything that a run of judges shares."""

    def __init__(self, chosen, folder, front):
        self.chosen, self.folder, self.front = chosen, pathlib.Path(folder), front
        self.out = chosen.out / "judges"
        self.out.mkdir(parents=True, exist_ok=True)
        self.end = time.monotonic() + chosen.deadline if chosen.deadline else None
        # Made here, before several threads ask for it.
        host.libraries(self.folder, host.GUEST_LIBRARY)
        host.direct(chosen.device, self.folder)
        self._compiled, self._lock, self._running = {}, threading.Lock(), set()

    def left(self, limit):
        """Seconds that a run may take; 0: none shall begin."""
        return limit if self.end is None else max(0, min(limit, self.end - time.monotonic()))

    def compile(self, name):
        """(program, why not)."""
        with self._lock:
            lock = self._compiled.setdefault(name, [threading.Lock(), None])
        with lock[0]:
            if lock[1] is None:
                lock[1] = self._compile(name)
            return lock[1]

    def _compile(self, name):
        nvcc = compiler()
        if nvcc is None:
            return None, "there is no nvcc"
        source, options = catalog.NVCC[name]
        program = self.out / name
        libraries = [str(path) for path in (nvcc.parent.parent / "lib64", nvcc.parent.parent / "lib") if path.is_dir()]
        more = [word for path in libraries for word in ("-L", path, "-Xlinker", f"-rpath={path}")]
        command = [nvcc, "-std=c++17", "-O2", f"-arch={self.chosen.arch}", "-o", program, FOLDER / source, *options, *more]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        if done.returncode:
            return None, f"nvcc: {last_line(done.stderr)}"
        return program, None

    def command(self, judge):
        """(words, why not)."""
        first, *words = judge.words.split()
        if first.endswith(".py"):
            why = missing(judge)
            return [sys.executable, str(FOLDER / first), *words], why
        program, why = self.compile(first)
        return [str(program), *words], why

    def stop(self):
        """End what runs and begin nothing more: whoever interrupts this wants his machine back."""
        self.end = 0
        for process in list(self._running):
            end_group(process)

    def on_host(self, judge, environment, name):
        """Run a judge on the host; its lines go to a file of that name."""
        words, why = self.command(judge)
        if why:
            return Outcome(0, 0, skipped=why)
        limit = self.left(judge.limit)
        if limit < 5:
            return Outcome(0, 0, skipped="no time was left")
        printed, said = (self.out / f"{judge.name}.{name}.{end}" for end in ("txt", "err"))
        place = self.folder / f"{judge.name}.{name}"
        place.mkdir(exist_ok=True)
        variables = {**environment, **judge.environment, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(place)}
        variables |= dict.fromkeys(CACHES, str(place))
        begin = time.monotonic()
        with printed.open("w") as out, said.open("w") as errors:
            process = subprocess.Popen(words, env=variables, cwd=place, stdout=out, stderr=errors, stdin=subprocess.DEVNULL, start_new_session=True)
            self._running.add(process)
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                status = 124
            finally:
                end_group(process)
                self._running.discard(process)
        shutil.rmtree(place, ignore_errors=True)
        return outcome(status, time.monotonic() - begin, limit, printed, said)

    def in_guest(self, judge):
        """Run a judge in a guest of its own, with a front of its own."""
        words, why = self.command(judge)
        if why:
            return Outcome(0, 0, skipped=why)
        limit = self.left(judge.limit * GUEST_SLOWER)
        if limit < 20:
            return Outcome(0, 0, skipped="no time was left")
        place = self.folder / f"{judge.name}.uml"
        out = self.out / f"{judge.name}.uml"
        place.mkdir()
        out.mkdir(exist_ok=True)
        libraries = host.environment(self.folder, host.GUEST_LIBRARY)["LD_LIBRARY_PATH"]
        variables = {name: os.environ[name] for name in KEPT if name in os.environ}
        variables |= {**judge.environment, "LD_LIBRARY_PATH": libraries, "PYTHONDONTWRITEBYTECODE": "1"}
        script = "\n".join((
            *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
            *(f"export {name}=$TMPDIR/{name}" for name in CACHES), "now() { cut -d' ' -f1 /proc/uptime; }", "cd $TMPDIR", "b=$(now)",
            f"{shlex.join(words)} >$OUT/printed 2>$OUT/said", 'echo "$? $b $(now)" >$OUT/status',
        ))  # fmt: skip
        with host.Front(place, self.chosen.device, "info") as front:
            more = ["--memory", f"{judge.memory}M", "--timeout", limit, "--root", "host", "--module", self.chosen.module("uml")]
            vm = host.guest("uml", "uml", front, script, out, more)
            self._running.add(vm)
            console, _ = vm.communicate()
            self._running.discard(vm)
            (out / "front.log").write_text(front.log.read_text())
        try:
            status, begin, end = (out / "status").read_text().split()
            return outcome(int(status), float(end) - float(begin), limit, out / "printed", out / "said")
        except (OSError, ValueError):
            why = f"not done after {limit:.0f} s" if vm.returncode == 124 else f"the guest left no result; its console ends: {console.strip()[-200:]}"
            return Outcome(125, limit, said=why)

    def judge(self, judge):
        """One judge in all ways: rows of the table."""
        native = self.on_host(judge, host.direct(self.chosen.device, self.folder), "native")
        rows = [row(judge, "native", native_verdict(native), [native.said] if native.bad else [], native)]
        kept = []

        def again():
            if not kept:
                kept.append(self.on_host(judge, host.direct(self.chosen.device, self.folder), "native-again"))
            return kept[0]

        for way in self.chosen.ways:
            if way not in judge.ways:
                continue
            if way == "local":
                environment = host.environment(self.folder, host.GUEST_LIBRARY, f"unix:{self.front.local}")
                found = native if native.skipped else self.on_host(judge, environment, way)
            elif way == "uml":
                found = native if native.skipped else self.in_guest(judge)
            else:
                continue
            verdict, details = compare(native, found, again)
            rows.append(row(judge, way, verdict, details, found))
        for one in rows:
            host.say(f"{one['judge']:18} {one['way']:7} {one['verdict']} ({one['seconds']:.1f} s)")
        return rows


def end_group(process):
    """End a process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def outcome(status, seconds, limit, printed, said):
    complaint = f"not done after {limit:.0f} s: " if status in (124, 137, -9) else f"ended with {status}: "
    errors = said.read_text(errors="replace")
    return Outcome(status, seconds, printed.read_text(errors="replace"), complaint + last_line(errors) if status else "")


def native_verdict(native):
    if native.skipped:
        return f"skipped: {native.skipped}"
    if native.bad:
        return "failed"
    raised = [name for name, value in native.lines.items() if value.startswith(("raises", "failed"))]
    skipped = [name for name, value in native.lines.items() if value.startswith("skipped")]
    if len(skipped) == len([name for name in native.lines if not name.startswith("count")]) and skipped:
        return native.lines[skipped[0]].replace("skipped ", "skipped: ", 1)
    return f"{len(native.lines)} lines{f', {len(raised)} raise' if raised else ''}{f', {len(skipped)} skip' if skipped else ''}"


def row(judge, way, verdict, details, found):
    return {
        "judge": judge.name, "area": judge.area, "way": way, "verdict": verdict, "details": details, "seconds": round(found.seconds, 2),
        "lines": len(found.lines), "times": found.times, "counts": [f"{k}: {v}" for k, v in found.lines.items() if k.startswith("count")],
    }  # fmt: skip


def selected(chosen):
    names = [judge.name for judge in catalog.JUDGES]
    for name in (*chosen.only, *chosen.skip):
        if not any(one == name or one.startswith(f"{name}-") for one in names):
            raise SystemExit(f"no judge named {name}; --list shows them")

    def named(judge, words):
        return any(judge.name == word or judge.name.startswith(f"{word}-") for word in words)

    return [j for j in catalog.JUDGES if (not chosen.only or named(j, chosen.only)) and not named(j, chosen.skip)]


def list_them():
    for judge in catalog.JUDGES:
        print(f"{judge.name:18} {judge.area:16} {judge.words:32} {judge.limit:4} s {judge.memory:6} MiB {' '.join(f'{k}={v}' for k, v in judge.environment.items())}".rstrip())


def run(chosen, front, folder):
    """Run the chosen judges; all rows known so far: those of earlier runs with the same --out stay."""
    file = chosen.out / "judges.json"
    known = {(one["judge"], one["way"]): one for one in (json.loads(file.read_text()) if file.exists() else [])}
    bench = Bench(chosen, folder, front)
    order = sorted(selected(chosen), key=lambda judge: -judge.limit) if chosen.jobs > 1 else selected(chosen)
    with concurrent.futures.ThreadPoolExecutor(chosen.jobs) as pool:
        working = [pool.submit(bench.judge, judge) for judge in order]
        try:
            for done in concurrent.futures.as_completed(working):
                known |= {(one["judge"], one["way"]): one for one in done.result()}
                file.write_text(json.dumps(list(known.values()), indent=1) + "\n")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            bench.stop()
            raise
    return list(known.values())


def short(verdict):
    return verdict if len(verdict) <= 48 else f"{verdict[:47]}…"


def table(rows):
    """(lines of the table, details, how many are wrong)."""
    ways = [way for way in ("native", "local", "uml") if any(one["way"] == way for one in rows)]
    by = {(one["judge"], one["way"]): one for one in rows}
    out, details, wrong = [("judge", *(word for way in ways for word in (way, "s")))], [], 0
    for judge in catalog.JUDGES:
        if not any((judge.name, way) in by for way in ways):
            continue
        cells = []
        for way in ways:
            one = by.get((judge.name, way))
            if one is None:
                cells += ["not run" if way in ("native", *judge.ways) else "–", ""]
                continue
            cells += [short(one["verdict"]), f"{one['seconds']:.1f}" if one["seconds"] else ""]
            if one and one["verdict"].startswith(("differs", "failed")):
                wrong += 1
                shown = [f"{line[:400]}" for line in one["details"][:12]]
                if len(one["details"]) > len(shown):
                    shown.append(f"and {len(one['details']) - len(shown)} more, in judges.json")
                details.append(f"{judge.name}, {way}: {one['verdict']}\n  " + "\n  ".join(shown))
        out.append((judge.name, *cells))
    return out, details, wrong


def markdown(lines):
    """The table's lines, and those of times, for a document."""
    head, *rest = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rest)) + "\n"


def step_times(rows):
    """Rows of the times that judges print of single steps, a column for each way."""
    ways = [way for way in ("native", "local", "uml") if any(one["way"] == way for one in rows)]
    found = {}
    for one in rows:
        for name, seconds in one["times"].items():
            if name.endswith(("_step", "_token", "_one")):
                found.setdefault((one["judge"], name), {})[one["way"]] = f"{seconds * 1e3:.3g}"
    return [("milliseconds", "", *ways), *((*key, *(of.get(way, "") for way in ways)) for key, of in found.items())]


class Temporary(tempfile.TemporaryDirectory):
    """A folder for a run; what cannot be removed in the end is no error."""

    def __init__(self):
        super().__init__(prefix="gpuferry-check.", ignore_cleanup_errors=True)
