"""A DataLoader with worker processes and page-locked memory, non-blocking copies, and computing between."""
import torch
from judge import DEVICE, part, run


class Squares(torch.utils.data.Dataset):
    def __len__(self):
        return 512

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return torch.randn(3, 32, 32, generator=generator), index


def pass_over(workers, **more):
    torch.manual_seed(2)
    weights = torch.randn(8, 3, 3, 3).to(DEVICE)
    total = torch.zeros(8, device=DEVICE, dtype=torch.double)
    order = torch.zeros((), device=DEVICE, dtype=torch.long)
    loader = torch.utils.data.DataLoader(
        Squares(), 32, shuffle=True, num_workers=workers, pin_memory=DEVICE != "cpu", generator=torch.Generator().manual_seed(6), **more
    )
    for step, (images, numbers) in enumerate(loader):
        out = torch.conv2d(images.to(DEVICE, non_blocking=True), weights)
        total += out.double().sum((0, 2, 3))
        order += (numbers.to(DEVICE, non_blocking=True) * (step + 1)).sum()
    return {"total": total, "order": order}


@part
def alone():
    return pass_over(0)


@part
def forked_workers():
    """The parent has a context already; its children do not touch the device."""
    return pass_over(3)


@part
def persistent_workers():
    return pass_over(2, persistent_workers=True, prefetch_factor=4)


@part
def spawned_workers():
    return pass_over(2, multiprocessing_context="spawn")


# A spawned worker imports this file again.
if __name__ == "__main__":
    run()
