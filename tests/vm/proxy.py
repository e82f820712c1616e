"""Stands between a VMM and a vhost-user back-end, and may change what the guest reads from the configuration space.

Only for tests: how else would a device of another make or version be had? Vhost-user protocol, QEMU
docs/interop/vhost-user.rst: a header of three words (request, flags, size), a payload, descriptors beside it.
"""
import array
import socket
import struct
import threading
import time

GET_CONFIG = 24
# A config message: offset, size, flags, then the bytes.
CONFIG_HEADER = 12


class Proxy:
    """Listens on a path for one VMM; `change` gets the configuration's bytes and returns as many."""

    def __init__(self, path, backend, change):
        self._change = change
        self._backend = backend
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        vmm, _ = self._listener.accept()
        _join(vmm, _connected(self._backend), self._change)


class Relay:
    """Stands between a VMM that listens and a back-end that listens, until it is closed."""

    def __init__(self, vmm, backend):
        self._ends = _connected(vmm), _connected(backend)
        threading.Thread(target=_join, args=(*self._ends, None), daemon=True).start()

    def close(self):
        _shut(*self._ends)


def _connected(path):
    """Connected to the socket at a path, once somebody listens there."""
    patience = time.monotonic() + 30
    while True:
        end = socket.socket(socket.AF_UNIX)
        try:
            end.connect(str(path))
            return end
        except OSError:
            end.close()
            if time.monotonic() > patience:
                raise
            time.sleep(0.02)


def _shut(*ends):
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def _join(vmm, backend, change):
    threading.Thread(target=_pump, args=(vmm, backend, None), daemon=True).start()
    _pump(backend, vmm, change)


def _pump(source, target, change):
    """Carries messages until an end is closed; `change`, if there is one, changes answers with the configuration space."""
    try:
        while True:
            header, descriptors = receive(source)
            request, flags, size = struct.unpack("<III", header)
            payload = exactly(source, size)
            if change and request == GET_CONFIG:
                begin, bytes_asked = struct.unpack_from("<II", payload)
                changed = change(begin, payload[CONFIG_HEADER : CONFIG_HEADER + bytes_asked])
                payload = payload[:CONFIG_HEADER] + changed
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            target.sendmsg([header + payload], rights)
            for descriptor in descriptors:
                socket.close(descriptor)
    except (EOFError, OSError):
        _shut(source, target)


def receive(source):
    """A message's header, and the descriptors that came with it."""
    header, descriptors, _, _ = socket.recv_fds(source, 12, 32)
    if not header:
        raise EOFError
    return header + exactly(source, 12 - len(header)), descriptors


def exactly(source, size):
    data = b""
    while len(data) < size:
        piece = source.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
