"""The driver under test: its calls by name, and what every situation begins with."""
import ctypes
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
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

    def say(self, label, value):
        """A value that is no status."""
        os.write(1, f"\n{label} = {value}\n".encode())

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


def primary_state(d, when):
    active = INT()
    d("cuDevicePrimaryCtxGetState", 0, ctypes.byref(U32()), ctypes.byref(active), label=f"cuDevicePrimaryCtxGetState {when}")
    d.say(f"active {when}", active.value)
