"""Launches that are refused: shapes, arguments, names."""
import ctypes

from driver import DYNAMIC_SHARED, INT, P, SIZE, U32, U64, case, function, launch, start


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
