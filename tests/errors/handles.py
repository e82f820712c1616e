"""Handles that are stale or wild. A driver may crash on these; what it did is part of the answer."""
import ctypes

from driver import CASES, HERE, P, SIZE, U32, U64, WILD, function, launch, start


def stale(label, work):
    def run_one():
        d = start()
        work(d)

    CASES[f"stale, {label}"] = run_one


def unloaded(d):
    f = function(d, "fine")
    d.quiet("cuModuleUnload", d.module)
    launch(d, "fine", d.memory, U32(1), f=f)


def destroyed(make, arguments, end, *calls):
    """Each call on a handle that is destroyed, in a process of its own."""
    for name, call in calls:

        def run_one(d, name=name, call=call):
            thing = d.make(P, make, *arguments)
            d.quiet(end, thing)
            d(name, *call(d, thing), label=f"{name.removesuffix('_v2')} of what is destroyed")

        stale(f"{make} and {end.removesuffix('_v2')}, then {name.removesuffix('_v2')}", run_one)


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
destroyed(
    "cuStreamCreate", (1,), "cuStreamDestroy_v2", ("cuStreamQuery", lambda d, s: (s,)), ("cuStreamSynchronize", lambda d, s: (s,)),
    ("cuStreamGetFlags", lambda d, s: (s, ctypes.byref(U32()))), ("cuStreamGetCtx", lambda d, s: (s, ctypes.byref(P()))),
    ("cuMemsetD8Async", lambda d, s: (d.memory, 0, SIZE(4), s)), ("cuEventRecord", lambda d, s: (d.make(P, "cuEventCreate", 0), s)),
    ("cuStreamBeginCapture_v2", lambda d, s: (s, 2)), ("cuMemAllocAsync", lambda d, s: (ctypes.byref(U64()), SIZE(64), s)),
    ("cuLaunchKernel", lambda d, s: (function(d, "fine"), *map(U32, (1, 1, 1, 1, 1, 1, 0)), s, (P * 2)(ctypes.addressof(d.memory), ctypes.addressof(d.memory)), None)),
)  # fmt: skip
destroyed(
    "cuEventCreate", (0,), "cuEventDestroy_v2", ("cuEventQuery", lambda d, e: (e,)), ("cuEventSynchronize", lambda d, e: (e,)),
    ("cuEventRecord", lambda d, e: (e, None)), ("cuStreamWaitEvent", lambda d, e: (None, e, 0)),
    ("cuEventElapsedTime", lambda d, e: (ctypes.byref(ctypes.c_float()), e, e)),
)  # fmt: skip
destroyed(
    "cuGraphCreate", (0,), "cuGraphDestroy", ("cuGraphDestroy", lambda d, g: (g,)), ("cuGraphInstantiateWithFlags", lambda d, g: (ctypes.byref(P()), g, U64(0))),
    ("cuGraphAddEmptyNode", lambda d, g: (ctypes.byref(P()), g, None, SIZE(0))), ("cuGraphGetNodes", lambda d, g: (g, None, ctypes.byref(SIZE()))),
)  # fmt: skip
destroyed(
    "cuCtxCreate_v2", (0, 0), "cuCtxDestroy_v2", ("cuCtxDestroy_v2", lambda d, c: (c,)), ("cuCtxSetCurrent", lambda d, c: (c,)),
    ("cuCtxPushCurrent_v2", lambda d, c: (c,)), ("cuCtxGetApiVersion", lambda d, c: (c, ctypes.byref(U32()))), ("cuCtxGetId", lambda d, c: (c, ctypes.byref(U64()))),
)  # fmt: skip
IMAGE = ((HERE / "kernels.ptx").read_bytes() + b"\0",)
destroyed(
    "cuModuleLoadData", IMAGE, "cuModuleUnload", ("cuModuleGetFunction", lambda d, m: (ctypes.byref(P()), m, b"fine")),
    ("cuModuleGetGlobal_v2", lambda d, m: (ctypes.byref(U64()), ctypes.byref(SIZE()), m, b"word")), ("cuModuleGetFunctionCount", lambda d, m: (ctypes.byref(U32()), m)),
)  # fmt: skip
destroyed(
    "cuLibraryLoadData", (*IMAGE, None, None, 0, None, None, 0), "cuLibraryUnload", ("cuLibraryUnload", lambda d, b: (b,)),
    ("cuLibraryGetKernel", lambda d, b: (ctypes.byref(P()), b, b"fine")), ("cuLibraryGetKernelCount", lambda d, b: (ctypes.byref(U32()), b)),
)  # fmt: skip
stale("wild stream", lambda d: d("cuStreamSynchronize", P(WILD)))
stale("wild event", lambda d: d("cuEventQuery", P(WILD)))
stale("wild module", lambda d: d("cuModuleUnload", P(WILD)))
stale("wild function", lambda d: launch(d, "", f=P(WILD)))
stale("wild context", lambda d: d("cuCtxSetCurrent", P(WILD)))
stale("wild graph", lambda d: d("cuGraphDestroy", P(WILD)))
