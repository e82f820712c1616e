"""Debian's hashcat in CUDA mode, with NVRTC: it must find the passwords, each by more than one kind of attack."""
import hashlib
import os
import pathlib

from verdict import CACHE, Wrong, check, run

HERE = pathlib.Path.cwd()
# hashcat's number of the hash, and Python's name.
MODES = ((0, "md5"), (100, "sha1"), (1400, "sha256"), (1700, "sha512"))
WORDS = ["hashcat", "gpuferry", "correct horse battery staple", "zz9"]


def libraries():
    """It asks for the libraries under their developers' names."""
    place = HERE / "lib"
    place.mkdir()
    (place / "libcuda.so").symlink_to(pathlib.Path(os.environ["CPU_CUDA"]) / "libcuda.so.1")
    for file in (pathlib.Path(os.environ["NVIDIA"]) / "lib").glob("libnvrtc*"):
        (place / file.name).symlink_to(file)
        if file.name.startswith("libnvrtc.so."):
            (place / "libnvrtc.so").symlink_to(file)
    return place


def find(mode, kind, attack, *how):
    hashes = HERE / f"{kind}-{attack}"
    wanted = WORDS if attack == 0 else WORDS[-1:]
    hashes.write_text("".join(hashlib.new(kind, word.encode()).hexdigest() + "\n" for word in wanted))
    said = run(
        f"{CACHE}/hashcat/hashcat", "-m", mode, "-a", attack, "--potfile-disable", "--quiet", "--force",
        "--backend-ignore-opencl", "-O" if attack == 3 else "--", *(["--"] if attack == 3 else []), hashes, *how,
        environment=ENVIRONMENT,
    ).decode()  # fmt: skip
    found = {line.partition(":")[2] for line in said.splitlines() if ":" in line}
    if found != set(wanted):
        raise Wrong(f"found {sorted(found)}, not {sorted(wanted)}")


ENVIRONMENT = {"HOME": str(HERE), "LD_LIBRARY_PATH": f"{libraries()}:{os.environ['CPU_CUDA']}"}
LIST = HERE / "words"
LIST.write_text("".join(f"{word}\n" for word in [*(f"wrong{n}" for n in range(1000)), *WORDS]))
for mode, kind in MODES:
    check(f"mode {mode} ({kind}), words", find, mode, kind, 0, LIST)
    check(f"mode {mode} ({kind}), mask", find, mode, kind, 3, "?l?l?d")
