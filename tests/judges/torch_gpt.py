"""GPT-2 of 124 million parameters, weights from a seed: generates, and trains."""
import time

import torch
from judge import DEVICE, median_time, part, result, run, took
from models import gpt

TOKENS = 48 if DEVICE != "cpu" else 4


def finish():
    if DEVICE != "cpu":
        torch.cuda.synchronize()


def words(rows, length, seed=3):
    return torch.randint(0, 50257, (rows, length), generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def generate(name, dtype, rows):
    model = gpt().eval().to(DEVICE, dtype)
    prompt = words(rows, 32)
    out = model.generate(prompt, TOKENS)
    begin = time.monotonic()
    model.generate(prompt, TOKENS)
    finish()
    took(f"{name}_token", (time.monotonic() - begin) / TOKENS)
    with torch.no_grad():
        return {"tokens": out, "logits": model(prompt)[0][:, -1]}


@part
def generate_fp16():
    return generate("generate_fp16", torch.float16 if DEVICE != "cpu" else torch.float32, 1)


@part
def generate_bf16_batch():
    return generate("generate_bf16_batch", torch.bfloat16, 8)


@part
def train():
    model = gpt().train().to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    tokens = words(4, 129)
    losses = []

    def step():
        optimizer.zero_grad(set_to_none=True)
        logits, _ = model(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())

    for _ in range(4):
        step()
    result("train.first_loss", losses[0])
    found = {"losses": torch.stack(losses), "norm": model.last.weight.detach().clone(), "falls": bool(losses[-1] < losses[0])}
    took("train_step", median_time(step, finish, 3))
    return found


run()
