"""The report as one HTML file that needs nothing else: no network, no script.

- `html`    source -> the page
- `fragment`  its beginning alone, for notebooks
- `page`    any title and body as such a page
- `figure_html`, `table_html`  parts of a body
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from engine.base.wording import in_html
from engine.report.charts import charts, heatmaps
from engine.report.effects import effect_notes, effect_table
from engine.report.sentences import DEFINITIONS, caveats, facts, nonfinite, paragraph
from engine.report.source import Source
from engine.report.tables import (
    Table,
    all_sites_table,
    bootstrap_table,
    category_table,
    layer_table,
    protocol_table,
    published_table,
    ranking_tables,
    scheme_tables,
    site_table,
    thread_table,
    token_table,
)

# Nothing may be loaded or run, whatever a token looks like.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
ALL_SITES = "All sites"
FOLDED = frozenset({"Residual stream, layer by layer", "Among the published checkpoints", ALL_SITES})


def html(source: Source) -> str:
    """The page, in UTF-8.

    Raises:
        ReportError: matplotlib is not installed.
    """
    return page(f"Maximum activations of {source.name}", _body(source))


def fragment(source: Source) -> str:
    """M, the facts and the heatmap as HTML without a page around them, for notebooks."""
    style = (files("engine.report") / "data" / "report.css").read_text(encoding="utf-8")
    alarm = nonfinite(source.summary)
    parts = [f'<p class="alarm">{in_html(alarm)}</p>'] if alarm else []
    parts += [f"<p>{in_html(paragraph(source))}</p>", _facts(source) if source.has_numbers else ""]
    parts += [figure_html(chart.svg, chart.caption) for chart in heatmaps(source)]
    return f"<div><style>@scope {{ {style} }}</style>{''.join(parts)}</div>"


def page(title: str, body: Sequence[str]) -> str:
    """A whole page; `title` is plain text, `body` is HTML."""
    style = (files("engine.report") / "data" / "report.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{in_html(title)}</title>",
            f"<style>\n{style}</style>",
            "</head>",
            "<body><main>",
            f"<h1>{in_html(title)}</h1>",
            *body,
            "</main></body>",
            "</html>",
            "",
        ]
    )


def _body(source: Source) -> list[str]:
    warnings = caveats(source)
    parts = [f'<p class="partial">{in_html(warnings[0])}</p>'] if source.summary.is_partial else []
    parts += [f'<p class="alarm">{in_html(text)}</p>' for text in (nonfinite(source.summary),) if text]
    parts.append(f'<p class="lead">{in_html(paragraph(source))}</p>')
    if source.has_numbers:
        parts += ["<h2>Findings</h2>", _facts(source)]
        for chart in charts(source):
            parts += [f"<h2>{in_html(chart.title)}</h2>", figure_html(chart.svg, chart.caption)]
        tables = (
            token_table(source), site_table(source), *scheme_tables(source), *ranking_tables(source),
            thread_table(source), category_table(source), bootstrap_table(source), layer_table(source),
            published_table(source), all_sites_table(source),
        )  # fmt: skip
        parts += [table_html(table) for table in tables if table.rows]
        for effect in source.effects:
            notes = "".join(f"<li>{in_html(line)}</li>" for line in effect_notes(effect))
            parts += [table_html(effect_table(effect)), f'<ul class="note">{notes}</ul>']
    parts += [table_html(protocol_table(source)), "<h2>Before quoting a number</h2>"]
    parts.append("<ul>" + "".join(f"<li>{in_html(line)}</li>" for line in warnings) + "</ul>")
    links = ", ".join(f'<a href="{address}" rel="noreferrer">{in_html(title)}</a>' for title, address in DEFINITIONS)
    parts.append(f'<p class="note">Definitions: {links}. Measured with maxact-tui.</p>')
    return parts


def _facts(source: Source) -> str:
    rows = "".join(
        f'<tr><th scope="row">{in_html(label)}</th><td>{in_html(text)}</td></tr>' for label, text in facts(source)
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def figure_html(svg: str, caption: str) -> str:
    """A figure; `svg` is an element, `caption` plain text."""
    return f"<figure><div>{svg}</div><figcaption>{in_html(caption)}</figcaption></figure>"


def table_html(table: Table) -> str:
    """A table under its title, folded away if it is long."""
    head = "".join(f'<th scope="col">{in_html(heading)}</th>' for heading in table.headings)
    rows = "".join(_row(row) for row in table.rows)
    kind = "numbers" if table.numeric else "words"
    body = (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
    if table.title in FOLDED:
        return f"<details><summary>{in_html(table.title)} ({len(table.rows)} rows)</summary>{body}</details>"
    return f"<h2>{in_html(table.title)}</h2>{body}"


def _row(row: tuple[str, ...]) -> str:
    mark = ' class="mine"' if row[0].startswith("→") else ""
    return f"<tr{mark}>" + "".join(f"<td>{in_html(cell)}</td>" for cell in row) + "</tr>"
