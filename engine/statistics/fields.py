"""The scalars of every site that are known at every tick, by name.

- `LIVE_FIELDS`  the columns of the live table
- `FIRST_LIVE_FIELDS`  how many of them the first sessions had
"""

from __future__ import annotations

LIVE_FIELDS = (
    "max", "min", "rms", "tokens", "nonfinite", "sample", "position", "channel",
    "nan", "bad_sample", "bad_position", "bad_channel",
)  # fmt: skip
"""Columns of `LiveTable.data`; sample, position and channel locate the largest |x|, -1 before the first.

`nan` is how many of the non-finite elements are NaN, and the last three are the lowest address of one, -1 if there is
none. Sessions written before these were kept end with `channel`; reading them, `nan` is NaN and the address -1.
"""
FIRST_LIVE_FIELDS = 8  # how many there were at first
