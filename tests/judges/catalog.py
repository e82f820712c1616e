"""The judges: programs that nobody had to change, what each needs, and how long it may take. `scripts/gpu-check --all` runs them."""
from typing import NamedTuple


class Judge(NamedTuple):
    """One program. `words`: a Python file of this folder and its arguments, or a name of NVCC; limit: seconds on the host."""

    name: str
    area: str
    words: str
    limit: int = 60
    # MiB that a guest needs to run it.
    memory: int = 6144
    environment: dict = {}
    # Python packages without which it is skipped.
    needs: tuple = ()
    # Where it runs, besides natively; a guest of one processor would take too long for some.
    ways: tuple = ("local", "uml")


# Programs of nvcc: name -> (source, options). `shared` has its runtime found at run time.
NVCC = {
    "runtime-static": ("runtime.cu", ["-cudart", "static"]),
    "runtime-shared": ("runtime.cu", ["-cudart", "shared"]),
    "runtime-separate": ("runtime.cu", ["-cudart", "static", "-rdc=true", "-DSEPARATE"]),
    "runtime-managed": ("runtime.cu", ["-cudart", "static", "-DMANAGED"]),
    "runtime-ipc": ("ipc.cu", ["-cudart", "static"]),
    "libraries": ("libraries.cu", ["-cudart", "shared", "-lcublas", "-lcufft", "-lcusolver", "-lcusparse", "-lcurand"]),
}
# Lines that are not the native ones, and why; they are named in the verdict.
MANAGED = "managed memory is as of a device without concurrent access: program and device do not share pages"
NO_HANDLE = "neither dma-buf nor fabric handles of memory leave a guest"
KNOWN = {
    "attribute.89": MANAGED, "attribute.101": MANAGED, "attribute.124": NO_HANDLE, "attribute.128": NO_HANDLE,
    "cudadrv.test_managed_alloc.TestManagedAlloc.test_managed_alloc_driver_undersubscribe": f"{MANAGED}; it takes half of the card's size",
}  # fmt: skip
TORCH = ("torch",)
EXPANDABLE = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
STREAM_ORDERED = {"PYTORCH_CUDA_ALLOC_CONF": "backend:cudaMallocAsync"}
OPS = 4
# Its operators are compared with the processor's: one thread computes there, so that judges beside it do not wait.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
SUITE = 4

JUDGES = [
    Judge("nvcc-static", "nvcc", "runtime-static", 60, 2048),
    Judge("nvcc-shared", "nvcc", "runtime-shared", 60, 2048),
    Judge("nvcc-separate", "nvcc", "runtime-separate", 60, 2048),
    Judge("nvcc-managed", "nvcc", "runtime-managed", 60, 2048),
    Judge("nvcc-ipc", "nvcc", "runtime-ipc", 60, 2048),
    Judge("nvcc-libraries", "nvcc", "libraries", 60, 4096),
    Judge("torch-math", "pytorch", "torch_math.py", 120, needs=TORCH),
    Judge("torch-resnet", "pytorch", "torch_resnet.py", 120, needs=TORCH),
    Judge("torch-gpt", "pytorch", "torch_gpt.py", 120, 8192, needs=TORCH),
    Judge("torch-attention", "pytorch", "torch_attention.py", 120, needs=TORCH),
    Judge("torch-graphs", "pytorch", "torch_graphs.py", 90, needs=TORCH),
    Judge("torch-compile", "pytorch", "torch_compile.py", 180, 8192, needs=("torch", "triton")),
    Judge("torch-memory", "pytorch", "torch_memory.py", 60, needs=TORCH),
    Judge("torch-expandable", "pytorch", "torch_memory.py", 60, environment=EXPANDABLE, needs=TORCH),
    Judge("torch-async", "pytorch", "torch_memory.py", 60, environment=STREAM_ORDERED, needs=TORCH),
    Judge("torch-loader", "pytorch", "torch_loader.py", 90, 8192, needs=TORCH),
    Judge("torch-ipc", "pytorch", "torch_ipc.py", 120, 8192, needs=TORCH),
    Judge("torch-ddp", "pytorch", "torch_ddp.py --gpus 1", 90, needs=TORCH),
    Judge("torch-ddp-two", "pytorch", "torch_ddp.py --gpus 2", 120, 8192, needs=TORCH),
    *(Judge(f"torch-ops-{n}", "pytorch's tests", f"torch_ops.py --part {n}/{OPS}", 240, needs=TORCH) for n in range(1, OPS + 1)),
    *(
        Judge(f"torch-suite-{n}", "pytorch's tests", f"torch_suite.py ops --part {n}/{SUITE}", 150, 6144, ONE_THREAD, TORCH, ("local",))
        for n in range(1, SUITE + 1)
    ),
    Judge("torch-suite-modules", "pytorch's tests", "torch_suite.py modules", 150, 6144, ONE_THREAD, TORCH, ("local",)),
    Judge("triton", "triton", "triton_kernels.py", 120, needs=("torch", "triton")),
    Judge("cupy", "cupy", "cupy_math.py", 150, needs=("cupy",)),
    Judge("numba", "numba", "numba_kernels.py", 60, 3072, needs=("numba",)),
    Judge("numba-driver", "numba's tests", "numba_tests.py cudadrv", 180, needs=("numba", "pytest", "xdist")),
    Judge("numba-kernels", "numba's tests", "numba_tests.py kernels", 240, 8192, ONE_THREAD, ("numba", "pytest", "xdist"), ("local",)),
    # Which kernel XLA finds fastest depends on the run, and so do the last bits.
    Judge("jax", "jax", "jax_math.py", 150, 8192, {"XLA_FLAGS": "--xla_gpu_autotune_level=0"}, needs=("jax",)),
    Judge("nvrtc", "nvrtc", "nvrtc_program.py", 60, 2048, needs=("cuda.bindings",)),
    Judge("nvml", "nvml", "nvml_program.py", 30, 2048, needs=("pynvml",)),
]
