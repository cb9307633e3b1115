"""What an engine wrote into its log and could not write into its session: of a full disk only the log may tell.

- `logged_failure`  why it ended, and when
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from engine.session.logfile import read_end

_FAILED = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)[^\n]*? run: failed: ([^\n]+)$", re.MULTILINE)
# A log counts whole seconds, and an engine's start is noted a moment before it runs.
_TOLERANCE_SECONDS = 2.0


def logged_failure(session: Path, since: float) -> tuple[str, float] | None:
    """The reason of the last failure in the log and its moment, Unix seconds; None if there is none.

    Args:
        session: whose engine it was.
        since: when that engine started; what the log holds of earlier ones is no reason.
    """
    found = _FAILED.findall(read_end(session))
    if not found:
        return None
    stamp, reason = found[-1]
    try:
        at = time.mktime(time.strptime(stamp, "%Y-%m-%d %H:%M:%S"))
    except (ValueError, OverflowError):
        return None
    return (reason.strip(), at) if at >= since - _TOLERANCE_SECONDS else None
