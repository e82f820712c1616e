"""ResNet50 in plain PyTorch: inference in three widths, and training."""
import torch
from judge import DEVICE, median_time, part, run, took
from models import resnet50


def finish():
    if DEVICE != "cpu":
        torch.cuda.synchronize()


def images(count, seed=7):
    return torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def infer(name, dtype, count):
    model = resnet50().eval().to(DEVICE, dtype)
    batch = images(count).to(dtype)
    with torch.no_grad():
        out = model(batch)
        took(f"{name}_step", median_time(lambda: model(batch), finish))
    return out


@part
def inference_fp32():
    return infer("inference_fp32", torch.float32, 1)


@part
def inference_bf16():
    return infer("inference_bf16", torch.bfloat16, 16)


@part
def inference_fp16_channels_last():
    model = resnet50().eval().to(DEVICE, torch.float16, memory_format=torch.channels_last)
    with torch.no_grad():
        return model(images(8).half().contiguous(memory_format=torch.channels_last))


def train(steps, autocast, name):
    model = resnet50().train().to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    batch, labels = images(16), (torch.arange(16, device=DEVICE) * 37) % 1000
    scaler = torch.amp.GradScaler(DEVICE, enabled=autocast)
    losses = []

    def step():
        optimizer.zero_grad()
        with torch.autocast(DEVICE, torch.float16 if DEVICE != "cpu" else torch.bfloat16, enabled=autocast):
            loss = torch.nn.functional.cross_entropy(model(batch), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.detach())

    for _ in range(steps):
        step()
    found = {"losses": torch.stack(losses), "weights": model[-1].weight.detach().clone(), "first": model[0].weight.detach().clone()}
    took(f"{name}_step", median_time(step, finish))
    return found


@part
def training():
    """Deterministic algorithms, so that two runs can be compared bit for bit."""
    torch.backends.cudnn.deterministic = True
    try:
        return train(6, False, "training")
    finally:
        torch.backends.cudnn.deterministic = False


@part
def training_amp():
    return train(4, True, "training_amp")


run()
