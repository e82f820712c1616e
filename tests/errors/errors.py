"""What the driver API answers when something is wrong, as lines `SITUATION: CALL = STATUS`.

Every situation runs in a process of its own, because most errors stay. The driver is the loader's libcuda.so.1; nothing
else is needed but Python, so that a GPU and the CPU device can be asked the same. `scripts/table errors` compares.

  errors.py [--list] [NAME...]
"""
import concurrent.futures
import os
import signal
import subprocess
import sys

# Each adds its situations.
import captures  # noqa: F401
import faults  # noqa: F401
import handles  # noqa: F401
import images  # noqa: F401
import launches  # noqa: F401
import values  # noqa: F401
from driver import CASES

SECONDS = 30
# Situations asked at a time.
AT_ONCE = 5


def run_case(name):
    """Lines of one situation, in a process of its own."""
    command = [sys.executable, os.path.abspath(__file__), "--inside", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL, check=False)
        said, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        said, status = (late.stdout or b"").decode(), "does not end"
    # A device's own messages go to standard output too.
    lines = [line for line in said.splitlines() if " = " in line]
    if status:
        how = signal.Signals(-status).name if isinstance(status, int) and status < 0 else status
        lines.append(f"process = {how}")
    return lines


def main():
    words = sys.argv[1:]
    if words[:1] == ["--inside"]:
        return CASES[words[1]]()
    if words[:1] == ["--list"]:
        return print("\n".join(CASES))
    names_ = words or list(CASES)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for name, lines in zip(names_, pool.map(run_case, names_)):
            for line in lines:
                print(f"{name.replace('_', ' ')}: {line}", flush=True)


if __name__ == "__main__":
    main()
