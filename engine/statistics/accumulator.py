"""`SiteAccumulator`: one site on its device, updated by one backend call per tensor, without waiting for the device.

- `SiteAccumulator`   what `Meter` keeps for a site once it has seen its first tensor
- `unfit`             why a tensor cannot be measured at all
"""

from __future__ import annotations

import torch

from engine.base.job import Detail
from engine.messages import Code, Message, message
from engine.statistics.backends import Backend
from engine.statistics.reading import read_state
from engine.statistics.rows import Rows
from engine.statistics.state import CHANNEL_BITS, DTYPES, SiteState, new_state
from engine.statistics.totals import SiteTotals

# Rows are swept in pieces below this, so that a place in a piece fits in 32 bits.
MAX_ELEMENTS = 1 << 31


def unfit(x: torch.Tensor) -> Message | None:
    """Why this tensor cannot be measured, which ends a sentence about it; None if it can."""
    if x.device.type == "meta":
        return message(Code.META_DEVICE)
    if x.dtype not in DTYPES:
        return message(Code.WRONG_DTYPE, dtype=str(x.dtype).removeprefix("torch."))
    if x.dim() < 2:
        return message(Code.WRONG_DIMENSIONS, dimensions=x.dim())
    if x.numel() == 0:
        return message(Code.EMPTY)
    if x.shape[-1] > 1 << CHANNEL_BITS:
        return message(Code.TOO_WIDE, channels=x.shape[-1], most=1 << CHANNEL_BITS)
    return None


class SiteAccumulator:
    """The state of one site.

    Args:
        first: the first tensor of the site, `unfit` for which is None; fixes width, dtype and device.
        samples: N, samples of the corpus.
        detail: which statistics are kept.
        census: whether token medians and channel counts are taken.
        backend: what sweeps.
        scalars: the site's rows of the device's tables, int64 [INTEGERS] and float64 [REALS].
    """

    def __init__(
        self,
        first: torch.Tensor,
        samples: int,
        detail: Detail,
        census: bool,
        backend: Backend,
        scalars: tuple[torch.Tensor, torch.Tensor],
    ) -> None:
        self.device = first.device
        self._backend = backend
        self._kind = (first.dtype, first.shape[-1], first.device)
        # Tensors made under inference mode could not be reset outside of it.
        with torch.inference_mode(False):
            self.state: SiteState = new_state(DTYPES[first.dtype], first.shape[-1], samples, detail, census, scalars)

    @property
    def elements(self) -> int:
        """Elements swept since the last reset, the most any counter can have reached."""
        return self.state.tokens * self.state.width

    def mismatch(self, x: torch.Tensor) -> Message | None:
        """How a tensor differs from the site's first one, which ends a sentence about it; None if it does not."""
        found = (x.dtype, x.shape[-1], x.device)
        names = ("dtype", "width", "device")
        changes = [
            (name, str(old).removeprefix("torch."), str(new).removeprefix("torch."))
            for name, old, new in zip(names, self._kind, found, strict=True)
            if old != new
        ]
        if not changes:
            return None
        what, was, now = zip(*changes, strict=True)
        return message(Code.CHANGED, what=what, was=was, now=now)

    def update(self, x: torch.Tensor, rows: Rows) -> None:
        """Add the named rows of x, [R, D], of the site's kind, detached."""
        x = x.contiguous()
        step = max(MAX_ELEMENTS // self.state.width, 1)
        if len(rows.sample) <= step and len(x) <= step:
            self._backend.sweep(self.state, x, rows)
            return
        for start in range(0, len(rows.sample), step):
            end = start + step
            index = None if rows.index is None else rows.index[start:end]
            piece = x[start:end] if index is None else x.index_select(0, index)
            self._backend.sweep(self.state, piece, Rows(None, rows.sample[start:end], rows.position[start:end]))

    def read(self) -> SiteTotals:
        """What was added since the last reset, on the host; waits for the device."""
        return read_state(self.state)

    def reset(self) -> None:
        """Forget what was added since the last reset."""
        self.state.reset()
