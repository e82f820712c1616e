"""tinygrad with DEV=CUDA:PTX: it writes PTX of its own, and loads it by the driver API. Against NumPy."""
import os
import shutil

os.environ["DEV"] = "CUDA:PTX"
# What it keeps between runs must not hide what it compiles now; its helpers on the CPU want clang.
os.environ.update(CACHELEVEL="0", HOME=os.getcwd(), CC=shutil.which("clang-15") or shutil.which("clang") or "gcc")

import numpy as np  # noqa: E402
from tinygrad import Context, Device, Tensor, dtypes, nn  # noqa: E402
from verdict import Wrong, check  # noqa: E402

RANDOM = np.random.default_rng(1)


def floats(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def near(mine, theirs, most=1e-4):
    mine = mine.numpy() if isinstance(mine, Tensor) else mine
    if mine.shape != theirs.shape or not np.allclose(mine, theirs, rtol=most, atol=most):
        raise Wrong(f"differs by up to {np.abs(mine.astype(float) - theirs).max() if mine.shape == theirs.shape else mine.shape}")


def same(mine, theirs):
    if not np.array_equal(mine.numpy(), theirs):
        raise Wrong("not the same")


def device():
    if Device.DEFAULT != "CUDA":
        raise Wrong(f"the device is {Device.DEFAULT}")


def matmul(n, k, m):
    a, b = floats(n, k), floats(k, m)
    near(Tensor(a) @ Tensor(b), a @ b)


def half():
    a, b = floats(64, 64).astype(np.float16), floats(64, 64).astype(np.float16)
    near(Tensor(a) @ Tensor(b), (a.astype(np.float32) @ b.astype(np.float32)).astype(np.float16), 2e-2)


def reductions():
    a = floats(37, 1000)
    near(Tensor(a).sum(axis=1), a.sum(axis=1), 1e-3)
    near(Tensor(a).max(axis=0), a.max(axis=0))
    near(Tensor(a).var(), a.var(ddof=1))
    same(Tensor(a).argmax(axis=1), a.argmax(axis=1))


def elementwise():
    a = floats(10_000)
    for mine, theirs in (("exp", np.exp), ("sin", np.sin), ("sqrt", np.sqrt), ("log2", np.log2), ("tanh", np.tanh)):
        x = np.abs(a) + 0.1
        near(getattr(Tensor(x), mine)(), theirs(x))


def integers():
    a, b = (RANDOM.integers(1, 1000, 5000).astype(np.int32) for _ in range(2))
    same(Tensor(a) // Tensor(b), a // b)
    same(Tensor(a) % Tensor(b), a % b)
    same(Tensor(a) ^ (Tensor(b) << 3), a ^ (b << 3))
    same(Tensor(a).cast(dtypes.uint8), a.astype(np.uint8))
    same(Tensor(a).cumsum(), a.cumsum(dtype=np.int32))


def convolution():
    x, w = floats(2, 3, 20, 20), floats(8, 3, 3, 3)
    theirs = np.zeros((2, 8, 18, 18), np.float32)
    for i in range(3):
        for j in range(3):
            theirs += np.einsum("nchw,oc->nohw", x[:, :, i : i + 18, j : j + 18], w[:, :, i, j])
    near(Tensor(x).conv2d(Tensor(w)), theirs, 1e-3)


def softmax():
    a = floats(16, 300)
    e = np.exp(a - a.max(1, keepdims=True))
    near(Tensor(a).softmax(), e / e.sum(1, keepdims=True))


def attention():
    q, k, v = floats(2, 4, 32, 16), floats(2, 4, 32, 16), floats(2, 4, 32, 16)
    s = q @ k.transpose(0, 1, 3, 2) / 4
    e = np.exp(s - s.max(-1, keepdims=True))
    near(Tensor(q).scaled_dot_product_attention(Tensor(k), Tensor(v)), e / e.sum(-1, keepdims=True) @ v, 1e-3)


def indexing():
    a, at = floats(500, 8), RANDOM.integers(0, 500, 100).astype(np.int32)
    same(Tensor(a)[Tensor(at)], a[at])
    same(Tensor(a).sort(dim=0)[0], np.sort(a, 0))


def training():
    """A small network learns XOR of two bits among eight; the loss must fall as NumPy's random start makes it."""
    bits = RANDOM.integers(0, 2, (256, 8)).astype(np.float32)
    want = Tensor((bits[:, 0] != bits[:, 1]).astype(np.int32))
    first, second = nn.Linear(8, 32), nn.Linear(32, 2)
    optimizer = nn.optim.Adam([first.weight, first.bias, second.weight, second.bias], lr=0.03)
    losses = []
    with Context(TRAINING=1):
        for _ in range(60):
            optimizer.zero_grad()
            loss = second(first(Tensor(bits)).relu()).sparse_categorical_crossentropy(want).backward()
            optimizer.step()
            losses.append(loss.item())
    if not losses[-1] < 0.1 * losses[0]:
        raise Wrong(f"the loss went from {losses[0]:.3f} to {losses[-1]:.3f}")
    return f"loss {losses[0]:.3f} to {losses[-1]:.3f}"


check("device", device)
for shape in ((64, 64, 64), (128, 300, 7), (1, 1000, 1)):
    check(f"matmul {shape[0]}x{shape[1]}x{shape[2]}", matmul, *shape)
for name, work in (
    ("matmul of halves", half), ("reductions", reductions), ("elementwise", elementwise), ("integers", integers),
    ("convolution", convolution), ("softmax", softmax), ("attention", attention), ("indexing and sorting", indexing),
    ("training", training),
):  # fmt: skip
    check(name, work)
