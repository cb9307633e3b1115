"""Activation scales for quantisation tools, by linear module, from the measured inputs of matrix products.

- `modules_reading`  the linear modules of one input
- `missing_inputs`  why a run has none
- `input_scales`  module path -> per-channel max|x|
- `act_scales`    SmoothQuant's file: a dict of module name -> tensor [in_features], saved by torch
- `amax`          per-tensor maxima as safetensors, `<module>.input_amax`

Maxima are over all tokens measured; SmoothQuant's own script takes the same (maximum over samples, not their mean).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.analysis.nonfinite import session_alarm
from engine.base.naming import model_name
from engine.base.wording import printable
from engine.report.errors import ReportError
from engine.report.needs import Missing
from engine.report.torch_file import as_torch_file
from engine.session.reader import SessionMeta, SessionReader
from engine.sites.site import Site

_LACKING: Final = "not measured: the session does not hold the maxima of channels; run again to measure them"
_NO_INPUTS: Final = "no inputs of matrix products were measured; run again with --sites gemm or --sites all"


NOTHING_FINITE: Final = "no input of a matrix product has a finite element; maxact-tui show says where that begins"


def missing_inputs(meta: SessionMeta) -> Missing | None:
    """What a run lacks for the formats of this module, None if it measured the inputs of linear modules."""
    sites = meta.plan.sites if meta.plan is not None else ()
    if any(site.capture == "input" and modules_reading(site, sites) for site in sites):
        return None
    return Missing("needs --sites gemm or all", _NO_INPUTS)


def input_scales(reader: SessionReader) -> dict[str, NDArray[np.float32]]:
    """Per-channel max|x| of the input of every linear module whose input was measured, float32 [in_features].

    Raises:
        ReportError: the session measured none, or none with a finite element.
    """
    with reader.snapshot():
        plan = reader.meta().plan
        sites = plan.sites if plan else ()
        scales: dict[str, NDArray[np.float32]] = {}
        is_lacking = False
        for site, totals in zip(sites, reader.iter_totals(), strict=True):
            if totals is None or site.capture != "input":
                continue
            if not totals.has("channel_max"):
                is_lacking = True
                continue
            if totals.finite or totals.channel_max.any():
                scales |= dict.fromkeys(modules_reading(site, sites), totals.channel_max)
    if not scales:
        if is_lacking:
            raise ReportError(_LACKING)
        raise ReportError(_NO_INPUTS if missing_inputs(reader.meta()) else NOTHING_FINITE)
    return scales


def act_scales(reader: SessionReader) -> bytes:
    """The file SmoothQuant reads.

    Raises:
        ReportError: no inputs were measured, or torch could not be started.
    """
    return as_torch_file(input_scales(reader))


def amax(reader: SessionReader) -> bytes:
    """Per-tensor input maxima as a safetensors file, with what was measured in its metadata.

    Raises:
        ReportError: no inputs were measured.
    """
    from safetensors.numpy import save

    scales = input_scales(reader)
    meta, status, alarm = reader.meta(), reader.status(), session_alarm(reader)
    about = {
        "format": "maxact-tui/amax",
        "model": printable(model_name(meta.job.model)),
        "corpus_hash": str(meta.corpus.get("hash", "")),
        "samples": str(len(reader.samples_done())),
        "special_tokens": meta.job.policy,
        "partial": json.dumps(status.phase != "finished"),
        "nonfinite_sites": str(len(alarm.sites) if alarm is not None else 0),
    }
    return save(
        {f"{name}.input_amax": np.asarray(channels.max(initial=0.0), np.float32) for name, channels in scales.items()},
        metadata=about,
    )


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
