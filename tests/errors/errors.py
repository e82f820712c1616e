"""What the driver API answers when something is wrong, as lines `SITUATION: CALL = STATUS`.

Every situation runs in a process of its own, because most errors stay. The driver is the loader's libcuda.so.1; nothing
else is needed but Python, so that a GPU and the CPU device can be asked the same. `scripts/table errors` compares.

  errors.py [--list] [NAME...]
"""
import concurrent.futures
import ctypes
import os
import pathlib
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = 10
# Situations asked at a time.
AT_ONCE = 5
P, U32, U64, SIZE, INT = ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_int
# A number that is no pointer and no handle of anybody.
WILD = 0x7F00DEAD0000
DYNAMIC_SHARED, STACK_SIZE = 8, 0
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


class Driver:
    """Calls by name; prints what they answer, unless told to be silent."""

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")

    def name(self, code):
        text = ctypes.c_char_p()
        self.library.cuGetErrorName(code, ctypes.byref(text))
        return f"{text.value.decode() if text.value else '?'} ({code})"

    def __call__(self, function, *arguments, label=None):
        code = getattr(self.library, function)(*arguments)
        # In one piece, and on a line of its own: a device prints too.
        os.write(1, f"\n{label or function.removesuffix('_v2')} = {self.name(code)}\n".encode())
        return code

    def quiet(self, function, *arguments):
        code = getattr(self.library, function)(*arguments)
        if code:
            print(f"set-up: {function} = {self.name(code)}", flush=True)
            sys.exit(0)

    def make(self, kind, function, *arguments):
        value = kind()
        self.quiet(function, ctypes.byref(value), *arguments)
        return value


def start():
    """A driver with the primary context of device 0, and the module."""
    d = Driver()
    d.quiet("cuInit", 0)
    d.context = d.make(P, "cuDevicePrimaryCtxRetain", 0)
    d.quiet("cuCtxSetCurrent", d.context)
    d.module = d.make(P, "cuModuleLoadData", (HERE / "kernels.ptx").read_bytes() + b"\0")
    d.memory = d.make(U64, "cuMemAlloc_v2", SIZE(4096))
    return d


def function(d, name):
    return d.make(P, "cuModuleGetFunction", d.module, name.encode())


def launch(d, name, *arguments, grid=(1, 1, 1), block=(1, 1, 1), shared=0, label=None, f=None):
    values = [value if isinstance(value, ctypes._SimpleCData) else U64(value) for value in arguments]
    packed = (P * max(1, len(values)))(*[ctypes.addressof(value) for value in values])
    f = f or function(d, name)
    return d("cuLaunchKernel", f, *map(U32, (*grid, *block, shared)), None, packed, None, label=label)


def afterwards(d):
    """What the context still answers after a fault."""
    d("cuCtxSynchronize")
    d("cuCtxSynchronize", label="cuCtxSynchronize again")
    at = U64()
    d("cuMemAlloc_v2", ctypes.byref(at), SIZE(64))
    d("cuMemFree_v2", d.memory)
    d("cuMemcpyDtoH_v2", (ctypes.c_char * 4)(), d.memory, SIZE(4))
    d("cuMemsetD8_v2", d.memory, 0, SIZE(4))
    d("cuStreamCreate", ctypes.byref(P()), 0)
    d("cuEventCreate", ctypes.byref(P()), 0)
    d("cuStreamQuery", None)
    d("cuStreamSynchronize", None)
    d("cuModuleGetFunction", ctypes.byref(P()), d.module, b"fine")
    d("cuModuleLoadData", ctypes.byref(P()), (HERE / "kernels.ptx").read_bytes() + b"\0")
    d("cuMemGetInfo_v2", ctypes.byref(SIZE()), ctypes.byref(SIZE()))
    d("cuCtxGetDevice", ctypes.byref(INT()))
    d("cuDeviceGetCount", ctypes.byref(INT()))
    d("cuModuleUnload", d.module)
    d("cuDevicePrimaryCtxReset_v2", 0)
    d("cuCtxSynchronize", label="cuCtxSynchronize after the reset")
    d.context = P()
    d("cuDevicePrimaryCtxRetain", ctypes.byref(d.context), 0, label="cuDevicePrimaryCtxRetain after the reset")
    d("cuCtxSetCurrent", d.context)
    d("cuMemAlloc_v2", ctypes.byref(at), SIZE(64), label="cuMemAlloc after the reset")


def fault(name, *arguments, **shape):
    def run_one():
        d = start()
        launch(d, name, *(arguments(d) if callable(arguments) else [a(d) if callable(a) else a for a in arguments]), **shape)
        afterwards(d)

    return run_one


CASES["store to address 0"] = fault("store", 0)
CASES["store to a wild address"] = fault("store", WILD)
CASES["store to a non-canonical address"] = fault("store", 1 << 60)
CASES["store far behind an allocation"] = fault("store", lambda d: d.memory.value + (1 << 38))
CASES["load from address 16"] = fault("load8", 16)
CASES["atomic on a wild address"] = fault("add", WILD)
CASES["one thread of many"] = fault("one", WILD, grid=(4, 1, 1), block=(64, 1, 1))
CASES["misaligned store"] = fault("store", lambda d: d.memory.value + 2)
CASES["misaligned 8 bytes"] = fault("load8", lambda d: d.memory.value + 4)
CASES["misaligned atomic"] = fault("add", lambda d: d.memory.value + 1)
CASES["store outside shared memory"] = fault("shared_far", U32(1 << 20))
CASES["misaligned shared store"] = fault("shared_far", U32(2), shared=1024)
CASES["store outside local memory"] = fault("local_far", U32(1 << 24))
CASES["misaligned local store"] = fault("local_far", U32(2))
CASES["trap"] = fault("trapped")
CASES["breakpoint"] = fault("broken")
CASES["assert"] = fault("asserted")
CASES["free twice on the device"] = fault("heap_twice")


@case
def faults_stay_in_their_context():
    d = start()
    other = d.make(P, "cuCtxCreate_v2", 0, 0)
    at = d.make(U64, "cuMemAlloc_v2", SIZE(64))
    d.quiet("cuCtxSetCurrent", d.context)
    launch(d, "trapped")
    d("cuCtxSynchronize")
    d("cuCtxSetCurrent", other)
    d("cuCtxSynchronize", label="cuCtxSynchronize in the other context")
    d("cuMemsetD8_v2", at, 0, SIZE(64), label="cuMemsetD8 in the other context")
    d("cuCtxDestroy_v2", other)


@case
def reset_without_a_fault():
    d = start()
    d("cuDevicePrimaryCtxReset_v2", 0)
    d("cuCtxSynchronize", label="cuCtxSynchronize after the reset")
    d("cuMemAlloc_v2", ctypes.byref(U64()), SIZE(64), label="cuMemAlloc after the reset")
    d("cuMemFree_v2", d.memory, label="cuMemFree of memory from before")
    d("cuDevicePrimaryCtxRetain", ctypes.byref(P()), 0, label="cuDevicePrimaryCtxRetain after the reset")
    d("cuCtxSynchronize", label="cuCtxSynchronize after retaining it again")
    d("cuMemAlloc_v2", ctypes.byref(U64()), SIZE(64), label="cuMemAlloc after retaining it again")


@case
def release_after_a_fault():
    d = start()
    launch(d, "trapped")
    d("cuCtxSynchronize")
    d("cuDevicePrimaryCtxRelease_v2", 0)
    d("cuDevicePrimaryCtxRetain", ctypes.byref(P()), 0, label="cuDevicePrimaryCtxRetain after the release")
    d("cuCtxSynchronize", label="cuCtxSynchronize after the release")
    d("cuCtxCreate_v2", ctypes.byref(P()), 0, 0, label="cuCtxCreate after the release")


@case
def destroy_after_a_fault():
    d = start()
    d.quiet("cuDevicePrimaryCtxRelease_v2", 0)
    context = d.make(P, "cuCtxCreate_v2", 0, 0)
    d.module = d.make(P, "cuModuleLoadData", (HERE / "kernels.ptx").read_bytes() + b"\0")
    launch(d, "trapped")
    d("cuCtxSynchronize")
    d("cuCtxDestroy_v2", context)
    d("cuCtxCreate_v2", ctypes.byref(P()), 0, 0, label="cuCtxCreate after destroying it")
    d("cuMemAlloc_v2", ctypes.byref(U64()), SIZE(64), label="cuMemAlloc in the new one")
    d("cuDevicePrimaryCtxRetain", ctypes.byref(P()), 0, label="cuDevicePrimaryCtxRetain after destroying it")


@case
def fault_seen_by_an_event_and_a_stream():
    d = start()
    stream, event = d.make(P, "cuStreamCreate", 1), d.make(P, "cuEventCreate", 0)
    launch(d, "trapped")
    d.library.cuEventRecord(event, None)
    d("cuEventSynchronize", event)
    d("cuEventQuery", event)
    d("cuStreamSynchronize", stream)
    d("cuStreamQuery", stream)
    d("cuStreamDestroy_v2", stream)
    d("cuEventDestroy_v2", event)


@case
def shapes_of_a_launch():
    d = start()
    for label, grid, block, shared in (
        ("no threads", (1, 1, 1), (0, 1, 1), 0), ("no blocks", (0, 1, 1), (1, 1, 1), 0), ("1025 threads", (1, 1, 1), (1025, 1, 1), 0),
        ("64 x 64 threads", (1, 1, 1), (64, 64, 1), 0), ("65 threads of z", (1, 1, 1), (1, 1, 65), 0), ("64 threads of z", (1, 1, 1), (1, 1, 64), 0),
        ("65536 blocks of y", (1, 65536, 1), (1, 1, 1), 0), ("65536 blocks of z", (1, 1, 65536), (1, 1, 1), 0),
        ("2^31 blocks", (1 << 31, 1, 1), (1, 1, 1), 0), ("49152 bytes shared", (1, 1, 1), (1, 1, 1), 49152),
        ("49153 bytes shared", (1, 1, 1), (1, 1, 1), 49153), ("4 GiB - 1 shared", (1, 1, 1), (1, 1, 1), 0xFFFFFFFF),
    ):  # fmt: skip
        launch(d, "fine", d.memory, U32(1), grid=grid, block=block, shared=shared, label=f"cuLaunchKernel, {label}")
    launch(d, "small", block=(65, 1, 1), label="cuLaunchKernel, more threads than .maxntid")
    launch(d, "small", block=(64, 1, 1), label="cuLaunchKernel, as many as .maxntid")
    launch(d, "exact", block=(64, 1, 1), label="cuLaunchKernel, not the shape of .reqntid")
    launch(d, "exact", block=(32, 2, 1), label="cuLaunchKernel, the shape of .reqntid")
    launch(d, "shared40k", shared=8192, label="cuLaunchKernel, static and dynamic 48 KiB")
    launch(d, "shared40k", shared=8193, label="cuLaunchKernel, a byte more")
    f = function(d, "fine")
    for size in (49152, 65536, 1 << 20, -1):
        d("cuFuncSetAttribute", f, DYNAMIC_SHARED, size, label=f"cuFuncSetAttribute, {size} bytes shared")
    d("cuFuncSetAttribute", f, 0, 1, label="cuFuncSetAttribute, one that is only read")
    d("cuFuncSetAttribute", f, 1000, 1, label="cuFuncSetAttribute, none")
    d("cuFuncGetAttribute", ctypes.byref(INT()), 1000, f, label="cuFuncGetAttribute, none")
    d("cuCtxSynchronize")


@case
def arguments_of_a_launch():
    d = start()
    f = function(d, "fine")
    one = [U32(1)] * 6
    d("cuLaunchKernel", f, *one, U32(0), None, None, None, label="cuLaunchKernel, no parameters")
    end, pointer, size = P(0), P(1), P(2)
    buffer, length = (ctypes.c_char * 12)(), SIZE(12)
    ctypes.memmove(buffer, ctypes.byref(d.memory), 8)
    extra = (P * 5)(pointer, ctypes.addressof(buffer), size, ctypes.addressof(length), end)
    d("cuLaunchKernel", f, *one, U32(0), None, None, extra, label="cuLaunchKernel, a buffer")
    for n in (0, 8, 11, 13, 16):
        length.value = n
        d("cuLaunchKernel", f, *one, U32(0), None, None, extra, label=f"cuLaunchKernel, a buffer of {n} for 12 bytes")
    length.value = 12
    packed = (P * 2)(ctypes.addressof(d.memory), ctypes.addressof(length))
    d("cuLaunchKernel", f, *one, U32(0), None, packed, extra, label="cuLaunchKernel, both kinds")
    d("cuLaunchKernel", None, *one, U32(0), None, packed, None, label="cuLaunchKernel, no function")
    d("cuLaunchCooperativeKernel", f, *map(U32, (100000, 1, 1, 1024, 1, 1, 0)), None, packed, label="cuLaunchCooperativeKernel, too many blocks")
    d("cuCtxSynchronize")


@case
def names():
    d = start()
    out, at, size = P(), U64(), SIZE()
    d("cuModuleGetFunction", ctypes.byref(out), d.module, b"missing")
    d("cuModuleGetFunction", ctypes.byref(out), d.module, b"", label="cuModuleGetFunction, empty name")
    d("cuModuleGetFunction", ctypes.byref(out), d.module, None, label="cuModuleGetFunction, no name")
    d("cuModuleGetFunction", None, d.module, b"fine", label="cuModuleGetFunction, no place")
    d("cuModuleGetFunction", ctypes.byref(out), None, b"fine", label="cuModuleGetFunction, no module")
    d("cuModuleGetFunction", ctypes.byref(out), d.module, b"deeper", label="cuModuleGetFunction, a device function")
    d("cuModuleGetFunction", ctypes.byref(out), d.module, b"word", label="cuModuleGetFunction, a variable")
    d("cuModuleGetGlobal_v2", ctypes.byref(at), ctypes.byref(size), d.module, b"missing")
    d("cuModuleGetGlobal_v2", ctypes.byref(at), ctypes.byref(size), d.module, b"fine", label="cuModuleGetGlobal, a function")
    d("cuModuleGetGlobal_v2", ctypes.byref(at), ctypes.byref(size), d.module, b"dynamic", label="cuModuleGetGlobal, a shared variable")
    d("cuModuleGetGlobal_v2", None, None, d.module, b"word", label="cuModuleGetGlobal, no places")
    d("cuModuleGetTexRef", ctypes.byref(out), d.module, b"missing")
    d("cuModuleGetSurfRef", ctypes.byref(out), d.module, b"missing")


IMAGES = {
    "empty text": b"\0", "words": b"this is no code\0", "a comment": b"// nothing\n\0", "no version": b".target sm_70\n.address_size 64\n\0",
    "version 99.0": b".version 99.0\n.target sm_70\n.address_size 64\n\0", "version 1.0": b".version 1.0\n.target sm_10\n\0",
    "target sm_999": b".version 6.4\n.target sm_999\n.address_size 64\n\0", "32-bit addresses": b".version 6.4\n.target sm_70\n.address_size 32\n\0",
    "only a header": b".version 6.4\n.target sm_70\n.address_size 64\n\0",
    "an unknown instruction": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n    frobnicate.u32 1;\n    ret;\n}\n\0",
    "an unknown register": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n    mov.u32 %a, 1;\n    ret;\n}\n\0",
    "a wrong type": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n    .reg .b64 %a;\n    add.u32 %a, %a, 1;\n    ret;\n}\n\0",
    "no closing brace": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n    ret;\n\0",
    "no such label": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n    bra nowhere;\n}\n\0",
    "two of a name": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k() { ret; }\n.visible .entry k() { ret; }\n\0",
    "an open extern function": b".version 6.4\n.target sm_70\n.address_size 64\n.extern .func f();\n.visible .entry k()\n{\n    call f;\n    ret;\n}\n\0",
    "an open extern variable": b".version 6.4\n.target sm_70\n.address_size 64\n.extern .global .u32 v;\n.visible .entry k()\n{\n    st.global.u32 [v], 1;\n    ret;\n}\n\0",
    "too much shared memory": b".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n    .shared .b8 s[50000];\n    st.shared.u8 [s+49999], 1;\n    ret;\n}\n\0",
    "an empty ELF": b"\x7fELF\x02\x01\x01" + bytes(57), "a fat binary of zeros": bytes.fromhex("50ed55ba01001000") + bytes(64),
    "a cut fat binary": bytes.fromhex("50ed55ba010010000001000000000000"),
}  # fmt: skip


def image(name, loader):
    def run_one():
        d = Driver()
        d.quiet("cuInit", 0)
        d.quiet("cuCtxSetCurrent", d.make(P, "cuDevicePrimaryCtxRetain", 0))
        out, text = P(), ctypes.create_string_buffer(IMAGES[name] + bytes(4096))
        if loader == "cuModuleLoadData":
            d(loader, ctypes.byref(out), text)
            d(loader, ctypes.byref(out), (HERE / "kernels.ptx").read_bytes() + b"\0", label="cuModuleLoadData of a good one")
            return
        state, size = P(), SIZE(len(IMAGES[name]))
        d("cuLinkCreate_v2", 0, None, None, ctypes.byref(state))
        if d("cuLinkAddData_v2", state, 1, text, size, b"name", 0, None, None) == 0:
            d("cuLinkComplete", state, ctypes.byref(out), ctypes.byref(size))
        d("cuLinkDestroy", state)

    return run_one


for one in IMAGES:
    CASES[f"image, {one}"] = image(one, "cuModuleLoadData")
    if "ELF" not in one and "fat" not in one:
        CASES[f"link, {one}"] = image(one, "cuLinkAddData")


@case
def other_images():
    d = start()
    out = P()
    d("cuModuleLoadData", ctypes.byref(out), None, label="cuModuleLoadData, no image")
    d("cuModuleLoadData", None, b"\0", label="cuModuleLoadData, no place")
    d("cuModuleLoad", ctypes.byref(out), b"/nowhere/at/all.ptx", label="cuModuleLoad, no file")
    d("cuModuleLoad", ctypes.byref(out), str(HERE).encode(), label="cuModuleLoad, a folder")
    d("cuLibraryLoadData", ctypes.byref(out), b"words\0", None, None, 0, None, None, 0, label="cuLibraryLoadData, words")
    state = P()
    d("cuLinkCreate_v2", 0, None, None, ctypes.byref(state))
    d("cuLinkAddData_v2", state, 77, b"x\0", SIZE(2), b"n", 0, None, None, label="cuLinkAddData, no such kind")
    d("cuLinkAddFile_v2", state, 1, b"/nowhere.ptx", 0, None, None, label="cuLinkAddFile, no file")
    text = (HERE / "kernels.ptx").read_bytes() + b"\0"
    d("cuLinkAddData_v2", state, 1, text, SIZE(len(text)), b"a", 0, None, None, label="cuLinkAddData, good")
    d("cuLinkAddData_v2", state, 1, text, SIZE(len(text)), b"b", 0, None, None, label="cuLinkAddData, the same again")
    d("cuLinkComplete", state, ctypes.byref(out), ctypes.byref(SIZE()), label="cuLinkComplete, all twice")


@case
def memory():
    d = start()
    at, host = U64(), (ctypes.c_char * 8192)()
    d("cuMemAlloc_v2", ctypes.byref(at), SIZE(0), label="cuMemAlloc, 0 bytes")
    d("cuMemAlloc_v2", ctypes.byref(at), SIZE(1 << 50), label="cuMemAlloc, 2^50 bytes")
    d("cuMemAlloc_v2", ctypes.byref(at), SIZE(2**64 - 1), label="cuMemAlloc, 2^64 - 1 bytes")
    d("cuMemAlloc_v2", None, SIZE(64), label="cuMemAlloc, no place")
    d("cuMemFree_v2", U64(0), label="cuMemFree, 0")
    d("cuMemFree_v2", U64(WILD), label="cuMemFree, wild")
    d("cuMemFree_v2", U64(d.memory.value + 256), label="cuMemFree, inside")
    for name, far in (("wild", WILD), ("null", 0)):
        d("cuMemcpyHtoD_v2", U64(far), host, SIZE(16), label=f"cuMemcpyHtoD, to {name}")
        d("cuMemcpyDtoH_v2", host, U64(far), SIZE(16), label=f"cuMemcpyDtoH, from {name}")
        d("cuMemcpyDtoD_v2", U64(far), d.memory, SIZE(16), label=f"cuMemcpyDtoD, to {name}")
        d("cuMemsetD8_v2", U64(far), 0, SIZE(16), label=f"cuMemsetD8, at {name}")
    d("cuMemcpyHtoD_v2", d.memory, host, SIZE(0), label="cuMemcpyHtoD, 0 bytes")
    d("cuMemcpyDtoH_v2", None, d.memory, SIZE(16), label="cuMemcpyDtoH, to no place")
    d("cuMemsetD32_v2", U64(d.memory.value + 2), 0, SIZE(4), label="cuMemsetD32, misaligned")
    d("cuMemFree_v2", d.memory, label="cuMemFree, good")
    d("cuMemFree_v2", d.memory, label="cuMemFree, again")
    page = ctypes.create_string_buffer(16384)
    d("cuMemHostRegister_v2", page, SIZE(8192), 0)
    d("cuMemHostRegister_v2", page, SIZE(8192), 0, label="cuMemHostRegister, again")
    d("cuMemHostUnregister", page)
    d("cuMemHostUnregister", page, label="cuMemHostUnregister, again")
    d("cuMemFreeHost", page, label="cuMemFreeHost, not allocated so")
    d("cuMemHostAlloc", ctypes.byref(P()), SIZE(0), 0, label="cuMemHostAlloc, 0 bytes")
    d("cuMemHostAlloc", ctypes.byref(P()), SIZE(64), 0xFFFF, label="cuMemHostAlloc, no such flags")
    d("cuMemAllocManaged", ctypes.byref(at), SIZE(64), 0, label="cuMemAllocManaged, no flags")
    d("cuPointerGetAttribute", ctypes.byref(P()), 2, U64(WILD), label="cuPointerGetAttribute, wild")
    d("cuPointerGetAttribute", ctypes.byref(P()), 1000, U64(WILD), label="cuPointerGetAttribute, none")
    d("cuMemGetAddressRange_v2", ctypes.byref(at), ctypes.byref(SIZE()), U64(WILD), label="cuMemGetAddressRange, wild")
    d("cuMemHostGetDevicePointer_v2", ctypes.byref(at), page, 0, label="cuMemHostGetDevicePointer, not registered")


@case
def streams_and_events():
    d = start()
    stream, event, other = d.make(P, "cuStreamCreate", 0), d.make(P, "cuEventCreate", 0), d.make(P, "cuEventCreate", 2)
    d("cuStreamCreate", ctypes.byref(P()), 77, label="cuStreamCreate, no such flags")
    d("cuEventCreate", ctypes.byref(P()), 77, label="cuEventCreate, no such flags")
    d("cuEventQuery", event, label="cuEventQuery, not recorded")
    d("cuEventElapsedTime", ctypes.byref(ctypes.c_float()), event, event, label="cuEventElapsedTime, not recorded")
    d("cuEventRecord", other, stream)
    d("cuEventElapsedTime", ctypes.byref(ctypes.c_float()), other, other, label="cuEventElapsedTime, made without times")
    d("cuEventRecord", None, stream, label="cuEventRecord, no event")
    d("cuStreamWaitEvent", stream, None, 0, label="cuStreamWaitEvent, no event")
    d("cuStreamSynchronize", stream)
    d("cuStreamDestroy_v2", None, label="cuStreamDestroy, no stream")
    d("cuStreamGetPriority", stream, None, label="cuStreamGetPriority, no place")
    d("cuLaunchHostFunc", stream, None, None, label="cuLaunchHostFunc, no function")


@case
def capture():
    d = start()
    stream, event, graph = d.make(P, "cuStreamCreate", 1), d.make(P, "cuEventCreate", 0), P()
    d("cuStreamEndCapture", stream, ctypes.byref(graph), label="cuStreamEndCapture, none begun")
    d("cuStreamBeginCapture_v2", None, 0, label="cuStreamBeginCapture, the legacy stream")
    d("cuStreamBeginCapture_v2", stream, 9, label="cuStreamBeginCapture, no such mode")
    d("cuStreamBeginCapture_v2", stream, 0)
    d("cuStreamBeginCapture_v2", stream, 0, label="cuStreamBeginCapture, again")
    d("cuEventRecord", event, stream)
    d("cuEventQuery", event, label="cuEventQuery, captured")
    d("cuEventSynchronize", event, label="cuEventSynchronize, captured")
    d("cuMemAlloc_v2", ctypes.byref(U64()), SIZE(64), label="cuMemAlloc while capturing globally")
    d("cuStreamSynchronize", stream, label="cuStreamSynchronize, capturing")
    d("cuStreamEndCapture", stream, ctypes.byref(graph), label="cuStreamEndCapture, spoilt")
    d("cuStreamQuery", stream, label="cuStreamQuery afterwards")
    d("cuStreamBeginCapture_v2", stream, 2)
    d("cuStreamQuery", stream, label="cuStreamQuery, capturing")
    d("cuStreamEndCapture", stream, ctypes.byref(graph))
    d("cuGraphInstantiateWithFlags", ctypes.byref(P()), None, U64(0), label="cuGraphInstantiate, no graph")
    d("cuGraphLaunch", None, stream, label="cuGraphLaunch, no executable")


@case
def contexts():
    d = Driver()
    d("cuCtxCreate_v2", ctypes.byref(P()), 0, 0, label="cuCtxCreate before cuInit")
    d("cuInit", 1, label="cuInit, flags")
    d("cuInit", 0)
    d("cuMemAlloc_v2", ctypes.byref(U64()), SIZE(64), label="cuMemAlloc, no context")
    d("cuCtxSynchronize", label="cuCtxSynchronize, no context")
    d("cuCtxPopCurrent_v2", ctypes.byref(P()), label="cuCtxPopCurrent, empty stack")
    d("cuCtxCreate_v2", ctypes.byref(P()), 0, 99, label="cuCtxCreate, no such device")
    d("cuCtxCreate_v2", ctypes.byref(P()), 0xFFFF, 0, label="cuCtxCreate, no such flags")
    d("cuDeviceGet", ctypes.byref(INT()), 99)
    d("cuDeviceGetAttribute", ctypes.byref(INT()), 9999, 0, label="cuDeviceGetAttribute, none")
    context = d.make(P, "cuCtxCreate_v2", 0, 0)
    d("cuCtxSetLimit", 99, SIZE(1), label="cuCtxSetLimit, none")
    d("cuCtxSetLimit", STACK_SIZE, SIZE(1 << 40), label="cuCtxSetLimit, a stack of 2^40 bytes")
    d("cuCtxEnablePeerAccess", context, 0, label="cuCtxEnablePeerAccess, itself")
    d("cuCtxDestroy_v2", context)
    d("cuCtxGetCurrent", ctypes.byref(context), label="cuCtxGetCurrent after destroying it")
    d("cuCtxSynchronize", label="cuCtxSynchronize after destroying it")
    d("cuCtxDestroy_v2", None, label="cuCtxDestroy, none")
    d("cuDevicePrimaryCtxRelease_v2", 0, label="cuDevicePrimaryCtxRelease, not retained")


# A driver may crash on these; what it did is part of the line.
def stale(label, work):
    def run_one():
        d = start()
        work(d)

    CASES[f"stale, {label}"] = run_one


def unloaded(d):
    f = function(d, "fine")
    d.quiet("cuModuleUnload", d.module)
    launch(d, "fine", d.memory, U32(1), f=f)


def twice(make, end):
    def run_one(d):
        thing = d.make(P, make, 0)
        d(end, thing)
        d(end, thing, label=f"{end.removesuffix('_v2')} again")

    return run_one


stale("function of an unloaded module", unloaded)
stale("stream destroyed twice", twice("cuStreamCreate", "cuStreamDestroy_v2"))
stale("event destroyed twice", twice("cuEventCreate", "cuEventDestroy_v2"))
stale("module unloaded twice", lambda d: [d("cuModuleUnload", d.module, label=f"cuModuleUnload {n}") for n in (1, 2)])
stale("wild stream", lambda d: d("cuStreamSynchronize", P(WILD)))
stale("wild event", lambda d: d("cuEventQuery", P(WILD)))
stale("wild module", lambda d: d("cuModuleUnload", P(WILD)))
stale("wild function", lambda d: launch(d, "", f=P(WILD)))
stale("wild context", lambda d: d("cuCtxSetCurrent", P(WILD)))
stale("wild graph", lambda d: d("cuGraphDestroy", P(WILD)))


# A GPU may not come back from these.
CASES["call through a null pointer"] = fault("pointer", 0)
CASES["call through a wild pointer"] = fault("pointer", WILD)
CASES["endless recursion"] = fault("endless")


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
