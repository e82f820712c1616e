"""The CUDA runtime of each release from 11.8 on, as a shared library: the same program with each, and each in a process of its own.

What a runtime asks of the driver differs: entry points by version, private tables, how it checks them. The program makes memory, copies,
streams, events, a graph by recording, and launches a kernel that it registers as nvcc's code does.
"""
import ctypes
import os
import pathlib
import struct
import subprocess
import sys

from verdict import check

CACHE = pathlib.Path(os.environ["JUDGE_CACHE"])
# Package and version.
RELEASES = (
    ("nvidia-cuda-runtime-cu11", "11.8.89"),
    ("nvidia-cuda-runtime-cu12", "12.0.146"),
    ("nvidia-cuda-runtime-cu12", "12.4.127"),
    ("nvidia-cuda-runtime-cu12", "12.9.79"),
    ("nvidia-cuda-runtime", "13.0.96"),
    ("nvidia-cuda-runtime", "13.5.37"),
)
P, SIZE, INT, U64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_uint64
WORDS = 1 << 16
TO_DEVICE, TO_HOST = 1, 2
PTX = b"""
.version 7.0
.target sm_52
.address_size 64
.visible .entry scale(.param .u64 data, .param .u32 factor, .param .u32 count)
{
    .reg .pred %p<2>;
    .reg .b32 %r<9>;
    .reg .b64 %rd<5>;
    ld.param.u64 %rd1, [data];
    ld.param.u32 %r1, [factor];
    ld.param.u32 %r2, [count];
    mov.u32 %r3, %ctaid.x;
    mov.u32 %r4, %ntid.x;
    mov.u32 %r5, %tid.x;
    mad.lo.s32 %r6, %r3, %r4, %r5;
    setp.ge.u32 %p1, %r6, %r2;
    @%p1 bra DONE;
    cvta.to.global.u64 %rd2, %rd1;
    mul.wide.u32 %rd3, %r6, 4;
    add.s64 %rd4, %rd2, %rd3;
    ld.global.u32 %r7, [%rd4];
    mul.lo.u32 %r8, %r7, %r1;
    st.global.u32 [%rd4], %r8;
DONE:
    ret;
}
"""


def library(package, version):
    """The file of a release, fetched when it is not there."""
    folder = CACHE / "cudart" / version
    found = list(folder.glob("nvidia/*/lib/libcudart.so.*"))
    if not found:
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check"]
        subprocess.run([*command, "--target", str(folder), f"{package}=={version}"], check=True)
        found = list(folder.glob("nvidia/*/lib/libcudart.so.*"))
    return found[0]


class Dim3(ctypes.Structure):
    _fields_ = [("x", ctypes.c_uint), ("y", ctypes.c_uint), ("z", ctypes.c_uint)]


class Runtime:
    """Calls by name; one that fails ends the program with its name."""

    def __init__(self, file):
        self.library = ctypes.CDLL(file)

    def __call__(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status:
            text = self.library.cudaGetErrorString
            text.restype = ctypes.c_char_p
            sys.exit(f"{name}: {text(status).decode()} ({status})")

    def make(self, kind, name, *arguments):
        value = kind()
        self(name, ctypes.byref(value), *arguments)
        return value


def fat_binary(ptx):
    """As nvcc makes it: a header, the header of one entry of PTX, the text."""
    text = ptx + b"\0" * (8 - len(ptx) % 8)
    entry = struct.pack("<HHIQIIHHIIIQQQ", 1, 0x101, 64, len(text), 0, 0, 0, 7, 52, 0, 0, 0x11, 0, 0)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entry) + len(text)) + entry + text


def register(rt):
    """The kernel, known to the runtime by the address of a word of ours."""
    binary = ctypes.create_string_buffer(fat_binary(PTX))
    wrapper = ctypes.create_string_buffer(struct.pack("<IIQQ", 0x466243B1, 1, ctypes.addressof(binary), 0))
    host_function = ctypes.create_string_buffer(8)
    rt.kept = binary, wrapper, host_function
    begin, end = rt.library.__getattr__("__cudaRegisterFatBinary"), rt.library.__getattr__("__cudaRegisterFatBinaryEnd")
    begin.restype = P
    handle = P(begin(wrapper))
    name = b"scale"
    rt.library.__getattr__("__cudaRegisterFunction")(handle, host_function, name, name, -1, None, None, None, None, None)
    end(handle)
    return host_function


def launch(rt, function, data, factor, stream):
    values = U64(data.value), ctypes.c_uint(factor), ctypes.c_uint(WORDS)
    places = (P * 3)(*map(ctypes.addressof, values))
    rt("cudaLaunchKernel", function, Dim3(WORDS // 256, 1, 1), Dim3(256, 1, 1), places, SIZE(0), stream)


def inside(file):
    """The program, with one runtime: prints what was right."""
    rt = Runtime(file)
    version, count = rt.make(INT, "cudaRuntimeGetVersion"), rt.make(INT, "cudaGetDeviceCount")
    print(f"version {version.value}, devices {min(count.value, 1)}")
    rt("cudaSetDevice", 0)
    function = register(rt)
    words = (ctypes.c_uint * WORDS)(*range(WORDS))
    back = (ctypes.c_uint * WORDS)()
    size = SIZE(ctypes.sizeof(words))
    data, stream = rt.make(P, "cudaMalloc", size), rt.make(P, "cudaStreamCreate")
    before, after = rt.make(P, "cudaEventCreate"), rt.make(P, "cudaEventCreate")
    rt("cudaMemcpy", data, words, size, TO_DEVICE)
    rt("cudaEventRecord", before, stream)
    launch(rt, function, data, 3, stream)
    rt("cudaEventRecord", after, stream)
    rt("cudaMemcpyAsync", back, data, size, TO_HOST, stream)
    rt("cudaStreamSynchronize", stream)
    milliseconds = ctypes.c_float(-1)
    rt("cudaEventElapsedTime", ctypes.byref(milliseconds), before, after)
    print(f"kernel {all(b == 3 * a & 0xFFFFFFFF for a, b in zip(words, back))}, time {milliseconds.value >= 0}")
    # The same recorded, and run twice.
    rt("cudaStreamBeginCapture", stream, 0)
    launch(rt, function, data, 5, stream)
    graph, ready = P(), P()
    rt("cudaStreamEndCapture", stream, ctypes.byref(graph))
    # Before 12 there was a place for an error node and a log; the runtime of 12 has flags there.
    if version.value < 12000:
        rt("cudaGraphInstantiate", ctypes.byref(ready), graph, None, None, SIZE(0))
    else:
        rt("cudaGraphInstantiate", ctypes.byref(ready), graph, ctypes.c_ulonglong(0))
    for _ in range(2):
        rt("cudaGraphLaunch", ready, stream)
    rt("cudaStreamSynchronize", stream)
    rt("cudaMemcpy", back, data, size, TO_HOST)
    print(f"graph {all(b == 75 * a & 0xFFFFFFFF for a, b in zip(words, back))}")
    # Page-locked memory, and memory of the stream's pool.
    locked, pooled = rt.make(P, "cudaMallocHost", size), P()
    rt("cudaMallocAsync", ctypes.byref(pooled), size, stream)
    rt("cudaMemsetAsync", pooled, 7, size, stream)
    rt("cudaMemcpyAsync", locked, pooled, size, TO_HOST, stream)
    rt("cudaFreeAsync", pooled, stream)
    rt("cudaStreamSynchronize", stream)
    print(f"pool {ctypes.string_at(locked, size.value) == bytes([7]) * size.value}")
    rt("cudaFreeHost", locked)
    attributes = (ctypes.c_char * 256)()
    rt("cudaFuncGetAttributes", attributes, function)
    for name, what in (("cudaEventDestroy", before), ("cudaEventDestroy", after), ("cudaStreamDestroy", stream), ("cudaFree", data)):
        rt(name, what)
    rt("cudaDeviceReset")
    again = rt.make(P, "cudaMalloc", size)
    rt("cudaFree", again)
    print("after a reset True")


def run_one(package, version, name):
    command = [sys.executable, __file__, str(library(package, version))]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    lines = ended.stdout.split("\n")[:-1]
    wanted = [f"version {name}, devices 1", "kernel True, time True", "graph True", "pool True", "after a reset True"]
    if ended.returncode or lines != wanted:
        raise AssertionError(f"{lines} {ended.returncode} {ended.stderr.strip()[-300:]}")


def main():
    for package, version in RELEASES:
        major, minor = version.split(".")[:2]
        check(f"cudart {major}.{minor}", run_one, package, version, 1000 * int(major) + 10 * int(minor))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        inside(sys.argv[1])
    else:
        main()
