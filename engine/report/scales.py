"""Activation scales for quantisation tools, by linear module, from the measured inputs of matrix products.

- `modules_reading`  the linear modules of one input
- `missing_inputs`  why a run has none
- `InputScales`, `input_scales`  module path -> per-channel and per-tensor max|x|, and what is not known
- `act_scales`    SmoothQuant's file: a dict of module name -> tensor [in_features], saved by torch
- `amax`          per-tensor maxima as safetensors, `<module>.input_amax`

Maxima are over all tokens measured; SmoothQuant's own script takes the same (maximum over samples, not their mean).
Nothing is 0 because it is unknown: a channel of which nothing finite is known is NaN, as NaN is the divisor that
SmoothQuant would make of it, and a module whose input has no finite element is not in a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.analysis.channels import channel_maxima
from engine.analysis.nonfinite import session_alarm
from engine.base.naming import model_name
from engine.base.wording import counted, printable
from engine.report.errors import ReportError
from engine.report.needs import Missing
from engine.report.torch_file import as_torch_file
from engine.session.reader import SessionMeta, SessionReader
from engine.sites.site import Site

Reason = Literal["not finite", "unseen", "lacking", "channels"]

_LACKING: Final = "not measured: the session does not hold the maxima of channels; run again to measure them"
_NO_INPUTS: Final = "no inputs of matrix products were measured; run again with --sites gemm or --sites all"
NOTHING_FINITE: Final = "no input of a matrix product has a finite element; maxact-tui show says where that begins"
_LEFT_OUT: Final[dict[Reason, str]] = {
    "not finite": "nothing finite reaches them",
    "unseen": "no token reached them",
    "lacking": "the session does not hold their channels' maxima",
}
_REASONS: Final[tuple[Reason, ...]] = (*_LEFT_OUT, "channels")
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class InputScales:
    """The inputs of linear modules.

    Attributes:
        channels: of each module the largest |x| of each channel, float32 [in_features]; NaN where nothing finite of a
            channel is known.
        tensors: of each module the largest |x| of its input.
        lost: names of sites that are in neither, by reason; under `channels` those of which some channels are NaN.
    """

    channels: dict[str, NDArray[np.float32]]
    tensors: dict[str, np.float32]
    lost: Mapping[Reason, tuple[str, ...]]

    def warnings(self, *, by_channel: bool) -> tuple[str, ...]:
        """What is not known, a line each, for a file of channels or of tensors."""
        lines = [
            f"left out, because {why}: {counted(len(names), 'input')} ({_listed(names)})"
            for reason, why in _LEFT_OUT.items()
            if (names := self.lost.get(reason))
        ]
        if by_channel and (names := self.lost.get("channels")):
            lines.append(f"NaN, because nothing finite is known of these channels: {_listed(names, '; ')}")
        return tuple(lines)


def _listed(names: Sequence[str], between: str = ", ") -> str:
    return between.join(names[:_NAMED]) + (f"{between}..." if len(names) > _NAMED else "")


def missing_inputs(meta: SessionMeta) -> Missing | None:
    """What a run lacks for the formats of this module, None if it measured the inputs of linear modules."""
    sites = meta.plan.sites if meta.plan is not None else ()
    if any(site.capture == "input" and modules_reading(site, sites) for site in sites):
        return None
    return Missing("needs --sites gemm or all", _NO_INPUTS)


def input_scales(reader: SessionReader) -> InputScales:
    """What is known of the input of every linear module whose input was measured.

    Raises:
        ReportError: the session measured none, or none with a finite element.
    """
    with reader.snapshot():
        plan = reader.meta().plan
        sites = plan.sites if plan else ()
        channels: dict[str, NDArray[np.float32]] = {}
        tensors: dict[str, np.float32] = {}
        lost: dict[Reason, list[str]] = {reason: [] for reason in _REASONS}
        for site, totals in zip(sites, reader.iter_totals(), strict=True):
            modules = modules_reading(site, sites) if site.capture == "input" else ()
            if not modules:
                continue
            if totals is None:
                lost["unseen"].append(site.name)
            elif not totals.has("channel_max"):
                lost["lacking"].append(site.name)
            elif totals.finite or totals.channel_max.any():
                maxima = channel_maxima(totals).astype(np.float32)
                channels |= dict.fromkeys(modules, maxima)
                # Not of `maxima`: zeros beside NaN are the largest of a site, though of no channel for certain.
                tensors |= dict.fromkeys(modules, totals.channel_max.max())
                if np.isnan(maxima).any():
                    lost["channels"].append(f"{site.name} {_numbers(np.flatnonzero(np.isnan(maxima)))}")
            else:
                lost["not finite" if totals.nonfinite.any() else "unseen"].append(site.name)
    if not channels:
        if lost["lacking"]:
            raise ReportError(_LACKING)
        raise ReportError(NOTHING_FINITE if lost["not finite"] else _NO_INPUTS)
    return InputScales(channels, tensors, {reason: tuple(names) for reason, names in lost.items() if names})


def act_scales(scales: InputScales) -> bytes:
    """The file SmoothQuant reads.

    Raises:
        ReportError: torch could not be started.
    """
    return as_torch_file(scales.channels)


def amax(reader: SessionReader, scales: InputScales) -> bytes:
    """Per-tensor input maxima as a safetensors file, with what was measured in its metadata."""
    from safetensors.numpy import save

    meta, status, alarm = reader.meta(), reader.status(), session_alarm(reader)
    about = {
        "format": "maxact-tui/amax",
        "model": printable(model_name(meta.job.model)),
        "corpus_hash": str(meta.corpus.get("hash", "")),
        "samples": str(len(reader.samples_done())),
        "special_tokens": meta.job.policy,
        "partial": json.dumps(status.phase != "finished"),
        "nonfinite_sites": str(len(alarm.sites) if alarm is not None else 0),
        "left_out": ", ".join(name for reason in _LEFT_OUT for name in scales.lost.get(reason, ())),
    }
    return save(
        {f"{name}.input_amax": np.asarray(largest, np.float32) for name, largest in scales.tensors.items()},
        metadata=about,
    )


def _numbers(channels: NDArray[np.int64]) -> str:
    """A few numbers of channels in words: `channel 3`, `channels 1, 2, ... (8)`."""
    first = ", ".join(map(str, channels[:_NAMED].tolist()))
    more = f", ... ({len(channels)})" if len(channels) > _NAMED else ""
    return f"channel{'s' if len(channels) > 1 else ''} {first}{more}"


def modules_reading(site: Site, sites: Sequence[Site]) -> tuple[str, ...]:
    """The linear modules that multiply a GEMM input, without those whose input turned out to be another.

    Such a module has a site of its own (`other_input`).
    """
    if site.component == "other_input":
        return (site.module,)
    alone = {one.module for one in sites if one.component == "other_input" and one.capture == "input"}
    # Plans of older sessions name the hooked module only.
    readers = site.readers or ((site.module,) if site.kind not in ("moe", "logits") else ())
    return tuple(name for name in readers if name not in alone)
