"""Device memory and events shared between processes: torch.multiprocessing over CUDA IPC."""
import torch
import torch.multiprocessing as processes
from judge import part, run


def child_reads(queue, answers):
    tensor = queue.get()
    answers.put(tensor.double().sum().item())
    tensor.mul_(2)
    torch.cuda.synchronize()
    answers.put("doubled")
    del tensor


def child_makes(answers, done):
    tensor = torch.arange(1 << 20, device="cuda", dtype=torch.float32)
    answers.put(tensor)
    done.wait()


def child_event(handle, tensor_queue, answers):
    event = torch.cuda.Event.from_ipc_handle(torch.device("cuda:0"), handle)
    tensor = tensor_queue.get()
    event.synchronize()
    answers.put(tensor.sum().item())


def started(context, target, *arguments):
    process = context.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def ended(process):
    process.join(60)
    if process.is_alive():
        process.kill()
    return process.exitcode


@part
def to_child():
    context = processes.get_context("spawn")
    queue, answers = context.Queue(), context.Queue()
    child = started(context, child_reads, queue, answers)
    tensor = torch.arange(300_000, device="cuda", dtype=torch.float32)
    queue.put(tensor)
    seen, said = answers.get(timeout=90), answers.get(timeout=90)
    status = ended(child)
    return {"seen": seen, "said": said, "changed": tensor.clone(), "status": status}


@part
def from_child():
    context = processes.get_context("spawn")
    answers, done = context.Queue(), context.Event()
    child = started(context, child_makes, answers, done)
    tensor = answers.get(timeout=90)
    total = tensor.double().sum().item()
    del tensor
    done.set()
    return {"sum": total, "status": ended(child)}


@part
def events():
    context = processes.get_context("spawn")
    queue, answers = context.Queue(), context.Queue()
    event = torch.cuda.Event(interprocess=True)
    tensor = torch.zeros(1 << 20, device="cuda")
    child = started(context, child_event, event.ipc_handle(), queue, answers)
    tensor.add_(3)
    event.record()
    queue.put(tensor)
    seen = answers.get(timeout=90)
    return {"seen": seen, "status": ended(child)}


if __name__ == "__main__":
    run()
