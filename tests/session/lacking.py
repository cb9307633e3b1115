"""Sessions that lack one array, as those of an earlier version do.

- `ARRAYS`   (kind of owner, array) of everything that a run keeps
- `remove`   take one out of a file, everywhere
"""

from __future__ import annotations

from pathlib import Path

from engine.session.schema import EXPERTS
from engine.session.splits import CALIBRATION, CLOSED, CLOSED_OWNER, EVALUATION, IN_PASS
from engine.statistics.declared import declared
from engine.statistics.experts import ExpertTotals
from engine.statistics.pass_sums import PassSums
from engine.statistics.totals import SiteTotals
from tests.session.stamping import stamped

SITE = "site"
ARRAYS: list[tuple[str, str]] = [
    *((SITE, name) for name in declared(SiteTotals)),
    *((EXPERTS, name) for name in declared(ExpertTotals)),
    *((CALIBRATION, name) for name in ("histogram", "extremes", "channel_max", "weight_max")),
    (EVALUATION, "histogram"),
    *((IN_PASS, name) for name in declared(PassSums)),
    (CLOSED_OWNER, CLOSED),
]


def remove(session: Path, kind: str, name: str) -> int:
    """Remove the array of every such owner; gives back how many there were."""
    with stamped(session, "sample_maxima") as db:
        if (kind, name) == (SITE, "sample_max"):  # kept apart: blocks without a site's row
            found = db.execute("UPDATE sample_maxima SET data = x'', sums = x'', sites = 0")
        else:
            owner = "[0-9]*" if kind == SITE else f"{kind}*"
            found = db.execute("DELETE FROM arrays WHERE owner GLOB ? AND name = ?", (owner, name))
        return found.rowcount
