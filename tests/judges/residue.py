#!/usr/bin/env python3
"""Looks for bytes that another process left in device memory.

  tests/judges/residue.py [GIB]     how much to fill and to look through; 4 without

One process fills memory with a mark and ends; the next takes as much and counts the marks in what it finds. It uses whatever
libcuda.so.1 the loader finds, the host's or a guest's. Exit status 1: there was one.
"""
import ctypes
import subprocess
import sys

BLOCK = 256 << 20
MARK = 0x5EC2E7AD


def must(status, what):
    """End the program where a call fails."""
    if status:
        sys.exit(f"residue: {what} answers {status}")


def blocks(gib):
    """Device memory in blocks, of a context of this process."""
    cuda, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
    must(cuda.cuInit(0), "cuInit")
    must(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0), "cuDevicePrimaryCtxRetain")
    must(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")
    places = []
    for _ in range(gib * (1 << 30) // BLOCK):
        place = ctypes.c_uint64()
        must(cuda.cuMemAlloc_v2(ctypes.byref(place), ctypes.c_size_t(BLOCK)), "cuMemAlloc")
        places.append(place)
    return cuda, places


def fill(gib):
    """Leave the mark everywhere."""
    cuda, places = blocks(gib)
    for place in places:
        must(cuda.cuMemsetD32_v2(place, ctypes.c_uint(MARK), ctypes.c_size_t(BLOCK // 4)), "cuMemsetD32")
    must(cuda.cuCtxSynchronize(), "cuCtxSynchronize")


def look(gib):
    """Count four marks in a row, and bytes that are not zero."""
    cuda, places = blocks(gib)
    memory, marks, other = ctypes.create_string_buffer(BLOCK), 0, 0
    for place in places:
        must(cuda.cuMemcpyDtoH_v2(memory, place, ctypes.c_size_t(BLOCK)), "cuMemcpyDtoH")
        marks += memory.raw.count(MARK.to_bytes(4, "little") * 4)
        other += BLOCK - memory.raw.count(b"\0")
    print(f"residue: {gib} GiB looked through: {marks} marks, {other} bytes that are not zero")
    return marks


def main():
    """Fill in one process, look in another."""
    words = sys.argv[1:]
    if words and words[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if words[:1] == ["--fill"]:
        return fill(int(words[1]))
    gib = int(words[0]) if words else 4
    subprocess.run([sys.executable, __file__, "--fill", str(gib)], check=True)
    return 1 if look(gib) else 0


if __name__ == "__main__":
    sys.exit(main())
