"""Kernels that NVRTC compiles to PTX (compute_75), launched by the driver API, against NumPy.

Bit for bit, but where the ISA gives bounds only (functions, fast arithmetic) and where the order of a sum is free.
A line of --hashes is the SHA-256 of a kernel's output, to compare devices with each other.
"""
import ctypes
import hashlib
import os
import pathlib
import sys

import numpy as np
from cuda.bindings import driver, nvrtc
from verdict import Wrong, check

HERE = pathlib.Path(__file__).resolve().parent
RANDOM = np.random.default_rng(7)
N = 4099
HASHES = "--hashes" in sys.argv


def done(answer):
    status, *values = answer
    if int(status) != 0:
        raise Wrong(f"{status}")
    return values[0] if len(values) == 1 else values


def ptx():
    source = (HERE / "corpus" / "kernels.cu").read_bytes()
    program = done(nvrtc.nvrtcCreateProgram(source, b"kernels.cu", 0, [], []))
    include = f"--include-path={os.environ['NVIDIA']}/include".encode()
    options = [b"--gpu-architecture=compute_75", include, b"--std=c++17"]
    status, = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if int(status):
        log = bytearray(done(nvrtc.nvrtcGetProgramLogSize(program)))
        done(nvrtc.nvrtcGetProgramLog(program, log))
        raise Wrong(bytes(log).decode())
    text = bytearray(done(nvrtc.nvrtcGetPTXSize(program)))
    done(nvrtc.nvrtcGetPTX(program, text))
    return bytes(text)


def launch(name, grid, block, *arguments):
    """Arrays go to the device and all come back; numbers are passed as C has them."""
    function = done(driver.cuModuleGetFunction(MODULE, name.encode()))
    memory, values = [], []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            at = done(driver.cuMemAlloc(argument.nbytes))
            done(driver.cuMemcpyHtoD(at, argument.ctypes.data, argument.nbytes))
            memory.append((at, argument.copy()))
            values.append(ctypes.c_uint64(int(at)))
        else:
            values.append(ctypes.c_float(argument) if isinstance(argument, float) else ctypes.c_int(argument))
    packed = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
    grid, block = ([*sizes, 1, 1][:3] for sizes in (grid, block))
    done(driver.cuLaunchKernel(function, *grid, *block, 0, 0, ctypes.addressof(packed), 0))
    done(driver.cuCtxSynchronize())
    for at, array in memory:
        done(driver.cuMemcpyDtoH(array.ctypes.data, at, array.nbytes))
        done(driver.cuMemFree(at))
    results = [array for _, array in memory]
    if HASHES:
        print(name, hashlib.sha256(b"".join(array.tobytes() for array in results)).hexdigest(), flush=True)
    return results


def same(mine, theirs):
    theirs = np.asarray(theirs).astype(mine.dtype)
    if mine.tobytes() != theirs.tobytes():
        wrong = np.flatnonzero(mine.view(np.uint8).reshape(mine.size, -1).any(1) & ~np.equal(mine, theirs).ravel())
        at = int(wrong[0]) if wrong.size else -1
        raise Wrong(f"{wrong.size} of {mine.size} differ; number {at}: {mine.flat[at]!r}, not {theirs.flat[at]!r}")


def near(mine, theirs, relative, absolute=0.0):
    off = np.abs(mine.astype(float) - theirs) - absolute - relative * np.abs(theirs)
    if not (off <= 0).all():
        at = int(np.nanargmax(off))
        raise Wrong(f"number {at}: {mine.flat[at]!r}, not {np.asarray(theirs).flat[at]!r}")


def floats(n=N, kind=np.float32, spread=1.0):
    return (RANDOM.standard_normal(n) * spread).astype(kind)


def ints(n=N, kind=np.int32):
    limits = np.iinfo(kind)
    mixed = RANDOM.integers(limits.min, limits.max, n, dtype=kind, endpoint=True)
    mixed[::5] = RANDOM.integers(0, 100, mixed[::5].size)
    return mixed


def blocks(n=N, block=128):
    return (-(-n // block),), (block,)


def fused(a, b, c):
    """a * b + c in one rounding to float32: exact in long double, but for the rounding of the sum, which is redone."""
    product = a.astype(np.float64) * b.astype(np.float64)
    total = product + c.astype(np.float64)
    other = total - product
    error = (product - (total - other)) + (c.astype(np.float64) - other)
    # Round to odd, so that the second rounding sees that something was cut off.
    bits = total.view(np.int64)
    odd = (error != 0) & (bits & 1 == 0) & np.isfinite(total)
    step = np.where((error > 0) == (total > 0), 1, -1)
    return np.where(odd, (bits + step).view(np.float64), total).astype(np.float32)


def saxpy():
    x, y = floats(), floats()
    same(launch("saxpy", *blocks(), 2.5, x, y, N)[1], fused(np.full(N, 2.5, np.float32), x, y))


def matmul():
    a, b = floats((96, 96)), floats((96, 96))
    total = np.zeros((96, 96), np.float32)
    for k in range(96):
        left, right = np.broadcast_arrays(a[:, k : k + 1], b[k])
        total = fused(np.ascontiguousarray(left), np.ascontiguousarray(right), total)
    same(launch("matmul", (6, 6), (16, 16), a, b, np.zeros_like(a), 96)[2], total)


def reduce_shuffle():
    a = ints()
    same(launch("reduce_shuffle", (4,), (256,), a, np.zeros(1, np.int32), N)[1], [a.sum(dtype=np.int32)])


def scan_block():
    a = ints(1024, np.uint32)
    same(launch("scan_block", (1,), (1024,), a, np.zeros_like(a))[1], a.cumsum(dtype=np.uint32))


def histogram():
    a = RANDOM.integers(0, 256, 50_000).astype(np.uint8)
    same(launch("histogram", (8,), (256,), a, np.zeros(256, np.uint32), a.size)[1], np.bincount(a, minlength=256))


def bitonic():
    a = ints(1024, np.uint32)
    same(launch("bitonic", (1,), (1024,), a)[0], np.sort(a))


def transpose():
    a = floats((70, 45), np.float64)
    same(launch("transpose", (3, 5), (16, 16), a, np.zeros((45, 70)), 45, 70)[1], a.T.copy())


def mandelbrot():
    w, h, most = 96, 64, 200
    x, y = np.meshgrid(np.arange(w), np.arange(h))
    a, b = -2.0 + 3.0 * x / w, -1.0 + 2.0 * y / h
    p, q, n, alive = np.zeros((h, w)), np.zeros((h, w)), np.zeros((h, w), np.int32), np.ones((h, w), bool)
    for _ in range(most):
        alive &= p * p + q * q <= 4.0
        p, q = np.where(alive, p * p - q * q + a, p), np.where(alive, 2.0 * p * q + b, q)
        n += alive
    same(launch("mandelbrot", (6, 8), (16, 8), np.zeros((h, w), np.int32), w, h, most)[0], n)


def integers():
    """One by one in Python's own integers, cut to 32 bits as C has them."""
    a, b = ints(), ints()
    mask = 0xFFFFFFFF

    def one(x, y):
        ux, uy = x & mask, y & mask
        cut = lambda v: v & mask  # noqa: E731
        quotient = lambda p, q: abs(p) // abs(q) * (1 if (p < 0) == (q < 0) else -1)  # noqa: E731
        h = cut(x) ^ cut((x * y) >> 32)
        h = cut(h + ((ux * uy) >> 32) * 3)
        h ^= cut(quotient(x, y)) if y else 7
        h = cut(h + (x - quotient(x, y) * y if y else 9))
        h ^= ux // uy if y else 5
        h = cut(h + ux.bit_count() + 31 * (32 - uy.bit_length()) + 7 * ((ux & -ux).bit_length()))
        h ^= int(f"{uy:032b}"[::-1], 2)
        pool = ux | uy << 32
        h = cut(h + sum((pool >> 8 * (0x3715 >> 4 * n & 7) & 255) << 8 * n for n in range(4)))
        h ^= cut((uy << 32 | ux) << 11 >> 32)
        h = cut(h + abs(x - y) + 3)
        h ^= cut(min(x, y) + max(ux, uy))
        h = cut(h + (cut((x + y + 1) >> 1) ^ cut((x + y) >> 1)))
        signed = lambda v: v - 256 if v > 127 else v  # noqa: E731
        lanes = ((signed(ux >> s & 255) + signed(uy >> s & 255), s) for s in (0, 8, 16, 24))
        return h ^ sum((max(-128, min(127, v)) & 255) << s for v, s in lanes)

    theirs = np.array([one(int(x), int(y)) for x, y in zip(a, b)], np.uint32).view(np.int32)
    same(launch("integers", *blocks(), a, b, np.zeros_like(a), N)[2], theirs)


def wide():
    a, b = ints(kind=np.uint64), ints(kind=np.uint64)
    mask = (1 << 64) - 1

    def one(x, y):
        h = x * y >> 64
        h ^= x // y if y else 1
        h = h + (x % y if y else 2) & mask
        h ^= ((x - (x >> 63 << 64)) >> (y & 63)) & mask
        h = h + (x << (y & 63)) & mask
        h ^= x.bit_count() + 100 * (64 - y.bit_length()) + 10000 * (x & -x).bit_length()
        return h + int(f"{y:064b}"[::-1], 2) & mask

    same(launch("wide", *blocks(), a, b, np.zeros_like(a), N)[2], np.array([one(int(x), int(y)) for x, y in zip(a, b)], np.uint64))


def dots():
    a, b = ints(), ints()
    x, y = a.view(np.int8).reshape(-1, 4).astype(np.int32), b.view(np.int8).reshape(-1, 4).astype(np.int32)
    u, v = a.view(np.uint16).reshape(-1, 2).astype(np.uint32), b.view(np.uint8).reshape(-1, 4).astype(np.uint32)
    four = ((x * y).sum(1) + 7).astype(np.int32)
    two = (u[:, 0] * v[:, 0] + u[:, 1] * v[:, 1] + 3).astype(np.uint32).view(np.int32)
    same(launch("dots", *blocks(), a, b, np.zeros_like(a), N)[2], four ^ two)


def directed(exact, way):
    """float32 from float64 that holds the exact value, towards 0, up or down."""
    near_ = exact.astype(np.float32)
    off = near_.astype(np.float64) - exact
    down, up = np.nextafter(near_, np.float32(-np.inf)), np.nextafter(near_, np.float32(np.inf))
    if way == "up":
        return np.where(off < 0, up, near_)
    if way == "down":
        return np.where(off > 0, down, near_)
    return np.where(exact > 0, directed(exact, "down"), directed(exact, "up")) if exact.size else near_


def rounding():
    a, b = floats(spread=8), floats(spread=8)
    c, d = a.astype(np.float64), b.astype(np.float64)
    theirs = np.stack([
        a + b, directed(c + d, "zero"), directed(c * d, "up"), directed(c * d, "down"), a / b, np.sqrt(np.abs(a)),
        fused(a, b, np.full(N, -1, np.float32)), np.float32(1) / b,
    ], 1)  # fmt: skip
    same(launch("rounding", *blocks(), a, b, np.zeros((N, 8), np.float32), N)[2], theirs)


def doubles():
    a, b = floats(kind=np.float64), floats(kind=np.float64)
    exact = a.astype(np.longdouble) * b + 1
    theirs = np.stack([a / b, np.sqrt(np.abs(a)), exact.astype(np.float64), np.rint(a * 100)], 1)
    mine = launch("doubles", *blocks(), a, b, np.zeros((N, 4)), N)[2]
    same(np.ascontiguousarray(mine[:, [0, 1, 3]]), np.ascontiguousarray(theirs[:, [0, 1, 3]]))
    near(mine[:, 2], theirs[:, 2], 2.3e-16)


def functions():
    """The bounds of the CUDA programming guide are 1 to 4 units in the last place, 8 for powf."""
    a = floats(spread=3)
    x = a.astype(np.float64)
    erf = np.vectorize(__import__("math").erf)
    theirs = np.stack([
        np.sin(x), np.cos(x), np.exp(x), np.log(np.abs(x)), np.tanh(x), np.abs(x) ** 1.5, erf(x), np.arctan2(x, 2),
    ], 1)  # fmt: skip
    near(launch("functions", *blocks(), a, np.zeros((N, 8), np.float32), N)[1], theirs, 8 * 2.0**-23, 1e-7)


def fast():
    """Bounds: __sinf 2^-21.41 inside [-pi, pi], __expf 2 + floor(|1.173 x|) units, __log2f 2^-21.6 or 2 units, rsqrtf 2 units."""
    a = RANDOM.uniform(-3.1, 3.1, N).astype(np.float32)
    x = a.astype(np.float64)
    mine = launch("fast", *blocks(), a, np.zeros((N, 4), np.float32), N)[1]
    near(mine[:, 0], np.sin(x), 0, 2.0**-21.4)
    near(mine[:, 1], np.exp(x), 6 * 2.0**-23)
    near(mine[:, 2], np.log2(np.abs(x)), 2 * 2.0**-23, 2.0**-21.6)
    near(mine[:, 3], 1 / np.sqrt(np.abs(x)), 2 * 2.0**-23)


def functions_d():
    a = floats(kind=np.float64, spread=3)
    theirs = np.stack([np.sin(a), np.exp(a), np.log1p(np.abs(a)), np.cbrt(a)], 1)
    near(launch("functions_d", *blocks(), a, np.zeros((N, 4)), N)[1], theirs, 4 * 2.0**-52, 1e-15)


def halves():
    a, b = floats(kind=np.float16), floats(kind=np.float16)
    c, d = a.astype(np.float64), b.astype(np.float64)
    theirs = np.stack([(c + d), (c * d), (c * d + c), c * 3], 1).astype(np.float16)
    same(launch("halves", *blocks(), a, b, np.zeros((N, 4), np.float16), N)[2], theirs)


def halves2():
    a, b = floats(2 * N, np.float16), floats(2 * N, np.float16)
    c, d = a.astype(np.float64), b.astype(np.float64)
    same(launch("halves2", *blocks(), a, b, np.zeros_like(a), N)[2], (c * d + np.maximum(c, d)).astype(np.float16))


def bfloats():
    a = floats(spread=100)
    bits = a.view(np.uint32)
    theirs = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    same(launch("bfloats", *blocks(), a, np.zeros(N, np.uint16), N)[1], theirs)


def conversions():
    a = np.concatenate([floats(N - 6, spread=1000), np.float32([3e9, -3e9, 1e20, -1e20, 0.5, -0.5])])
    x = a.astype(np.float64)
    clip = lambda v, low, high: np.clip(v, low, high)  # noqa: E731
    whole = clip(np.trunc(x), -(2**31), 2**31 - 1).astype(np.int64)
    long_ = np.array([min(max(int(v), -(2**63)), 2**63 - 1) for v in np.floor(x)], np.int64)
    theirs = np.stack([
        whole, clip(np.rint(x), -(2**31), 2**31 - 1).astype(np.int64), clip(np.ceil(x), 0, 2**32 - 1).astype(np.uint32).view(np.int32),
        whole, (long_ >> 3).astype(np.int32), whole.astype(np.float32).view(np.int32),
    ], 1).astype(np.int32)  # fmt: skip
    mine = launch("conversions", *blocks(), a, np.zeros((N, 6), np.int32), N)[1]
    # What a float outside its range becomes as a signed char is not defined.
    same(np.ascontiguousarray(np.delete(mine, 3, 1)), np.ascontiguousarray(np.delete(theirs, 3, 1)))


def votes():
    a = RANDOM.integers(0, 256, 256).astype(np.int32)
    theirs = np.zeros(256, np.uint32)
    for w in range(0, 256, 32):
        x = a[w : w + 32]
        mask = lambda bits: int(sum(1 << n for n, bit in enumerate(bits) if bit))  # noqa: E731
        for lane in range(32):
            value = mask(x & 1) ^ (mask((x & 3) == (x[lane] & 3)) << 1) ^ (4 if (x > 250).any() else 0) ^ 8 ^ int(x[lane ^ 5])
            theirs[w + lane] = value & 0xFFFFFFFF
    same(launch("votes", (2,), (128,), a, np.zeros(256, np.uint32))[1], theirs)


def diverge():
    a = RANDOM.integers(1, 5000, N).astype(np.int32)

    def one(x):
        steps = 0
        while x > 1 and steps <= 500:
            if x % 4 == 0:
                x, steps = x // 4, steps + 1
            elif x % 4 == 2:
                x //= 2
            else:
                x = 3 * x + 1
            steps += 1
        return steps

    same(launch("diverge", *blocks(), a, np.zeros_like(a), N)[1], [one(int(x)) for x in a])


def recursion():
    same(launch("recursion", (1,), (64,), np.zeros(64, np.int32))[0], [2 * (n % 8) + 3 for n in range(64)])


def pointers():
    a, i = RANDOM.integers(0, 1000, N).astype(np.int32), np.arange(N, dtype=np.int32)
    same(launch("pointers", *blocks(), a, np.zeros_like(a), N)[1], np.choose(a % 3, [a + i, a * i, a - i]))


def atomics():
    i = np.arange(N)
    cells, wide_, real = launch("atomics", *blocks(), np.zeros(7, np.int32), np.zeros(1, np.uint64), np.zeros(1, np.float32), N)
    theirs = [i.sum(), N - 1, 1 - N, np.bitwise_xor.reduce(i), np.bitwise_or.reduce(i & 0xF0), N % 100, 2 * N]
    same(cells, theirs)
    same(wide_, [int(i.sum()) << 20])
    same(real, [N])


def local_arrays():
    a = RANDOM.integers(0, 2**31, N).astype(np.int32)

    def one(x):
        digits = []
        while x:
            digits.append(x % 3)
            x //= 3
        total = 0
        for digit in reversed(digits):
            total = (total * 5 + digit) & 0xFFFFFFFF
        return total

    same(launch("local_arrays", *blocks(), a, np.zeros_like(a), N)[1], np.array([one(int(x)) for x in a], np.uint32).view(np.int32))


def nbody():
    n, bodies = 300, np.abs(floats((300, 4)))
    x = bodies.astype(np.float64)
    d = x[None, :, :3] - x[:, None, :3]
    theirs = (x[None, :, 3] * d[..., 0] * ((d**2).sum(-1) + 0.01) ** -1.5).sum(1)
    near(launch("nbody", *blocks(n), bodies, np.zeros(n, np.float32), n)[1], theirs, 1e-4, 1e-3)


def vectors():
    a = floats((N, 4))
    same(launch("vectors", *blocks(), a, np.zeros_like(a), N)[1], np.ascontiguousarray(a[::-1, ::-1]))


def heap():
    same(launch("heap", (4,), (64,), np.zeros(256, np.int32))[0], 120 * np.arange(256))


def last_block():
    a = ints()
    count = blocks()[0][0]
    found = launch("last_block", *blocks(), a, np.zeros(count, np.int32), np.zeros(1, np.uint32), np.zeros(1, np.int32), N)
    same(found[3], [a.sum(dtype=np.int32)])


def load():
    global MODULE
    done(driver.cuInit(0))
    CONTEXT.append(done(driver.cuDevicePrimaryCtxRetain(0)))
    done(driver.cuCtxSetCurrent(CONTEXT[0]))
    MODULE = done(driver.cuModuleLoadData(ptx()))


MODULE, CONTEXT = None, []
check("compiled and loaded", load)
for work in (
    saxpy, matmul, reduce_shuffle, scan_block, histogram, bitonic, transpose, mandelbrot, integers, wide, dots, rounding,
    doubles, functions, fast, functions_d, halves, halves2, bfloats, conversions, votes, diverge, recursion, pointers, atomics,
    local_arrays, nbody, vectors, heap, last_block,
):  # fmt: skip
    check(work.__name__, work)
