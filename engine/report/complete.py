"""Everything a session holds about a model and each of its sites, as one documented JSON.

- `FORMAT`, `VERSION`  what the document says of itself
- `complete_dict`      session -> dict: the summary, the run's provenance, one entry per site, quantisers

Per-channel and per-sample arrays are left to the tabular exports. The keys are described by the JSON Schema in
`engine/report/data/report.schema.json`.
"""

from __future__ import annotations

import math
from typing import Any, Final

from engine.analysis.model import ModelSummary, analyse
from engine.analysis.site import SiteSummary
from engine.analysis.stability import read_stability
from engine.base.naming import without_folders
from engine.fields.registry import in_file
from engine.quantization.populations import read_session_board
from engine.report.effects import effects_list
from engine.report.plain import fields, number
from engine.report.quantization import quantization_dict
from engine.report.summary import nonfinite_dict, summary_dict
from engine.session.reader import SessionReader
from engine.sites.site import Site

FORMAT: Final = "maxact-tui/report"
VERSION: Final = 1


def complete_dict(reader: SessionReader) -> dict[str, Any]:
    """The whole report of a session, ready for strict JSON."""
    with reader.snapshot():
        summary = analyse(reader)
        return {
            **summary_dict(summary),
            "format": FORMAT,
            "version": VERSION,
            **_origin(summary),
            "sites": _sites(summary),
            "missing": fields(summary.plan.missing) if summary.plan else [],
            "notes": list(summary.plan.notes) if summary.plan else [],
            "stability": _stability(reader, summary),
            "effects": effects_list(reader),
            "quantization": quantization_dict(read_session_board(reader), summary.plan),
        }


def _origin(summary: ModelSummary) -> dict[str, Any]:
    """What was run on what, for whoever wants the same; without the folders of this machine."""
    job = summary.job
    known = (job.model, job.corpus, str(summary.provenance.get("resolved") or ""))
    about = {"job": job.to_json(), "provenance": summary.provenance, "corpus": summary.corpus}
    return {name: fields(without_folders(record, *known)) for name, record in about.items()}


def _stability(reader: SessionReader, summary: ModelSummary) -> dict[str, Any] | None:
    found = read_stability(reader)
    if found is None:
        return None
    sites = summary.plan.sites if summary.plan else ()
    return {
        **fields(found.to_data()),
        "batch_limit": number(found.batch_limit),
        "dtype_limit": number(found.dtype_limit),
        "sites": [
            {"name": site.name, "batch": number(batch), "dtype": number(rounding)}
            for site, batch, rounding in zip(sites, found.batch.tolist(), found.rounding.tolist(), strict=False)
            if not math.isnan(batch)
        ],
    }


def _sites(summary: ModelSummary) -> list[dict[str, Any]]:
    plan = summary.plan
    return [
        _site(site, found)
        for site, found in zip(plan.sites if plan else (), summary.sites, strict=True)
        if found is not None
    ]


def _site(site: Site, found: SiteSummary) -> dict[str, Any]:
    return {
        **{one.name: fields(one.of(site, found)) for one in in_file("json")},
        "nonfinite": None if found.nonfinite is None else nonfinite_dict(found.nonfinite),
        "sun_layer": fields(found.sun_layer),
        "sun_token": fields(found.sun_token),
        "top": fields(found.top),
        "channels": fields(found.channels),
    }
