"""What the engine takes of the machine: its GPUs as NVML sees them, else its process.

- `Usage`    one sample
- `Machine`  samples at most once a second; nothing where the engine is elsewhere, over, or cannot be asked
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.session.library import boot_identity
from engine.session.reader import SessionMeta
from engine.session.records import ENDED, Status

if TYPE_CHECKING:
    import psutil

SAMPLE_SECONDS = 1.0
VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Usage:
    """What is in use.

    Attributes:
        name: `cpu`, `gpu 0`, or `gpu 0-3`.
        percent: utilisation: of one core for a process (it may pass 100), the mean of the GPUs.
        used_bytes: resident memory of the process, or memory in use on the GPUs together.
        total_bytes: memory of the GPUs together, 0 for a process.
        celsius: of the hottest GPU, 0 for a process.
    """

    name: str
    percent: int
    used_bytes: int
    total_bytes: int = 0
    celsius: int = 0


class Machine:
    """Samples the devices of one engine.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = 0.0
        self._last: Usage | None = None
        self._process: psutil.Process | None = None
        self._has_nvml: bool | None = None

    def usage(self, status: Status | None, meta: SessionMeta | None) -> Usage | None:
        """A sample at most a second old; None where there is no engine on this machine."""
        if status is None or not self._is_here(status):
            self._last = self._process = None
            return None
        now = self._clock()
        if now >= self._due:
            self._due = now + SAMPLE_SECONDS
            import psutil  # only where an engine runs: the first frame does not wait for it

            try:
                self._last = self._sample(status, meta)
            except (psutil.Error, OSError):  # the engine ended just now, or belongs to somebody else
                self._last = self._process = None
        return self._last

    def _is_here(self, status: Status) -> bool:
        return (
            status.pid > 0
            and status.phase not in ENDED
            and status.host == socket.gethostname()
            and status.boot == boot_identity()
        )

    def _sample(self, status: Status, meta: SessionMeta | None) -> Usage | None:
        if self._process is None or self._process.pid != status.pid:
            import psutil

            self._process = psutil.Process(status.pid)
            self._process.cpu_percent()  # the first call only starts the count
            return None
        numbers = cuda_numbers(meta)
        found = self._gpus(numbers) if numbers else None
        if found is not None:
            return found
        with self._process.oneshot():
            return Usage("cpu", round(self._process.cpu_percent()), self._process.memory_info().rss)

    def _gpus(self, numbers: Sequence[int]) -> Usage | None:
        """The engine's GPUs together; None where NVML is missing or does not know them."""
        if self._has_nvml is False or self._process is None:
            return None
        try:
            import pynvml
        except ImportError:
            self._has_nvml = False
            return None
        try:
            if self._has_nvml is None:
                pynvml.nvmlInit()
                self._has_nvml = True
            return _sum_of(pynvml, numbers, self._process.environ().get(VISIBLE_VARIABLE))
        except pynvml.NVMLError:
            self._has_nvml = False
            return None


def cuda_numbers(meta: SessionMeta | None) -> tuple[int, ...]:
    """The engine's own numbers of its CUDA devices, from where the model lies."""
    places = {str(place) for place in dict((meta.provenance if meta else {}).get("device_map") or {}).values()}
    numbers = {place.removeprefix("cuda:") if place != "cuda" else "0" for place in places}
    return tuple(sorted(int(number) for number in numbers if number.isdigit()))


def _sum_of(nvml: Any, numbers: Sequence[int], visible: str | None) -> Usage:
    """NVML counts every GPU of the machine, the engine only those it may see."""
    seen = [entry.strip() for entry in visible.split(",")] if visible else None
    handles = []
    for number in numbers:
        entry = seen[number] if seen is not None and number < len(seen) else str(number)
        is_number = entry.isdigit()
        handles.append(
            nvml.nvmlDeviceGetHandleByIndex(int(entry)) if is_number else nvml.nvmlDeviceGetHandleByUUID(entry)
        )
    memory = [nvml.nvmlDeviceGetMemoryInfo(handle) for handle in handles]
    percent = [nvml.nvmlDeviceGetUtilizationRates(handle).gpu for handle in handles]
    celsius = [nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU) for handle in handles]
    span = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
    return Usage(
        f"gpu {span}",
        round(sum(percent) / len(percent)),
        sum(int(one.used) for one in memory),
        sum(int(one.total) for one in memory),
        max(int(one) for one in celsius),
    )
