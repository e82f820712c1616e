"""Triton: its launcher and compiler on kernels of its own: sums, products, softmax, atomics, autotuning, descriptors (TMA)."""
import torch
import triton
import triton.language as tl
from judge import part, run


def seeded(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to("cuda", dtype)


@triton.jit
def add_kernel(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, mask=at < n) + tl.load(y + at, mask=at < n), mask=at < n)


@triton.jit
def softmax_kernel(x, out, columns, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    values = tl.load(x + row * columns + at, mask=at < columns, other=float("-inf"))
    values = tl.exp(values - tl.max(values, 0))
    tl.store(out + row * columns + at, values / tl.sum(values, 0), mask=at < columns)


@triton.jit
def product_kernel(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rows, columns, inner = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BN + tl.arange(0, BN), tl.arange(0, BK)
    total = tl.zeros((BM, BN), tl.float32)
    for step in range(0, K, BK):
        left = tl.load(a + rows[:, None] * K + (step + inner)[None, :])
        right = tl.load(b + (step + inner)[:, None] * N + columns[None, :])
        total += tl.dot(left, right)
    tl.store(c + rows[:, None] * N + columns[None, :], total.to(tl.float16))


@triton.jit
def count_kernel(x, bins, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(bins + tl.load(x + at), 1)


@triton.autotune(configs=[triton.Config({"BLOCK": size}, num_warps=warps) for size in (256, 1024) for warps in (2, 4)], key=["n"])
@triton.jit
def tuned_kernel(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.sin(tl.load(x + at, mask=at < n)), mask=at < n)


@triton.jit
def tile_kernel(source, target, BM: tl.constexpr, BN: tl.constexpr):
    at = [tl.program_id(0) * BM, tl.program_id(1) * BN]
    target.store(at, source.load(at) * 2)


@part
def add():
    x, y = seeded(100_000), seeded(100_000, seed=2)
    out = torch.empty_like(x)
    add_kernel[(triton.cdiv(100_000, 1024),)](x, y, out, 100_000, BLOCK=1024)
    return out


@part
def softmax():
    x = seeded(300, 781)
    out = torch.empty_like(x)
    softmax_kernel[(300,)](x, out, 781, BLOCK=1024)
    return out


@part
def product():
    a, b = seeded(512, 256, dtype=torch.float16), seeded(256, 384, seed=2, dtype=torch.float16)
    c = torch.empty(512, 384, device="cuda", dtype=torch.float16)
    product_kernel[(4, 3)](a, b, c, 512, 384, 256, BM=128, BN=128, BK=64)
    return c


@part
def atomics():
    x = (torch.arange(1 << 16, device="cuda") * 13) % 100
    bins = torch.zeros(100, device="cuda", dtype=torch.int32)
    count_kernel[(64,)](x, bins, BLOCK=1024)
    return bins


@part
def autotune():
    x = seeded(200_000)
    out = torch.empty_like(x)
    tuned_kernel[lambda meta: (triton.cdiv(200_000, meta["BLOCK"]),)](x, out, 200_000)
    return out


@part
def descriptors():
    from triton.tools.tensor_descriptor import TensorDescriptor

    x = seeded(256, 256)
    out = torch.empty_like(x)
    source, target = (TensorDescriptor.from_tensor(one, [64, 64]) for one in (x, out))
    tile_kernel[(4, 4)](source, target, BM=64, BN=64)
    return out


run()
