"""Where guest kernels lie in the cache, and our module built for one. Used by guest-image and vm."""
import os
import pathlib
import subprocess
import sys

SETUP = pathlib.Path(__file__).resolve().parent
ROOT = SETUP.parent.parent
CACHE = pathlib.Path(os.environ.get("GPUFERRY_CACHE") or ROOT / ".cache").absolute()
QEMU_KERNELS = ("6.1", "6.12", "7")
UML_KERNELS = ("uml", "uml-6.12")


def fail(message):
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {message}")


def fetch(*items):
    """Make sure of items in the cache; names as in scripts/setup/fetch."""
    if subprocess.run([SETUP / "fetch", *items], check=False).returncode:
        fail(f"cannot fetch {' '.join(items)}")


def gpuferry_module(kernel):
    """Path of guest-lib/kmod built for kernel; built again when a source is newer."""
    source = ROOT / "guest-lib" / "kmod"
    built = CACHE / "kmod" / f"{kernel}.ko"
    inputs = [*source.rglob("*.[ch]"), source / "Kbuild", CACHE / kernel / "version"]
    if built.exists() and all(i.stat().st_mtime < built.stat().st_mtime for i in inputs):
        return built
    built.parent.mkdir(parents=True, exist_ok=True)
    if subprocess.run([SETUP / "kmod", kernel, source, built], check=False).returncode:
        fail(f"the gpuferry module does not build for {kernel}")
    return built
