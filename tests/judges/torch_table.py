"""PyTorch's own table of operators (torch.testing._internal), and what the programs that go through it share: `torch_ops.py`, `torch_suite.py`."""
import signal
import sys
import types
import unittest
import warnings

import torch

warnings.filterwarnings("ignore")
try:
    import expecttest  # noqa: F401
except ImportError:
    # torch.testing wants it for tests of printed text, which are not run here.
    sys.modules["expecttest"] = types.SimpleNamespace(TestCase=unittest.TestCase, ACCEPT=False)
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402, F401


class TooLong(Exception):
    """An operator or a test took longer than its share."""


def alarm_after(seconds):
    """TooLong is raised in so many seconds; 0: it is not."""

    def too_long(*_):
        raise TooLong(f"not done after {seconds} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)


def tensors(value):
    """Those in what an operator takes or gives, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from tensors(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from tensors(one)


def name_of(entry):
    """An operator's or a module's, with its variant."""
    variant = getattr(entry, "variant_test_name", "")
    return f"{entry.name}.{variant}" if variant else entry.name
