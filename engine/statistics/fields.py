"""The scalars of every site that are known at every tick, by name.

- `LiveRow`      those of one site
- `LIVE_FIELDS`  their names: the columns of the live table
- `FIRST_LIVE_FIELDS`  how many of them the first sessions had
"""

from __future__ import annotations

from typing import Final, NamedTuple


class LiveRow(NamedTuple):
    """The newest scalars of one site. NaN is unknown, and -1 is an address that is not there.

    Sessions written before `nan` and the last address were kept end with `channel`; reading them, `nan` is NaN and the
    address -1.

    Attributes:
        max, min: signed extremes of the finite elements.
        rms: root mean square of the finite elements.
        tokens: valid tokens.
        nonfinite: elements that are NaN or infinite.
        sample, position, channel: where the largest |x| is.
        nan: elements that are NaN.
        bad_sample, bad_position, bad_channel: the lowest address of an element that is not finite.
    """

    max: float
    min: float
    rms: float
    tokens: float
    nonfinite: float
    sample: float
    position: float
    channel: float
    nan: float
    bad_sample: float
    bad_position: float
    bad_channel: float

    @property
    def peak(self) -> float:
        """The element of largest |x|, with its sign."""
        return self.max if abs(self.max) >= abs(self.min) else self.min


LIVE_FIELDS: Final = LiveRow._fields
"""Columns of `LiveTable.data`."""
FIRST_LIVE_FIELDS: Final = 8  # how many there were at first
