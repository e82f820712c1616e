"""NVRTC and the driver API from Python (cuda-bindings): compiles, links, loads, launches; nvJitLink where it is there."""
import ctypes

import numpy
from judge import Skipped, part, run

try:
    from cuda.bindings import driver, nvrtc
except ImportError:
    from cuda import cuda as driver, nvrtc

SOURCE = b"""
__device__ int calls;
extern "C" __global__ void power(const float *in, float *out, int n, int exponent) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float value = 1;
    for (int k = 0; k < exponent; k++) value *= in[i];
    out[i] = value;
    if (i == 0) atomicAdd(&calls, 1);
}
template <typename T> __global__ void fill(T *out, T value) { out[threadIdx.x] = value; }
"""


def ok(answer):
    status, *values = answer
    if int(status):
        raise RuntimeError(f"{type(status).__name__} {int(status)}")
    return values[0] if len(values) == 1 else values


def begin():
    ok(driver.cuInit(0))
    device = ok(driver.cuDeviceGet(0))
    context = ok(driver.cuDevicePrimaryCtxRetain(device))
    ok(driver.cuCtxSetCurrent(context))
    major = ok(driver.cuDeviceGetAttribute(driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device))
    minor = ok(driver.cuDeviceGetAttribute(driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device))
    return f"{major}{minor}"


def compiled(kind, source=SOURCE, names=()):
    """(image, lowered names) of a source, as PTX or as machine code."""
    capability = begin()
    program = ok(nvrtc.nvrtcCreateProgram(source, b"program.cu", 0, [], []))
    for name in names:
        ok(nvrtc.nvrtcAddNameExpression(program, name))
    options = [f"--gpu-architecture={'compute' if kind == 'ptx' else 'sm'}_{capability}".encode(), b"--std=c++17"]
    status, = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if int(status):
        log = b" " * ok(nvrtc.nvrtcGetProgramLogSize(program))
        ok(nvrtc.nvrtcGetProgramLog(program, log))
        raise RuntimeError(log.decode().splitlines()[0])
    size, get = (nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX) if kind == "ptx" else (nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
    image = b" " * ok(size(program))
    ok(get(program, image))
    return image, [ok(nvrtc.nvrtcGetLoweredName(program, name)) for name in names]


def launched(function, *more):
    """Run power or its like over 5000 numbers."""
    source = numpy.random.default_rng(1).standard_normal(5000).astype("f")
    out = numpy.zeros(5000, "f")
    a, b = ok(driver.cuMemAlloc(source.nbytes)), ok(driver.cuMemAlloc(source.nbytes))
    ok(driver.cuMemcpyHtoD(a, source.ctypes.data, source.nbytes))
    values, kinds = (a, b, 5000, *more), (None, None, ctypes.c_int, *(ctypes.c_int for _ in more))
    ok(driver.cuLaunchKernel(function, 20, 1, 1, 256, 1, 1, 0, 0, (values, kinds), 0))
    ok(driver.cuMemcpyDtoH(out.ctypes.data, b, out.nbytes))
    ok(driver.cuMemFree(a))
    ok(driver.cuMemFree(b))
    return out


@part
def from_ptx():
    image, _ = compiled("ptx")
    module = ok(driver.cuModuleLoadData(image))
    out = launched(ok(driver.cuModuleGetFunction(module, b"power")), 3)
    pointer, size = ok(driver.cuModuleGetGlobal(module, b"calls"))
    calls = numpy.zeros(1, "i")
    ok(driver.cuMemcpyDtoH(calls.ctypes.data, pointer, size))
    ok(driver.cuModuleUnload(module))
    return {"out": out, "calls": int(calls[0])}


@part
def from_machine_code():
    image, _ = compiled("cubin")
    library = ok(driver.cuLibraryLoadData(image, [], [], 0, [], [], 0))
    kernel = ok(driver.cuLibraryGetKernel(library, b"power"))
    out = launched(ok(driver.cuKernelGetFunction(kernel)), 2)
    ok(driver.cuLibraryUnload(library))
    return out


@part
def templates():
    image, names = compiled("ptx", names=(b"fill<int>", b"fill<double>"))
    module = ok(driver.cuModuleLoadData(image))
    found = {}
    for name, kind, ctype in zip(names, ("i", "d"), (ctypes.c_int, ctypes.c_double)):
        out = numpy.zeros(32, kind)
        place = ok(driver.cuMemAlloc(out.nbytes))
        ok(driver.cuLaunchKernel(ok(driver.cuModuleGetFunction(module, name)), 1, 1, 1, 32, 1, 1, 0, 0, ((place, 7), (None, ctype)), 0))
        ok(driver.cuMemcpyDtoH(out.ctypes.data, place, out.nbytes))
        found[kind] = out
    return found


@part
def linked():
    begin()
    first, _ = compiled("ptx", b'extern "C" __device__ float twice(float); extern "C" __global__ void go(const float *a, float *b, int n) { int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) b[i] = twice(a[i]); }')
    second, _ = compiled("ptx", b'extern "C" __device__ float twice(float x) { return 2 * x; }')
    link = ok(driver.cuLinkCreate(0, [], []))
    for number, image in enumerate((first, second)):
        ok(driver.cuLinkAddData(link, driver.CUjitInputType.CU_JIT_INPUT_PTX, image, len(image), f"{number}".encode(), 0, [], []))
    image, size = ok(driver.cuLinkComplete(link))
    # The linker's memory ends with the linker.
    module = ok(driver.cuModuleLoadData(ctypes.string_at(image, size)))
    ok(driver.cuLinkDestroy(link))
    out = launched(ok(driver.cuModuleGetFunction(module, b"go")))
    return {"out": out, "has_size": size > 0}


@part
def nvjitlink():
    try:
        from cuda.bindings import nvjitlink as linker
    except ImportError as error:
        raise Skipped(str(error)) from error
    capability = begin()
    image, _ = compiled("ptx")
    handle = linker.create(1, [f"-arch=sm_{capability}"])
    linker.add_data(handle, linker.InputType.PTX, image, len(image), "one")
    linker.complete(handle)
    size = linker.get_linked_cubin_size(handle)
    code = bytearray(size)
    linker.get_linked_cubin(handle, code)
    module = ok(driver.cuModuleLoadData(bytes(code)))
    return launched(ok(driver.cuModuleGetFunction(module, b"power")), 4)


@part
def wrong_source():
    try:
        compiled("ptx", b"__global__ void f() { nothing here }")
        return "compiled"
    except RuntimeError as error:
        return str(error)


run()
