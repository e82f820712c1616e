"""PyTorch's allocators: PYTORCH_CUDA_ALLOC_CONF (named in the catalog) chooses one. Allocates, fragments, frees, runs out."""
import torch
from judge import part, run


@part
def kind():
    return torch.cuda.get_allocator_backend()


@part
def grow():
    """Pieces of growing size, each checked; the expandable allocator maps them one behind another."""
    pieces = [torch.full((1 << (16 + n),), float(n), device="cuda") for n in range(11)]
    return {"sums": torch.stack([piece.sum() for piece in pieces]), "reserved_covers": torch.cuda.memory_reserved() >= torch.cuda.memory_allocated()}


@part
def fragment():
    total = torch.zeros((), device="cuda", dtype=torch.double)
    for round_ in range(20):
        pieces = [torch.ones((n % 7 + 1) << 17, device="cuda") for n in range(40)]
        del pieces[::2]
        total += sum(piece.sum() for piece in pieces).double() * (round_ + 1)
    return total


@part
def streams():
    a = torch.ones(1 << 20, device="cuda")
    found = []
    for _ in range(4):
        stream = torch.cuda.Stream(priority=-1)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            b = (a * 2).cumsum(0)
            b.record_stream(stream)
        torch.cuda.current_stream().wait_stream(stream)
        found.append(b.sum())
    return torch.stack(found)


@part
def return_it():
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    big = torch.empty(1 << 28, device="cuda")
    more = torch.cuda.memory_allocated() - before
    del big
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return {"asked": more, "after": torch.cuda.memory_allocated() - before}


@part
def out_of_memory():
    """More than there is is refused, and the program goes on."""
    free, total = torch.cuda.mem_get_info()
    try:
        torch.empty(total, device="cuda", dtype=torch.uint8)
        refused = False
    except torch.OutOfMemoryError:
        refused = True
    return {"refused": refused, "goes_on": torch.ones(1000, device="cuda").sum(), "free_below_total": free < total}


@part
def host_pool():
    """Page-locked blocks, given back and taken again."""
    found = []
    for n in range(30):
        pinned = torch.full((1 << (10 + n % 8),), float(n), pin_memory=True)
        found.append(pinned.to("cuda", non_blocking=True).sum())
    return torch.stack(found)


@part
def snapshot():
    torch.cuda.memory._record_memory_history()
    torch.ones(1 << 20, device="cuda")
    taken = torch.cuda.memory._snapshot()
    torch.cuda.memory._record_memory_history(enabled=None)
    return {"has_segments": len(taken["segments"]) > 0}


run()
