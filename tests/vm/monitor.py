"""QEMU's control socket (QEMU docs/interop/qmp-spec.rst): a line of JSON for each command, answer and event."""
import json
import socket
import time

PATIENCE = 60


class Monitor:
    """Connected to the socket at a path, as long as it is used in a `with`."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r")
        self._events = []
        self._next()
        self.ask("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._lines.close()
        self._socket.close()

    def _next(self):
        line = self._lines.readline()
        if not line:
            raise OSError("QEMU has closed its monitor")
        return json.loads(line)

    def ask(self, command, **arguments):
        """Give a command; what it returns."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            said = self._next()
            if "event" in said:
                self._events.append(said)
            elif "error" in said:
                raise OSError(f"QEMU, {command}: {said['error']['desc']}")
            else:
                return said["return"]

    def wait(self, event, **data):
        """Wait for an event with this data."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            said = self._events.pop(0) if self._events else self._next()
            if said.get("event") == event and data.items() <= said.get("data", {}).items():
                return
        raise OSError(f"QEMU says no {event}")
