"""Many guest processes at once, and what gpuferry itself takes of the host: `scripts/bench scale`.

Launches of all processes together and the slowest process's p99; processor time of front and workers for each million calls
(the driver's own work is done there too, so natively the program has it); memory of the front and of idle sessions.
"""
import concurrent.futures
import functools
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import ways
from ways import Front, Table, host, say

CROWDS = (1, 4, 16)
# A program with a session and no work.
IDLE = "import ctypes, sys, time; c = ctypes.CDLL('libcuda.so.1'); assert c.cuInit(0) == 0; print('ready', flush=True); time.sleep(60)"
IDLE_SESSIONS = 4
PROGRAM_COST = "program: processor seconds a million calls, about"


def add_options(parser):
    ways.add_options(parser, rounds=3)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each figure (default 0.3)")
    parser.add_argument("--crowds", default=",".join(map(str, CROWDS)), help="processes at once")
    parser.add_argument("--budget", type=float, default=600, metavar="SECONDS", help="what would take longer is left out (default 600)")


def ticks(process):
    """Processor time of a process that lives, in seconds."""
    fields = open(f"/proc/{process}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(process):
    """(whole, private) resident memory in MiB."""
    lines = dict(line.split(":", 1) for line in open(f"/proc/{process}/status") if line.startswith("Rss") or line.startswith("VmRSS"))
    mib = lambda name: int(lines[name].split()[0]) / 1024  # noqa: E731
    return mib("VmRSS"), mib("RssAnon")


def family(front):
    """The front, then every process that it started."""
    found, known = [front.process.pid], set()
    for process in found:
        known.add(process)
        listed = subprocess.run(["ps", "--ppid", str(process), "-o", "pid="], capture_output=True, text=True, check=False).stdout
        found += [int(word) for word in listed.split() if int(word) not in known]
    return found


def on_host(way, command, count, front, folder, limit):
    """What `count` programs at once say."""
    folders = [pathlib.Path(folder) / f"program-{number}" for number in range(count)]
    for each in folders:
        each.mkdir(exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda each: ways.on_host(way, command, front, each, limit), folders))


def in_guest(command, count, front, folder, limit):
    """The same of one guest's programs."""
    out = pathlib.Path(folder) / f"guest-{count}"
    out.mkdir(exist_ok=True)
    numbers, words = " ".join(map(str, range(count))), " ".join(map(str, command))
    libraries = host.libraries(folder, host.GUEST_LIBRARY)
    script = f"export LD_LIBRARY_PATH={libraries}; for i in {numbers}; do {words} >$OUT/$i 2>$OUT/$i.err & done; wait"
    ways.boot(script, front, out, limit, "4G").communicate()
    read = lambda name: (out / name).read_text() if (out / name).exists() else ""  # noqa: E731
    return [ways.parsed("uml", 0, read(str(number)), read(f"{number}.err")) for number in range(count)]


def crowd(way, count, options, front, folder, limit):
    """Figures of `count` programs at once."""
    command = [host.program("latency"), "--seconds", options.seconds, "--bulk", 1, "--figures", "launches,calls"]
    run = in_guest if way == "uml" else functools.partial(on_host, way)
    results = [result for result in run(command, count, front, folder, limit) if result]
    if len(results) != count:
        return {}
    return {
        f"{count} processes: launches a second, all": sum(result["launches_per_s"] for result in results),
        f"{count} processes: launch + synchronise, p50 of the median process": sorted(r["launch_and_synchronise"]["p50_us"] for r in results)[count // 2],
        f"{count} processes: launch + synchronise, p99 of the slowest": max(r["launch_and_synchronise"]["p99_us"] for r in results),
        f"{count} processes: waited call, p99 of the slowest": max(r["waited_call"]["p99_us"] for r in results),
    }


def idle(front, folder):
    """Memory and processor time where nothing happens."""
    environment = host.environment(folder, host.GUEST_LIBRARY, f"unix:{front.local}")
    programs = [subprocess.Popen([sys.executable, "-c", IDLE], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(IDLE_SESSIONS)]
    try:
        if any(program.stdout.readline() != "ready\n" for program in programs):
            say("an idle program did not start")
            return {}
        time.sleep(1)
        everybody = family(front)
        begun = {process: ticks(process) for process in everybody}
        time.sleep(2)
        spent = sum(ticks(process) - begun[process] for process in everybody)
        whole, private = resident(front.process.pid)
        workers = [resident(process) for process in front.workers()]
        return {
            "front: resident MiB": whole,
            "front: private MiB": private,
            f"worker, {IDLE_SESSIONS} sessions idle: resident MiB": sum(w for w, _ in workers) / len(workers),
            f"worker, {IDLE_SESSIONS} sessions idle: private MiB": sum(p for _, p in workers) / len(workers),
            "all idle: processor time, %": spent / 2 * 100,
        }
    finally:
        for program in programs:
            program.kill()
            program.wait()


def cost(way, front, folder, options):
    """Processor seconds for a million calls that reach the device: of the program, and of gpuferry's processes."""
    command = [host.program("latency"), "--seconds", options.seconds * 3, "--bulk", 1, "--figures", "launches"]
    stats = pathlib.Path(folder) / "stats.json"
    own = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])  # noqa: E731
    # Workers end with their sessions: their time is then the front's children's.
    ours = lambda: sum(ticks(process) for process in family(front)) + children(front)  # noqa: E731
    before = own(), ours()
    result = ways.on_host(way, command, front, folder, variables={"GPUFERRY_STATS": str(stats)})
    time.sleep(0.3)
    spent = own() - before[0], ours() - before[1]
    if not result:
        return {}
    if way == "local":
        counted = json.loads(stats.read_text())["host"]
        calls = counted["posted"] + counted["waited"]
        return {PROGRAM_COST: spent[0] / calls * 1e6, "gpuferry: processor seconds a million calls": spent[1] / calls * 1e6}
    # Of its batches nobody counts the calls: as many launches as its rate says, twice, and two calls for each that was waited for.
    calls = result["launches_per_s"] * options.seconds * 3 + options.seconds * 3e6 / result["launch_issue_us"] + result["launch_and_synchronise"]["calls"] * 2
    return {PROGRAM_COST: spent[0] / calls * 1e6}


def children(front):
    """Processor time of descendants of the front that have ended."""
    total = 0
    for process in family(front):
        fields = open(f"/proc/{process}/stat").read().rpartition(")")[2].split()
        total += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total


def run(options):
    chosen = ways.chosen(options)
    ways.prepare(chosen)
    table, budget = Table(chosen), ways.Budget(options.budget)
    with tempfile.TemporaryDirectory(prefix="gpuferry-bench.") as folder, Front(folder, options.device) as front:
        for number in range(options.rounds + 1):
            for count in map(int, options.crowds.split(",")):
                for way in chosen:
                    if not budget.allows((count, way)):
                        say(f"round {number} of {options.rounds}: {count} processes, {way}: left out for lack of time")
                        continue
                    say(f"round {number} of {options.rounds}: {count} processes, {way}")
                    figures = budget.run((count, way), crowd, way, count, options, front, folder)
                    if number:
                        table.add(way, figures)
            for way in (way for way in chosen if number and way != "uml"):
                if budget.allows("cost"):
                    table.add(way, budget.run("cost", lambda _, way=way: cost(way, front, folder, options)))
            if number and "local" in chosen and budget.allows("idle"):
                table.add("local", budget.run("idle", lambda _: idle(front, folder)))
    if not options.json:
        print(table.show())
    return {"rounds": options.rounds, "figures": table.summary()}
