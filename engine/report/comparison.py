"""Sessions side by side as a report.

- `gather_sides`      sessions -> comparison and sources
- `comparison_dict`   as strict JSON
- `comparison_markdown`, `comparison_html`
- `comparison_documents`  any of them as a file
- `comparison_tables`, `site_table`, `every_site_table`  what is in them
- `findings`, `quantisers`, `sites_note`, `magnitude_texts`, `ratio_text`, `limit_text`, `note`  their words
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from engine.analysis.compare import Comparison, Limit, SiteRow, compare
from engine.analysis.maximum import Maximum, without_m
from engine.analysis.model import ModelSummary
from engine.base.wording import counted, cut_middle, decibels, exact, in_html, in_markdown, printable, share, short
from engine.quantization.groups import GROUPS, SHORT, Group, group_of
from engine.report.alarm import alarm_line
from engine.report.errors import ReportError
from engine.report.html import ALL_SITES, figure_html, page, table_html
from engine.report.markdown import table_markdown
from engine.report.plain import fields, json_text
from engine.report.quantization import site_errors
from engine.report.sentences import largest_step, verdict
from engine.report.source import Source, gather
from engine.report.svg import drawing
from engine.report.tables import Table
from engine.report.writing import Document, safe_name
from engine.scheme_names import title_of
from engine.session.library import SUFFIX
from engine.session.reader import SessionReader

FORMAT: Final = "maxact-tui/comparison"
VERSION: Final = 1
COMPARISON_FORMATS: Final = ("markdown", "html", "json")
LISTED_SITES: Final = 20
_HASHES: Final = frozenset({"weights", "corpus", "tokenizer", "revision"})
_HASH_CHARACTERS: Final = 12
_CONDITION_CHARACTERS: Final = 80


def gather_sides(readers: Sequence[SessionReader]) -> tuple[Comparison, list[Source]]:
    """Read the sessions and put them side by side; the first is what the others are compared with.

    Raises:
        ReportError: fewer than two sessions.
    """
    if len(readers) < 2:
        raise ReportError("a comparison needs two sessions or more: maxact-tui compare A B", code=2)
    sources = [gather(reader) for reader in readers]
    names = [cut_middle(printable(reader.path.name.removesuffix(SUFFIX)), 60) for reader in readers]
    return compare([source.summary for source in sources], names, [source.stability for source in sources]), sources


def comparison_documents(readers: Sequence[SessionReader], name: str, *, all_sites: bool = False) -> list[Document]:
    """The comparison in one format.

    Args:
        readers: of the sessions, the first is what the others are compared with.
        name: of the format.
        all_sites: list every site in Markdown, too; HTML and JSON always do.

    Raises:
        ReportError: an unknown format, fewer than two sessions, matplotlib missing for html.
    """
    if name not in COMPARISON_FORMATS:
        raise ReportError(f"comparisons have no format {name!r}; there are: {', '.join(COMPARISON_FORMATS)}", code=2)
    found, sources = gather_sides(readers)
    stem = safe_name("-vs-".join(found.names))
    if name == "json":
        text = json_text(comparison_dict(found))
    else:
        text = (
            comparison_html(found, sources)
            if name == "html"
            else comparison_markdown(found, sources, all_sites=all_sites)
        )
    suffix = {"markdown": "md", "html": "html", "json": "json"}[name]
    return [Document(f"{stem}.{suffix}", text.encode("utf-8", "backslashreplace"))]


def comparison_dict(found: Comparison) -> dict[str, Any]:
    """The comparison with the field names of `engine.analysis.compare.Comparison`."""
    return {"format": FORMAT, "version": VERSION, **fields(found)}


def comparison_markdown(found: Comparison, sources: Sequence[Source], *, all_sites: bool = False) -> str:
    """The comparison in GitHub's Markdown: the sites that differ most, or all."""
    parts = [f"# {in_markdown(_title(found))}"]
    for table in comparison_tables(found, sources):
        if table.rows:
            parts += [f"## {table.title}", table_markdown(table)]
    sites = every_site_table(found) if all_sites else site_table(found)
    if found.sites:
        parts += [f"## {sites.title}", *([table_markdown(sites)] if sites.rows else []), in_markdown(sites_note(found))]
    if not all_sites and found.sites:
        parts.append("`--all` lists every site.")
    parts.append(in_markdown(note(found)))
    return "\n\n".join(parts) + "\n"


def comparison_html(found: Comparison, sources: Sequence[Source]) -> str:
    """The comparison as one page.

    Raises:
        ReportError: matplotlib is not installed.
    """
    first, found_out, *rest = comparison_tables(found, sources)
    body = [table_html(table) for table in (first, found_out) if table.rows]
    body.append(figure_html(_profile_svg(found), "Largest |x| of the hidden state after each block."))
    body += [table_html(table) for table in (*rest, site_table(found), every_site_table(found)) if table.rows]
    body += [f'<p class="note">{in_html(text)}</p>' for text in (sites_note(found), note(found)) if text]
    return page(_title(found), body)


def comparison_tables(found: Comparison, sources: Sequence[Source]) -> list[Table]:
    """What was different, the findings, threads in common and quantisers, in this order."""
    names = found.names
    differences = tuple((d.what, *(_condition(d.what, value) for value in d.values)) for d in found.differences)
    threads = tuple(
        (
            f"{t.sample}:{t.position}, channel {t.channel}",
            *(f"{exact(x.peak)}, from layer {x.birth}" for x in t.threads),
        )
        for t in found.threads or ()
    )
    return [
        Table("What was different", ("Condition", *names), differences, numeric=False),
        Table("Findings", ("Finding", *names), findings(found, sources), numeric=False),
        Table("Threads in common", ("Element", *names), threads[:24]),
        Table("Quantisation, mean SQNR in dB", ("Scheme", *names, "Sites compared"), quantisers(sources)),
    ]


def site_table(found: Comparison) -> Table:
    """The sites that differ most; those that noise explains are told of in `sites_note`."""
    rows = sorted((row for row in found.sites if row.differs), key=lambda row: -row.distance)[:LISTED_SITES]
    return _sites("Sites that differ most, max |x|", found, rows)


def every_site_table(found: Comparison) -> Table:
    """Every site, in forward order."""
    return _sites(ALL_SITES, found, found.sites)


def _sites(title: str, found: Comparison, rows: Sequence[SiteRow]) -> Table:
    cells = tuple(
        (
            row.name,
            *magnitude_texts(row),
            *(ratio_text(r, noise) for r, noise in list(zip(row.ratios, row.is_noise, strict=True))[1:]),
        )
        for row in rows
    )
    ratio_names = tuple(f"{name} / {found.names[0]}" for name in found.names[1:])
    return Table(title, ("Site", *found.names, *ratio_names), cells)


def magnitude_texts(row: SiteRow) -> tuple[str, ...]:
    """Max |x| of a site in each session, and whether it holds NaN or infinity beside that or nothing else."""
    held = row.nonfinite or (None,) * len(row.magnitudes)
    return tuple(
        exact(m) if not bad else "Inf/NaN alone" if math.isnan(m) else f"{exact(m)} + Inf/NaN"
        for m, bad in zip(row.magnitudes, held, strict=True)
    )


def sites_note(found: Comparison) -> str:
    """How close the sites are that `site_table` does not list; empty where no site can be compared."""
    differing = sum(row.differs for row in found.sites)
    close = [row for row in found.sites if not row.differs and not math.isnan(row.gap)]
    others = [row for row in found.sites if not row.differs and math.isnan(row.gap)]
    lost = sum(any(row.nonfinite) for row in others)
    further, unknown = differing - LISTED_SITES, len(others) - lost
    said = []
    if breaking := sum(row.breaks for row in found.sites):
        said.append(f"NaN or infinity is what differs at {counted(breaking, 'site')}.")
    if further > 0:
        said.append(f"{counted(further, 'further site')} {'differs' if further == 1 else 'differ'} less.")
    if close:
        said.append(_closeness(close, any_differs=differing > 0))
    if lost:
        said.append(f"{counted(lost, 'site')} cannot be compared: nothing finite in one of the sessions.")
    if unknown:
        said.append(f"{counted(unknown, 'site')} {'is' if unknown == 1 else 'are'} not in {found.names[0]}.")
    return " ".join(said)


def _closeness(close: Sequence[SiteRow], *, any_differs: bool) -> str:
    """One sentence on the sites that are equal, or moved by noise alone."""
    equal, most = sum(row.gap == 0 for row in close), max(close, key=lambda row: row.gap)
    others = counted(len(close), "other site")
    if equal == len(close):
        alone = f"No site differs: max |x| is the same at all {equal:,}."
        return f"Max |x| is the same at {others}." if any_differs else alone
    head = f"Noise explains what differs at {others}" if any_differs else "No site differs by more than noise"
    return f"{head}: the furthest is {share(most.gap)} off ({most.name}), {equal:,} of {len(close):,} equal."


def _condition(what: str, value: str) -> str:
    """A condition as it is printed: of a digest its beginning, which is enough to tell two apart."""
    if what in _HASHES and len(value) > 2 * _HASH_CHARACTERS and " " not in value:
        head, colon, digest = value.rpartition(":")
        return printable(f"{head}{colon}{digest[:_HASH_CHARACTERS]}…")
    return cut_middle(printable(value), _CONDITION_CHARACTERS)


def findings(found: Comparison, sources: Sequence[Source]) -> tuple[tuple[str, ...], ...]:
    """What came out, a row for each finding and a cell for each session."""
    words = {True: "yes", False: "no", None: "not known"}
    summaries = [source.summary for source in sources]
    with_m = [s.maximum if s.maximum and s.maximum.is_m else None for s in summaries]
    rows = [
        ("M", *(_m_text(m, s) for m, s in zip(found.magnitudes, summaries, strict=True))),
        (over_first(found), *(ratio_text(r, n) for r, n in zip(found.ratios, found.is_noise, strict=True))),
        ("at", *(one.label if one else "–" for one in with_m)),
        ("massive by layer median", *(words[s.passes_layer_median] for s in summaries)),
        ("massive by token median", *(words[s.passes_token_median] for s in summaries)),
        ("emergence", *(verdict(s.emergence) for s in summaries)),
        ("largest step", *(largest_step(s.emergence) for s in summaries)),
        (
            "channels of threads",
            *(
                ", ".join(map(str, channels[:6])) or ("none" if s.threads_are_known else "not known")
                for channels, s in zip(found.channels, summaries, strict=True)
            ),
        ),
        *_nonfinite_rows(summaries),
        ("bits below float16", *(_headroom(one) for one in with_m)),
        *_inputs(summaries),
        ("sites no other has", *(str(len(only)) for only in found.only_in)),
    ]
    return tuple(rows)


def _m_text(magnitude: float, summary: ModelSummary) -> str:
    """M, and whether it is of the finite elements alone; why there is none of a run over other sites."""
    if summary.plan is not None and without_m(summary.plan, summary.job.sites):
        return f"not measured (--sites {printable(summary.job.sites)})"
    is_part = summary.alarm is not None and not math.isnan(magnitude)
    return exact(magnitude) + (" (finite elements alone)" if is_part else "")


def _headroom(found: Maximum | None) -> str:
    """Bits below float16's largest number; NaN and infinity have none."""
    if found is None:
        return "–"
    return "overflows: Inf/NaN" if found.excluded_sites else short(found.fp16_headroom_bits)


def _nonfinite_rows(summaries: Sequence[ModelSummary]) -> list[tuple[str, ...]]:
    """Where NaN or infinity begin, if any session has them."""
    if not any(summary.alarm for summary in summaries):
        return []
    said = (alarm_line(s.alarm, s.plan) if s.alarm and s.plan else "none" for s in summaries)
    return [("NaN or infinity", *said)]


def _inputs(summaries: Sequence[ModelSummary]) -> list[tuple[str, ...]]:
    """The largest GEMM input of each session; nothing where none has measured any."""
    found = [s.largest_input for s in summaries]
    if not any(found):
        return []
    return [("largest GEMM input", *(f"{exact(one.magnitude)} at {one.label}" if one else "–" for one in found))]


def over_first(found: Comparison) -> str:
    """The finding that sets every M against the first session's."""
    return f"M over {found.names[0]}"


def quantisers(sources: Sequence[Source]) -> tuple[tuple[str, ...], ...]:
    """Mean SQNR by scheme over the sites that all sessions with this scheme have measured, and how many these are.

    Group by group, the GEMM inputs first; where there are several, the scheme's name says which. A site that is
    without error in some sessions only is left out, so that all means are over the same sites.
    """
    rows: dict[Group, list[tuple[str, ...]]] = {group: _quantisers(sources, group) for group in GROUPS}
    known = [group for group, found in rows.items() if found]
    return tuple(
        (f"{name}, {SHORT[group]}" if len(known) > 1 else name, *cells)
        for group in known
        for name, *cells in rows[group]
    )


def _quantisers(sources: Sequence[Source], group: Group) -> list[tuple[str, ...]]:
    columns = [_sqnr_by_site(source, group) for source in sources]
    rows = []
    for name in dict.fromkeys(name for column in columns for name in column):
        owners = [column[name] for column in columns if name in column]
        common = set.intersection(*(set(errors) for errors in owners))
        finite = {site for site in common if all(math.isfinite(errors[site][0]) for errors in owners)}
        alike = finite or {site for site in common if all(math.isinf(errors[site][0]) for errors in owners)}
        cells = [decibels(_mean_sqnr(column[name], alike)) if name in column and alike else "–" for column in columns]
        rows.append((title_of(name), *cells, str(len(alike))))
    return rows


def _sqnr_by_site(source: Source, group: Group) -> dict[str, dict[str, tuple[float, int]]]:
    """By scheme and site: SQNR in dB, elements."""
    found: dict[str, dict[str, tuple[float, int]]] = {}
    for one in site_errors(source.board, source.summary.plan):
        if group_of(one.site) != group:
            continue
        found.setdefault(one.scheme.name, {})[one.site.name] = (one.error.sqnr_db, one.error.count)
    return found


def _mean_sqnr(errors: Mapping[str, tuple[float, int]], sites: Collection[str]) -> float:
    chosen = [errors[site] for site in sorted(sites)]
    return sum(sqnr * count for sqnr, count in chosen) / sum(count for _, count in chosen)


def ratio_text(ratio: float, is_noise: bool) -> str:
    """A ratio, marked where it is noise."""
    return short(ratio) + (" (noise)" if is_noise and ratio != 1 else "")


def _title(found: Comparison) -> str:
    return "Maximum activations: " + " against ".join(found.names)


def note(found: Comparison) -> str:
    """What the ratios are over, and what counts as noise."""
    tokens = "" if found.threads is not None else " Threads are not matched: the tokens differ."
    limits = "; ".join(
        f"{name} {limit_text(limit)}" for name, limit in list(zip(found.names, found.limits, strict=True))[1:]
    )
    ratios = f"Ratios are over {found.names[0]}. (noise): within what batch size and dtype explain, {limits}."
    return f"{ratios} SQNR: means over the sites that all sessions with the scheme have measured.{tokens}"


def limit_text(limit: Limit) -> str:
    """A limit and where it comes from: `0.4 % (measured)`."""
    if limit.is_measured:
        return f"{share(limit.value)} (measured on 95 % of the sites; more where a site's own rerun differed more)"
    return f"{share(limit.value)} (assumed; maxact-tui stability SESSION measures it)"


def _profile_svg(found: Comparison) -> str:
    from engine.report.charts import profile_comparison

    with drawing():
        depths = {len(profile) for profile in found.profiles}
        relative = found.relative_depths if len(depths) > 1 else None
        return profile_comparison(found.names, found.profiles, relative)
