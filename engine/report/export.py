"""The export formats by name, and one door to all of them.

- `Format`, `FORMATS`  what there is
- `find_format`        by name; an unknown one names the nearest
- `render`             a session as documents in memory
- `check_scheme`       whether a format can be made for a quantiser
- `export_session`     a session as files in a folder
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from engine.analysis.model import analyse
from engine.analysis.nonfinite import session_alarm
from engine.report import losses, modelopt, recipe, scales
from engine.report.alarm import alarm_line
from engine.report.complete import complete_dict
from engine.report.errors import ReportError
from engine.report.html import html
from engine.report.losses import DEPLOYMENTS
from engine.report.markdown import markdown, model_card
from engine.report.needs import Missing, missing_nothing
from engine.report.plain import json_text
from engine.report.reference import activation_stats, missing_fields, reference_model_name, top5_stats
from engine.report.scales import act_scales, amax, input_scales
from engine.report.source import gather
from engine.report.tabular import csv_documents, parquet_documents
from engine.report.worst import summary_document
from engine.report.writing import Document, safe_name, write_documents
from engine.session.library import SUFFIX
from engine.session.reader import SessionMeta, SessionReader


@dataclass(frozen=True, slots=True)
class Format:
    """One export format.

    Attributes:
        name: as typed.
        description: one line for the help.
        produce: makes its documents.
        missing: what a session lacks for it, known without reading any numbers.
        schemes: the quantisers it can be made for, the usual one first; empty where it is not for one.
        produce_for: makes its documents for one of them.
    """

    name: str
    description: str
    produce: Callable[[SessionReader], list[Document]]
    missing: Callable[[SessionMeta], Missing | None] = missing_nothing
    schemes: tuple[str, ...] = ()
    produce_for: Callable[[SessionReader, str], list[Document]] | None = None


def find_format(name: str) -> Format:
    """The format of that name.

    Raises:
        ReportError: there is none; the nearest is named.
    """
    found = FORMATS.get(name.strip().lower())
    if found is not None:
        return found
    nearest = difflib.get_close_matches(name.strip().lower(), FORMATS, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(FORMATS)}"
    raise ReportError(f"there is no export format {name!r}; {hint}", code=2)


def render(reader: SessionReader, name: str, scheme: str | None = None) -> list[Document]:
    """A session in one format, in memory, for one quantiser if the format is for such.

    Raises:
        ReportError: an unknown format or scheme, or a session that does not hold what the format needs.
    """
    found = find_format(name)
    check_scheme(found, scheme)
    missing = found.missing(reader.meta())
    if missing is not None and missing.sentence:
        raise ReportError(missing.sentence)
    if found.schemes:  # recipes say themselves what to do about a model that is not finite
        return found.produce_for(reader, scheme) if scheme and found.produce_for else found.produce(reader)
    made = found.produce(reader)
    alarm, plan = session_alarm(reader), reader.meta().plan
    if alarm is None or plan is None:
        return made
    said = f"the model is not finite: {alarm_line(alarm, plan)}; these numbers are of its finite elements alone"
    return [replace(one, warnings=(said, *one.warnings)) for one in made]


def check_scheme(found: Format, scheme: str | None) -> None:
    """Refuse a quantiser that the format is not made for.

    Raises:
        ReportError: the format is for none, or for others.
    """
    if scheme is None or scheme in found.schemes:
        return
    if not found.schemes:
        recipes = " and ".join(one.name for one in FORMATS.values() if one.schemes)
        raise ReportError(f"--scheme chooses among recipes ({recipes}); {found.name} is for no scheme", code=2)
    nearest = difflib.get_close_matches(scheme, found.schemes, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(found.schemes)}"
    raise ReportError(f"{found.name} has no recipe for {scheme!r}; {hint}", code=2)


def export_session(
    reader: SessionReader, name: str, folder: Path, *, force: bool = False, scheme: str | None = None
) -> list[Path]:
    """Write a session in one format into `folder`.

    Raises:
        ReportError: an unknown format or scheme, a file that exists without `force`, a folder that cannot be written.
    """
    return write_documents(render(reader, name, scheme), folder, force=force)


def _stem(reader: SessionReader) -> str:
    return safe_name(reader.path.name.removesuffix(SUFFIX))


def _json(name: str, data: dict[str, Any]) -> Document:
    return Document(name, json_text(data).encode("utf-8"))


def _summary(reader: SessionReader) -> list[Document]:
    return [_json(f"{_stem(reader)}.summary.json", summary_document(reader, analyse(reader)))]


def _complete(reader: SessionReader) -> list[Document]:
    return [_json(f"{_stem(reader)}.json", complete_dict(reader))]


def _reference(reader: SessionReader) -> list[Document]:
    name = safe_name(reference_model_name(reader.meta().job))
    return [
        _json(f"{name}_activation_stats.json", activation_stats(reader)),
        _json(f"{name}_top5_stats.json", top5_stats(reader)),
    ]


def _markdown(reader: SessionReader) -> list[Document]:
    return [_text(f"{_stem(reader)}.md", markdown(gather(reader)))]


def _html(reader: SessionReader) -> list[Document]:
    return [_text(f"{_stem(reader)}.html", html(gather(reader)))]


def _model_card(reader: SessionReader) -> list[Document]:
    return [_text(f"{_stem(reader)}.model-card.md", model_card(gather(reader)))]


def _csv(reader: SessionReader) -> list[Document]:
    return csv_documents(reader, _stem(reader))


def _parquet(reader: SessionReader) -> list[Document]:
    return parquet_documents(reader, _stem(reader))


def _act_scales(reader: SessionReader) -> list[Document]:
    scales = input_scales(reader)
    return [Document(f"{_stem(reader)}.act_scales.pt", act_scales(scales), scales.warnings(by_channel=True))]


def _amax(reader: SessionReader) -> list[Document]:
    scales = input_scales(reader)
    return [Document(f"{_stem(reader)}.amax.safetensors", amax(reader, scales), scales.warnings(by_channel=False))]


def _llm_compressor(reader: SessionReader, scheme: str = recipe.DEFAULT) -> list[Document]:
    part = "" if scheme == recipe.DEFAULT else f".{scheme}"
    found = recipe.judge(reader, recipe.find_deployment(scheme))
    text = recipe.llm_compressor(reader, found)
    return [replace(_text(f"{_stem(reader)}{part}.recipe.yaml", text), warnings=found.warnings)]


def _modelopt(reader: SessionReader, scheme: str = modelopt.DEFAULT) -> list[Document]:
    found = recipe.judge(reader, recipe.find_deployment(scheme, modelopt.SCHEMES, modelopt.DEFAULT))
    text = modelopt.modelopt(reader, found)
    return [replace(_text(f"{_stem(reader)}.{scheme}.modelopt.yaml", text), warnings=found.warnings)]


def _text(name: str, text: str) -> Document:
    return Document(name, text.encode("utf-8", "backslashreplace"))


FORMATS: Final[dict[str, Format]] = {
    one.name: one
    for one in (
        Format("json", "everything, one documented JSON", _complete),
        Format("summary", "the summary as JSON", _summary),
        Format("html", "one self-contained page with figures", _html),
        Format("markdown", "a report for an issue or a README", _markdown),
        Format("model-card", "a section for a model card", _model_card),
        Format("csv", "sites, largest elements, channels, samples and quantisers as tables", _csv),
        Format("parquet", "the same tables with types and units", _parquet),
        Format(
            "act-scales", "SmoothQuant's per-channel input scales, a torch file", _act_scales, scales.missing_inputs
        ),
        Format("amax", "per-tensor input maxima by module, safetensors", _amax, scales.missing_inputs),
        Format(
            "llm-compressor",
            "its recipe: what to smooth, what to leave unquantised",
            _llm_compressor,
            losses.missing_inputs,
            tuple(DEPLOYMENTS),
            _llm_compressor,
        ),
        Format(
            "modelopt",
            "NVIDIA ModelOpt's quantization config: what to leave unquantised",
            _modelopt,
            losses.missing_inputs,
            modelopt.SCHEMES,
            _modelopt,
        ),
        Format("reference", "the two files of the code of arXiv 2605.15572", _reference, missing_fields),
    )
}
