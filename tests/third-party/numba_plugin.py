"""pytest plugin for numba-cuda's own test suite: what its repository's conftest gives, which the wheel lacks."""
import importlib

import pytest


@pytest.fixture(scope="class")
def initialize_from_pytest_config(request):
    """Test classes read this setting."""
    request.cls._dump_failed_filechecks = False


def name_of(path):
    """The module's name for programs: the package numba_cuda stands in for numba."""
    return path.with_suffix("").as_posix().partition("/numba_cuda/")[2].replace("/", ".")


class Module(pytest.Module):
    """A test file under that name. pytest would call it cuda.tests..., and a test's child process finds no such module."""

    def _getobj(self):
        return importlib.import_module(name_of(self.path))


def pytest_pycollect_makemodule(module_path, parent):
    return Module.from_parent(parent, path=module_path, nodeid=name_of(module_path))
