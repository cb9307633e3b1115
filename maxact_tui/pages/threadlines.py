"""Threads, massive activations followed through the layers, as lines of text.

- `thread_sheet`   the table: one row per thread
- `thread_words`   all of them in two sentences
- `thread_detail`  one of them: its life, its value at every layer, its token
- `profile`        a thread's value at every layer, or at those that matter most
- `thread_site`    the site of its peak
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from textual.strip import Strip

from engine.analysis.threads import Thread
from engine.report.wording import counted
from engine.sites.site import HookPlan
from maxact_tui.pages.header import token_parts
from maxact_tui.pages.sheets import Column, Sheet
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.filtering import Record
from maxact_tui.texts.numbers import exact, grouped, percent, signed
from maxact_tui.texts.visible import cell_width, fitted, visible
from maxact_tui.watching.places import place_record
from maxact_tui.watching.snapshot import THREADS_SHOWN, Snapshot
from maxact_tui.widgets.lines import Part, line


def thread_words(snapshot: Snapshot, look: Look, width: int) -> list[Strip]:
    """How many threads there are, in which channels, and in what share of the tokens."""
    model = snapshot.model
    if model is None:
        return [line(look, (" comes with the first checkpoint", "dim")), line(look)]
    if model.plan is not None and not any(site.component == "hidden" for site in model.plan.sites):
        why = f" Threads follow the hidden state, which this run did not measure (--sites {model.job.sites})."
        found = [model.plan.sites[number].name for number in model.layer_median_sites]
        passing = f" {counted(len(found), 'site')} massive by its own median: {', '.join(found)}." if found else ""
        return [line(look, visible(text, width, space=" ")) for text in (why, passing)]
    if not model.threads:
        return [line(look, " No activation is massive (|x| > 100 and > 1000 x the layer's median)."), line(look)]
    channels = Counter(t.channel for t in model.threads).most_common()
    tokens = len({(t.sample, t.position) for t in model.threads})
    first = sum(1 for t in model.threads if t.position == 0)
    share = percent(tokens / model.tokens) if model.tokens else "-"
    many, words = len(model.threads), "token" if tokens == 1 else "tokens"
    said = f" {grouped(many)} {'thread' if many == 1 else 'threads'} in {grouped(tokens)} {words} ({share})"
    said += f", {grouped(first)} at position 0; mostly in channels"
    for channel, count in channels:
        if cell_width(more := f" {channel} ({count})") + cell_width(said) > width:
            break
        said += more
    note = " ? marks a birth or death that a full list of 100 may hide."
    return [line(look, visible(said, width, space=" ")), line(look, (visible(note, width, space=" "), "dim"))]


_COLUMNS = (
    Column("peak", 10, "value", largest_first=True),
    Column(" layers", 11, "layer", right=False),
    Column("at", 4, "peak_layer"),
    Column("channel", 7, "chan"),
    Column("pos", 4, "pos"),
    Column("sample", 6, "sample"),
    Column("category", 10, "cat", right=False),
    Column("token in context", 0, "token"),
)


def thread_sheet(snapshot: Snapshot, look: Look, width: int) -> Sheet:
    """Peak, life, address and token of each thread, the largest first."""
    threads = snapshot.model.threads[:THREADS_SHOWN] if snapshot.model is not None else ()
    places = snapshot.thread_places

    def record(number: int) -> Record:
        thread = threads[number]
        return {
            "value": abs(thread.peak),
            "peak": thread.peak,
            "layer": range(thread.birth, thread.birth + len(thread.values)),
            "peak_layer": thread.peak_layer,
            "comp": ("hidden",),
            "chan": thread.channel,
            "pos": thread.position,
            "sample": thread.sample,
            **place_record(places[number]),
        }

    def row(number: int) -> Strip:
        thread, place = threads[number], places[number]
        before, after = "" if thread.birth_certain else "?", "" if thread.death_certain else "?"
        life = f"{before}L{thread.birth}-{_last(thread)}{after}"
        category = fitted(visible(place.category if place else "-"), 10, ascii_only=look.ascii_only)
        address = f"{thread.channel:>7} {thread.position:>4} {thread.sample:>6}"
        facts = f"{_value(thread.peak):>10}  {life:<10} {f'L{thread.peak_layer}':>4} {address} {category} "
        context: list[Part] = [("not in this file", "dim")]
        if place is not None:
            room = max(width - len(facts), 10)
            context = token_parts(place, look, room, lead=min(20, room // 3))
        return line(look, facts, *context)

    return Sheet(_COLUMNS, min(len(threads), len(places)), record, row)


def thread_detail(snapshot: Snapshot, number: int, look: Look, width: int) -> list[Strip]:
    """The selected thread's value at every layer it lives in, and its token."""
    model = snapshot.model
    if model is None or number >= min(len(model.threads), len(snapshot.thread_places)):
        return []
    thread, place = model.threads[number], snapshot.thread_places[number]
    born = f"massive from layer {thread.birth}, "
    died = "to the last layer" if thread.death is None else f"gone at layer {thread.death}"
    lines = [line(look, f"{born}{died}; largest {exact(thread.peak)} at layer {thread.peak_layer}")]
    lines.append(line(look, (profile(thread, width), "dim")))
    if place is not None:
        lines.append(line(look, *token_parts(place, look, width, lead=width // 3)))
    return lines


def profile(thread: Thread, width: int) -> str:
    """A thread's value at every layer and where it is gone, or as many of them as there is room for.

    Where it is born, where it peaks and where it dies come first, then the layers next to birth and death.
    """
    values = [f"L{thread.birth + i} {signed(value)}" for i, value in enumerate(thread.values)]
    if thread.death is not None:
        values.append(f"L{thread.death} gone{'' if thread.death_certain else '?'}")
    last = len(values) - 1
    kept: set[int] = set()
    for place in (last, thread.peak_layer - thread.birth, 0, *sorted(range(last), key=lambda i: min(i, last - i))):
        if cell_width(_joined(values, kept | {place})) > width:
            break
        kept.add(place)
    return _joined(values, kept)


def _joined(values: Sequence[str], kept: set[int]) -> str:
    """Some of a row of values, with a sign where others are left out."""
    shown, before = [], -1
    for place in sorted(kept):
        shown += ["…"] if place > before + 1 else []
        shown.append(values[place])
        before = place
    return "  ".join(shown)


def thread_site(plan: HookPlan, thread: Thread) -> int | None:
    """Number of the hidden site where the thread peaks."""
    for number, site in enumerate(plan.sites):
        if site.component == "hidden" and site.layer == thread.peak_layer:
            return number
    return None


def _last(thread: Thread) -> str:
    return f"L{thread.birth + len(thread.values) - 1}"


def _value(value: float) -> str:
    text = exact(value)
    return text if len(text) <= 10 else signed(value)
