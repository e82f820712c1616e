"""torch.compile: Inductor's Triton kernels, with and without CUDA graphs and autotuning; and Triton kernels by hand."""
import torch
from judge import DEVICE, part, run
from models import gpt, resnet50


def seeded(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def curve(x, y):
    return (torch.sin(x) * y + x.softmax(-1)).relu().sum(-1), torch.nn.functional.gelu(x @ y.t())


@part
def pointwise():
    return torch.compile(curve)(seeded(512, 512), seeded(512, 512, seed=2))


@part
def pointwise_again_other_shape():
    return torch.compile(curve, dynamic=True)(seeded(300, 256), seeded(300, 256, seed=2))


@part
def backward():
    x, y = seeded(256, 256).requires_grad_(), seeded(256, 256, seed=2).requires_grad_()
    first, second = torch.compile(curve)(x, y)
    (first.sum() + second.square().sum()).backward()
    return {"x": x.grad, "y": y.grad}


@part
def gpt_small():
    model = gpt(words=1000, length=128, width=256, layers=2, heads=4).eval().to(DEVICE)
    tokens = torch.arange(64, device=DEVICE).view(2, 32)
    with torch.no_grad():
        return torch.compile(lambda t: model(t)[0])(tokens)


@part
def reduce_overhead():
    """CUDA graphs made by Inductor: three calls record, the fourth replays."""
    work = torch.compile(lambda x, y: (x * y + x).tanh().sum(-1), mode="reduce-overhead")
    for _ in range(4):
        out = work(seeded(256, 1024), seeded(256, 1024, seed=2)).clone()
    return out


@part
def max_autotune():
    """Which kernel wins depends on the run, and so do the last bits."""
    a, b = seeded(256, 384).half(), seeded(384, 128, seed=2).half()
    found = torch.compile(lambda x, y: (x @ y).relu(), mode="max-autotune-no-cudagraphs")(a, b)
    return bool((found.double() - (a.double() @ b.double()).relu()).abs().max() < 0.1)


@part
def convolution_network():
    model = resnet50().eval().to(DEVICE)[:5]
    with torch.no_grad():
        return torch.compile(model)(seeded(2, 3, 64, 64))


run()
