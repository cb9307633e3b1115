"""What to run, written into the session file before the engine starts and read back by it.

- `Job`       everything the user chose for a run
- `Addition`  more texts, added to a run later
- `SiteSet`, `SiteChoice`, `widest`  sets of sites, what a user may ask for, and the most that may come of it
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from engine.base.stored import build

Detail = Literal["lean", "standard", "compat"]
SiteSet = Literal["paper", "gemm", "paper+gemm", "all"]
SiteChoice = Literal["auto", "paper", "gemm", "paper+gemm", "all"]
Policy = Literal["raw", "bos", "chat"]
Quant = Literal["off", "basic", "full"]
Protocol = Literal["exact", "paper"]


def widest(choice: SiteChoice) -> SiteSet:
    """The largest set that a choice can come to: both for `auto`."""
    return "paper+gemm" if choice == "auto" else choice


@dataclass(frozen=True, slots=True)
class Addition:
    """More texts for a run: the absolute path of a corpus file (or `starter`), and how many of it at most."""

    corpus: str
    samples: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Everything the user chose for a run.

    Attributes:
        model: hub id, absolute folder path, or absolute path of a GGUF file.
        revision: hub revision; None for the default branch.
        corpus: `starter`, or the absolute path of a corpus file.
        samples: at most this many samples, stratified over categories; None for all.
        max_length: tokens per sample; longer texts are cut. None for the model's context window.
        batch_tokens: padded tokens per batch at most. None lets the engine choose for the device.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, or an accelerate device map name (`balanced`).
        dtype: `auto` (the checkpoint's), `bfloat16`, `float16` or `float32`.
        policy: how text becomes tokens: `raw` (no special tokens), `bos`, `chat`.
        seed: orders the samples.
        sites: which sites are measured. `auto` is resolved when the run begins, by what the statistics are timed to
            cost, and the set it came to stands here from then on.
        vision: measure the vision tower of a multimodal model, too (it is silent on text).
        detail: which statistics are kept.
        quant: `basic` keeps calibration and evaluation samples apart, so that quantisers are judged on other samples
            than their thresholds come from; `full` also sums, over the evaluation samples, the errors of quantisers
            with scales per token, channel or block; `off` does neither.
        schemes: further quantisers by name: columns of the board, or summed in the pass whatever `quant` says.
        protocol: `exact`, or `paper`: the first samples calibrate, and the reference's quantile is taken.
        calibration: samples that thresholds come from.
        evaluation: samples that errors are taken over.
        backend: `auto`, `torch`, `numba` or `triton`.
        threads: torch threads on the CPU; None for all cores.
        trust_remote_code: run model code from the repository.
        allow_pickle: accept .bin checkpoints.
        checkpoint_seconds: time between checkpoints at least; 0 writes one after every batch, and waits for it.
    """

    model: str
    revision: str | None = None
    corpus: str = "starter"
    samples: int | None = None
    max_length: int | None = None
    batch_tokens: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    policy: Policy = "raw"
    seed: int = 42
    sites: SiteChoice = "paper"
    vision: bool = False
    detail: Detail = "standard"
    quant: Quant = "basic"
    schemes: tuple[str, ...] = ()
    protocol: Protocol = "exact"
    calibration: int = 128
    evaluation: int = 256
    backend: str = "auto"
    threads: int | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False
    checkpoint_seconds: float = 5.0

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` reads it back."""
        data = asdict(self)
        if not self.schemes:
            del data["schemes"]  # as in sessions of before there was a choice
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Job:
        """Read what `to_json` wrote, ignoring fields of a newer version.

        Raises:
            UnsoundError: a field is missing, or of another type.
        """
        return build(cls, data)
