"""What may be done while a stream is under capture."""
import ctypes
import threading

from driver import CASES, DYNAMIC_SHARED, HERE, INT, P, SIZE, U32, U64, case, function, start


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


# What a thread may do while it captures a stream in a mode.
def while_capturing(mode, elsewhere):
    def run_one():
        d = start()
        f, stream, idle = function(d, "fine"), d.make(P, "cuStreamCreate", 1), d.make(P, "cuStreamCreate", 1)
        event, graph, node = d.make(P, "cuEventCreate", 0), d.make(P, "cuGraphCreate", 0), P()
        d.quiet("cuGraphAddEmptyNode", ctypes.byref(node), graph, None, SIZE(0))
        executable = d.make(P, "cuGraphInstantiateWithFlags", graph, U64(0))
        d.quiet("cuEventRecord", event, idle)
        d.quiet("cuStreamSynchronize", idle)
        page, buffer = ctypes.create_string_buffer(16384), ctypes.create_string_buffer(64)
        spare = [d.make(P, "cuStreamCreate", 1), d.make(P, "cuEventCreate", 0), d.make(P, "cuMemAllocHost_v2", SIZE(64)), d.make(U64, "cuMemAlloc_v2", SIZE(64))]
        text = (HERE / "kernels.ptx").read_bytes() + b"\0"
        calls = (
            ("cuMemAlloc_v2", ctypes.byref(U64()), SIZE(64)), ("cuMemAllocManaged", ctypes.byref(U64()), SIZE(64), 1), ("cuMemAllocPitch_v2", ctypes.byref(U64()), ctypes.byref(SIZE()), SIZE(64), SIZE(4), 4),
            ("cuMemFree_v2", spare[3]), ("cuMemAllocHost_v2", ctypes.byref(P()), SIZE(64)), ("cuMemHostAlloc", ctypes.byref(P()), SIZE(64), 0), ("cuMemFreeHost", spare[2]),
            ("cuMemHostRegister_v2", page, SIZE(8192), 0), ("cuMemAllocAsync", ctypes.byref(U64()), SIZE(64), idle), ("cuMemGetInfo_v2", ctypes.byref(SIZE()), ctypes.byref(SIZE())),
            ("cuMemcpyHtoD_v2", d.memory, buffer, SIZE(16)), ("cuMemcpyDtoH_v2", buffer, d.memory, SIZE(16)), ("cuMemcpyDtoD_v2", d.memory, d.memory, SIZE(16)),
            ("cuMemcpyHtoDAsync_v2", d.memory, buffer, SIZE(16), idle), ("cuMemsetD8_v2", d.memory, 0, SIZE(4)), ("cuMemsetD8Async", d.memory, 0, SIZE(4), idle),
            ("cuStreamCreate", ctypes.byref(P()), 1), ("cuEventCreate", ctypes.byref(P()), 0), ("cuStreamDestroy_v2", spare[0]), ("cuEventDestroy_v2", spare[1]),
            ("cuStreamQuery", idle), ("cuStreamSynchronize", idle), ("cuEventQuery", event), ("cuEventSynchronize", event), ("cuEventRecord", event, idle),
            ("cuEventElapsedTime", ctypes.byref(ctypes.c_float()), event, event), ("cuCtxSynchronize",), ("cuStreamQuery", None), ("cuStreamSynchronize", None),
            ("cuModuleLoadData", ctypes.byref(P()), text), ("cuFuncLoad", f), ("cuFuncSetAttribute", f, DYNAMIC_SHARED, 1024), ("cuCtxSetLimit", 0, SIZE(2048)),
            ("cuGraphLaunch", executable, idle), ("cuGraphInstantiateWithFlags", ctypes.byref(P()), graph, U64(0)), ("cuGraphCreate", ctypes.byref(P()), 0), ("cuGraphExecDestroy", executable),
            ("cuLaunchHostFunc", idle, ctypes.cast(d.library.cuInit, P), None), ("cuStreamAddCallback", idle, ctypes.cast(d.library.cuInit, P), None, 0), ("cuStreamWaitEvent", idle, event, 0),
            ("cuStreamBeginCapture_v2", idle, mode), ("cuPointerGetAttribute", ctypes.byref(U64()), 2, d.memory), ("cuMemPoolTrimTo", d.make(P, "cuDeviceGetDefaultMemPool", 0), SIZE(0)),
            ("cuCtxCreate_v2", ctypes.byref(P()), 0, 0), ("cuCtxPopCurrent_v2", ctypes.byref(P())), ("cuDevicePrimaryCtxGetState", 0, ctypes.byref(U32()), ctypes.byref(INT())),
            ("cuModuleUnload", d.module),
        )  # fmt: skip
        for number, (name, *arguments) in enumerate(calls):
            # What the call before left to be done is no part of the answer.
            d.library.cuStreamSynchronize(idle)
            d.library.cuStreamSynchronize(None)
            d.quiet("cuStreamBeginCapture_v2", stream, mode)
            label = f"{number} {name.removesuffix('_v2')}"
            if elsewhere:
                # Another thread of the process, in the global mode that each has at first.
                def other(name=name, arguments=arguments, label=label):
                    d.library.cuCtxSetCurrent(d.context)
                    d(name, *arguments, label=label)

                thread = threading.Thread(target=other)
                thread.start()
                thread.join()
            else:
                d(name, *arguments, label=label)
            if name == "cuStreamBeginCapture_v2":
                d.library.cuStreamEndCapture(idle, ctypes.byref(P()))
            code = d.library.cuStreamEndCapture(stream, ctypes.byref(P()))
            if code:
                d.say(f"{label}: the capture", d.name(code))

    return run_one


for number_, mode_ in enumerate(("globally", "for its thread", "relaxed")):
    CASES[f"while capturing {mode_}"] = while_capturing(number_, False)
    CASES[f"while another thread captures {mode_}"] = while_capturing(number_, True)
