"""numba-cuda's own test suite, as it lies in the wheel: tests.cudadrv, and with --long tests.cudapy.

Tests that need the NVIDIA tools to make their inputs (NUMBA_CUDA_TEST_BIN_DIR) skip themselves.
"""
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as xml

from verdict import LONG, tell

HERE = pathlib.Path(__file__).resolve().parent


def suite(name):
    report = pathlib.Path.cwd() / f"{name}.xml"
    path = f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [
        sys.executable, "-m", "pytest", "-p", "numba_plugin", "-p", "no:cacheprovider", "--import-mode=importlib", "-q",
        "-n", "2", "--dist", "loadfile", "--timeout", "300", "--max-worker-restart", "100", "--tb=line", f"--junitxml={report}",
        "--pyargs", f"numba.cuda.tests.{name}",
    ]  # fmt: skip
    with open(f"{name}.out", "w", encoding="utf-8") as output:
        subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, stdout=output, stderr=output, check=False)
    if not report.is_file():
        tell("failed", f"{name}: the whole suite", pathlib.Path(f"{name}.out").read_text(encoding="utf-8")[-300:])
        return
    outcomes = {}
    for case in xml.parse(report).iter("testcase"):
        test = f"{case.get('classname', '').rpartition('numba.cuda.tests.')[2]}.{case.get('name')}".replace(" ", "_")
        found, reason = "passed", ""
        for part in case:
            if part.tag in ("failure", "error"):
                found, reason = "failed", (part.get("message") or part.text or "").split("\n")[0]
            elif part.tag == "skipped" and found == "passed":
                found, reason = "skipped", part.get("message") or ""
        # A test that fails and then cannot clean up is listed twice.
        if outcomes.get(test, ("",))[0] != "failed":
            outcomes[test] = (found, reason)
    for test, (found, reason) in outcomes.items():
        tell(found, test, reason if found != "passed" else "")


suite("cudadrv")
if LONG:
    suite("cudapy")
