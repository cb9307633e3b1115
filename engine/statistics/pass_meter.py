"""`PassMeter`: what quantisers with scales inside the tensor cost at every site, summed while the model runs.

- `PassMeter`   calibrate, update; drain, discard, sums, load
- `warm_up_quantisers`   compile in the background what a run on the CPU needs
"""

from __future__ import annotations

import threading
from importlib.util import find_spec
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.schemes import FULL_SCHEMES, Scheme
from engine.statistics.pass_sums import SUM_FIELDS, PassSums, merge_sums
from engine.statistics.quantisers import Calibration, add_errors
from engine.statistics.rows import Rows

_COMPILED: Final = ("auto", "numba")


class PassMeter:
    """The sums of all sites. A site that was not calibrated is passed over.

    Args:
        sites: how many sites the hook plan has; they are numbered from 0.
        backend: `auto`, `torch`, `numba` or `triton`; compiled code is there for the CPU.
        schemes: what is summed; those with smoothing at sites whose weights are known.
    """

    def __init__(self, sites: int, backend: str, schemes: tuple[Scheme, ...] = FULL_SCHEMES) -> None:
        self._schemes = schemes
        self._compiled = backend in _COMPILED and find_spec("numba") is not None
        self._maxima: list[tuple[NDArray[np.float32], NDArray[np.float32] | None] | None] = [None] * sites
        self._calibrations: dict[tuple[int, torch.device], Calibration] = {}
        self._tables: dict[torch.device, torch.Tensor] = {}
        self._sums: list[PassSums | None] = [None] * sites

    @property
    def is_calibrated(self) -> bool:
        """Whether any site is measured."""
        return any(maxima is not None for maxima in self._maxima)

    def calibrate(
        self, site: int, channel_max: NDArray[np.float32], weight_max: NDArray[np.float32] | None = None
    ) -> None:
        """Measure this site from now on.

        Args:
            site: its number.
            channel_max: float32 [D], largest |x| of each channel over the calibration samples.
            weight_max: float32 [D], largest |w| of each input column over the linears that read the site; None where
                there are none, and then there is no SmoothQuant.
        """
        self._maxima[site] = (channel_max, weight_max)

    def update(self, site: int, x: torch.Tensor, rows: Rows) -> None:
        """Add the named rows of x, [R, D], detached; nothing here waits for a device."""
        maxima = self._maxima[site]
        if maxima is None or len(maxima[0]) != x.shape[-1]:
            return
        calibration = self._calibration(site, maxima, x.device)
        table = self._tables[x.device][site, : len(calibration.schemes)]
        x = x.contiguous()
        if self._compiled and x.device.type == "cpu":
            from engine.statistics.backends.numba_errors import compiled_errors

            compiled_errors().add_errors(table, x, calibration, rows.index)
        else:
            add_errors(table, x if rows.index is None else x.index_select(0, rows.index), calibration)

    def drain(self) -> None:
        """Move what the devices hold into the sums: one copy from each."""
        host = {device: table.cpu().numpy().copy() for device, table in self._tables.items()}
        for (site, device), calibration in self._calibrations.items():
            fresh = host[device][site, : len(calibration.schemes)]
            if fresh.any():
                found, held = PassSums(tuple(s.name for s in calibration.schemes), fresh), self._sums[site]
                self._sums[site] = found if held is None else merge_sums(held, found)
        self.discard()

    def discard(self) -> None:
        """Forget everything added since the last `drain`."""
        for table in self._tables.values():
            table.zero_()

    def sums(self, site: int) -> PassSums | None:
        """What a site holds as of the last `drain` (never changed afterwards); None if nothing."""
        return self._sums[site]

    def load(self, site: int, sums: PassSums) -> None:
        """Continue from the sums of an earlier run."""
        self._sums[site] = sums

    def _calibration(
        self, site: int, maxima: tuple[NDArray[np.float32], NDArray[np.float32] | None], device: torch.device
    ) -> Calibration:
        """The site's calibration on a device, which has a table for the sums from then on."""
        if (site, device) not in self._calibrations:
            # Tensors made under inference mode could not be reset outside of it.
            with torch.inference_mode(False):
                self._calibrations[site, device] = Calibration.of(*maxima, device, self._schemes)
                if device not in self._tables:
                    shape = (len(self._sums), len(self._schemes), len(SUM_FIELDS))
                    self._tables[device] = torch.zeros(shape, dtype=torch.float64, device=device)
        return self._calibrations[site, device]


def warm_up_quantisers(backend: str, device: torch.device) -> None:
    """Compile in a daemon thread what `update` needs for tensors on this device."""
    if backend in _COMPILED and device.type == "cpu" and find_spec("numba") is not None:
        from engine.statistics.backends.numba_errors import compiled_errors

        threading.Thread(target=lambda: compiled_errors().prepare(), name="maxact-quantisers", daemon=True).start()
