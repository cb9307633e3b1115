"""The corpus commands: recipes, building, looking.

- `list_recipes`  print the recipes
- `build`         make a corpus file from a recipe
- `show`          what is in a corpus
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from corpus.building import build_corpus
from corpus.manifest import Manifest, read_manifest
from corpus.reading import load_corpus
from corpus.recipe import list_recipes as bundled_recipes
from corpus.recipe import load_recipe, parse_source
from corpus.summary import CategorySummary, CorpusSummary, summarise
from corpus.wording import counted
from maxact_tui.cli.bar import Bar
from maxact_tui.cli.output import last_words
from maxact_tui.errors import UserError
from maxact_tui.terminal.printing import console, note, say, say_path
from maxact_tui.texts.numbers import grouped, size
from maxact_tui.texts.visible import visible
from maxact_tui.widgets.plot import Series, draw

NAMED = 4
CATEGORY_CELLS = 24
PLOT_SIZE = (70, 12)
QUIET_EVERY = 0.1  # of the work, where there is no terminal to draw a bar in


def list_recipes() -> int:
    """Print the recipes that come with the program."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("recipe", no_wrap=True)
    table.add_column("samples", justify="right", no_wrap=True)
    table.add_column("what it is")
    table.add_column("categories")
    for recipe in bundled_recipes():
        quotas = ", ".join(f"{name} {count}" for name, count in recipe.quotas)
        table.add_row(recipe.name, grouped(recipe.samples), recipe.title, quotas)
    console().print(table)
    return 0


def build(recipe: str, output: Path | None, sources: Sequence[str]) -> int:
    """Build a corpus and print its manifest.

    Raises:
        CorpusError: the recipe, a source or the output cannot be used; nothing is left under the final name.
    """
    wanted = load_recipe(recipe)
    target = output or Path(f"{wanted.name}.jsonl")
    with _Progress() as progress:
        manifest = build_corpus(
            wanted, target.expanduser().absolute(), [parse_source(one) for one in sources], progress.show
        )
    _print_manifest(manifest, console())
    say_path(target)
    return 0


def show(file: str, *, tokenizer: str | None, policy: str, max_length: int) -> int:
    """Print counts, lengths, scripts and languages of a corpus.

    Raises:
        CorpusError: it cannot be read.
        UserError: the tokenizer cannot be had.
    """
    summary = summarise(load_corpus(file)) if tokenizer is None else _counted(file, tokenizer, policy, max_length)
    out = console()
    out.print(Text(f"{visible(summary.name, space=' ')}: {counted(summary.overall.samples, 'sample')}", "bold"))
    out.print(_summary_table(summary))
    _plot_lengths(summary)
    for title, counts in (("scripts", summary.overall.scripts), ("languages", summary.overall.languages)):
        listed = ", ".join(f"{visible(name)} {count}" for name, count in list(counts.items())[: 3 * NAMED])
        out.print(Text(f"{title}: {listed}"), soft_wrap=True)
    if summary.cut:
        out.print(Text(f"longer than {counted(max_length, 'token')}, to be cut: {counted(summary.cut, 'sample')}"))
    if summary.dropped:
        out.print(Text(f"without a single token, left out: {counted(summary.dropped, 'sample')}"))
    _print_skipped(summary.problems, out)
    manifest = read_manifest(Path(file)) if Path(file).is_file() else None
    if manifest is not None:
        _print_manifest(manifest, out)
    return 0


def _print_skipped(problems: Sequence[str], out: Console) -> None:
    """How many rows were skipped, the first of them, and how many more there are."""
    if not problems:
        return
    out.print(Text(f"{counted(len(problems), 'line')} skipped:", "yellow"))
    for problem in problems[:NAMED]:
        out.print(Text(f"  {visible(problem, space=' ')}", "yellow"), soft_wrap=True)
    if len(problems) > NAMED:
        out.print(Text(f"  and {len(problems) - NAMED:,} more", "yellow"))


def _counted(file: str, tokenizer: str, policy: str, max_length: int) -> CorpusSummary:
    result = subprocess.run(
        [sys.executable, "-P", "-m", "engine.loading.tokens", tokenizer, file, policy, str(max_length)],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise UserError(last_words(result.returncode, result.stderr.encode().splitlines()))
    data = json.loads(result.stdout)
    data["overall"] = CategorySummary(**data["overall"])
    data["categories"] = tuple(CategorySummary(**one) for one in data["categories"])
    data["problems"] = tuple(data["problems"])
    for name in ("lengths", "histogram_edges", "histogram_counts"):
        data[name] = np.array(data[name], np.int64)
    return CorpusSummary(**data)


def _summary_table(summary: CorpusSummary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("category", no_wrap=True)
    for heading in ("samples", "text", summary.unit, "shortest", "median", "longest"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for one in (*summary.categories, summary.overall):
        table.add_row(
            Text(visible(one.category, CATEGORY_CELLS)),
            grouped(one.samples),
            size(one.text_bytes),
            grouped(one.total),
            grouped(one.shortest),
            grouped(round(one.median)),
            grouped(one.longest),
        )
    return table


def _plot_lengths(summary: CorpusSummary) -> None:
    """Samples by length; the axis doubles from tick to tick, as the bins do."""
    edges = np.log2(np.maximum(summary.histogram_edges, 1))
    steps = Series(np.repeat(edges, 2)[1:-1], np.repeat(summary.histogram_counts, 2).astype(np.float64))
    ticks = [(float(power), grouped(2**power)) for power in range(int(edges[0]), int(edges[-1]) + 2)]
    most = int(summary.histogram_counts.max())
    lines = draw([steps], *PLOT_SIZE, x_ticks=ticks, y_ticks=[(0, "0"), (most, grouped(most))], y_range=(0, most))
    say("", f"samples by length in {summary.unit}", *lines)


def _print_manifest(manifest: Manifest, out: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.title = f"manifest: recipe {manifest.recipe}, seed {manifest.seed}"
    table.add_column("category", no_wrap=True)
    for heading in ("wanted", "got", "seen", "too short", "duplicates"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in manifest.categories:
        counts = (one.wanted, one.got, one.seen, one.too_short, one.duplicates)
        table.add_row(Text(visible(one.category, CATEGORY_CELLS)), *(grouped(count) for count in counts))
    out.print(table)
    full = ", ".join(f"{one.tokens}: {one.got} of {one.wanted} ({one.full} full)" for one in manifest.lengths)
    out.print(Text(f"lengths in tokens: {full}"), soft_wrap=True)
    out.print(Text(f"{size(manifest.text_bytes)} of text, content {manifest.content_hash[:16]}"))
    for shortfall in manifest.shortfalls:
        out.print(Text(f"SHORT: {visible(shortfall, space=' ')}", "bold yellow"), soft_wrap=True)
    if manifest.problem_count:
        first = visible(manifest.problems[0], space=" ")
        out.print(
            Text(f"{counted(manifest.problem_count, 'problem')} while reading, the first: {first}"), soft_wrap=True
        )


class _Progress:
    """Progress of a build on stderr: a bar in a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._bar = Bar("") if sys.stderr.isatty() else None
        self._said = ("", -1.0)

    def __enter__(self) -> _Progress:
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.__exit__()

    def show(self, done: int, total: int, label: str) -> None:
        """Take a report of `build_corpus`; the unit changes with the label."""
        if self._bar is not None:
            if label != self._said[0]:
                self._bar.begin(label)
            self._bar.show(label, done, total)
            self._said = (label, 0.0)
            return
        share = done / total if total else 0.0
        if label != self._said[0] or share >= self._said[1] + QUIET_EVERY:
            self._said = (label, share)
            note(f"{label}: {100 * share:.0f} %")
