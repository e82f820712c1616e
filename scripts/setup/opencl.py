"""OpenCL for tests and the demo: PoCL out of the cache, the loader, and folders that tell the loader of a vendor's library."""
import pathlib

import host
from kernels import CACHE

POCL = CACHE / "pocl" / "usr" / "lib" / "x86_64-linux-gnu"
LOADER = "libOpenCL.so.1"
GUEST_LIBRARY = "libgpuferry_opencl.so"
PROGRAMS = ("opencl-battery", "opencl-picture", "opencl-latency")


def vendors(folder, library):
    """A folder that names one vendor's library to the loader."""
    library = pathlib.Path(library)
    place = pathlib.Path(folder) / f"{library.stem}.vendors"
    place.mkdir(exist_ok=True)
    (place / "one.icd").write_text(f"{library}\n")
    return place


def native(folder):
    """The variables of a program, or a gpuferryd, that uses PoCL in its own process."""
    # Not below /tmp: a worker has one of its own.
    place = host.TARGET / "opencl"
    place.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(folder) / "tmp"
    temporary.mkdir(exist_ok=True)
    named = str(vendors(place, POCL / "libpocl.so.2"))
    return {"LD_LIBRARY_PATH": str(POCL), "OCL_ICD_VENDORS": named, "TMPDIR": str(temporary)}


def direct(folder):
    """The environment of a program that uses PoCL directly."""
    kernels = pathlib.Path(folder) / "kernels"
    kernels.mkdir(exist_ok=True)
    return host.environment(folder) | native(folder) | {"POCL_CACHE_DIR": str(kernels)}


def carried(folder, carrier):
    """The environment of a program of this host whose OpenCL is the guest's library, and whose calls go to `carrier`."""
    loader = pathlib.Path(folder) / "loader"
    if not loader.exists():
        loader.mkdir()
        (loader / LOADER).symlink_to(POCL / LOADER)
    found = {"LD_LIBRARY_PATH": str(loader), "OCL_ICD_VENDORS": str(vendors(folder, host.BUILT / GUEST_LIBRARY))}
    return host.environment(folder, carrier=carrier) | found


def guest_files(folder):
    """What an image needs: our programs, the loader, and the guest's library as the loader finds it."""
    place = pathlib.Path(folder) / "stripped"
    place.mkdir(exist_ok=True)
    pairs = [(f"{host.IN_GUEST}/lib/{LOADER}", (POCL / LOADER).resolve())]
    for name in (*PROGRAMS, GUEST_LIBRARY):
        host.strip(host.BUILT / name, place / name)
        pairs.append((f"{host.IN_GUEST}/{'lib/' if name == GUEST_LIBRARY else ''}{name}", place / name))
    icd = place / "gpuferry.icd"
    icd.write_text(f"{host.IN_GUEST}/lib/{GUEST_LIBRARY}\n")
    return [*pairs, ("/etc/OpenCL/vendors/gpuferry.icd", icd)]
