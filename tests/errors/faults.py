"""Kernels that go wrong, and what the process is answered afterwards."""
import ctypes

from driver import CASES, DYNAMIC_SHARED, HERE, INT, P, SIZE, U32, U64, WILD, case, function, launch, primary_state, start


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
    primary_state(d, "after the reset")
    d("cuDevicePrimaryCtxRetain", ctypes.byref(P()), 0, label="cuDevicePrimaryCtxRetain after the reset")
    d("cuCtxSynchronize", label="cuCtxSynchronize after retaining it again")
    d("cuMemAlloc_v2", ctypes.byref(U64()), SIZE(64), label="cuMemAlloc after retaining it again")
    for n in (1, 2, 3):
        d("cuDevicePrimaryCtxRelease_v2", 0, label=f"cuDevicePrimaryCtxRelease, {n}")
        primary_state(d, f"after release {n}")


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
def more_calls_after_a_fault():
    d = start()
    f, stream, event, graph = function(d, "fine"), d.make(P, "cuStreamCreate", 1), d.make(P, "cuEventCreate", 0), d.make(P, "cuGraphCreate", 0)
    host = d.make(P, "cuMemAllocHost_v2", SIZE(64))
    pool = d.make(P, "cuDeviceGetDefaultMemPool", 0)
    launch(d, "trapped")
    d("cuCtxSynchronize")
    at, out, number, size = U64(), P(), INT(), SIZE()
    page = ctypes.create_string_buffer(16384)
    for name, *arguments in (
        ("cuCtxGetCurrent", ctypes.byref(out)), ("cuCtxGetFlags", ctypes.byref(U32())), ("cuCtxGetLimit", ctypes.byref(size), 0), ("cuCtxSetLimit", 0, SIZE(1024)),
        ("cuCtxGetId", d.context, ctypes.byref(at)), ("cuCtxGetApiVersion", d.context, ctypes.byref(U32())), ("cuCtxGetCacheConfig", ctypes.byref(number)),
        ("cuCtxGetStreamPriorityRange", ctypes.byref(INT()), ctypes.byref(INT())), ("cuDeviceGetAttribute", ctypes.byref(number), 75, 0),
        ("cuDeviceTotalMem_v2", ctypes.byref(size), 0), ("cuDeviceGetDefaultMemPool", ctypes.byref(out), 0), ("cuMemPoolTrimTo", pool, SIZE(0)),
        ("cuDeviceGetGraphMemAttribute", 0, 0, ctypes.byref(at)), ("cuFuncGetAttribute", ctypes.byref(number), 0, f), ("cuFuncSetAttribute", f, DYNAMIC_SHARED, 1024),
        ("cuFuncSetCacheConfig", f, 0), ("cuFuncGetName", ctypes.byref(out), f), ("cuFuncGetModule", ctypes.byref(out), f),
        ("cuFuncGetParamInfo", f, SIZE(0), ctypes.byref(size), ctypes.byref(SIZE())), ("cuFuncLoad", f),
        ("cuOccupancyMaxActiveBlocksPerMultiprocessor", ctypes.byref(number), f, 32, SIZE(0)),
        ("cuModuleGetGlobal_v2", ctypes.byref(at), ctypes.byref(size), d.module, b"word"), ("cuModuleGetFunctionCount", ctypes.byref(number), d.module),
        ("cuStreamGetFlags", stream, ctypes.byref(U32())), ("cuStreamGetPriority", stream, ctypes.byref(number)), ("cuStreamGetId", stream, ctypes.byref(at)),
        ("cuStreamGetCtx", stream, ctypes.byref(out)), ("cuStreamIsCapturing", stream, ctypes.byref(number)), ("cuStreamBeginCapture_v2", stream, 2),
        ("cuStreamWaitEvent", stream, event, 0), ("cuEventRecord", event, stream), ("cuEventElapsedTime", ctypes.byref(ctypes.c_float()), event, event),
        ("cuStreamAddCallback", stream, None, None, 0), ("cuLaunchHostFunc", stream, ctypes.cast(d.library.cuInit, P), None),
        ("cuMemAllocHost_v2", ctypes.byref(out), SIZE(64)), ("cuMemHostAlloc", ctypes.byref(out), SIZE(64), 0), ("cuMemFreeHost", host),
        ("cuMemHostRegister_v2", page, SIZE(8192), 0), ("cuMemAllocManaged", ctypes.byref(at), SIZE(64), 1), ("cuMemAllocPitch_v2", ctypes.byref(at), ctypes.byref(size), SIZE(64), SIZE(4), 4),
        ("cuMemAllocAsync", ctypes.byref(at), SIZE(64), stream), ("cuMemFreeAsync", d.memory, stream), ("cuMemsetD8Async", d.memory, 0, SIZE(4), stream),
        ("cuMemcpyHtoDAsync_v2", d.memory, page, SIZE(4), stream), ("cuMemGetAddressRange_v2", ctypes.byref(at), ctypes.byref(size), d.memory),
        ("cuPointerGetAttribute", ctypes.byref(at), 2, d.memory), ("cuMemHostGetFlags", ctypes.byref(number), host),
        ("cuGraphCreate", ctypes.byref(out), 0), ("cuGraphAddEmptyNode", ctypes.byref(out), graph, None, SIZE(0)), ("cuGraphInstantiateWithFlags", ctypes.byref(out), graph, U64(0)),
        ("cuGraphDestroy", graph), ("cuLinkCreate_v2", 0, None, None, ctypes.byref(out)), ("cuCtxPushCurrent_v2", d.context), ("cuCtxPopCurrent_v2", ctypes.byref(out)),
        ("cuCtxCreate_v2", ctypes.byref(out), 0, 0), ("cuProfilerStart",), ("cuThreadExchangeStreamCaptureMode", ctypes.byref(INT(2))),
    ):  # fmt: skip
        d(name, *arguments)
    launch(d, "", f=f, label="cuLaunchKernel again")
    primary_state(d, "afterwards")


# A GPU may not come back from these.
CASES["call through a null pointer"] = fault("pointer", 0)
CASES["call through a wild pointer"] = fault("pointer", WILD)
CASES["endless recursion"] = fault("endless")
