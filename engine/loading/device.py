"""Where the weights go, and whether they fit there.

- `check_device`      whether the device a job asks for exists
- `free_bytes`        the memory left on a device
- `place`             the device map of a job, refused when the weights cannot fit
"""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from engine.loading.devicenames import MAP_NAMES, check_device_name
from engine.loading.errors import LoadError

# Room for activations, statistics and the CUDA context beside the weights of a model on one GPU.
_GPU_HEADROOM_BYTES = 2 << 30
# Control groups, version 2 and 1: the limit, the use, and the statistics that say how much of it is page cache.
_CGROUPS = (
    ("memory.max", "memory.current", "memory.stat", ("inactive_file", "active_file")),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        ("total_inactive_file", "total_active_file"),
    ),
)


def check_device(device: str) -> None:
    """Refuse a device that is not there, before anything is loaded.

    Raises:
        LoadError: no such device, or no such name.
    """
    check_device_name(device)
    if device in {"auto", "cpu"}:
        return
    if device in MAP_NAMES:
        if torch.cuda.device_count() == 0:
            raise LoadError(
                f"--device {device} spreads a model over GPUs, and there is none",
                hint="use --device auto or --device cpu",
                kind="device",
            )
        return
    _check_cuda(device, int(device.partition(":")[2] or 0))


def _check_cuda(device: str, index: int) -> None:
    if not torch.backends.cuda.is_built():
        raise LoadError(
            f"{device} is not available: this PyTorch ({torch.__version__}) is built without CUDA",
            hint="install a CUDA build of torch, or use --device cpu",
            kind="device",
        )
    count = torch.cuda.device_count()
    if count == 0:
        raise LoadError(
            f"{device} is not available: no GPU is visible",
            hint="check the driver and CUDA_VISIBLE_DEVICES, or use --device cpu",
            kind="device",
        )
    if index >= count:
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise LoadError(f"{device} is not there", hint=f"use {there}, or --device auto", kind="device")


def free_bytes(device: str) -> int:
    """The memory left on `cpu` (what the machine or this container can still give) or on `cuda:N`."""
    if device == "cpu":
        return min(int(psutil.virtual_memory().available), _container_bytes())
    return int(torch.cuda.mem_get_info(torch.device(device))[0])


def _container_bytes(root: Path = Path("/sys/fs/cgroup")) -> int:
    """What this container may still use by its memory limit; without a limit, a number larger than any memory."""
    for limit_file, used_file, statistics_file, cache_names in _CGROUPS:
        try:
            limit = (root / limit_file).read_text().strip()
            used = int((root / used_file).read_text())
            statistics = (root / statistics_file).read_text().splitlines()
        except OSError:
            continue
        if limit != "max":
            # The page cache counts as used, but is given up when a process needs the room.
            cache = sum(int(line.split()[1]) for line in statistics if line.split()[0] in cache_names)
            return max(int(limit) - used + cache, 0)
    return 1 << 62


def place(device: str, needed_bytes: int, model: str) -> str | dict[str, str]:
    """The `device_map` for a job's device.

    `auto` is the GPU with most room if the weights fit on it, else all GPUs and the CPU together, else the CPU.

    Args:
        device: `Job.device`.
        needed_bytes: the size of the weights as they will be loaded.
        model: for the message.

    Raises:
        LoadError: the device is not there, or the weights cannot fit.
    """
    check_device(device)
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if device == "cpu" or (device == "auto" and not gpus):
        _refuse_too_large(needed_bytes, free_bytes("cpu"), model, "this machine")
        return {"": "cpu"}
    if device == "auto":
        roomiest = max(gpus, key=free_bytes)
        if needed_bytes + _GPU_HEADROOM_BYTES <= free_bytes(roomiest):
            return {"": roomiest}
    if device == "auto" or device in MAP_NAMES:
        room = sum(map(free_bytes, gpus)) + free_bytes("cpu")
        _refuse_too_large(needed_bytes, room, model, f"{len(gpus)} GPU(s) and this machine together")
        return device
    single = device if ":" in device else f"{device}:0"
    _refuse_too_large(needed_bytes, free_bytes(single), model, single)
    return {"": single}


def _refuse_too_large(needed_bytes: int, room_bytes: int, model: str, where: str) -> None:
    if needed_bytes > room_bytes:
        raise LoadError(
            f"{model} does not fit: its weights need {needed_bytes / 2**30:.1f} GiB and {where} has "
            f"{room_bytes / 2**30:.1f} GiB free",
            hint="use --dtype bfloat16, another --device, or a smaller model",
            kind="memory",
        )
