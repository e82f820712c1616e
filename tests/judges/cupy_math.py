"""CuPy: element-wise, reductions, cuBLAS, cuFFT, cuSOLVER, cuSPARSE, raw kernels, streams, graphs, pools, sorting."""
import cupy
import cupyx
import numpy
from judge import part, run


def seeded(*shape, seed=1, dtype=numpy.float32):
    return cupy.asarray(numpy.random.default_rng(seed).standard_normal(shape).astype(dtype))


@part
def device():
    found = cupy.cuda.runtime.getDeviceProperties(0)
    kept = ("name", "totalGlobalMem", "sharedMemPerBlock", "regsPerBlock", "warpSize", "maxThreadsPerBlock", "multiProcessorCount", "major", "minor")
    return {key: str(found[key]) for key in kept} | {"driver": cupy.cuda.runtime.driverGetVersion()}


@part
def elementwise():
    def wave(x, y):
        return cupy.exp(x) * y

    a, b = seeded(1000, 777), seeded(1000, 777, seed=2)
    return {"arithmetic": a * b + cupy.sin(a) / 3, "compare": (a > b).sum(), "fused": cupy.fuse()(wave)(a, b), "half": a.astype("e") * 2}


@part
def reductions():
    a = seeded(300, 4000)
    return {"sum": a.sum(0), "max": a.max(1), "argmax": a.argmax(1), "mean": a.mean(), "std": a.std(1), "prod": (a[:, :9] / 2).prod(1), "cumsum": a[0].cumsum()}


@part
def products():
    a, b = seeded(512, 512), seeded(512, 512, seed=2)
    return {"single": a @ b, "double": a.astype("d") @ b.astype("d"), "half": a.astype("e") @ b.astype("e"), "complex": (a + 1j * b) @ b, "einsum": cupy.einsum("ij,kj->ik", a, b), "tensordot": cupy.tensordot(a, b, 1)}


@part
def fft():
    a = seeded(64, 1024) + 1j * seeded(64, 1024, seed=2)
    return {"fft": cupy.fft.fft(a), "fft2": cupy.fft.fft2(a), "rfft": cupy.fft.rfft(a.real), "irfft": cupy.fft.irfft(a), "plan": cupyx.scipy.fft.fftn(a)}


@part
def solver():
    a = seeded(80, 80, dtype="d")
    positive = a @ a.T + 80 * cupy.eye(80)
    return {"solve": cupy.linalg.solve(positive, a), "cholesky": cupy.linalg.cholesky(positive), "svd": cupy.linalg.svd(a)[1], "eigh": cupy.linalg.eigvalsh(positive), "qr": cupy.abs(cupy.linalg.qr(a)[1]), "inv": cupy.linalg.inv(positive), "det": cupy.linalg.det(positive / 90)}


@part
def sparse():
    import cupyx.scipy.sparse as sparse

    dense = seeded(300, 300)
    dense[cupy.abs(dense) < 1.4] = 0
    matrix = sparse.csr_matrix(dense)
    return {"vector": matrix @ seeded(300), "matrix": matrix @ seeded(300, 40), "square": (matrix @ matrix).toarray(), "transpose": matrix.T.tocsr().toarray(), "sum": matrix.sum(0)}


@part
def sorting():
    a = seeded(200_000)
    return {"sort": cupy.sort(a), "argsort": cupy.argsort(a), "unique": cupy.unique((a * 50).astype(int)), "partition": cupy.sort(cupy.partition(a, 500)[:500]), "bincount": cupy.bincount(cupy.abs(a * 50).astype(int)), "lexsort": cupy.lexsort(cupy.stack((a[:999], a[999:1998])))}


@part
def random():
    made = cupy.random.RandomState(4)
    generator = cupy.random.default_rng(4)
    return {"uniform": made.uniform(size=1000), "normal": made.standard_normal(1000), "new": generator.standard_normal(1000), "integers": generator.integers(0, 99, 1000), "permutation": made.permutation(1000)}


@part
def raw_kernel():
    source = """
    extern "C" __constant__ float weights[4];
    extern "C" __global__ void blur(const float *in, float *out, int n) {
        extern __shared__ float tile[];
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        tile[threadIdx.x] = i < n ? in[i] : 0;
        __syncthreads();
        if (i < n) out[i] = weights[i & 3] * tile[threadIdx.x] + (threadIdx.x ? tile[threadIdx.x - 1] : 0);
    }"""
    module = cupy.RawModule(code=source)
    pointer = module.get_global("weights")
    cupy.ndarray(4, "f", pointer)[...] = cupy.arange(4, dtype="f")
    a, out = seeded(10_000), cupy.zeros(10_000, "f")
    module.get_function("blur")((40,), (256,), (a, out, numpy.int32(10_000)), shared_mem=1024)
    wave = cupy.ElementwiseKernel("float32 x", "float32 y", "y = sinf(x) * x", "wave")(a)
    total = cupy.ReductionKernel("float32 x", "float32 y", "x * x", "a + b", "y = a", "0", "squares")(a)
    return {"blur": out, "wave": wave, "total": total}


@part
def jit():
    from cupyx import jit as compiled

    @compiled.rawkernel()
    def twice(x, y, n):
        i = compiled.blockIdx.x * compiled.blockDim.x + compiled.threadIdx.x
        if i < n:
            y[i] = x[i] * 2 + i

    a, out = seeded(5000), cupy.zeros(5000, "f")
    twice((20,), (256,), (a, out, 5000))
    return out


@part
def streams_and_graphs():
    a = seeded(100_000)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        b = a * 2 + 1
        graph = stream.end_capture()
        graph.launch()
        graph.launch()
    stream.synchronize()
    before, after = cupy.cuda.Event(), cupy.cuda.Event()
    before.record()
    c = cupy.sqrt(cupy.abs(a))
    after.record()
    after.synchronize()
    return {"graph": b, "event": cupy.cuda.get_elapsed_time(before, after) > 0, "after": c}


@part
def pools():
    pool = cupy.get_default_memory_pool()
    a = cupy.ones(1 << 22, "f")
    used = pool.used_bytes() >= 1 << 24
    del a
    pool.free_all_blocks()
    with cupy.cuda.using_allocator(cupy.cuda.MemoryAsyncPool().malloc):
        b = cupy.arange(1 << 20)
        total = b.sum()
    pinned = cupyx.empty_pinned(1000, "f")
    pinned[...] = 3
    managed = cupy.ndarray(1000, "f", cupy.cuda.malloc_managed(4000))
    managed[...] = 5
    return {"used": used, "async": total, "pinned": cupy.asarray(pinned).sum(), "managed": managed.sum()}


@part
def texture():
    from cupy.cuda import texture as made

    kind = made.ChannelFormatDescriptor(32, 0, 0, 0, cupy.cuda.runtime.cudaChannelFormatKindFloat)
    array = made.CUDAarray(kind, 64, 48)
    array.copy_from(seeded(48, 64))
    resource = made.ResourceDescriptor(cupy.cuda.runtime.cudaResourceTypeArray, cuArr=array)
    how = made.TextureDescriptor((cupy.cuda.runtime.cudaAddressModeClamp,) * 2, cupy.cuda.runtime.cudaFilterModeLinear, cupy.cuda.runtime.cudaReadModeElementType)
    source = """extern "C" __global__ void shift(cudaTextureObject_t t, float *out) {
        out[blockIdx.x * 64 + threadIdx.x] = tex2D<float>(t, threadIdx.x + 0.75f, blockIdx.x + 0.25f); }"""
    out = cupy.zeros((48, 64), "f")
    cupy.RawKernel(source, "shift")((48,), (64,), (made.TextureObject(resource, how), out))
    return out


@part
def scipy_like():
    import cupyx.scipy.ndimage as images
    import cupyx.scipy.signal as signals
    import cupyx.scipy.special as special

    a = seeded(128, 128)
    return {"gaussian": images.gaussian_filter(a, 2), "median": images.median_filter(a, 5), "rotate": images.rotate(a, 30), "convolve": signals.fftconvolve(a, a[:9, :9]), "gamma": special.gamma(cupy.abs(a) + 1), "label": images.label(a > 0.5)[0]}


@part
def errors():
    found = {}
    for name, work in (
        ("shapes", lambda: seeded(3, 4) @ seeded(3, 4)), ("memory", lambda: cupy.cuda.alloc(1 << 50)),
        ("syntax", lambda: cupy.RawKernel("extern \"C\" __global__ void f() { x }", "f")((1,), (1,), ())),
        ("name", lambda: cupy.RawModule(code="extern \"C\" __global__ void f() {}").get_function("g")),
        ("block", lambda: cupy.RawKernel("extern \"C\" __global__ void f() {}", "f")((1,), (4096,), ())),
    ):  # fmt: skip
        try:
            work()
            found[name] = "no error"
        except Exception as error:  # the kind is the result
            found[name] = type(error).__name__
    return found


run()
