"""Repairs one message of older User-Mode Linux on its way to a vhost-user backend.

Up to some release after 6.12, arch/um/drivers/virtio_uml.c sends SET_MEM_TABLE with room for two regions but
says one. The vhost crate rightly takes only a size that fits the number. Everything else passes unchanged;
queues are rung through descriptors that pass here once, so this costs nothing after the start.
vhost-user specification, "Header" and "Memory regions description".
"""
import os
import socket
import struct
import threading

HEADER = struct.Struct("<III")  # request, flags, size
SET_MEM_TABLE, TABLE_HEAD, REGION = 5, 8, 32
MOST_DESCRIPTORS = 8


def listen(path, backend):
    """Accept one front-end at path, in threads of their own, and connect it to the backend's socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    threading.Thread(target=_serve, args=(listener, str(backend)), daemon=True).start()


def _serve(listener, backend):
    front = listener.accept()[0]
    back = socket.socket(socket.AF_UNIX)
    try:
        back.connect(backend)
        threading.Thread(target=_copy, args=(back, front), daemon=True).start()
        while message := _receive(front):
            data, descriptors = message
            _send(back, data, descriptors)
    except OSError:
        pass  # Either side is gone: the other learns it by the closing below.
    finally:
        back.close()
        front.close()


def _receive(front):
    data, descriptors, _, _ = socket.recv_fds(front, HEADER.size, MOST_DESCRIPTORS)
    if not data:
        return None
    data += _exactly(front, HEADER.size - len(data))
    request, flags, size = HEADER.unpack(data)
    body = _exactly(front, size)
    if request == SET_MEM_TABLE:
        body = body[: TABLE_HEAD + REGION * struct.unpack_from("<I", body)[0]]
    return HEADER.pack(request, flags, len(body)) + body, descriptors


def _exactly(front, size):
    data = b""
    while len(data) < size:
        part = front.recv(size - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


def _copy(back, front):
    try:
        while data := back.recv(4096):
            front.sendall(data)
        front.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # As above.


def _send(to, data, descriptors):
    socket.send_fds(to, [data], descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
