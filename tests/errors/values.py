"""Wrong values: memory, streams, events, contexts."""
import ctypes

from driver import Driver, INT, P, SIZE, STACK_SIZE, U64, WILD, case, function, start


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
