"""Tests of PyTorch's own suite, from the tables that its wheel has (torch.testing._internal): one line a test, `ID: passed|failed|skipped`;
why one failed goes to standard error.

  torch_suite.py ops [--part 1/2]     each operator, in each of DTYPES that it has on the device, against the processor; and its error inputs
  torch_suite.py modules              each module of torch.nn, in float32: against its reference, the processor, and its gradients there

What is compared and how closely is as in its test_ops and test_modules; those files are not in the wheel, their tables of inputs are.
"""
import argparse
import itertools
import re
import sys
import unittest

import torch
from judge import DEVICE, took
from torch_table import alarm_after, name_of, op_db, tensors
from torch.testing._internal.common_modules import module_db

DTYPES = (torch.float32, torch.bfloat16, torch.int64, torch.complex64)
# Values of these are of no meaning.
RANDOM = re.compile(r"empty|resize|rand|bernoulli|multinomial|normal|dropout|cauchy|exponential|geometric|uniform|rrelu|svd_lowrank|pca_lowrank|gumbel")
TOLERANCE = 1e-3
TEST_LIMIT_S = 20


def on_processor(value):
    """The same value there: tensors in whatever holds them."""
    if isinstance(value, torch.Tensor):
        moved = value.detach().cpu()
        return moved.requires_grad_() if value.requires_grad else moved
    if isinstance(value, torch.device) or (isinstance(value, str) and value.startswith(DEVICE)):
        return torch.device("cpu")
    if isinstance(value, (list, tuple)):
        return type(value)(map(on_processor, value)) if type(value) in (list, tuple) else value
    if isinstance(value, dict):
        return {key: on_processor(one) for key, one in value.items()}
    return value


def alike(found, wanted):
    found, wanted = list(tensors(found)), list(tensors(wanted))
    if len(found) != len(wanted):
        raise AssertionError(f"{len(found)} tensors, not {len(wanted)}")
    for one, other in zip(found, wanted):
        torch.testing.assert_close(
            one.detach(), other.detach(), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True, check_device=False, check_stride=False
        )


def compare(op, dtype, samples):
    """An operator's values on the device, and on the processor. bfloat16 there is computed otherwise: only that it runs."""
    torch.manual_seed(0)
    count = 0
    for sample in itertools.islice(op.sample_inputs(DEVICE, dtype), samples):
        mine = op(sample.input, *sample.args, **sample.kwargs)
        count += 1
        if RANDOM.search(op.name) or dtype == torch.bfloat16:
            list(map(torch.Tensor.cpu, tensors(mine)))
            continue
        theirs = op(on_processor(sample.input), *on_processor(sample.args), **on_processor(sample.kwargs))
        alike(sample.output_process_fn_grad(mine), sample.output_process_fn_grad(theirs))
    if not count:
        raise unittest.SkipTest("no samples")


def refuse(op):
    """What must be refused is, with the error that stands in the table."""
    for wrong in op.error_inputs(DEVICE):
        sample = wrong.sample_input
        try:
            op(sample.input, *sample.args, **sample.kwargs)
        except wrong.error_type as error:
            if not re.search(wrong.error_regex, str(error)):
                raise AssertionError("another message") from error
        else:
            raise AssertionError("no error")


def inputs_of(module, training, device):
    return module.module_inputs_func(module, device=device, dtype=torch.float32, requires_grad=True, training=training)


def module(info, training):
    """A module's outputs against its reference and against the processor's, and the gradients of its parameters."""
    if "Lazy" in info.name:
        raise unittest.SkipTest("its parameters are made by the first call")
    torch.manual_seed(0)
    for given in inputs_of(info, training, DEVICE):
        if given.forward_input is None:
            continue
        arguments, named = given.constructor_input.args, given.constructor_input.kwargs
        theirs = info.module_cls(*on_processor(arguments), **on_processor(named)).train(training)
        mine = info.module_cls(*arguments, **named).to(DEVICE).train(training)
        mine.load_state_dict(theirs.state_dict())
        inputs, more = given.forward_input.args, given.forward_input.kwargs
        random = training and re.search(r"Dropout|RReLU|Transformer|RNN|LSTM|GRU|MultiheadAttention", info.name)
        out = mine(*inputs, **more)
        if random:
            continue
        other = theirs(*on_processor(inputs), **on_processor(more))
        alike(out, other)
        roots, others = ([one for one in tensors(value) if one.requires_grad] for value in (out, other))
        if roots:
            sum(one.abs().sum() for one in roots).backward()
            sum(one.abs().sum() for one in others).backward()
            alike([one.grad for one in mine.parameters() if one.grad is not None], [one.grad for one in theirs.parameters() if one.grad is not None])


class Count:
    """Runs tests and tells of each."""

    def __init__(self):
        self.kinds = {"passed": 0, "failed": 0, "skipped": 0}

    def test(self, name, work):
        alarm_after(TEST_LIMIT_S)
        try:
            work()
            outcome, why = "passed", ""
        except unittest.SkipTest as skip:
            outcome, why = "skipped", f" {skip}"
        except Exception as error:  # whatever a test ends with is its failure
            outcome, why = "failed", f" {type(error).__name__}"
            # Addresses and the like may stand in it, so it is no part of what is compared.
            print(f"{name}: {' '.join(str(error).split())[:400]}", file=sys.stderr, flush=True)
        finally:
            alarm_after(0)
        self.kinds[outcome] += 1
        print(f"{name}: {outcome}{why}", flush=True)

    def tell(self):
        print(f"count: {self.kinds['passed']} passed, {self.kinds['failed']} failed, {self.kinds['skipped']} skipped", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("ops", "modules"))
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--only", default="", help="operators or modules, by name")
    chosen = parser.parse_args()
    which, parts = map(int, chosen.part.split("/"))
    count = Count()
    for info in (op_db if chosen.table == "ops" else module_db)[which - 1 :: parts]:
        if chosen.only and info.name not in chosen.only.split(","):
            continue
        name = name_of(info)
        if chosen.table == "modules":
            for training in (True, False):
                count.test(f"{name}.{'training' if training else 'evaluation'}", lambda info=info, training=training: module(info, training))
            continue
        for dtype in DTYPES:
            if dtype in info.supported_dtypes(DEVICE):
                count.test(f"{name}.{str(dtype)[6:]}", lambda info=info, dtype=dtype: compare(info, dtype, chosen.samples))
        if info.error_inputs_func is not None:
            count.test(f"{name}.errors", lambda info=info: refuse(info))
    count.tell()
    took("done", 0.0)


main()
