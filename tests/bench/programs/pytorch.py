"""Figures of PyTorch programs as JSON, an object a program: pytorch.py [--seconds S] NAME..., or --serve FOLDER.

The models are written here in plain PyTorch with random weights, so nothing is fetched. Times are medians of single steps in
milliseconds, each waited for; rates are of whole runs.
"""
import statistics
import time

import served
import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH_RESNET, BATCH_GPT, TOKENS = 16, 4, 512
LOAD_BYTES = 3 << 30


class Bottleneck(nn.Module):
    def __init__(self, inner, outer, stride, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, outer, 1, bias=False), nn.BatchNorm2d(outer),
        )
        same = stride == 1 and inner == outer
        self.short = nn.Identity() if same else nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x):
        return F.relu(self.layers(x) + self.short(x), inplace=True)


def resnet50():
    layers, inner = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)], 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            layers.append(Bottleneck(inner, width * 4, stride if number == 0 else 1, width))
            inner = width * 4
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)).cuda()


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, past=None):
        batch, length, width = x.shape
        q, k, v = (t.view(batch, length, self.heads, -1).transpose(1, 2) for t in self.attend(self.first(x)).chunk(3, -1))
        if past is not None:
            k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.second(x)), approximate="tanh")), (k, v)


class Gpt2(nn.Module):
    """124 million parameters."""

    def __init__(self, words=50257, width=768, depth=12, heads=12, most=1024):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(most, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.last = nn.LayerNorm(width)

    def forward(self, tokens, past=None):
        begin = 0 if past is None else past[0][0].shape[2]
        x = self.words(tokens) + self.places(torch.arange(begin, begin + tokens.shape[1], device=tokens.device))
        kept = []
        for number, block in enumerate(self.blocks):
            x, state = block(x, None if past is None else past[number])
            kept.append(state)
        return F.linear(self.last(x), self.words.weight), kept


# A guest's clock may be a system call of 10 us: steps in groups of so many seconds lie between two readings.
GROUP = 0.005


def timed(label, step):
    """Measures the median of a step that ends with waiting, in ms: of groups of steps, each step waited for."""

    def steps(count):
        begin = time.perf_counter()
        for _ in range(count):
            step()
            torch.cuda.synchronize()
        return (time.perf_counter() - begin) / count

    def measure(seconds):
        steps(5)
        count = max(1, round(GROUP / steps(5)))
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 5:
            times.append(steps(count))
        return {label: statistics.median(times) * 1000}

    return measure


def inferring(model, x):
    """A step of inference."""

    @torch.inference_mode()
    def step():
        model(x)

    return step


def resnet():
    return timed("ResNet50 fp32, 1 picture, ms", inferring(resnet50().eval(), torch.randn(1, 3, 224, 224, device="cuda")))


def resnet_training():
    model, x = resnet50(), torch.randn(BATCH_RESNET, 3, 224, 224, device="cuda")
    labels, optimiser = torch.randint(1000, (BATCH_RESNET,), device="cuda"), torch.optim.SGD(model.parameters(), 0.01, 0.9)

    def step():
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), labels).backward()
        optimiser.step()

    return timed(f"ResNet50 training, {BATCH_RESNET} pictures, ms", step)


def gpt2_decode():
    model = Gpt2().cuda().half().eval()

    @torch.inference_mode()
    def run(count):
        tokens, past = torch.randint(50257, (1, 32), device="cuda"), None
        for _ in range(count):
            logits, past = model(tokens, past)
            tokens = logits[:, -1:].argmax(-1)
            tokens[0, 0].item()

    def measure(seconds):
        run(8)
        begin, count = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            run(64)
            count += 64
        return {"GPT-2 fp16 eager decode, tokens/s": count / (time.perf_counter() - begin)}

    return measure


def gpt2_training():
    model = Gpt2().cuda()
    tokens = torch.randint(50257, (BATCH_GPT, TOKENS), device="cuda")
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4)

    def step():
        optimiser.zero_grad(set_to_none=True)
        logits, _ = model(tokens)
        F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimiser.step()

    return timed(f"GPT-2 fp32 training, {BATCH_GPT} x {TOKENS} tokens, ms", step)


def compiled():
    model = torch.compile(Gpt2(depth=4).cuda().half().eval())
    return timed("compiled model of 4 blocks, ms", inferring(model, torch.randint(50257, (1, 128), device="cuda")))


def graph():
    model, tokens = Gpt2().cuda().half().eval(), torch.randint(50257, (1, 128), device="cuda")
    with torch.inference_mode():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                model(tokens)
        torch.cuda.synchronize()
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded):
            model(tokens)
    # The step keeps what the recording refers to.
    return timed("graph replay of GPT-2, ms", lambda kept=(model, tokens): recorded.replay())


def small_copies():
    host, device = torch.zeros(256), torch.zeros(256, device="cuda")

    def step():
        for _ in range(100):
            device.copy_(host, non_blocking=True)

    return timed("100 copies of 1 KiB to the device, ms", step)


def load():
    def measure(seconds):
        del seconds
        host = torch.empty(LOAD_BYTES, dtype=torch.uint8).fill_(1)
        torch.cuda.synchronize()
        begin = time.perf_counter()
        device = host.to("cuda")
        torch.cuda.synchronize()
        up = time.perf_counter() - begin
        del host
        begin = time.perf_counter()
        device.cpu()
        down = time.perf_counter() - begin
        del device
        torch.cuda.empty_cache()
        return {f"load of {LOAD_BYTES >> 30} GiB of weights, s": up, f"{LOAD_BYTES >> 30} GiB back to fresh memory, s": down}

    return measure


APPS = {
    "resnet": resnet, "resnet-training": resnet_training, "gpt2-decode": gpt2_decode, "gpt2-training": gpt2_training,
    "compile": compiled, "graph": graph, "small-copies": small_copies, "load": load,
}  # fmt: skip


def first():
    torch.manual_seed(1)
    # cuDNN's attention makes a plan for each new length: that would be what is measured.
    torch.backends.cuda.enable_cudnn_sdp(False)
    begin = time.perf_counter()
    torch.zeros(1, device="cuda").add_(1).item()
    return {"first kernel after import, s": time.perf_counter() - begin}


if __name__ == "__main__":
    served.main(__doc__, APPS, first)
