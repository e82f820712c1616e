"""Programs that watch GPUs, over libnvidia-ml.so.1: nvidia-ml-py, nvitop and Debian's nvtop. Another process computes meanwhile; each must
show the device, and of all processes that one, with the memory that it holds.
"""
import ctypes
import fcntl
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pynvml
from verdict import CACHE, Wrong, check, run

HELD_MIB = 96
NAME = "gpuferry CPU device"
# Escape sequences of a terminal.
ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]")
SECONDS = 4


def hold():
    """The other process: takes memory, says so, and waits to be ended."""
    cuda = ctypes.CDLL("libcuda.so.1")
    context, memory = ctypes.c_void_p(), ctypes.c_uint64()
    answers = [
        cuda.cuInit(0), cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0), cuda.cuCtxSetCurrent(context),
        cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(HELD_MIB << 20)),
    ]  # fmt: skip
    print(*answers, flush=True)
    sys.stdin.read()


def device():
    pynvml.nvmlInit()
    if pynvml.nvmlDeviceGetCount() != 1:
        raise Wrong(f"{pynvml.nvmlDeviceGetCount()} devices")
    found = pynvml.nvmlDeviceGetHandleByIndex(0)
    if pynvml.nvmlDeviceGetName(found) != NAME:
        raise Wrong(pynvml.nvmlDeviceGetName(found))
    return found


def memory():
    found = pynvml.nvmlDeviceGetMemoryInfo(device())
    if not found.total or found.free + found.used != found.total:
        raise Wrong(f"{found.total} {found.free} {found.used}")


def processes():
    found = {one.pid: one.usedGpuMemory for one in pynvml.nvmlDeviceGetComputeRunningProcesses(device())}
    if list(found) != [other.pid] or not HELD_MIB << 20 <= found[other.pid] < (HELD_MIB + 64) << 20:
        raise Wrong(f"{found}, not {other.pid}")


def events():
    events = pynvml.nvmlEventSetCreate()
    begin = time.monotonic()
    try:
        pynvml.nvmlEventSetWait(events, 400)
        raise Wrong("an event")
    except pynvml.NVMLError_Timeout:
        if time.monotonic() - begin < 0.4:
            raise Wrong("waited too shortly") from None
    pynvml.nvmlEventSetFree(events)


def not_supported():
    """What a guest may not, and what this device has not."""
    for call, wanted in (
        (lambda: pynvml.nvmlDeviceSetPowerManagementLimit(device(), 1), pynvml.NVMLError_NoPermission),
        (lambda: pynvml.nvmlDeviceGetTemperature(device(), 0), pynvml.NVMLError_NotSupported),
    ):
        try:
            call()
            raise Wrong("no error")
        except wanted:
            pass


def shows(text):
    """That a program's screen has the device, the process and its memory."""
    words = text.decode(errors="replace")
    if "gpuferry" not in words:
        raise Wrong(f"no device: {' '.join(words.split())[:200]}")
    row = next((line for line in re.split(r"\n|F2", words) if re.search(rf"\b{other.pid}\b", line)), None)
    if row is None:
        raise Wrong(f"no process {other.pid}: {' '.join(words.split())[:200]}")
    sizes = [int(number) for number in re.findall(r"(\d+)(?:\.\d+)?\s*Mi?B", row[row.index(str(other.pid)):])]
    if not any(HELD_MIB <= size < HELD_MIB + 64 for size in sizes):
        raise Wrong(f"the process holds {sizes} MiB")


def on_a_terminal(*command):
    """What a program draws on a terminal of 160 by 40 in some seconds, as text; it is told to quit by a `q`."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ["TERM"] = "xterm"
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    drawn, end, is_told = b"", time.monotonic() + SECONDS, False
    while time.monotonic() < end + 2:
        if not is_told and time.monotonic() > end:
            os.write(terminal, b"q")
            is_told = True
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            more = os.read(terminal, 65536)
        except OSError:
            break
        drawn += more
    if os.waitpid(process, os.WNOHANG)[0] == 0:
        os.kill(process, 9)
        os.waitpid(process, 0)
        raise Wrong("does not end")
    return ESCAPE.sub(b" ", drawn)


def nvitop():
    shows(run(sys.executable, "-m", "nvitop", "--once", "--ascii", environment={"COLUMNS": "160", "LINES": "60"}))


def nvtop():
    shows(on_a_terminal(str(pathlib.Path(CACHE) / "nvtop" / "nvtop")))


if "--hold" in sys.argv:
    hold()
    sys.exit()
with subprocess.Popen([sys.executable, __file__, "--hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
    if other.stdout.readline().split() != ["0"] * 4:
        sys.exit("the other process cannot compute")
    for name, work in (
        ("nvidia-ml-py: device", lambda: device() and None), ("nvidia-ml-py: memory", memory), ("nvidia-ml-py: processes", processes),
        ("nvidia-ml-py: events", events), ("nvidia-ml-py: what is refused", not_supported), ("nvitop: one screen", nvitop),
        ("nvtop: its screen", nvtop),
    ):  # fmt: skip
        check(name, work)
    other.stdin.close()
