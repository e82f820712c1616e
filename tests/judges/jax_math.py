"""JAX: jit, products, convolutions, FFT, linear algebra, random numbers, gradients, loops, vmap, callbacks, Pallas, donation."""
import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
import jax
import jax.numpy as jnp
import numpy
from judge import part, run


def seeded(*shape, seed=1, dtype="f"):
    return jnp.asarray(numpy.random.default_rng(seed).standard_normal(shape).astype(dtype))


@part
def device():
    found = jax.devices()[0]
    return {"kind": found.device_kind, "platform": found.platform, "count": jax.device_count()}


@part
def products():
    a, b = seeded(700, 500), seeded(500, 300, seed=2)
    return {"single": a @ b, "half": a.astype("bfloat16") @ b.astype("bfloat16") + 0.0 * (a @ b), "jit": jax.jit(lambda x, y: jax.nn.gelu(x @ y) + 1)(a, b), "batched": jnp.einsum("bij,bjk->bik", a[:640].reshape(10, 64, 500), jnp.broadcast_to(b, (10, 500, 300)))}


@part
def convolution():
    return jax.lax.conv(seeded(4, 8, 32, 32), seeded(16, 8, 3, 3, seed=2), (1, 1), "SAME")


@part
def fft():
    return {"fft": jnp.fft.fft(seeded(16, 1000)), "fft2": jnp.fft.fft2(seeded(4, 32, 48)), "irfft": jnp.fft.irfft(jnp.fft.rfft(seeded(8, 256)))}


@part
def linear():
    a = seeded(3, 40, 40)
    positive = a @ a.mT + 40 * jnp.eye(40)
    return {"cholesky": jnp.linalg.cholesky(positive), "solve": jnp.linalg.solve(positive, a), "eigh": jnp.linalg.eigvalsh(positive), "svd": jnp.linalg.svd(a, compute_uv=False), "qr": jnp.abs(jnp.linalg.qr(a)[1])}


@part
def random():
    key = jax.random.key(8)
    return {"normal": jax.random.normal(key, (1000,)), "uniform": jax.random.uniform(key, (1000,)), "permutation": jax.random.permutation(key, 1000), "categorical": jax.random.categorical(key, seeded(100))}


@part
def training():
    weights = [seeded(64, 128) / 8, seeded(128, 10, seed=2) / 11]
    x, y = seeded(256, 64, seed=3), seeded(256, 10, seed=4)

    def loss(w):
        return jnp.mean((jnp.tanh(x @ w[0]) @ w[1] - y) ** 2)

    step = jax.jit(lambda w: [a - 0.1 * b for a, b in zip(w, jax.grad(loss)(w))], donate_argnums=0)
    before = loss(weights)
    for _ in range(20):
        weights = step(weights)
    return {"before": before, "after": loss(weights), "weights": weights}


@part
def loops():
    def step(carry, x):
        return carry * 0.9 + x, carry.sum()

    kept, sums = jax.lax.scan(step, jnp.zeros(50), seeded(200, 50))
    root = jax.lax.while_loop(lambda s: s[1] < 30, lambda s: (s[0] - (s[0] ** 2 - 2) / (2 * s[0]), s[1] + 1), (jnp.float32(1), 0))
    return {"scan": kept, "sums": sums, "while": root[0], "cond": jax.lax.cond(sums[3] > 0, jnp.sin, jnp.cos, sums), "fori": jax.lax.fori_loop(0, 9, lambda i, v: v * 1.5 + i, seeded(5))}


@part
def vmap():
    return jax.vmap(lambda a, b: jnp.outer(a, b).sum(0))(seeded(30, 20), seeded(30, 40, seed=2))


@part
def sorting():
    a = seeded(50_000)
    return {"sort": jnp.sort(a), "argsort": jnp.argsort(a), "topk": jax.lax.top_k(a, 20)[0], "segment": jax.ops.segment_sum(a, (jnp.arange(50_000) * 7) % 50, 50), "cumsum": jnp.cumsum(jnp.arange(1000)), "histogram": jnp.histogram(a, 30)[0]}


@part
def callbacks():
    """Host functions inside a compiled program: they run in this process."""
    called = []

    def host(x):
        called.append(float(x[0]))
        return numpy.asarray(x) * 3

    work = jax.jit(lambda x: jax.pure_callback(host, jax.ShapeDtypeStruct((4,), jnp.float32), x + 1) - 1)
    return {"result": work(jnp.arange(4.0)), "called": str(called)}


@part
def attention():
    q, k, v = (seeded(2, 128, 4, 64, seed=n).astype("bfloat16") for n in (1, 2, 3))
    return {"xla": jax.nn.dot_product_attention(q, k, v, implementation="xla").astype("float32"), "cudnn": jax.nn.dot_product_attention(q, k, v, implementation="cudnn").astype("float32")}


@part
def pallas():
    from jax.experimental import pallas

    def add(x, y, out):
        out[...] = x[...] + y[...] * 2

    a = seeded(1024)
    return pallas.pallas_call(add, out_shape=jax.ShapeDtypeStruct(a.shape, a.dtype))(a, a)


@part
def double():
    jax.config.update("jax_enable_x64", True)
    try:
        a = seeded(200, 200, dtype="d")
        return {"product": a @ a, "inverse": jnp.linalg.inv(a)}
    finally:
        jax.config.update("jax_enable_x64", False)


@part
def memory():
    a = jax.device_put(numpy.arange(1 << 20, dtype="f"))
    kept = numpy.asarray(a * 2)
    a.delete()
    return {"back": kept, "stats": sorted(jax.devices()[0].memory_stats() or ())[:3]}


run()
