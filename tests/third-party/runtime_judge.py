"""Programs of the CUDA runtime, compiled by nvcc with the runtime linked in, as static and as shared library."""
import os
import pathlib
import shutil

from verdict import check, run, tell

SOURCE = pathlib.Path(__file__).resolve().parent / "runtime" / "everything.cu"
NVIDIA = pathlib.Path(os.environ["NVIDIA"])


def compile_(name, *options):
    run(NVIDIA / "bin" / "nvcc", "-O2", "-o", name, SOURCE, "-L", NVIDIA / "lib", *options)


def results(name, kind):
    for line in run(f"./{name}").decode().splitlines():
        words, _, reason = line.partition(" # ")
        outcome, _, test = words.partition(" ")
        tell(outcome, f"{kind}: {test}", reason)


if not shutil.which("g++"):
    tell("skipped", "nvcc", "there is no g++, which nvcc needs")
else:
    # PTX alone, as a fat binary with compressed PTX; then beside code for a GPU, which must be passed over.
    for name, options in (
        ("static", ("-arch=compute_75", "-cudart=static")),
        ("both-kinds", ("-gencode=arch=compute_75,code=[sm_75,compute_75]", "-cudart=static")),
        ("separate", ("-arch=compute_75", "-rdc=true", "-cudart=static")),
    ):
        check(f"{name}: compiled", compile_, name, *options)
        if pathlib.Path(name).exists():
            check(f"{name}: ran to its end", results, name, name)
    # The wheel has libcudart.so.13 and no link of the linker's name.
    pathlib.Path("libcudart.so").symlink_to(NVIDIA / "lib" / "libcudart.so.13")
    os.environ["LD_LIBRARY_PATH"] += f":{NVIDIA / 'lib'}"
    check("shared: compiled", compile_, "shared", "-arch=compute_75", "-cudart=shared", "-L.")
    if pathlib.Path("shared").exists():
        check("shared: ran to its end", results, "shared", "shared")
