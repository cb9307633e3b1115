"""When `--sites auto` measures the GEMM inputs beside the paper's sites.

- `SLOWDOWN_LIMIT`, `SHORT_SECONDS`  the limits; `LIMIT_WORDS`, in words
- `SETS`  what each set of sites is, in words
- `AUTO_NOTE`  what `auto` does, for whoever reads a plan
"""

from __future__ import annotations

from typing import Final

SLOWDOWN_LIMIT: Final = 0.5
"""GEMM inputs are taken while the statistics of all sites take at most so much of the forward pass's own time."""
SHORT_SECONDS: Final = 60.0
"""They are taken, too, where all statistics of the whole run take no longer than this, however small the model."""

LIMIT_WORDS = f"{100 * SLOWDOWN_LIMIT:.0f} % of the model's own time, or {SHORT_SECONDS:.0f} s of the whole run"
AUTO_NOTE = (
    f"--sites auto, the default: a run first times these sites on the loaded model, and measures them all unless their"
    f" statistics take more than {LIMIT_WORDS}; then it measures the paper's sites alone, and says so"
)
SETS: Final = {
    "paper": "residual stream and branches, as in the paper",
    "gemm": "GEMM inputs",
    "paper+gemm": "residual stream and branches, and the GEMM inputs",
    "all": "residual stream and branches, the GEMM inputs, and the insides of experts",
}
"""The sets of sites by their names on the command line."""
