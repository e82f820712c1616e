"""What stands on the host while a guest computes: the built programs, gpuferryd, an image that holds them, the guest
itself. Used by demo, gpu-check and tests/vm.
"""
import ctypes.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

from kernels import CACHE, ROOT, SETUP, fail  # noqa: F401

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()
# A bundle brings its programs; a checkout builds them.
BUILT = pathlib.Path(os.environ.get("GPUFERRY_BIN") or TARGET / "release").absolute()
CRATES = ("programs", "gpuferry-backend", "gpuferry-cuda", "gpuferry-nvml", "gpuferry-opencl", "cpu-cuda")
GUEST_LIBRARY, CPU_LIBRARY = "libgpuferry_cuda.so", "libcpu_cuda.so"
# What a guest has beside its libcuda.so.1.
NVML_LIBRARY = "libgpuferry_nvml.so"
# Where programs and library lie in a guest that boots from an image.
IN_GUEST = "/opt/gpuferry"
START = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - START:4.0f} s] {text}", flush=True)


class Phases:
    """What has been done, and how long it took."""

    def __init__(self):
        self.seconds = {}

    def __call__(self, name, text, work, *arguments):
        say(text)
        begin = time.monotonic()
        result = work(*arguments)
        self.seconds[name] = round(time.monotonic() - begin, 2)
        return result


def build():
    """Build what runs, in the release profile."""
    if "GPUFERRY_BIN" in os.environ:
        return
    if not shutil.which("cargo"):
        fail("cargo is missing; install a Rust toolchain, for instance with rustup")
    packages = [word for crate in CRATES for word in ("-p", crate)]
    if subprocess.run(["cargo", "build", "--release", "--locked", *packages], cwd=ROOT, check=False).returncode:
        fail("the build failed; its errors are above")


def has_gpu():
    """Whether this machine has an NVIDIA GPU and the driver library for it."""
    return os.path.exists("/dev/nvidiactl") and ctypes.util.find_library("cuda") is not None


def libraries(folder, library):
    """A folder whose libcuda.so.1 is one of our libraries; beside the guest's lies its libnvidia-ml.so.1. Both also under the names
    without a version: numba asks for these first, and would find the machine's own.
    """
    place = pathlib.Path(folder) / f"{library}.d"
    if not place.exists():
        place.mkdir(parents=True)
        ours = {"libcuda": library, **({"libnvidia-ml": NVML_LIBRARY} if library == GUEST_LIBRARY else {})}
        for name, file in ours.items():
            for suffix in (".so.1", ".so"):
                (place / f"{name}{suffix}").symlink_to(BUILT / file)
    return place


def environment(folder, library=None, carrier=None):
    """A program's environment: one of our libraries, or the machine's own; and where its calls go."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GPUFERRY")}
    if library:
        rest = variables.get("LD_LIBRARY_PATH")
        variables["LD_LIBRARY_PATH"] = f"{libraries(folder, library)}{f':{rest}' if rest else ''}"
    if carrier:
        variables["GPUFERRY"] = carrier
        # Its numbers are the host's; the guest's devices have their own.
        variables.pop("CUDA_VISIBLE_DEVICES", None)
    return variables


def direct(device, folder):
    """The environment of a program that uses the devices in its own process; it sees those that a guest sees."""
    if is_cpu(device):
        return {**environment(folder, CPU_LIBRARY), "GPUFERRY_CPU_DEVICES": str(count(device))}
    ordinals = [one.removeprefix("cuda:") for one in device.split(",")]
    visible = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(ordinals)} if all(map(str.isdigit, ordinals)) else {}
    return {**environment(folder), **visible}


def is_cpu(device):
    """Whether gpuferryd's option names CPU devices."""
    return device.startswith("cpu")


def count(device):
    """How many devices gpuferryd's option names."""
    if device != "cuda:all":
        return len(device.split(","))
    return sum(re.fullmatch(r"nvidia\d+", name) is not None for name in os.listdir("/dev"))


def program(name):
    return str(BUILT / name)


class Front:
    """A running gpuferryd, with a socket for a VMM and one for local programs; ended on leaving. `opencl` is a device beside
    CUDA's; `variables` are added to its environment, `options` to its command line.
    """

    def __init__(self, folder, device, level="info", opencl=None, variables=None, options=()):
        self.socket, self.local, self.log = (pathlib.Path(folder) / name for name in ("vmm.sock", "local.sock", "front.log"))
        command = [program("gpuferryd"), "--socket-path", self.socket, "--local-path", self.local, "--device", device]
        command += os.environ.get("GPUFERRY_FRONT_OPTIONS", "").split()
        command += [*(["--device", opencl] if opencl else []), *options]
        environment = {**os.environ, **(variables or {})}
        # Of a front before this one.
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*map(str, command), "--log-level", level], env=environment, stderr=log, stdin=subprocess.DEVNULL
            )
        end = time.monotonic() + 60
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                fail(f"gpuferryd does not start:\n{self.log.read_text()}")
            time.sleep(0.02)

    def _ready(self):
        # It makes its sockets before it knows whether the device can be had.
        return b"ready on device" in self.log.read_bytes()[self._begin :]

    def workers(self):
        """Process numbers of its workers: the children of its starter's rooms."""
        started = [self.process.pid]
        for _ in range(3):
            if not started:
                return []
            listed = subprocess.run(
                ["ps", "--ppid", ",".join(map(str, started)), "-o", "pid="], capture_output=True, text=True, check=False
            )
            started = [int(word) for word in listed.stdout.split()]
        return started

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def image(kernel, folder, files=(), module=None):
    """An image for kernel with our programs and library in IN_GUEST; files: more pairs (guest path, host path)."""
    place = pathlib.Path(folder)
    pairs = list(files)
    for name, source in (
        *((name, name) for name in ("battery", "wide", "prints", "picture", "latency", "endless")), ("lib/libcuda.so.1", GUEST_LIBRARY),
        ("lib/libnvidia-ml.so.1", NVML_LIBRARY),
    ):  # fmt: skip
        stripped = place / "stripped" / name
        stripped.parent.mkdir(parents=True, exist_ok=True)
        strip(BUILT / source, stripped)
        pairs.append((f"{IN_GUEST}/{name}", stripped))
    out = place / f"{kernel}.cpio"
    command = [ROOT / "scripts" / "guest-image", *(["--module", module] if module else []), kernel, out]
    if subprocess.run([*map(str, command), *(f"{guest}={host}" for guest, host in pairs)], check=False).returncode:
        fail(f"no image for kernel {kernel}")
    return out


def strip(source, target):
    """A copy with no debugging information; a whole copy where there is no strip."""
    if shutil.which("strip") is None:
        shutil.copy(source, target)
    elif subprocess.run(["strip", "--strip-debug", "-o", target, source], check=False).returncode:
        fail(f"cannot strip {source}")


def guest(vmm, kernel, front, script, out=None, more=()):
    """Start a guest that runs a shell script (text); its process, the console on stdout."""
    command = [
        ROOT / "scripts" / "vm", "--vmm", vmm, "--kernel", kernel, "--socket", front.socket, *(["--out", out] if out else []),
        *more, "--", "sh", "-c", script,
    ]  # fmt: skip
    return subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def qemu_version():
    return subprocess.run([CACHE / "qemu" / "run", "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[0]


def fetch_shown(*items):
    """Fetch items of the cache, or fail; what it does is shown as it happens."""
    if subprocess.run([ROOT / "scripts" / "setup" / "fetch", *items], check=False, stderr=sys.stdout.fileno()).returncode:
        fail(f"cannot fetch {' '.join(items)}")
