"""Which GPUs there can be, as far as that is known without torch and without starting an engine.

- `most_gpus`  as many as an engine of this machine can find at most
"""

from __future__ import annotations

import os
from pathlib import Path

from maxact_tui.watching.machine import VISIBLE_VARIABLE

# GPUs that torch calls cuda, too, and that are counted elsewhere: those of WSL, of AMD, and of Jetson boards.
_UNCOUNTED = ("dev/dxg", "dev/kfd", "dev/nvhost-*", "dev/nvgpu*", "dev/nvmap")
# A GPU cut into instances (MIG) may be found as several.
_INSTANCES = "proc/driver/nvidia/capabilities/gpu*/mig/gi*"
_COUNTED = ("dev/nvidia[0-9]*", "proc/driver/nvidia/gpus/*")
_MAKERS = frozenset({"0x10de", "0x1002"})  # NVIDIA, AMD: a driver may be loaded only once it is asked for


def most_gpus(root: Path = Path("/")) -> int | None:
    """The most GPUs that an engine started here can find; None where that cannot be known.

    Args:
        root: where `dev`, `proc` and `sys` are.
    """
    if not (root / "proc/self").exists():  # not Linux
        return None
    counts = [_in_machine(root), _chosen(os.environ.get(VISIBLE_VARIABLE))]
    known = [count for count in counts if count is not None]
    return min(known) if known else None


def _in_machine(root: Path) -> int | None:
    if any(_found(root, pattern) for pattern in (*_UNCOUNTED, _INSTANCES)):
        return None
    count = max(_found(root, pattern) for pattern in _COUNTED)
    return None if not count and _has_card(root) else count


def _found(root: Path, pattern: str) -> int:
    return sum(1 for _ in root.glob(pattern))


def _has_card(root: Path) -> bool:
    """Whether there is the card of a maker of GPUs, with or without a driver."""
    for file in root.glob("sys/bus/pci/devices/*/vendor"):
        try:
            if file.read_text(encoding="ascii").strip() in _MAKERS:
                return True
        except OSError:
            continue  # a card that was taken out meanwhile
    return False


def _chosen(visible: str | None) -> int | None:
    """How many GPUs CUDA is allowed to show; the instances of one that is cut are not told apart here."""
    if visible is None or "MIG" in visible.upper():
        return None
    if not visible.strip():
        return 0
    count = 0
    for entry in visible.split(","):
        if not entry.strip() or entry.strip().startswith("-"):  # what comes after an entry that is none is left out
            break
        count += 1
    return count
