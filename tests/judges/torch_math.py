"""PyTorch's arithmetic: cuBLAS and cuBLASLt in all widths, cuDNN, cuFFT, cuSOLVER, cuSPARSE, cuRAND, and its own kernels."""
import torch
from judge import DEVICE, Skipped, part, run


def seeded(*shape, dtype=torch.float32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float32).to(DEVICE, dtype)


def product(dtype, size=1024):
    a, b = seeded(size, size, dtype=dtype, seed=1), seeded(size, size, dtype=dtype, seed=2)
    odd = a[: size - 3, : size - 5] @ b[: size - 5, : size - 7]
    return {"square": a @ b, "odd": odd, "batched": torch.bmm(a.view(16, -1, size), b.view(16, size, -1)), "bias": torch.addmm(b[0], a, b)}


@part
def device():
    if DEVICE == "cpu":
        raise Skipped("no GPU")
    found = torch.cuda.get_device_properties(0)
    return {
        "name": found.name, "capability": f"{found.major}.{found.minor}", "processors": found.multi_processor_count,
        "memory": found.total_memory, "l2": found.L2_cache_size, "uuid": str(found.uuid), "count": torch.cuda.device_count(),
        "arch_list": " ".join(torch.cuda.get_arch_list()), "cudnn": torch.backends.cudnn.version(),
    }  # fmt: skip


@part
def gemm_fp32():
    return product(torch.float32)


@part
def gemm_tf32():
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return product(torch.float32)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


@part
def gemm_fp64():
    return product(torch.float64, 512)


@part
def gemm_fp16():
    return product(torch.float16)


@part
def gemm_bf16():
    return product(torch.bfloat16)


@part
def gemm_int8():
    a = torch.randint(-9, 9, (256, 512), generator=torch.Generator().manual_seed(1)).to(DEVICE, torch.int8)
    return torch._int_mm(a, a.t().contiguous()[:, :256])


@part
def gemm_complex():
    a = torch.complex(seeded(300, 300, seed=1), seeded(300, 300, seed=2))
    return a @ a.mH


@part
def gemm_fp8():
    found = {}
    for name, kind in (("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)):
        a = seeded(512, 1024, seed=1).to(kind)
        b = seeded(256, 1024, seed=2).to(torch.float8_e4m3fn).t()
        one = torch.tensor(0.5, device=DEVICE)
        found[name] = torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    rows = torch.full((512, 1), 0.25, device=DEVICE)
    columns = torch.full((1, 256), 2.0, device=DEVICE)
    found["rowwise"] = torch._scaled_mm(
        seeded(512, 1024, seed=3).to(torch.float8_e4m3fn), b, scale_a=rows, scale_b=columns, out_dtype=torch.bfloat16
    )
    return found


@part
def convolution():
    image, kernel = seeded(8, 32, 64, 64, seed=1), seeded(64, 32, 3, 3, seed=2)
    found = {}
    for name, dtype in (("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)):
        found[name] = torch.conv2d(image.to(dtype), kernel.to(dtype), padding=1)
    found["channels_last"] = torch.conv2d(
        image.half().contiguous(memory_format=torch.channels_last), kernel.half().contiguous(memory_format=torch.channels_last)
    )
    found["strided"] = torch.conv2d(image, kernel, stride=2)
    found["transposed"] = torch.conv_transpose2d(image, seeded(32, 16, 4, 4, seed=3), stride=2)
    found["volume"] = torch.conv3d(seeded(2, 4, 16, 16, 16, seed=4), seeded(8, 4, 3, 3, 3, seed=5))
    found["depthwise"] = torch.conv2d(image, seeded(32, 1, 5, 5, seed=6), groups=32)
    return found


@part
def convolution_benchmark():
    """cuDNN tries its algorithms and takes the fastest: which that is depends on the run, and so do the last bits."""
    image, kernel = seeded(4, 16, 32, 32, seed=1), seeded(16, 16, 3, 3, seed=2)
    exact = torch.conv2d(image.double(), kernel.double(), padding=1)
    torch.backends.cudnn.benchmark = True
    try:
        found = torch.conv2d(image, kernel, padding=1)
    finally:
        torch.backends.cudnn.benchmark = False
    # Some of them compute in TF32.
    return bool((found - exact).abs().max() < 0.1)


@part
def recurrent():
    torch.manual_seed(5)
    lstm = torch.nn.LSTM(64, 96, num_layers=2, batch_first=True, bidirectional=True).to(DEVICE)
    gru = torch.nn.GRU(64, 96, batch_first=True).to(DEVICE)
    lines = seeded(4, 20, 64)
    with torch.no_grad():
        return {"lstm": lstm(lines)[0], "gru": gru(lines)[0]}


@part
def norms():
    a = seeded(16, 64, 32, 32)
    f = torch.nn.functional
    return {
        "batch": f.batch_norm(a, None, None, training=True), "layer": f.layer_norm(a, (32, 32)), "group": f.group_norm(a, 8),
        "rms": f.rms_norm(a, (32,)), "softmax": a.softmax(-1), "pool": f.max_pool2d(a, 3), "mean": f.adaptive_avg_pool2d(a, 5),
    }  # fmt: skip


@part
def fft():
    line = seeded(64, 1000)
    box = torch.complex(seeded(8, 48, 60, seed=1), seeded(8, 48, 60, seed=2))
    return {
        "c2c": torch.fft.fft(box), "c2c2d": torch.fft.fft2(box), "c2c3d": torch.fft.fftn(box), "r2c": torch.fft.rfft(line),
        "c2r": torch.fft.irfft(torch.fft.rfft(line)), "double": torch.fft.fft(box.to(torch.complex128)),
        "half": torch.fft.irfft(torch.fft.rfft(seeded(16, 256).half())), "prime": torch.fft.fft(line[:, :997]), "stft": torch.stft(line, 128, window=torch.ones(128, device=DEVICE), return_complex=True),
    }  # fmt: skip


@part
def solver():
    a = seeded(4, 60, 60).double()
    positive = a @ a.mT + 60 * torch.eye(60, device=DEVICE, dtype=torch.float64)
    values, _ = torch.linalg.eigh(positive)
    single = positive[0].float()
    return {
        "cholesky": torch.linalg.cholesky(positive), "lu": torch.linalg.lu_factor(a)[0], "solve": torch.linalg.solve(positive, a),
        "eigh": values, "svd": torch.linalg.svdvals(a), "qr": torch.linalg.qr(a)[1].abs(), "inverse": torch.linalg.inv(positive),
        "determinant": torch.linalg.det(single), "least_squares": torch.linalg.lstsq(a, a).solution, "eig": torch.linalg.eigvals(single).abs().sort()[0],
        "triangular": torch.linalg.solve_triangular(positive.tril(), a, upper=False), "large": torch.linalg.cholesky(seeded(1024, 1024) / 100 + 20 * torch.eye(1024, device=DEVICE)),
    }  # fmt: skip


@part
def solver_magma_free():
    before = torch.backends.cuda.preferred_linalg_library()
    torch.backends.cuda.preferred_linalg_library("cusolver")
    try:
        a = seeded(200, 200)
        return {"svd": torch.linalg.svdvals(a), "lu": torch.linalg.lu_factor(a)[0]}
    finally:
        torch.backends.cuda.preferred_linalg_library(before)


@part
def sparse():
    dense = seeded(400, 400)
    dense[dense.abs() < 1.5] = 0
    other = seeded(400, 64, seed=2)
    csr, coo = dense.to_sparse_csr(), dense.to_sparse()
    return {
        "csr": csr @ other, "coo": torch.sparse.mm(coo, other), "vector": csr @ other[:, 0], "sparse_sparse": (csr @ csr).to_dense(),
        "sampled": torch.sparse.sampled_addmm(csr, other, other.t().contiguous()).to_dense(), "csc": dense.to_sparse_csc().to_dense(),
        "bsr": dense.to_sparse_bsr(20).to_dense(),
    }  # fmt: skip


@part
def semi_structured():
    if DEVICE == "cpu":
        raise Skipped("no GPU")
    a = seeded(128, 256, dtype=torch.float16)
    mask = torch.tensor([0, 0, 1, 1], device=DEVICE, dtype=torch.bool).tile(128, 64)
    sparse_a = torch.sparse.to_sparse_semi_structured(a * mask)
    return torch.mm(sparse_a, seeded(256, 128, dtype=torch.float16, seed=3))


@part
def random():
    torch.manual_seed(11)
    a = torch.rand(1000, device=DEVICE)
    return {
        "uniform": a, "normal": torch.randn(1000, device=DEVICE), "integers": torch.randint(0, 99, (1000,), device=DEVICE),
        "permutation": torch.randperm(5000, device=DEVICE), "dropout": torch.dropout(a, 0.5, True), "multinomial": torch.multinomial(a, 50),
        "exponential": torch.empty(100, device=DEVICE).exponential_(), "poisson": torch.poisson(a * 9), "bernoulli": torch.bernoulli(a),
    }  # fmt: skip


@part
def ordering():
    a = seeded(300_000)
    keys = (a * 100).int()
    return {
        "sort": a.sort()[0], "stable": keys.sort(stable=True)[1], "topk": a.topk(100)[0], "unique": keys.unique(), "cumsum": keys.cumsum(0),
        "histogram": torch.histc(a, 50), "nonzero": (keys > 150).nonzero(), "scatter": torch.zeros(500, device=DEVICE, dtype=torch.long).scatter_add_(0, (keys.long() % 500), keys.long()),
        "searched": torch.searchsorted(a.sort()[0], a[:1000]), "median": a.median(), "mode": keys[:5000].mode()[0],
    }  # fmt: skip


@part
def special():
    a = seeded(20_000)
    p = a.abs() + 0.1
    # Some of these are compiled at run time, by NVRTC.
    names = ("bessel_j0", "bessel_y1", "digamma", "erfcx", "gammaln", "i0e", "i1", "log_ndtr", "modified_bessel_k0", "ndtri", "spherical_bessel_j0", "zeta")
    found = {}
    for name in names:
        function = getattr(torch.special, name)
        found[name] = function(p + 1, p) if name == "zeta" else function(p / 10 if name == "ndtri" else p)
    return found


@part
def copies():
    a = seeded(1 << 22)
    pinned = torch.empty(1 << 22, pin_memory=DEVICE != "cpu")
    pinned.copy_(a, non_blocking=True)
    if DEVICE != "cpu":
        torch.cuda.synchronize()
    back = pinned.to(DEVICE, non_blocking=True)
    return {
        "pinned": pinned.clone(), "back": back * 2, "strided": a.view(2048, 2048)[::3, ::5].cpu(), "transposed": a.view(2048, 2048).t().cpu().contiguous(),
        "bytes": a.view(torch.uint8)[1:1001].cpu(), "item": a[12345].item(), "list": str(a[:3].tolist()),
    }  # fmt: skip


@part
def errors():
    """What a program sees that asks for what cannot be."""
    found = {}
    for name, work in (
        ("index", lambda: seeded(4)[9]), ("shapes", lambda: seeded(4, 4) @ seeded(5, 5)),
        ("singular", lambda: torch.linalg.inv(torch.zeros(3, 3, device=DEVICE))), ("memory", lambda: torch.empty(1 << 48, device=DEVICE)),
    ):  # fmt: skip
        try:
            work()
            found[name] = "no error"
        except (RuntimeError, IndexError) as error:
            found[name] = f"{type(error).__name__} {str(error).split('.')[0].split(chr(10))[0][:120]}"
    return found


run()
