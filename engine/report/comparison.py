"""Sessions side by side as a report.

- `gather_sides`      sessions -> comparison and sources
- `comparison_dict`   as strict JSON
- `comparison_markdown`, `comparison_html`
- `comparison_documents`  any of them as a file
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from engine.analysis.compare import Comparison, compare
from engine.report.errors import ReportError
from engine.report.html import figure_html, page, table_html
from engine.report.markdown import table_markdown
from engine.report.plain import fields
from engine.report.sentences import emergence
from engine.report.source import Source, gather
from engine.report.svg import drawing
from engine.report.tables import Table
from engine.report.wording import exact, in_markdown, printable, short
from engine.report.writing import Document, safe_name
from engine.session.library import SUFFIX
from engine.session.reader import SessionReader

FORMAT: Final = "maxact-tui/comparison"
VERSION: Final = 1
COMPARISON_FORMATS: Final = ("markdown", "html", "json")


def gather_sides(readers: Sequence[SessionReader]) -> tuple[Comparison, list[Source]]:
    """Read the sessions and put them side by side; the first is what the others are compared with.

    Raises:
        ReportError: fewer than two sessions.
    """
    if len(readers) < 2:
        raise ReportError("a comparison needs two sessions or more: maxact-tui compare A B")
    sources = [gather(reader) for reader in readers]
    names = [printable(reader.path.name.removesuffix(SUFFIX), 60) for reader in readers]
    return compare([source.summary for source in sources], names), sources


def comparison_documents(readers: Sequence[SessionReader], name: str) -> list[Document]:
    """The comparison in one format.

    Raises:
        ReportError: an unknown format, fewer than two sessions, matplotlib missing for html.
    """
    if name not in COMPARISON_FORMATS:
        raise ReportError(f"comparisons have no format {name!r}; there are: {', '.join(COMPARISON_FORMATS)}")
    found, sources = gather_sides(readers)
    stem = safe_name("-vs-".join(found.names))
    if name == "json":
        text = json.dumps(comparison_dict(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        text = (comparison_markdown if name == "markdown" else comparison_html)(found, sources)
    suffix = {"markdown": "md", "html": "html", "json": "json"}[name]
    return [Document(f"{stem}.{suffix}", text.encode("utf-8", "backslashreplace"))]


def comparison_dict(found: Comparison) -> dict[str, Any]:
    """The comparison with the field names of `engine.analysis.compare.Comparison`."""
    return {"format": FORMAT, "version": VERSION, **fields(found)}


def comparison_markdown(found: Comparison, sources: Sequence[Source]) -> str:
    """The comparison in GitHub's Markdown."""
    parts = [f"# {in_markdown(_title(found))}"]
    for table in comparison_tables(found, sources):
        if table.rows:
            parts += [f"## {table.title}", table_markdown(table)]
    parts.append(in_markdown(_note(found)))
    return "\n\n".join(parts) + "\n"


def comparison_html(found: Comparison, sources: Sequence[Source]) -> str:
    """The comparison as one page.

    Raises:
        ReportError: matplotlib is not installed.
    """
    body = [figure_html(_profile_svg(found), "Largest |x| of the hidden state after each block.")]
    body += [table_html(table) for table in comparison_tables(found, sources) if table.rows]
    body.append(f'<p class="note">{escape(_note(found))}</p>')
    return page(_title(found), body)


def comparison_tables(found: Comparison, sources: Sequence[Source]) -> list[Table]:
    """What was different, the findings, threads, quantisers, and every site, in this order."""
    names = found.names
    differences = tuple((d.what, *(printable(v, 80) for v in d.values)) for d in found.differences)
    threads = tuple(
        (
            f"{t.sample}:{t.position}, channel {t.channel}",
            *(f"{exact(x.peak)}, from layer {x.birth}" for x in t.threads),
        )
        for t in found.threads or ()
    )
    sites = tuple(
        (
            row.name,
            *(exact(m) for m in row.magnitudes),
            *(_ratio_text(r, noise) for r, noise in list(zip(row.ratios, row.is_noise, strict=True))[1:]),
        )
        for row in found.sites
    )
    ratio_names = tuple(f"{name} / {names[0]}" for name in names[1:])
    return [
        Table("What was different", ("Condition", *names), differences, numeric=False),
        Table("Findings", ("Finding", *names), _findings(found, sources), numeric=False),
        Table("Threads in common", ("Element", *names), threads[:24]),
        Table("Quantisation, mean SQNR in dB", ("Scheme", *names), _quantisers(sources)),
        Table("Site by site, max |x|", ("Site", *names, *ratio_names), sites),
    ]


def _findings(found: Comparison, sources: Sequence[Source]) -> tuple[tuple[str, ...], ...]:
    words = {True: "yes", False: "no", None: "not known"}
    summaries = [source.summary for source in sources]
    rows = [
        ("M", *(exact(m) for m in found.magnitudes)),
        ("over the first", *(_ratio_text(r, n) for r, n in zip(found.ratios, found.is_noise, strict=True))),
        ("at", *(s.maximum.label if s.maximum else "–" for s in summaries)),
        ("massive by layer median", *(words[s.passes_layer_median] for s in summaries)),
        ("massive by token median", *(words[s.passes_token_median] for s in summaries)),
        ("emergence", *(emergence(s.emergence) for s in summaries)),
        ("channels of threads", *(", ".join(map(str, channels[:6])) or "none" for channels in found.channels)),
        ("bits below float16", *(short(s.maximum.fp16_headroom_bits) if s.maximum else "–" for s in summaries)),
        ("sites no other has", *(str(len(only)) for only in found.only_in)),
    ]
    return tuple(rows)


def _quantisers(sources: Sequence[Source]) -> tuple[tuple[str, ...], ...]:
    columns = [{line.scheme.name: short(line.sqnr_db) for line in source.schemes} for source in sources]
    names = dict.fromkeys(name for column in columns for name in column)
    return tuple((name, *(column.get(name, "–") for column in columns)) for name in names)


def _ratio_text(ratio: float, is_noise: bool) -> str:
    return short(ratio) + (" (noise)" if is_noise and ratio != 1 else "")


def _title(found: Comparison) -> str:
    return "Maximum activations: " + " against ".join(found.names)


def _note(found: Comparison) -> str:
    tokens = "" if found.threads is not None else " Threads are not matched: the tokens differ."
    return (
        "Ratios are over the first session. (noise): within what matmul kernels, batch shapes and dtype explain,"
        " 2 % in the same dtype and 5 % across dtypes." + tokens
    )


def _profile_svg(found: Comparison) -> str:
    from engine.report.charts import profile_comparison

    with drawing():
        depths = {len(profile) for profile in found.profiles}
        relative = found.relative_depths if len(depths) > 1 else None
        return profile_comparison(found.names, found.profiles, relative)
