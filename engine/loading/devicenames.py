"""How a device is named.

- `MAP_NAMES`          accelerate's device maps
- `check_device_name`  whether a name can be that of a device, there or not
"""

from __future__ import annotations

from engine.loading.errors import LoadError

MAP_NAMES = ("balanced", "balanced_low_0", "sequential")


def check_device_name(device: str) -> None:
    """Refuse a name that no device has on any machine.

    Raises:
        LoadError: no such name.
    """
    name, _, index = device.partition(":")
    if device in {"auto", "cpu", *MAP_NAMES} or (name == "cuda" and (not index or index.isdecimal())):
        return
    raise LoadError(
        f"there is no device '{device}'",
        hint=f"use auto, cpu, cuda, cuda:N or one of {', '.join(MAP_NAMES)}",
        kind="device",
    )
