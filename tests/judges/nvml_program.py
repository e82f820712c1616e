"""NVML as PyTorch, nvitop and nvidia-smi use it: what the device is, exactly; what it is doing, as whether it can be."""
import re
import shutil
import subprocess

import pynvml
from judge import Skipped, part, run


def handle():
    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def answer(name, *arguments):
    """What a function gives, or its error."""
    try:
        found = getattr(pynvml, name)(*arguments)
    except pynvml.NVMLError as error:
        return f"raises {error}"
    return found.decode() if isinstance(found, bytes) else found


@part
def what_it_is():
    device = handle()
    names = (
        "Name", "UUID", "CudaComputeCapability", "MinorNumber", "Index", "Brand", "Architecture", "NumGpuCores", "MemoryBusWidth",
        "BoardPartNumber", "MaxPcieLinkGeneration", "MaxPcieLinkWidth", "ComputeMode", "PersistenceMode", "DisplayMode", "VbiosVersion",
        "EccMode", "MigMode", "PowerManagementDefaultLimit", "CurrentDriverModel",
    )  # fmt: skip
    found = {name: str(answer(f"nvmlDeviceGet{name}", device)) for name in names}
    pci = pynvml.nvmlDeviceGetPciInfo(device)
    return found | {"driver": answer("nvmlSystemGetDriverVersion"), "cuda": answer("nvmlSystemGetCudaDriverVersion"), "count": answer("nvmlDeviceGetCount"), "device_id": pci.pciDeviceId, "subsystem": pci.pciSubSystemId}


@part
def memory():
    device = handle()
    old, new = pynvml.nvmlDeviceGetMemoryInfo(device), pynvml.nvmlDeviceGetMemoryInfo(device, version=pynvml.nvmlMemory_v2)
    return {"total": old.total, "adds_up": old.used + old.free == old.total, "new_total": new.total, "new_adds_up": new.used + new.free + new.reserved == new.total}


@part
def what_it_does():
    """These change from moment to moment: whether they can be."""
    device = handle()
    use = pynvml.nvmlDeviceGetUtilizationRates(device)
    return {
        "temperature": 5 < answer("nvmlDeviceGetTemperature", device, pynvml.NVML_TEMPERATURE_GPU) < 100, "utilization": 0 <= use.gpu <= 100 and 0 <= use.memory <= 100,
        "power": 1000 < answer("nvmlDeviceGetPowerUsage", device) < 1_200_000, "clock": 0 < answer("nvmlDeviceGetClockInfo", device, pynvml.NVML_CLOCK_SM) < 5000,
        "state": 0 <= answer("nvmlDeviceGetPerformanceState", device) <= 32,
    }  # fmt: skip


@part
def handles():
    device = handle()
    uuid = pynvml.nvmlDeviceGetUUID(device)
    return {"by_uuid": answer("nvmlDeviceGetIndex", pynvml.nvmlDeviceGetHandleByUUID(uuid)), "by_bus": answer("nvmlDeviceGetIndex", pynvml.nvmlDeviceGetHandleByPciBusId(pynvml.nvmlDeviceGetPciInfo(device).busId)), "wrong": answer("nvmlDeviceGetHandleByIndex", 99)}


@part
def torch_asks():
    try:
        import torch
    except ImportError as error:
        raise Skipped("Python package torch is missing") from error
    held = torch.ones(1 << 26, device="cuda")
    found = {"utilization": 0 <= torch.cuda.utilization() <= 100, "memory": 0 <= torch.cuda.memory_usage() <= 100, "clock": torch.cuda.clock_rate() > 0, "devices": torch.cuda.device_count()}
    processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle())
    import os

    mine = [one for one in processes if one.pid == os.getpid()]
    # In a container the real library shows no processes, or the host's numbers.
    return found | {"held": held.sum(), "processes_listed": isinstance(processes, list), "mine_is_plausible": all(one.usedGpuMemory is None or one.usedGpuMemory >= 1 << 28 for one in mine)}


@part
def nvidia_smi():
    """The table's fixed parts: its head and the device's name; and that it ends well."""
    if not shutil.which("nvidia-smi"):
        raise Skipped("there is no nvidia-smi")
    table = subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False)
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    asked = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap,uuid", "--format=csv,noheader"], capture_output=True, text=True, check=False)
    head = re.search(r"NVIDIA-SMI.*?(?=\s*\|)", table.stdout)
    return {"status": table.returncode, "head": head.group(0) if head else table.stdout[:100], "has_table": "Processes:" in table.stdout, "list": listed.stdout.strip(), "query": asked.stdout.strip(), "query_status": asked.returncode}


run()
