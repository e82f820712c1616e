"""Figures of PyTorch programs as JSON, an object a program: pytorch.py [--seconds S] NAME..., or --serve FOLDER.

The models are the judges' (tests/judges/models.py), with random weights, so that nothing is fetched. Times are medians of steps in
milliseconds, each waited for; rates are of whole runs.
"""
import pathlib
import statistics
import sys
import time

import served
import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "judges"))
from models import gpt, resnet50  # noqa: E402

BATCH_RESNET, BATCH_GPT, TOKENS = 16, 4, 512
LOAD_BYTES = 3 << 30


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
    model = gpt().half().eval()

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
    model = gpt()
    tokens = torch.randint(50257, (BATCH_GPT, TOKENS), device="cuda")
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4)

    def step():
        optimiser.zero_grad(set_to_none=True)
        logits, _ = model(tokens)
        F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimiser.step()

    return timed(f"GPT-2 fp32 training, {BATCH_GPT} x {TOKENS} tokens, ms", step)


def compiled():
    model = torch.compile(gpt(layers=4).half().eval())
    return timed("compiled model of 4 blocks, ms", inferring(model, torch.randint(50257, (1, 128), device="cuda")))


def graph():
    model, tokens = gpt().half().eval(), torch.randint(50257, (1, 128), device="cuda")
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
