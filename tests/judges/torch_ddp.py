"""DistributedDataParallel over NCCL: one process a GPU. `--gpus 2` needs two."""
import os
import socket
import sys

import torch
import torch.distributed as group
import torch.multiprocessing as processes
from judge import Skipped, call, result, took


def collectives(rank, gpus):
    a = torch.arange(1000, device="cuda", dtype=torch.float32) + rank
    group.all_reduce(a)
    result(f"rank{rank}.all_reduce", a)
    parts = [torch.zeros(10, device="cuda") for _ in range(gpus)]
    group.all_gather(parts, torch.full((10,), float(rank + 1), device="cuda"))
    result(f"rank{rank}.all_gather", torch.stack(parts))
    out = torch.zeros(16, device="cuda")
    group.reduce_scatter_tensor(out, torch.ones(16 * gpus, device="cuda"))
    result(f"rank{rank}.reduce_scatter", out)
    group.broadcast(a, 0)
    swapped = torch.zeros(gpus, device="cuda")
    group.all_to_all_single(swapped, torch.arange(float(gpus), device="cuda") + 10 * rank)
    result(f"rank{rank}.all_to_all", swapped)
    group.barrier()


def train(rank):
    torch.manual_seed(5)
    model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10)).cuda()
    model = torch.nn.parallel.DistributedDataParallel(model, device_ids=[rank])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(5):
        x = torch.randn(64, 256, generator=torch.Generator().manual_seed(step * 10 + rank)).cuda()
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
    result(f"rank{rank}.loss", loss)
    result(f"rank{rank}.weights", model.module[0].weight)


def one(rank, gpus, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NCCL_SOCKET_IFNAME="lo")
    torch.cuda.set_device(rank)
    group.init_process_group("nccl", rank=rank, world_size=gpus, device_id=torch.device(f"cuda:{rank}"))
    try:
        collectives(rank, gpus)
        train(rank)
    finally:
        group.destroy_process_group()


def free_port():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


def work():
    gpus = int(sys.argv[sys.argv.index("--gpus") + 1]) if "--gpus" in sys.argv else 1
    if torch.cuda.device_count() < gpus:
        raise Skipped(f"there are {torch.cuda.device_count()} GPUs, not {gpus}")
    if gpus == 1:
        one(0, 1, free_port())
    else:
        # Lines of several processes would mix: each rank prints its own names, and they are sorted by the judge.
        processes.spawn(one, args=(gpus, free_port()), nprocs=gpus)
    return {"nccl": ".".join(map(str, torch.cuda.nccl.version()))}


if __name__ == "__main__":
    call(f"ddp{sys.argv[sys.argv.index('--gpus') + 1] if '--gpus' in sys.argv else 1}", work)
    took("done", 0.0)
