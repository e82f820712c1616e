"""The CUDA driver and NVRTC through ctypes: what a judge needs of them where there is nothing but Python and NumPy.

Which libraries: the loader's libcuda.so.1, and for NVRTC $NVRTC, else $NVIDIA/lib/libnvrtc.so.13, else the loader's.
"""
import ctypes
import os

from verdict import Wrong

P, U32, U64, INT, SIZE = ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_size_t


def name_of(code):
    """A status as the driver names it."""
    text = ctypes.c_char_p()
    cuda().cuGetErrorName(code, ctypes.byref(text))
    return text.value.decode() if text.value else f"status {code}"


def cuda():
    """The driver library; opened once."""
    if not LIBRARIES.get("cuda"):
        LIBRARIES["cuda"] = ctypes.CDLL("libcuda.so.1")
    return LIBRARIES["cuda"]


LIBRARIES = {}


def call(function, *arguments):
    """A driver function that must succeed."""
    code = getattr(cuda(), function)(*arguments)
    if code:
        raise Wrong(f"{function}: {name_of(code)}")


def made(kind, function, *arguments):
    """The same, for one that writes a value of this type through its first argument."""
    value = kind()
    call(function, ctypes.byref(value), *arguments)
    return value.value


class Module:
    """A code image in the primary context of device 0."""

    def __init__(self, image):
        call("cuInit", 0)
        self.context = made(P, "cuDevicePrimaryCtxRetain", 0)
        call("cuCtxSetCurrent", P(self.context))
        self.module = made(P, "cuModuleLoadData", ctypes.c_char_p(image))

    def launch(self, name, grid, block, arguments, shared=0):
        """Launch with ctypes values, and wait."""
        function = made(P, "cuModuleGetFunction", P(self.module), name.encode())
        packed = (P * max(1, len(arguments)))(*[ctypes.addressof(value) for value in arguments])
        grid, block = ([*sizes, 1, 1][:3] for sizes in (grid, block))
        call("cuLaunchKernel", P(function), *map(U32, (*grid, *block, shared)), None, packed, None)
        call("cuCtxSynchronize")


def nvrtc():
    """The library, and its version as a tuple."""
    if not LIBRARIES.get("nvrtc"):
        beside = f"{os.environ.get('NVIDIA', '')}/lib/libnvrtc.so.13"
        name = os.environ.get("NVRTC") or (beside if os.path.exists(beside) else "libnvrtc.so.13")
        LIBRARIES["nvrtc"] = ctypes.CDLL(name)
    return LIBRARIES["nvrtc"]


def compile_ptx(source, name, options):
    """PTX of CUDA C++, or Wrong with the compiler's log."""
    library, program, size = nvrtc(), P(), SIZE()
    if library.nvrtcCreateProgram(ctypes.byref(program), source, name.encode(), 0, None, None):
        raise Wrong("nvrtcCreateProgram failed")
    words = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    bad = library.nvrtcCompileProgram(program, len(options), words)
    ask, size_of = (library.nvrtcGetProgramLog, library.nvrtcGetProgramLogSize) if bad else (library.nvrtcGetPTX, library.nvrtcGetPTXSize)
    size_of(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    ask(program, text)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    if bad:
        raise Wrong(text.value.decode(errors="replace"))
    return text.value
