"""Which samples calibrate and which evaluate, as the session file keeps it.

- `SplitRecord`  the two lists of samples and how they were asked for (meta entry `split`)
- `CALIBRATION`, `EVALUATION`, `IN_PASS`, `LOCAL`  owners of a site's arrays over those samples: these and its number
- `CLOSED_OWNER`, `CLOSED`  the array that says how many of the two parts are complete; `REST` when both are
- `META`  name of the meta entry
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.base.stored import build

CALIBRATION: Final = "calibration/"
EVALUATION: Final = "evaluation/"
IN_PASS: Final = "in_pass/"
LOCAL: Final = "local/"
CLOSED_OWNER: Final = "split"
CLOSED: Final = "closed"
META: Final = "split"
REST: Final = 2  # `CLOSED` once both parts are complete


@dataclass(frozen=True, slots=True)
class SplitRecord:
    """Two disjoint sets of sample numbers; samples in neither belong to the whole population only.

    Attributes:
        calibration: samples from which thresholds come, ascending.
        evaluation: samples whose errors are taken, ascending.
        protocol: `exact`, or `paper`: the first samples in the corpus's order and the reference's quantile.
    """

    calibration: tuple[int, ...]
    evaluation: tuple[int, ...]
    protocol: str = "exact"

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` reads it back."""
        return {
            "calibration": list(self.calibration),
            "evaluation": list(self.evaluation),
            "protocol": self.protocol,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SplitRecord:
        """Read what `to_json` wrote.

        Raises:
            UnsoundError: a field is missing, or of another type.
        """
        return build(cls, data)
