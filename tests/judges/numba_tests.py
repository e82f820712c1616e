"""numba-cuda's own tests, as they lie in its wheel: one line a test, `ID: passed|failed|skipped`.

  numba_tests.py cudadrv        those of the driver
  numba_tests.py kernels        of those of the compiler, the files that run kernels (KERNELS); cudapy: all of them
  numba_tests.py cudapy.test_print cudapy.test_sync ...

pytest runs them in several processes.
"""
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

from judge import took

PLUGIN = '''
import importlib, numpy, pytest
if not hasattr(numpy, "row_stack"):
    numpy.row_stack = numpy.vstack

@pytest.fixture(scope="class")
def initialize_from_pytest_config(request):
    request.cls._dump_failed_filechecks = False

def name_of(path):
    whole = path.with_suffix("").as_posix()
    return (whole.partition("/numba_cuda/")[2] or "numba" + whole.rpartition("/numba")[2]).replace("/", ".")

class Module(pytest.Module):
    def _getobj(self):
        return importlib.import_module(name_of(self.path))

def pytest_pycollect_makemodule(module_path, parent):
    return Module.from_parent(parent, path=module_path, nodeid=name_of(module_path))
'''
# Stands for the package filecheck where that is not installed: test cases take these names along, and few use them.
FILECHECK = '''
import unittest

def unusable(*_, **__):
    raise unittest.SkipTest("the package filecheck is not installed")

Matcher = Options = Parser = pattern_for_opts = FInput = unusable
'''
KERNELS = (
    "array_args", "array_methods", "atomics", "blackscholes", "complex_kernel", "constmem", "cooperative_groups", "cuda_array_interface",
    "device_func", "errors", "exception", "globals", "gufunc_scalar", "laplace", "libdevice", "localmem", "mandel", "matmul",
    "montecarlo", "multiprocessing", "multithreads", "powi", "print", "random", "reduction", "retrieve_autoconverted_arrays",
    "slicing", "sm", "sm_creation", "stream_api", "sync", "transpose", "userexc", "vectorize_decor", "warp_ops",
)  # fmt: skip
# What a folder for caches is called, or how long another process may take, is no result.
LIMIT_S = "60"


def outcomes(report):
    found = {}
    for case in xml.parse(report).iter("testcase"):
        test = f"{case.get('classname', '').rpartition('cuda.tests.')[2]}.{case.get('name')}".replace(" ", "_").replace(": ", ":")
        outcome = "passed"
        for part in case:
            if part.tag in ("failure", "error"):
                lines = f"{part.get('message') or ''}\n{part.text or ''}".strip().splitlines() or [""]
                outcome = f"failed {lines[0][:80]} … {lines[-1][:120]}"
            elif part.tag == "skipped" and outcome == "passed":
                outcome = "skipped"
        if not found.get(test, "").startswith("failed"):
            found[test] = outcome
    return found


def main():
    suites = sys.argv[1:] or ["cudadrv"]
    if "kernels" in suites:
        suites = [name for name in suites if name != "kernels"] + [f"cudapy.test_{name}" for name in KERNELS]
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "numba_names.py").write_text(PLUGIN)
        if importlib.util.find_spec("filecheck") is None:
            (place / "filecheck").mkdir()
            for name in ("__init__", "matcher", "options", "parser", "finput"):
                (place / "filecheck" / f"{name}.py").write_text(FILECHECK)
        variables = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "NUMBA_CACHE_DIR": folder}
        command = [
            sys.executable, "-m", "pytest", "-p", "numba_names", "-p", "no:cacheprovider", "--import-mode=importlib", "-q",
            "-n", os.environ.get("JUDGE_PROCESSES", "4"), "--dist", "loadfile", "--timeout", LIMIT_S, "--max-worker-restart", "100", "--tb=line",
            f"--junitxml={place / 'report.xml'}", "--pyargs", *(f"numba.cuda.tests.{suite}" for suite in suites),
        ]  # fmt: skip
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if not (place / "report.xml").is_file():
            print(done.stdout[-1500:] + done.stderr[-1500:], file=sys.stderr)
            sys.exit(done.returncode or 1)
        found = outcomes(place / "report.xml")
    for test in sorted(found):
        print(f"{test}: {found[test]}")
    kinds = [text.partition(" ")[0] for text in found.values()]
    print(f"count: {kinds.count('passed')} passed, {kinds.count('failed')} failed, {kinds.count('skipped')} skipped")
    took("done", 0.0)


main()
