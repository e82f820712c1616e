"""One way to run the kernels, as a process of its own: `python3 ways.py WAY LIBRARY FILE CORES`.

Reads one request a line from stdin, `{"kernel": NAME, "launches": N}`, and answers each with one line,
`{"ms": of a launch, "sample": some results of the first launch, "first": ms of that launch, compilation included}`. WAY is cuda (FILE: PTX), opencl (FILE: OpenCL C)
or loops. CORES is 1 or 0 for all; with one core the time is what the process used of it, which others cannot stretch.
"""
import array
import ctypes
import json
import os
import sys
import time
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_ulong, c_void_p

N = 1 << 20


def floats(count):
    """Input that every way makes alike."""
    return array.array("f", [(i * 7919 % 1009) / 1009 for i in range(count)])


def zeros(count):
    return array.array("f", bytes(4 * count))


# Arguments in order; the last array is the output. Then the grid in blocks, and the block.
KERNELS = {
    "vadd": lambda: ([floats(N), floats(N), zeros(N), N], (N // 256, 1), (256, 1)),
    "saxpy": lambda: ([floats(N), zeros(N), 1.5, N], (N // 256, 1), (256, 1)),
    "blur": lambda: ([floats(N), zeros(N), N], (N // 256, 1), (256, 1)),
    "mandelbrot": lambda: ([array.array("i", bytes(4 << 18)), 512, 512, 256], (32, 32), (16, 16)),
    "nbody": lambda: ([floats(4096), zeros(4096), 1024], (8, 1), (128, 1)),
    "matmul": lambda: ([floats(1 << 16), floats(1 << 16), zeros(1 << 16), 256], (16, 16), (16, 16)),
    "reduce": lambda: ([floats(N), zeros(N // 256), N], (N // 256, 1), (256, 1)),
    "shuffle": lambda: ([floats(N), zeros(N // 256), N], (N // 256, 1), (256, 1)),
}


def sample(values):
    step = max(1, len(values) // 61)
    return [float(v) for v in values[::step]]


def must(status, what):
    if status != 0:
        raise RuntimeError(f"{what} answers {status}")


class Loops:
    """The C functions, called as they are."""

    def __init__(self, library, _file):
        self.library = ctypes.CDLL(library)
        self.kept = []

    def prepare(self, name, args, _grid, _block):
        passed = []
        self.kept.append(args)
        for value in args:
            if isinstance(value, array.array):
                passed.append(c_void_p(value.buffer_info()[0]))
                self.output = value
            else:
                passed.append(c_float(value) if isinstance(value, float) else c_int(value))
        function = getattr(self.library, "reduce" if name == "shuffle" else name)
        function.restype = None
        return lambda: function(*passed)

    def launch(self, ready, count):
        for _ in range(count):
            ready()

    def result(self):
        return self.output


class Cuda:
    """The driver API."""

    def __init__(self, library, file):
        self.api = ctypes.CDLL(library)
        context, device = c_void_p(), c_int()
        must(self.api.cuInit(0), "cuInit")
        must(self.api.cuDeviceGet(byref(device), 0), "cuDeviceGet")
        must(self.api.cuDevicePrimaryCtxRetain(byref(context), device), "cuDevicePrimaryCtxRetain")
        must(self.api.cuCtxSetCurrent(context), "cuCtxSetCurrent")
        self.module = c_void_p()
        with open(file, "rb") as f:
            must(self.api.cuModuleLoadData(byref(self.module), c_char_p(f.read() + b"\0")), "cuModuleLoadData")

    def prepare(self, name, args, grid, block):
        function = c_void_p()
        must(self.api.cuModuleGetFunction(byref(function), self.module, name.encode()), "cuModuleGetFunction")
        held = []
        for value in args:
            if isinstance(value, array.array):
                at, size = c_ulong(), c_size_t(4 * len(value))
                must(self.api.cuMemAlloc_v2(byref(at), size), "cuMemAlloc")
                must(self.api.cuMemcpyHtoD_v2(at, c_void_p(value.buffer_info()[0]), size), "cuMemcpyHtoD")
                self.output = (at, value)
                held.append(at)
            else:
                held.append(c_float(value) if isinstance(value, float) else c_int(value))
        params = (c_void_p * len(held))(*[ctypes.addressof(h) for h in held])
        shape = [c_uint(n) for n in (*grid, 1, *block, 1, 0)]
        return lambda held=held: self.api.cuLaunchKernel(function, *shape, None, params, None)

    def launch(self, ready, count):
        for _ in range(count):
            must(ready(), "cuLaunchKernel")
        must(self.api.cuCtxSynchronize(), "cuCtxSynchronize")

    def result(self):
        at, value = self.output
        must(self.api.cuMemcpyDtoH_v2(c_void_p(value.buffer_info()[0]), at, c_size_t(4 * len(value))), "cuMemcpyDtoH")
        return value


class OpenCl:
    """OpenCL on its first device."""

    def __init__(self, library, file):
        api = self.api = ctypes.CDLL(library)
        for name in ("clCreateContext", "clCreateCommandQueue", "clCreateProgramWithSource", "clCreateKernel", "clCreateBuffer"):
            getattr(api, name).restype = c_void_p
        platform, device, error = c_void_p(), c_void_p(), c_int()
        must(api.clGetPlatformIDs(1, byref(platform), None), "clGetPlatformIDs")
        must(api.clGetDeviceIDs(platform, c_ulong(0xFFFFFFFF), 1, byref(device), None), "clGetDeviceIDs")
        self.context = c_void_p(api.clCreateContext(None, 1, byref(device), None, None, byref(error)))
        must(error.value, "clCreateContext")
        self.queue = c_void_p(api.clCreateCommandQueue(self.context, device, c_ulong(0), byref(error)))
        must(error.value, "clCreateCommandQueue")
        folder = os.path.dirname(file)
        with open(file, "rb") as f, open(os.path.join(folder, "kernels.h"), "rb") as h:
            text = f.read().replace(b'#include "kernels.h"', h.read())
        source = c_char_p(text)
        self.program = c_void_p(api.clCreateProgramWithSource(self.context, 1, byref(source), None, byref(error)))
        must(error.value, "clCreateProgramWithSource")
        must(api.clBuildProgram(self.program, 1, byref(device), b"", None, None), "clBuildProgram")

    def prepare(self, name, args, grid, block):
        error = c_int()
        name = "reduce" if name == "shuffle" else name
        kernel = c_void_p(self.api.clCreateKernel(self.program, name.encode(), byref(error)))
        must(error.value, "clCreateKernel")
        for index, value in enumerate(args):
            if isinstance(value, array.array):
                size = 4 * len(value)
                # CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR
                place = c_void_p(value.buffer_info()[0])
                held = c_void_p(self.api.clCreateBuffer(self.context, c_ulong(1 | 32), c_size_t(size), place, byref(error)))
                must(error.value, "clCreateBuffer")
                self.output = (held, value)
            else:
                held = c_float(value) if isinstance(value, float) else c_int(value)
            must(self.api.clSetKernelArg(kernel, index, c_size_t(ctypes.sizeof(held)), byref(held)), "clSetKernelArg")
        whole = (c_size_t * 2)(grid[0] * block[0], grid[1] * block[1])
        part = (c_size_t * 2)(*block)
        return lambda: self.api.clEnqueueNDRangeKernel(self.queue, kernel, 2, None, whole, part, 0, None, None)

    def launch(self, ready, count):
        for _ in range(count):
            must(ready(), "clEnqueueNDRangeKernel")
        must(self.api.clFinish(self.queue), "clFinish")

    def result(self):
        held, value = self.output
        place, size = c_void_p(value.buffer_info()[0]), c_size_t(4 * len(value))
        must(self.api.clEnqueueReadBuffer(self.queue, held, 1, c_size_t(0), size, place, 0, None, None), "clEnqueueReadBuffer")
        return value


def main():
    way, library, file, cores = sys.argv[1:]
    one = cores == "1"
    if one:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    clock = time.process_time_ns if one else time.perf_counter_ns
    runner = {"loops": Loops, "cuda": Cuda, "opencl": OpenCl}[way](library, file)
    ready = {}
    for line in sys.stdin:
        request = json.loads(line)
        name = request["kernel"]
        first = first_ms = None
        if name not in ready:
            ready[name] = runner.prepare(name, *KERNELS[name]())
            start = clock()
            runner.launch(ready[name], 1)
            first_ms = (clock() - start) / 1e6
            first = sample(runner.result())
        start = clock()
        runner.launch(ready[name], request["launches"])
        took = clock() - start
        print(json.dumps({"ms": took / 1e6 / request["launches"], "sample": first, "first": first_ms}), flush=True)


if __name__ == "__main__":
    main()
