"""The operators of PyTorch's own test suite (torch.testing's table of them) on its own sample inputs.

  torch_ops.py --part 1/4 [--dtype float32] [--samples 3]

For each: the first samples forwards, and backwards where the table says so; one line of the results' hash. This is what
its test_ops feeds the operators with; what it compares them with is here the native run.
"""
import argparse
import hashlib

import torch
from judge import DEVICE, array, one_line, took
from torch_table import alarm_after, name_of, op_db, tensors

# Each gives other values on each run, or none that were written.
UNDEFINED = {
    "empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided", "resize_", "resize_as_",
    # Its second result has padding that nobody writes.
    "torch.ops.aten._efficient_attention_forward",
}  # fmt: skip
OP_LIMIT_S = 20


def add(digest, value, sums):
    found = array(value)
    digest.update(f"{found.dtype}{found.shape}".encode())
    digest.update(found.tobytes())
    if found.dtype.kind in "fciu" and found.size:
        finite = abs(found[~(found != found)].astype("complex128" if found.dtype.kind == "c" else "float64"))
        sums.append(float(finite[finite != float("inf")].sum()))


def judge(op, dtype, samples):
    """The text of an operator's line."""
    torch.manual_seed(0)
    digest, sums, count = hashlib.sha256(), [], 0
    backward = op.supports_autograd and dtype in op.backward_dtypes if DEVICE != "cpu" else False
    for sample in op.sample_inputs(DEVICE, dtype, requires_grad=backward):
        if count == samples:
            break
        count += 1
        out = op(sample.input, *sample.args, **sample.kwargs)
        made = list(tensors(out))
        for one in made:
            add(digest, one, sums)
        roots = [one for one in made if one.requires_grad and one.dtype.is_floating_point]
        if backward and roots and sample.output_process_fn_grad is not None:
            leaves = [one for one in tensors((sample.input, *sample.args)) if one.requires_grad and one.is_leaf]
            found = torch.autograd.grad([one.sum() for one in roots], leaves, allow_unused=True) if leaves else ()
            for one in found:
                if one is not None:
                    add(digest, one, sums)
    return f"{digest.hexdigest()[:16]} samples={count} size={sum(sums):.9e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--only", default="", help="operators, by name")
    chosen = parser.parse_args()
    which, parts = map(int, chosen.part.split("/"))
    dtype = getattr(torch, chosen.dtype)
    passed = raised = 0
    wanted = [op for op in op_db if op.name not in UNDEFINED and dtype in op.supported_dtypes(DEVICE)]
    for op in wanted[which - 1 :: parts]:
        name = name_of(op)
        if chosen.only and name not in chosen.only.split(","):
            continue
        alarm_after(OP_LIMIT_S)
        try:
            text = judge(op, dtype, chosen.samples)
            passed += 1
        except Exception as error:  # whatever an operator raises is its result
            text = f"raises {one_line(error)}"
            raised += 1
        finally:
            alarm_after(0)
        print(f"{name}: {text}", flush=True)
    print(f"count {chosen.dtype}: {passed} ran, {raised} raised", flush=True)
    took("done", 0.0)


main()
