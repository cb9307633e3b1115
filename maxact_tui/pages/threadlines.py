"""Threads, massive activations followed through the layers, as lines of text.

- `thread_sheet`   the table: one row per thread
- `thread_words`   all of them in two sentences
- `thread_detail`  one of them: its life, its value at every layer, its token
- `none_words`     why there is none
- `End`, `end_of`  how a thread ends: gone, lost where nothing is finite, or one of the two
- `profile`        a thread's value at every layer, or at those that matter most
- `thread_site`    the site of its peak
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from textual.strip import Strip

from engine.analysis.site import SiteSummary
from engine.analysis.threads import Thread
from engine.base.wording import counted
from engine.sites.site import HookPlan
from maxact_tui.pages.header import token_parts
from maxact_tui.pages.nonfinite import is_barren
from maxact_tui.pages.sheets import Column, Sheet
from maxact_tui.pages.waiting import until_read
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.filtering import Record
from maxact_tui.texts.numbers import exact, grouped, percent, signed
from maxact_tui.texts.visible import cell_width, fitted, visible
from maxact_tui.watching.places import place_record
from maxact_tui.watching.snapshot import THREADS_SHOWN, Snapshot
from maxact_tui.widgets.lines import Part, line

if TYPE_CHECKING:
    from engine.analysis.model import ModelSummary


End = Literal["gone", "lost", "unsure"]
_END_MARKS: dict[End, str] = {"gone": "", "lost": "!", "unsure": "?"}


def thread_words(snapshot: Snapshot, look: Look, width: int) -> list[Strip]:
    """How many threads there are, in which channels, and in what share of the tokens."""
    model = snapshot.model
    if model is None:
        return [line(look, " ", until_read(snapshot, snapshot.damages.model)), line(look)]
    if model.plan is not None and not any(site.component == "hidden" for site in model.plan.sites):
        why = f" Threads follow the hidden state, which this run did not measure (--sites {model.job.sites})."
        found = [model.plan.sites[number].name for number in model.layer_median_sites]
        passing = _named(f" {counted(len(found), 'site')} massive by the site's own median: ", found, width)
        return [line(look, visible(text, width, space=" ")) for text in (why, passing)]
    if not model.threads:
        return [line(look, visible(text, width, space=" ")) for text in none_words(model)]
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
    has_bad = any(site.nonfinite is not None and site.nonfinite.count for site in _hidden_sites(model))
    if has_bad:
        note = " ? a full list of 100 may hide its birth or death   ! it ends at NaN or infinity"
    return [line(look, visible(said, width, space=" ")), line(look, (visible(note, width, space=" "), "dim"))]


def _named(head: str, names: Sequence[str], width: int) -> str:
    """A head and as many names as fit, with the number of the others; empty without any."""
    for count in range(len(names), 0, -1):
        rest = f" and {len(names) - count} more" if count < len(names) else ""
        if cell_width(text := f"{head}{', '.join(names[:count])}{rest}.") <= width:
            return text
    return f"{head.rstrip().removesuffix(':')}." if names else ""


def none_words(model: ModelSummary) -> tuple[str, str]:
    """Why there is no thread, in two lines: that no activation is massive is said only where all could be judged."""
    hidden = _hidden_sites(model)
    rule = "(|x| > 100 and > 1000 x the layer's median)"
    judged = [site for site in hidden if site.sun_layer.passes is not None and not is_barren(site)]
    bad = sum(site.nonfinite is not None and site.nonfinite.count > 0 for site in hidden)
    held = f" {counted(bad, 'hidden state')} {'holds' if bad == 1 else 'hold'} NaN or infinity." if bad else ""
    if not judged:
        unknown = "Whether an activation is massive is not known"
        return f" {unknown}{': no hidden state has a finite element.' if bad else '.'}", held
    if bad:
        return f" No finite activation is massive {rule}.", f"{held} Those are not judged."
    if len(judged) < len(hidden):
        left = counted(len(hidden) - len(judged), "hidden state")
        return f" No activation is known to be massive {rule}.", f" Of {left} the median was not measured."
    return f" No activation is massive {rule}.", ""


def _hidden_sites(model: ModelSummary) -> list[SiteSummary]:
    """The hidden states that have seen anything, in the order of the plan."""
    pairs = zip(model.plan.sites if model.plan is not None else (), model.sites, strict=False)
    return [summary for site, summary in pairs if site.component == "hidden" and summary is not None]


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
    model = snapshot.model
    threads = model.threads[:THREADS_SHOWN] if model is not None else ()
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
        end = end_of(model, thread) if model is not None else "gone"
        before, after = "" if thread.birth_certain else "?", _END_MARKS[end] or ("" if thread.death_certain else "?")
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
    end = end_of(model, thread)
    if end != "gone":
        died = f"{'lost in' if end == 'lost' else 'gone or'} Inf/NaN at layer {thread.death}"
    lines = [line(look, f"{born}{died}; largest {exact(thread.peak)} at layer {thread.peak_layer}")]
    lines.append(line(look, (profile(thread, width, end), "dim")))
    if place is not None:
        lines.append(line(look, *token_parts(place, look, width, lead=width // 3)))
    return lines


def end_of(model: ModelSummary, thread: Thread) -> End:
    """How a thread ends before the last layer.

    Where that layer has no finite element it is `lost`: it may live on as one of those. Where the layer's first NaN or
    infinity is not after its address it is `unsure`, for only that one's address is known; else it is `gone`.
    """
    pairs = zip(model.plan.sites if model.plan is not None else (), model.sites, strict=False)
    after = (one for site, one in pairs if site.component == "hidden" and site.layer == thread.death)
    found = next(after, None) if thread.death is not None else None
    bad = found.nonfinite if found is not None else None
    if found is None or bad is None or not bad.count:
        return "gone"
    if is_barren(found):
        return "lost"
    lowest = (bad.sample, bad.position, bad.channel)
    return "unsure" if (thread.sample, thread.position, thread.channel) >= lowest else "gone"


def profile(thread: Thread, width: int, end: End = "gone") -> str:
    """A thread's value at every layer and where it is gone, or as many of them as there is room for.

    Where it is born, where it peaks and where it dies come first, then the layers next to birth and death.
    """
    values = [f"L{thread.birth + i} {signed(value)}" for i, value in enumerate(thread.values)]
    if thread.death is not None:
        gone = "gone" if thread.death_certain and end == "gone" else "gone?"
        values.append(f"L{thread.death} {'!' if end == 'lost' else gone}")
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
