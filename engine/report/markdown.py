"""Markdown for an issue or a README, and a section for a model card.

- `markdown`    the whole report
- `model_card`  a paragraph and a YAML block
- `table_markdown`  one table
"""

from __future__ import annotations

import json
import math

from engine.base.naming import corpus_name
from engine.base.wording import in_markdown, printable
from engine.report.effects import effect_notes, effect_table
from engine.report.headline import no_m_words
from engine.report.sentences import DEFINITIONS, caveats, facts, nonfinite, paragraph, standing_lines
from engine.report.source import Source
from engine.report.tables import (
    Table,
    bootstrap_table,
    category_table,
    layer_table,
    protocol_table,
    ranking_tables,
    scheme_tables,
    site_table,
    thread_table,
    token_table,
)


def markdown(source: Source) -> str:
    """The report in GitHub's Markdown."""
    parts = [f"# Maximum activations of {in_markdown(source.name)}"]
    parts += [f"> {in_markdown(line)}" for line in caveats(source)[:1] if source.summary.is_partial]
    parts += [f"> **{in_markdown(text)}**" for text in (nonfinite(source.summary),) if text]
    if not source.has_numbers:
        return "\n\n".join([*parts, in_markdown(paragraph(source))]) + "\n"
    parts.append(table_markdown(Table("", ("Finding", ""), tuple(facts(source)), numeric=False)))
    for table in (
        site_table(source),
        layer_table(source),
        token_table(source),
        thread_table(source),
        category_table(source),
        bootstrap_table(source),
        *scheme_tables(source),
        *ranking_tables(source),
        protocol_table(source),
    ):
        if table.rows:
            parts += [f"## {table.title}", table_markdown(table)]
    for effect in source.effects:
        table = effect_table(effect)
        notes = "\n".join(f"- {in_markdown(line)}" for line in effect_notes(effect))
        parts += [f"## {in_markdown(table.title)}", table_markdown(table), notes]
    parts.append("## Before quoting a number")
    parts.append("\n".join(f"- {in_markdown(line)}" for line in caveats(source)))
    links = ", ".join(f"[{title}]({address})" for title, address in DEFINITIONS)
    parts.append(f"Definitions: {links}. Measured with maxact-tui.")
    return "\n\n".join(parts) + "\n"


def model_card(source: Source) -> str:
    """A section for a model card: a paragraph, and the numbers as a YAML block."""
    links = ", ".join(f"[{title}]({address})" for title, address in DEFINITIONS)
    return "\n".join(
        [
            "## Maximum activations",
            "",
            *(f"**{in_markdown(text)}**\n" for text in (nonfinite(source.summary),) if text),
            in_markdown(paragraph(source)),
            "",
            "```yaml",
            *_card_yaml(source),
            "```",
            "",
            *(in_markdown(line) for line in standing_lines(source)),
            "",
            f"Definitions: {links}. Measured with maxact-tui.",
            "",
        ]
    )


def _card_yaml(source: Source) -> list[str]:
    summary, found = source.summary, source.summary.maximum
    peak, growth = summary.peak, summary.emergence
    fields: list[tuple[str, object]] = [("partial", summary.is_partial)]
    if found is not None:
        if not found.is_m:
            fields.append(("note", no_m_words(summary)))
        fields += [
            ("magnitude" if found.is_m else "largest_gemm_input", found.magnitude),
            ("value", summary.signed_maximum),
            ("location", found.label),
            ("fp16_headroom_bits", None if found.excluded_sites else round(found.fp16_headroom_bits, 2)),
            ("overflows_fp16", found.overflows_fp16),
        ]
    fields.append(("nonfinite_sites", len(summary.nonfinite_sites)))
    if summary.alarm is not None:
        fields.append(("numbers_are_over", "finite elements alone: tier, rank and emergence, too"))
    if summary.alarm is not None and summary.plan is not None:
        fields.append(("first_nonfinite_site", summary.plan.sites[summary.alarm.site].name))
    if found is not None and found.is_m and summary.largest_input is not None:
        largest = summary.largest_input
        fields += [("largest_gemm_input", largest.magnitude), ("largest_gemm_input_location", largest.label)]
    if peak is not None:
        fields += [("token", printable(peak.piece)), ("position", peak.position), ("channel", peak.channel)]
    fields += [
        ("massive_by_layer_median", summary.passes_layer_median),
        ("massive_by_token_median", summary.passes_token_median),
    ]
    if growth is not None:
        fields += [("emergence", growth.kind), ("emergence_layer", growth.layer)]
    if summary.standing is not None:
        fields += [("tier", summary.standing.tier), ("published_with_larger_magnitude", summary.standing.larger)]
        fields.append(("published_checkpoints", summary.standing.of))
    if source.stability is not None:
        fields += [
            ("batch_difference", _rounded(source.stability.batch_limit)),
            ("dtype_difference", _rounded(source.stability.dtype_limit)),
        ]
    fields += [
        ("sites", summary.job.sites),
        ("dtype", summary.dtype),
        ("corpus", corpus_name(summary.job.corpus)),
        ("special_tokens", summary.job.policy),
        ("samples", summary.samples),
        ("tokens", summary.tokens),
    ]
    return ["maximum_activation:", *(f"  {name}: {_scalar(value)}" for name, value in fields)]


def _rounded(value: float) -> float:
    """Two significant digits: a difference of differences has no more."""
    return float(f"{value:.2g}")


def _scalar(value: object) -> str:
    """A YAML scalar; a JSON string is one, in double quotes."""
    if isinstance(value, float) and not math.isfinite(value):
        return "null" if math.isnan(value) else (".inf" if value > 0 else "-.inf")
    value = printable(value) if isinstance(value, str) else value
    # Three backticks would end the block that the YAML stands in.
    return json.dumps(value, ensure_ascii=False).replace("`", "\\x60")


def table_markdown(table: Table) -> str:
    """A table of GitHub's Markdown, every cell escaped."""
    marks = ["---"] + ["--:" if table.numeric else "---"] * (len(table.headings) - 1)
    head, *rows = (tuple(in_markdown(cell) for cell in row) for row in (table.headings, *table.rows))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, marks, *rows))
