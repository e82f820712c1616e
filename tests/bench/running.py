"""A program that is started once for each way and measured again and again, so that rounds do not pay for its start.

The program's side is programs/served.py. While one is measured the others wait for their next ask and do nothing else.
"""
import json
import pathlib
import subprocess
import threading
import time

import ways
from ways import host, say

PAUSE = 0.005


def folder_of(folder, command, way):
    """What a guest has as its $OUT, for `uml`."""
    return pathlib.Path(folder) / f"{pathlib.Path(command[1]).stem}-{way}"


class Running:
    """One program in one way, with a folder of its own."""

    def __init__(self, way, command, front, folder, variables, memory, limit):
        self.way, self.number, self.folder = way, 0, folder_of(folder, command, way)
        self.folder.mkdir(exist_ok=True)
        self.errors = self.folder / "err"
        if way == "uml":
            words = " ".join(map(str, [*command, "--serve", "$OUT"]))
            exports = {"LD_LIBRARY_PATH": host.libraries(folder, host.GUEST_LIBRARY)} | variables
            script = "; ".join([f"export {name}={value}" for name, value in exports.items()] + [f"{words} >$OUT/out 2>$OUT/err"])
            self.process = ways.boot(script, front, self.folder, limit, memory)
            return
        environment = ways.environment(way, front, folder) | variables
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(list(map(str, [*command, "--serve", self.folder])), env=environment, stdout=errors, stderr=errors)

    def answer(self, limit):
        """The answer to the last ask; None, and the program is gone, where it does not come in time."""
        file, end = self.folder / f"{self.number}.answer", time.monotonic() + limit
        while not file.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                what = f"not done after {limit:.0f} s" if self.process.poll() is None else f"ended ({self.process.returncode})"
                said = self.errors.read_text(errors="replace").strip()[-500:] if self.errors.exists() else ""
                say(f"{self.way}: {what}: {said}")
                self.end(0)
                return None
            time.sleep(PAUSE)
        return json.loads(file.read_text())

    def is_gone(self):
        return self.process.poll() is not None

    def _tell(self, words):
        self.number += 1
        written = self.folder / f"{self.number}.writing"
        written.write_text(words)
        written.rename(self.folder / f"{self.number}.ask")

    def ask(self, name, seconds, limit):
        """Figures of an app; None as in `answer`."""
        if self.is_gone():
            return None
        self._tell(f"{name} {seconds}")
        return self.answer(limit)

    def end(self, patience=10):
        if not self.is_gone() and patience:
            self._tell("")
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def all_at_once(work, running):
    """Does `work` of each program at the same time."""
    threads = [threading.Thread(target=work, args=(each,)) for each in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
