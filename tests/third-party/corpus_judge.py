"""Kernels that NVRTC compiles to PTX, launched by the driver API, against NumPy: corpus/kernels.cu for compute_75,
corpus/kernels_90.cu, with matrices and what later GPUs have, for compute_90.

Bit for bit, but where the ISA gives bounds only (functions, fast arithmetic, matrices of floats) and where the order of a
sum is free.

  --hashes      also prints a line `hash KERNEL SHA-256-OF-ITS-OUTPUT`, to compare devices with each other
  --keep DIR    writes the PTX there
  --ptx DIR     takes it from there instead of compiling
  --save DIR    writes each kernel's output there
"""
import argparse
import ctypes
import hashlib
import os
import pathlib

import numpy as np
from device import Module, call, compile_ptx, made
from verdict import Wrong, check

HERE = pathlib.Path(__file__).resolve().parent
N = 4099
SOURCES = {"kernels": "75", "kernels_90": "90"}


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", action="store_true")
    for name in ("keep", "ptx", "save"):
        parser.add_argument(f"--{name}", type=pathlib.Path)
    return parser.parse_args()


def ptx(name):
    if OPTIONS.ptx:
        return (OPTIONS.ptx / f"{name}.ptx").read_bytes()
    source = (HERE / "corpus" / f"{name}.cu").read_bytes()
    include = f"--include-path={os.environ['NVIDIA']}/include"
    text = compile_ptx(source, f"{name}.cu", [f"--gpu-architecture=compute_{SOURCES[name]}", include, f"{include}/cccl", "--std=c++17"])
    if OPTIONS.keep:
        (OPTIONS.keep / f"{name}.ptx").write_bytes(text)
    return text


def launch(name, grid, block, *arguments):
    """Arrays go to the device and all come back; numbers are passed as C has them."""
    memory, values = [], []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            at = ctypes.c_uint64(made(ctypes.c_uint64, "cuMemAlloc_v2", ctypes.c_size_t(argument.nbytes)))
            call("cuMemcpyHtoD_v2", at, ctypes.c_void_p(argument.ctypes.data), ctypes.c_size_t(argument.nbytes))
            memory.append((at, argument.copy()))
            values.append(at)
        else:
            values.append(ctypes.c_float(argument) if isinstance(argument, float) else ctypes.c_int(argument))
    MODULE.launch(name, grid, block, values)
    for at, array in memory:
        call("cuMemcpyDtoH_v2", ctypes.c_void_p(array.ctypes.data), at, ctypes.c_size_t(array.nbytes))
        call("cuMemFree_v2", at)
    results = [array for _, array in memory]
    bits = b"".join(array.tobytes() for array in results)
    MADE[name] = hashlib.sha256(bits).hexdigest()
    if OPTIONS.hashes:
        print("hash", name, MADE[name], flush=True)
    if OPTIONS.save:
        (OPTIONS.save / f"{name}.bin").write_bytes(bits)
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
    mixed.flat[::5] = RANDOM.integers(0, 100, mixed.flat[::5].size)
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


# Matrices. Fragments lie as in the PTX ISA; `lanes` and `quarters` are the row and column of a lane in a fragment.
LANES, QUARTERS = np.arange(32) // 4, np.arange(32) % 4


def registers_of(elements, bits):
    """Elements of a lane, low first, as 32-bit registers: shape (32, count) of unsigned integers to (32, registers)."""
    per = 32 // bits
    split = elements.astype(np.uint64).reshape(32, -1, per)
    return np.ascontiguousarray(sum(split[..., n] << np.uint64(bits * n) for n in range(per)).astype(np.uint32))


def fragment(matrix, rows, bits, side):
    """Elements (32, count) of A (m x k, side "a") or B (k x 8, side "b") that each lane holds."""
    per = max(1, 32 // bits)
    k = matrix.shape[1] if side == "a" else matrix.shape[0]
    columns = []
    for part in range(k // (4 * per)):
        for half in range(rows // 8 if side == "a" else 1):
            for element in range(per):
                at = per * QUARTERS + 4 * per * part + element
                columns.append(matrix[LANES + 8 * half, at] if side == "a" else matrix[at, LANES])
    return np.stack(columns, 1)


def sums_of(matrix):
    """Elements (32, m / 4) of C or D that each lane holds."""
    return np.stack([matrix[LANES + 8 * (n // 2), 2 * QUARTERS + n % 2] for n in range(matrix.shape[0] // 4)], 1)


def float8(bits, exponent, mantissa):
    """Values of 8-bit floats: e5m2 has infinities, e4m3 has one NaN on each side."""
    bits = np.asarray(bits).astype(np.int64)
    sign, power, rest = np.where(bits & 128, -1.0, 1.0), bits >> mantissa & (1 << exponent) - 1, bits & (1 << mantissa) - 1
    bias = (1 << exponent - 1) - 1
    value = np.where(power == 0, rest * 2.0 ** (1 - bias - mantissa), (1 + rest / 2.0**mantissa) * 2.0 ** (power - bias))
    if exponent == 5:
        value = np.where(power == 31, np.where(rest == 0, np.inf, np.nan), value)
    else:
        value = np.where(bits & 127 == 127, np.nan, value)
    return sign * value


def bfloat(values):
    bits = values.astype(np.float32).view(np.uint32)
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def elements(kind, shape):
    """Random elements: their bits, their values, their width."""
    if kind in ("f16", "bf16", "tf32"):
        values = floats(shape)
        if kind == "f16":
            half = values.astype(np.float16)
            return half.view(np.uint16).astype(np.uint32), half.astype(np.float64), 16
        bits = bfloat(values) if kind == "bf16" else values.view(np.uint32) & 0xFFFFE000
        return bits, (bits << 16 if kind == "bf16" else bits).astype(np.uint32).view(np.float32).astype(np.float64), 16 if kind == "bf16" else 32
    if kind == "f64":
        values = floats(shape, np.float64)
        return values, values, 64
    width = int(kind[1:]) if kind[0] in "su" else 8
    bits = RANDOM.integers(0, 1 << width, shape)
    if kind[0] == "e":
        # No NaN, no infinity, and nothing so large that sums lose all else.
        bits = bits & (0xAF if kind == "e4m3" else 0xBF)
        return bits, float8(bits, int(kind[1]), int(kind[3])), 8
    values = np.where(bits >> width - 1, bits - (1 << width), bits) if kind[0] == "s" else bits
    return bits, values.astype(np.float64), width


def product(name, m, k, a, b, c="f32", clamp=False):
    """One mma.sync: integers exactly; floats to half a unit of the largest sum of a row's magnitudes in 2^20 (for halves 2^10)."""

    def run_one():
        (bits_a, values_a, width), (bits_b, values_b, _) = elements(a, (m, k)), elements(b, (k, 8))
        if c == "s32":
            start = ints((m, 8)) if clamp else RANDOM.integers(-1000, 1000, (m, 8)).astype(np.int32)
        else:
            start = floats((m, 8), {"f16": np.float16, "f64": np.float64}.get(c, np.float32))
        pack = (lambda e: np.ascontiguousarray(e)) if width == 64 else lambda e: registers_of(e, width)
        left, right = pack(fragment(bits_a, m, width, "a")), pack(fragment(bits_b, 8, width, "b"))
        held = np.ascontiguousarray(sums_of(start))
        found = launch(name, (1,), (32,), left, right, held, np.zeros_like(held))[3]
        exact = start.astype(np.float64) + values_a @ values_b
        if c == "s32":
            exact = np.clip(exact, -(2**31), 2**31 - 1) if clamp else exact
            return same(found, sums_of(exact.astype(np.int64).astype(np.int32)))
        size = np.abs(start.astype(np.float64)) + np.abs(values_a) @ np.abs(values_b)
        near(found, sums_of(exact), 0, float(size.max()) * {"f16": 2.0**-10, "f64": 2.0**-50}.get(c, 2.0**-20))

    run_one.__name__ = name
    return run_one


PRODUCTS = [
    product("mma_f16_k8", 16, 8, "f16", "f16"), product("mma_f16_k16", 16, 16, "f16", "f16"),
    product("mma_f16_sums", 16, 16, "f16", "f16", "f16"), product("mma_bf16_k8", 16, 8, "bf16", "bf16"),
    product("mma_bf16_k16", 16, 16, "bf16", "bf16"), product("mma_tf32_k4", 16, 4, "tf32", "tf32"),
    product("mma_tf32_k8", 16, 8, "tf32", "tf32"), product("mma_e4m3_k32", 16, 32, "e4m3", "e4m3"),
    product("mma_e5m2_k32", 16, 32, "e5m2", "e4m3"), product("mma_s8_k16", 16, 16, "s8", "s8", "s32"),
    product("mma_s8_k32", 16, 32, "s8", "s8", "s32", True), product("mma_u8_k32", 16, 32, "u8", "s8", "s32"),
    product("mma_s4_k32", 16, 32, "s4", "s4", "s32"), product("mma_u4_k64", 16, 64, "u4", "s4", "s32"),
    product("mma_s8_m8", 8, 16, "s8", "u8", "s32"), product("mma_s4_m8", 8, 32, "s4", "u4", "s32"),
    product("mma_f64_m8", 8, 4, "f64", "f64", "f64"), product("mma_f64_k16", 16, 16, "f64", "f64", "f64"),
]  # fmt: skip


def volta(name, a_column, b_row):
    """Four products of 8 x 4 by 4 x 8, each of the lanes 4 q to 4 q + 3 and those 16 above."""

    def run_one():
        a, b, c = floats((4, 8, 4), np.float16), floats((4, 4, 8), np.float16), floats((4, 8, 8))
        left, right = np.zeros((32, 4), np.uint32), np.zeros((32, 4), np.uint32)
        held, wanted = np.zeros((32, 8), np.float32), np.zeros((32, 8))
        exact = c.astype(np.float64) + a.astype(np.float64) @ b.astype(np.float64)
        for lane in range(32):
            q, high, t = lane % 16 // 4, 4 * (lane // 16), lane % 4
            for i in range(4):
                left[lane, i] = (a[q, i + high, t] if a_column else a[q, t + high, i]).view(np.uint16)
                right[lane, i] = (b[q, t, i + high] if b_row else b[q, i, t + high]).view(np.uint16)
            for i in range(8):
                at = (q, (lane & 1) + (i & 2) + high, (i & 4) + (lane & 2) + (i & 1))
                held[lane, i], wanted[lane, i] = c[at], exact[at]
        found = launch(name, (1,), (32,), registers_of(left, 16), registers_of(right, 16), held, np.zeros_like(held))[3]
        near(found, wanted, 0, 1e-5)

    run_one.__name__ = name
    return run_one


def whole(name, m, n, k, kind, sums, a_column, b_row):
    """wmma of matrices in memory; D comes back by columns."""

    def run_one():
        def matrix(rows, columns):
            if kind in (np.int8, np.uint8):
                values = RANDOM.integers(np.iinfo(kind).min, np.iinfo(kind).max, (rows, columns), endpoint=True).astype(kind)
                return values, values.astype(np.float64)
            values = floats((rows, columns), np.float32 if kind in ("bf16", "tf32") else kind)
            if kind == "bf16":
                bits = bfloat(values)
                return bits.astype(np.uint16), (bits << 16).astype(np.uint32).view(np.float32).astype(np.float64)
            if kind == "tf32":
                values = (values.view(np.uint32) & 0xFFFFE000).view(np.float32)
            return values, values.astype(np.float64)

        (a, values_a), (b, values_b) = matrix(m, k), matrix(k, n)
        c = RANDOM.integers(-1000, 1000, (m, n)).astype(sums) if sums == np.int32 else floats((m, n), sums)
        order = lambda array, turned: np.ascontiguousarray(array.T if turned else array)  # noqa: E731
        found = launch(name, (1,), (32,), order(a, a_column), order(b, not b_row), c, np.zeros((n, m), sums))[3]
        exact = (c.astype(np.float64) + values_a @ values_b).T
        if sums == np.int32:
            return same(found, exact.astype(np.int64))
        near(found, exact, 0, 20 * {np.float16: 2.0**-10, np.float64: 2.0**-50}.get(sums, 2.0**-20))

    run_one.__name__ = name
    return run_one


WHOLE = [
    whole("wmma_f16", 16, 16, 16, np.float16, np.float32, False, False), whole("wmma_f16_tall", 32, 8, 16, np.float16, np.float32, True, True),
    whole("wmma_f16_wide", 8, 32, 16, np.float16, np.float16, False, True), whole("wmma_bf16", 16, 16, 16, "bf16", np.float32, False, False),
    whole("wmma_tf32", 16, 16, 8, "tf32", np.float32, False, True), whole("wmma_s8", 16, 16, 16, np.int8, np.int32, False, False),
    whole("wmma_u8_tall", 32, 8, 16, np.uint8, np.int32, True, False), whole("wmma_f64", 8, 8, 4, np.float64, np.float64, False, False),
]  # fmt: skip


def wmma_elements():
    a = RANDOM.integers(-8, 8, (16, 16)).astype(np.float16)
    _, d, count = launch("wmma_elements", (1,), (32,), a, np.zeros_like(a), np.zeros(1, np.float32))
    same(d, np.repeat(2 * a.sum(1, keepdims=True) + 0.5, 16, 1))
    same(count, [256])


def matrices():
    halves = RANDOM.integers(0, 1 << 16, (4, 8, 8)).astype(np.uint16)
    words = halves.reshape(-1).view(np.uint32)
    parts = [halves[n][LANES[:, None], 2 * QUARTERS[:, None] + np.arange(2)].copy().view(np.uint32)[:, 0] for n in range(4)]
    turned = halves[1].T[LANES[:, None], 2 * QUARTERS[:, None] + np.arange(2)].copy().view(np.uint32)[:, 0]
    stored = np.stack([halves[1].T, *(halves[n].T for n in (1, 2, 3))])
    wanted = np.concatenate([np.stack([*parts, turned], 1).reshape(-1), np.ascontiguousarray(stored).reshape(-1).view(np.uint32)])
    same(launch("matrices", (1,), (32,), words, np.zeros(288, np.uint32))[1], wanted)


def to_float8(values, exponent, mantissa):
    """The nearest, ties to even, clamped to the greatest finite; by looking through all."""
    bits = np.arange(256)
    known = float8(bits, exponent, mantissa)
    usable = bits[np.isfinite(known) & (bits < 128)]
    steps = known[usable]
    size = np.minimum(np.abs(values), steps[-1])
    low = np.clip(np.searchsorted(steps, size, "right") - 1, 0, len(steps) - 2)
    down, up = size - steps[low], steps[low + 1] - size
    pick = np.where((up < down) | ((up == down) & (low % 2 == 1)), low + 1, low)
    return usable[pick] | np.where(np.signbit(values), 128, 0)


def fp8():
    a = floats(2 * N, spread=60)
    a[::7] *= 1e-3
    a[::11] *= 1e3
    out, halves = launch("fp8", *blocks(), a, np.zeros((N, 4), np.uint16), np.zeros((N, 2), np.uint32), N)[1:]
    with np.errstate(over="ignore"):
        half = a.astype(np.float16).astype(np.float64)
    pair = lambda e: (e[::2] | e[1::2] << 8).astype(np.uint16)  # noqa: E731
    kinds = [(a.astype(np.float64), 4, 3), (a.astype(np.float64), 5, 2), (half, 4, 3), (half, 5, 2)]
    same(out, np.stack([pair(to_float8(*kind)) for kind in kinds], 1))
    back = [float8(to_float8(*kind), *kind[1:]).astype(np.float16).view(np.uint16).astype(np.uint32) for kind in kinds[:2]]
    same(halves, np.stack([b[::2] | b[1::2] << 16 for b in back], 1))


def fp8_all():
    halves = launch("fp8_all", (2,), (128,), np.zeros((256, 2), np.uint32))[0]
    for column, kind in enumerate(((4, 3), (5, 2))):
        wanted = float8(np.arange(256), *kind).astype(np.float16)
        for found in (halves[:, column] & 0xFFFF, halves[:, column] >> 16):
            found = found.astype(np.uint16).view(np.float16)
            same(found[~np.isnan(wanted)], wanted[~np.isnan(wanted)])
            if not np.isnan(found[np.isnan(wanted)]).all():
                raise Wrong("a NaN became a number")


def packs():
    a, b = ints(), ints()
    a[::3] %= 40000
    b[::4] %= 300
    clip = lambda v, low, high: np.clip(v.astype(np.int64), low, high)  # noqa: E731
    theirs = [
        (clip(a, -32768, 32767) & 0xFFFF) << 16 | clip(b, -32768, 32767) & 0xFFFF, clip(a, 0, 65535) << 16 | clip(b, 0, 65535),
        (0xABCD << 16) | (clip(a, -128, 127) & 255) << 8 | clip(b, -128, 127) & 255, (0xABCD << 16) | clip(a, 0, 255) << 8 | clip(b, 0, 255),
    ]  # fmt: skip
    same(launch("packs", *blocks(), a, b, np.zeros((N, 4), np.uint32), N)[2], np.stack(theirs, 1))


def signs():
    a, b = RANDOM.integers(0, 1 << 16, N).astype(np.uint16), RANDOM.integers(0, 1 << 16, N).astype(np.uint16)
    mine = launch("signs", *blocks(), a, b, np.zeros((N, 6), np.uint16), N)[2]
    sign = (a ^ b) & 0x8000
    nan = ((a & 0x7FFF) > 0x7C00) | ((b & 0x7FFF) > 0x7C00)
    small, large = np.minimum(a & 0x7FFF, b & 0x7FFF) | sign, np.maximum(a & 0x7FFF, b & 0x7FFF) | sign
    for column, theirs in ((0, small), (1, large), (2, large), (4, large), (5, large)):
        same(np.ascontiguousarray(mine[~nan, column]), theirs[~nan])
    nan = ((a & 0x7FFF) > 0x7F80) | ((b & 0x7FFF) > 0x7F80)
    same(np.ascontiguousarray(mine[~nan, 3]), small[~nan])


def tf32():
    a = floats(spread=1000)
    same(launch("tf32", *blocks(), a, np.zeros(N, np.uint32), N)[1] & 0xFFFFE000, a.view(np.uint32) + 0x1000 & 0xFFFFE000)


def redux():
    a = ints(64, np.uint32)
    rows = []
    for x in a.reshape(2, 32):
        s = x.view(np.int32)
        one = [x.sum(dtype=np.uint32), x.min(), x.max(), s.min(), s.max(), *(f.reduce(x) for f in (np.bitwise_and, np.bitwise_or, np.bitwise_xor))]
        rows += [[int(v) & 0xFFFFFFFF for v in one]] * 32
    same(launch("redux", (2,), (32,), a, np.zeros((64, 8), np.uint32))[1], rows)


def wide_atomics():
    pair, sums, last = launch("wide_atomics", (4,), (64,), np.zeros(2, np.uint64), np.zeros(6, np.float32), np.arange(4, dtype=np.uint64))
    same(pair, [256, 255 * 128])
    same(sums, [256, 512, 768, 128, 256, 255 * 128])
    same(last, [2, 3, 7, 9])


def copies():
    a = floats((512, 4))
    theirs = a.reshape(8, 64, 4)[:, ::-1].reshape(512, 4).copy()
    theirs[:, 0] += theirs[:, 1]
    same(launch("copies", (1,), (64,), a, np.zeros_like(a), 512)[1], theirs)


def mbarrier():
    a = RANDOM.integers(0, 1000, 640).astype(np.int32)
    same(launch("mbarrier", (1,), (128,), a, np.zeros(64, np.int32), 10)[1], a.reshape(10, 64).sum(0)[::-1])


def elect():
    found = launch("elect", (1,), (32,), np.zeros((32, 2), np.uint32))[0][3:]
    if len(set(found[:, 0])) != 1 or found[:, 1].sum() != 1 or found[found[0, 0] - 3, 1] != 1:
        raise Wrong(f"{found.tolist()}")


def approximations():
    """Bounds of the PTX ISA: ex2 2 units, lg2 2^-22 (relative 2 units), sin and cos 2^-20.5 inside [-pi, pi], tanh 2^-11, rcp and
    sqrt 1 and 2 units, div.full 2 units."""
    a = RANDOM.uniform(-3.1, 3.1, N).astype(np.float32)
    x, unit = a.astype(np.float64), 2.0**-23
    mine = launch("approximations", *blocks(), a, np.zeros((N, 8), np.float32), N)[1]
    bounds = [
        (2**x, 2 * unit, 0), (np.log2(np.abs(x)), 2 * unit, 2.0**-21.6), (np.sin(x), 0, 2.0**-20.5), (np.cos(x), 0, 2.0**-20.5),
        (np.tanh(x), 2.0**-10.9, 0), (1 / x, unit, 0), (np.sqrt(np.abs(x)), 2 * unit, 0), (x / (a + np.float32(3)).astype(np.float64), 2 * unit, 0),
    ]  # fmt: skip
    for column, (theirs, relative, absolute) in enumerate(bounds):
        near(mine[:, column], theirs, relative, absolute)


def vector_registers():
    a = ints((32, 4))
    a %= 1000
    same(launch("vector_registers", (1,), (32,), a, np.zeros(32, np.int32))[1], a[:, :3].sum(1) + 3 * a[:, 3])


def picked(words, bits, at, signed):
    """A field of each word, as a number."""
    field = words.astype(np.int64) >> at & ((1 << bits) - 1)
    return field - ((field >> (bits - 1) & 1) << bits) if signed else field


def video():
    """PTX ISA, Video Instructions: the rows are in the kernel's order."""
    n = 1024
    a, b, c = ints(n, np.uint32), ints(n, np.uint32), ints(n, np.uint32)

    def part(words, name, signed):
        if not name:
            return picked(words, 32, 0, signed)
        bits = 8 if name[0] == "b" else 16
        return picked(words, bits, bits * int(name[1]), signed)

    def work(name, x, y, how=None):
        return {
            "add": lambda: x + y, "sub": lambda: x - y, "absdiff": lambda: abs(x - y), "min": lambda: np.minimum(x, y), "max": lambda: np.maximum(x, y),
            "avrg": lambda: (x + y + (x + y >= 0)) >> 1, "set": lambda: getattr(np, {"lt": "less", "ge": "greater_equal", "ne": "not_equal",
            "gt": "greater", "le": "less_equal", "eq": "equal"}[how])(x, y).astype(np.int64),
        }[name]()  # fmt: skip

    def clamp(value, bits, signed):
        return np.clip(value, -(1 << bits - 1), (1 << bits - 1) - 1) if signed else np.clip(value, 0, (1 << bits) - 1)

    def merge(value, word, bits, at):
        mask = (1 << bits) - 1
        return word.astype(np.int64) & ~(mask << at) | (value & mask) << at

    def one(op, d, sx, sy, x="", y="", sat=False, second="", to="", how=None):
        value = work(op, part(a, x, sx), part(b, y, sy), how)
        if sat:
            value = clamp(value, 32, d)
        if to:
            bits = 8 if to[0] == "b" else 16
            return merge(value, c, bits, bits * int(to[1]))
        if second:
            low = picked(value & 0xFFFFFFFF, 32, 0, d)
            return work(second, low, picked(c, 32, 0, d))
        return value

    def many(op, lanes, d, s, sat=False, add=False, x="", y="", mask="", how=None):
        bits, plain = 32 // lanes, "".join(str(k) for k in reversed(range(2 * lanes)))
        x, y, mask = x or plain[lanes:], y or plain[:lanes], mask or plain[lanes:]
        element = lambda k: picked(a if k < lanes else b, bits, bits * (k % lanes), s)  # noqa: E731
        result = c.astype(np.int64)
        for k in sorted(int(digit) for digit in mask):
            value = work(op, element(int(x[lanes - 1 - k])), element(int(y[lanes - 1 - k])), how)
            value = clamp(value, bits, d) if sat else value
            result = result + value if add else merge(value, result, bits, bits * k)
        return result

    def shift(value, count):
        return value << count

    wrap, most = lambda v: v & 31, lambda v: np.minimum(v, 32)  # noqa: E731
    u32 = lambda v: picked(v, 32, 0, False)  # noqa: E731
    half = lambda w, k, s: picked(w, 16, 16 * k, s)  # noqa: E731
    rows = [
        one("add", 0, 0, 0), one("add", 1, 1, 0, sat=True), one("add", 0, 1, 1, "b1", "h1", sat=True), one("add", 1, 1, 1, "h0", "b3", second="add"),
        one("sub", 1, 0, 0, "b0", "b0", to="b2"), one("absdiff", 0, 1, 1),
        one("absdiff", 1, 0, 0, "h1", "h0", sat=True, second="max"), one("min", 1, 1, 1), one("max", 0, 0, 0, "b2", "b1", second="add"),
        one("set", 0, 1, 1, how="lt"), one("set", 0, 0, 0, "b0", "b1", second="add", how="ge"), one("set", 0, 0, 0, to="h0", how="ne"),
        shift(u32(a), most(part(b, "b0", False))), shift(u32(a), wrap(part(b, "b1", False))), picked(a, 32, 0, True) >> wrap(part(b, "b0", False)),
        (u32(a) >> most(part(b, "b3", False))) + u32(c), half(a, 0, True) * half(b, 1, True) + picked(c, 32, 0, True),
        many("add", 2, 0, 0), many("add", 2, 1, 1, sat=True), many("sub", 2, 1, 1, add=True), many("avrg", 2, 1, 1), many("absdiff", 2, 0, 0, add=True),
        many("min", 2, 1, 1, mask="1"), many("max", 2, 0, 0, x="03", y="21"), many("set", 2, 0, 1, how="gt"),
        many("add", 4, 0, 0, sat=True), many("add", 4, 1, 1, add=True), many("sub", 4, 1, 1, sat=True), many("avrg", 4, 0, 0), many("avrg", 4, 1, 1),
        many("absdiff", 4, 0, 0), many("absdiff", 4, 1, 1, add=True), many("min", 4, 0, 0, mask="20"), many("max", 4, 1, 1, x="7531", y="0246"),
        many("set", 4, 0, 0, how="le"), many("set", 4, 0, 1, add=True, mask="310", how="eq"),
    ]  # fmt: skip
    mine = launch("video", *blocks(n), a, b, c, np.zeros((n, len(rows)), np.uint32), n)[3]
    for number, row in enumerate(rows):
        try:
            same(np.ascontiguousarray(mine[:, number]), row & 0xFFFFFFFF)
        except Wrong as wrong:
            raise Wrong(f"row {number}: {wrong}") from None


def switches():
    a = ints()
    v, w = a.astype(np.int64), a.view(np.uint32).astype(np.int64)
    bits = np.array([bin(int(x)).count("1") for x in w])
    zeros = np.array([32 - int(x).bit_length() for x in w])
    ways = [np.trunc(v / 3), v * 7, v ^ 0x55, (v << 3) + 17, 18 + 0 * v, bits, zeros, np.fmod(v, 11), 99 + 0 * v, -v, v >> 2, v | 0x100, v & 0xFF0, ~v,
            99 + 0 * v, 99 + 0 * v]  # fmt: skip
    theirs = np.choose(w & 15, [way.astype(np.int64) & 0xFFFFFFFF for way in ways])
    same(launch("switches", *blocks(), a, np.zeros_like(a), N)[1].view(np.uint32), theirs)


def lanes():
    n = 512
    a, keys = floats(n), RANDOM.integers(0, 9, n, dtype=np.int32)
    v, lane = a.reshape(-1, 32).copy(), np.arange(32)

    def taken(v, way, by, width=32):
        segment, inside = lane & ~(width - 1), lane & (width - 1)
        to = {"down": inside + by, "up": inside - by, "xor": inside ^ by, "to": 0 * inside + by % width}[way]
        return v[:, np.where((to >= 0) & (to < width), segment + to, lane)]

    v = v + taken(v, "down", 16)
    v = fused(np.full_like(v, 0.5), v, taken(v, "up", 3))
    v = v - taken(v, "xor", 8)
    v = fused(np.full_like(v, 0.25), v, taken(v, "xor", 1))
    v = v + taken(v, "down", 2, 8)
    v = fused(np.full_like(v, -0.5), taken(v, "to", 5, 16), v)
    v = v + taken(v, "up", 4, 16)
    v = fused(np.full_like(v, 0.5), v, taken(v, "down", 1))
    rows = keys.reshape(-1, 32)
    bit = 1 << lane.astype(np.int64)
    any_ = ((rows[:, :, None] == rows[:, None, :]) * bit).sum(2)
    odd = ((rows & 1) * bit).sum(1)[:, None] * (rows & 1)
    every = np.full_like(any_, 0xFFFFFFFF)
    mine = launch("lanes", *blocks(n), a, keys, np.zeros_like(a), np.zeros((n, 4), np.uint32), n)
    same(mine[2], v.ravel())
    same(mine[3], np.stack([any_, every, odd, np.ones_like(any_)], 2).reshape(n, 4))


def tiles():
    n, first = 61 * 64, 41
    a = floats(n)
    v = a.reshape(-1, 64).copy()
    s = [v.copy(), 2 * v, np.concatenate([v * v, np.zeros((61, 32), np.float32)], 1)]
    w = np.zeros_like(v)
    for turn in range(3):
        w[:, :first] = fused(s[0], np.repeat(s[1][:, 3:4], 64, 1), s[2][:, turn : turn + 64])[:, :first] - v[:, :first]
        s[1] = w + s[0][:, 7:8]
        v[:, 16:] = fused(s[1], np.full_like(v, 0.125), v)[:, 16:]
    same(launch("tiles", (61,), (64,), a, np.zeros_like(a), first, n)[1], (v + w).ravel())


def recorded():
    """Kernel -> SHA-256 of an H200's output, of those whose bits the ISA promises."""
    lines = (HERE / "expected" / "corpus-h200.txt").read_text().splitlines()
    words = [line.split() for line in lines if not line.startswith("#")]
    return {line[0]: line[1] for line in words if len(line) == 2}


def alike(name):
    if MADE.get(name) != H200[name]:
        raise Wrong("not the bits that an H200 gave")


def load(name):
    def run_one():
        global MODULE
        MODULE = Module(ptx(name))

    return run_one


def judge(name, works):
    check(f"{name}.cu: compiled and loaded", load(name))
    for work in works:
        global RANDOM
        RANDOM = np.random.default_rng(7)
        check(work.__name__, work)
        if work.__name__ in H200:
            check(f"{work.__name__}: the bits of an H200", alike, work.__name__)


OPTIONS, MODULE, RANDOM, MADE, H200 = options(), None, None, {}, recorded()
judge("kernels", [
    saxpy, matmul, reduce_shuffle, scan_block, histogram, bitonic, transpose, mandelbrot, integers, wide, dots, rounding,
    doubles, functions, fast, functions_d, halves, halves2, bfloats, conversions, votes, diverge, recursion, pointers, atomics,
    local_arrays, nbody, vectors, heap, last_block, video, switches, lanes, tiles,
])  # fmt: skip
judge("kernels_90", [
    *PRODUCTS, volta("mma_volta_rc", False, False), volta("mma_volta_cr", True, True), *WHOLE, wmma_elements, matrices, fp8, fp8_all,
    packs, signs, tf32, redux, wide_atomics, copies, mbarrier, elect, approximations, vector_registers,
])  # fmt: skip
