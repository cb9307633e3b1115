"""The lines at the top: what is measured and how far it is, and the line of M.

- `status_lines`    model, engine and progress, two lines
- `maximum_lines`   M, where it is and which token carries it, two lines
- `alarm_lines`    the first NaN or infinity, one line
- `carrier_words`  where M is, for the head of a site
- `progress_share`, `progress_words`  how far a run is
- `usage_words`     what the engine takes of the machine
- `progress_bar`    a determinate bar as text
- `state_words`     what the engine is doing, in words
"""

from __future__ import annotations

import time
from pathlib import Path

from textual.strip import Strip

from engine.analysis.maximum import Maximum, place_label
from engine.base.wording import counted
from engine.messages import words
from engine.report.alarm import alarm_line, excluded_words
from engine.session.liveness import why_it_ended
from engine.session.reader import SessionMeta
from engine.session.records import ENDED, Status
from maxact_tui.bugs import bug_log
from maxact_tui.terminal.palette import Look
from maxact_tui.texts.numbers import UNKNOWN, bits, compact, duration, exact, grouped, percent, rate, size
from maxact_tui.texts.pieces import token_name
from maxact_tui.texts.visible import cell_width, cut_start, visible
from maxact_tui.watching.machine import Usage
from maxact_tui.watching.places import TokenPlace
from maxact_tui.watching.snapshot import Snapshot
from maxact_tui.widgets.lines import Part, line

QUIET_SECONDS = 10.0
_WORDS_FROM = 100  # cells; narrower lines name the key that goes to NaN and infinity alone
_ALARM_TOKEN = 12  # cells of the token in the line of NaN and infinity
_PHASE_STYLE = {"running": "good", "finished": "good", "failed": "bad", "gone": "bad", "paused": "warn"}


def status_lines(snapshot: Snapshot, look: Look, width: int, now: float | None = None) -> list[Strip]:
    """Two lines: the model and the engine's state, then the progress."""
    now = time.time() if now is None else now
    status = snapshot.status
    if status is None:
        why = (told(snapshot, width) if snapshot.is_bug else snapshot.problem) or "opening"
        return [line(look, (f" {_name(snapshot.path)}", "title")), line(look, f" {why}")]
    words, style = state_words(snapshot, now)
    left = f" {_model(snapshot)}"
    right: list[Part] = [(words, style), " "]
    room = width - cell_width(words) - 3
    what = _what(snapshot)
    shown = [visible(left, room, space=" "), ""]
    if cell_width(left) + len(what) + 2 <= room:
        shown = [left, f"  {what}"]
    usage = usage_words(snapshot.usage, look)
    if usage and sum(cell_width(s) for s in shown) + len(usage) + 2 <= room:
        shown[1] += f"  {usage}"
    gap = " " * max(width - sum(cell_width(s) for s in shown) - cell_width(words) - 1, 1)
    first = line(look, (shown[0], "title"), (shown[1], "dim"), gap, *right)
    if snapshot.problem:
        return [first, line(look, (f" {told(snapshot, width)}", "bad"))]
    return [first, _progress_line(status, look, width)]


def told(snapshot: Snapshot, width: int) -> str:
    """Why the file is not read; of a bug first of all what it is and where more is said."""
    if not snapshot.is_bug:
        return f"cannot read the file: {snapshot.problem}"
    where = visible(str(bug_log()), space=" ")
    short = (snapshot.problem, f"{snapshot.problem.partition(';')[0][:40]}; see {where}", f"a bug; see {where}")
    return next((one for one in short if cell_width(one) < width), short[-1])


def state_words(snapshot: Snapshot, now: float) -> tuple[str, str]:
    """What the engine is doing, in words, and the style for it."""
    status = snapshot.status
    if status is None:
        return "OPENING", "dim"
    since = duration(now - status.started) if status.started else ""
    style = _PHASE_STYLE.get(status.phase, "warn")
    words = status.phase.upper()
    if status.phase == "gone":
        words = "ENGINE GONE"
    elif status.phase in ("finished", "stopped", "failed"):
        if status.ended and status.started:
            words += f" after {duration(status.ended - status.started)}"
    elif snapshot.quiet_seconds > QUIET_SECONDS and status.heartbeat:
        words, style = f"{words}, silent for {duration(snapshot.quiet_seconds)}", "warn"
    elif since and status.phase in ("loading", "running"):
        words += f" {since}"
    if snapshot.read_only:
        words += ", READ-ONLY"
    asked = [command.name for command in snapshot.commands if command.state == "new"]
    if asked and not snapshot.has_ended:
        words += f", {visible(asked[-1])} asked for"
    return words, style


def usage_words(usage: Usage | None, look: Look) -> str:
    """What the engine takes of the machine: `cpu 187 %  1.1 GiB`, `gpu 0  87 %  41.2 GiB of 139 GiB  61 °C`."""
    if usage is None:
        return ""
    used = size(usage.used_bytes, look.units)
    if not usage.total_bytes:
        return f"{usage.name} {usage.percent} %  {used}"
    degree = "C" if look.ascii_only else "°C"
    return f"{usage.name}  {usage.percent} %  {used} of {size(usage.total_bytes, look.units)}  {usage.celsius} {degree}"


def progress_bar(share: float, cells: int) -> str:
    """A determinate bar of this many cells."""
    full = round(min(max(share, 0.0), 1.0) * cells)
    return "█" * full + "░" * (cells - full)


def _progress_line(status: Status, look: Look, width: int) -> Strip:
    if status.phase in ("failed", "gone"):
        reason = words(why_it_ended(status))
        advice = "; continue: maxact-tui resume" if status.phase == "gone" else ""
        return line(look, (visible(f" {reason}{advice}", width, space=" "), "bad"))
    if status.phase in ("starting", "loading"):
        return _loading_line(status, look, width)
    return _bar_line(look, progress_share(status), progress_words(status), width)


def progress_share(status: Status) -> float:
    """How much of the run is done, between 0 and 1."""
    return status.tokens_done / status.tokens_total if status.tokens_total else float(status.phase == "finished")


def progress_words(status: Status) -> list[str]:
    """How far a run is, the most important first."""
    share = progress_share(status)
    samples, tokens = grouped(status.samples_done), compact(status.tokens_done)
    words = counted(status.samples_total or status.samples_done, "sample").split()[1]
    if status.samples_total:
        samples = f"{samples}/{grouped(status.samples_total)}"
        # At the end the second number would be the first again, and the line has more to say.
        tokens += "" if share == 1 else f" of {compact(status.tokens_total)}"
    parts = [percent(share)] if status.tokens_total else []
    is_beside = status.phase == "running" and status.total > 0  # a step between batches, whose end no rate tells
    if is_beside:
        parts.append(f"{status.detail}: {status.done:,} of {status.total:,} {status.unit}")
    parts += [f"{samples} {words}", f"{tokens} tokens"]
    if status.phase == "running" and status.batches_done and not is_beside:
        parts += [rate(status.rate, "tok"), f"ETA {duration(status.eta_seconds)}"]
    elif status.rate and not is_beside:
        parts.append(rate(status.rate, "tok"))
        if status.phase in ENDED and status.running_seconds:
            parts.append(f"measuring {duration(status.running_seconds)}")
    if status.phase == "running" and not status.batches_done:
        parts.append("the first batch is on its way")
    if status.padded_tokens:
        parts.append(f"padding {percent(status.padding_share)}")
    if status.detail and not is_beside:
        parts.append(status.detail)
    return parts


def _loading_line(status: Status, look: Look, width: int) -> Strip:
    what = status.detail or "starting the engine"
    if not status.total:
        return line(look, visible(f" {what}", width - 1, space=" ", ascii_only=look.ascii_only))
    # A loader that counts bytes would fill the line with digits.
    done, total = (
        (compact(status.done), compact(status.total)) if status.total > 99_999 else (status.done, status.total)
    )
    amount = f"{done} of {total} {status.unit}".strip()
    room = max(width - _bar_cells(width) - cell_width(amount) - 7, 10)
    shown = visible(what, room, space=" ", ascii_only=look.ascii_only)
    return _bar_line(look, status.done / status.total, [shown, amount], width)


def _bar_line(look: Look, share: float, parts: list[str], width: int) -> Strip:
    cells = _bar_cells(width)
    words, used = [], cells + 3
    for part in parts:
        if used + cell_width(part) + 2 <= width:
            words.append(part)
            used += cell_width(part) + 2
    return line(look, " ", (progress_bar(share, cells), "bar"), " ", "  ".join(words))


def _bar_cells(width: int) -> int:
    return 10 if width < 110 else 24


def maximum_lines(snapshot: Snapshot, look: Look, width: int) -> list[Strip]:
    """Two lines: M with its sites and what smaller formats make of it; then the token that carries it."""
    maximum = snapshot.maximum
    if maximum is None or snapshot.live is None:
        so_far = "" if snapshot.has_ended else " so far"
        why = f"  no finite element{so_far}" if snapshot.alarm is not None else ""
        return [line(look, (" M ", "title"), (UNKNOWN, "dim"), (why, "bad")), line(look)]
    words, style = fp16_verdict(maximum)
    signed_value = _signed(snapshot, maximum)
    head, tail = f" {exact(signed_value)}", f"  {words}"
    room = width - (3 if maximum.is_m else len(maximum.name) + 2) - cell_width(head) - cell_width(tail) - 5
    where = visible(maximum.label, max(room, 8), space=" ")
    title = " M" if maximum.is_m else f" {maximum.name}"
    first = line(look, (title, "title"), (head, "value"), f"  at {where}", (tail, style))
    return [first, token_line(snapshot, maximum, look, width)]


def carrier_words(snapshot: Snapshot, site: int, room: int) -> str:
    """Where M is, seen from a site: `M is also at L12-L26 hidden`, or as much of it as the room allows.

    In float32 a site within a bfloat16 step of M is tied with it without holding M itself.
    """
    maximum, plan = snapshot.maximum, snapshot.plan
    if maximum is None or plan is None:
        return ""
    name = maximum.name
    others = place_label(plan, [number for number in maximum.plateau if number != site])
    if site not in maximum.plateau:
        said = [f"{name} {exact(maximum.magnitude)} is at {others}", f"{name} is at {others}"]
    elif others:
        row = snapshot.live_row(site)
        is_below = row is not None and abs(row.peak) < maximum.magnitude
        said = [f"within a bf16 step of {name}, as {others}" if is_below else f"{name} is also at {others}"]
        said.append("tied for M" if maximum.is_m else "tied")
    else:
        said = [f"{name} is here alone", "M" if maximum.is_m else "largest"]
    return next((words for words in said if cell_width(words) <= room), "")


def alarm_lines(snapshot: Snapshot, look: Look, width: int, key: str = "") -> list[Strip]:
    """One red line: the first NaN or infinity in the order of a forward, and the key that goes there; none without."""
    alarm, plan, place = snapshot.alarm, snapshot.plan, snapshot.alarm_place
    if alarm is None or plan is None:
        return []
    token = token_name(place.token, place.part, _ALARM_TOKEN, ascii_only=look.ascii_only) if place else ""
    hint = f"  {key}{' goes there' if width >= _WORDS_FROM else ''}" if key else ""
    room = width - cell_width(hint) - 2
    text = alarm_line(alarm, plan, token, room - (cell_width(token) - len(token)))
    shown = visible(f" {text}", room + 1, space=" ", ascii_only=look.ascii_only)
    return [line(look, (shown, "bad"), (hint, "dim"))]


def fp16_verdict(maximum: Maximum) -> tuple[str, str]:
    """Whether M fits float16, and by how many bits, with the style for it; or what M leaves out."""
    if maximum.excluded_sites:
        return excluded_words(maximum.excluded_sites), "bad"
    if maximum.overflows_fp16:
        return f"overflows fp16 by {bits(-maximum.fp16_headroom_bits)}", "bad"
    style = "warn" if maximum.fp16_headroom_bits < 2 else "good"
    return f"fits fp16, {bits(maximum.fp16_headroom_bits)} left", style


def token_line(snapshot: Snapshot, maximum: Maximum, look: Look, width: int) -> Strip:
    """The token that carries M, where it stands, and the text after it."""
    place = snapshot.maximum_place
    live = snapshot.live
    channel = int(live.column("channel")[maximum.site]) if live is not None else -1
    if place is None:
        return line(look, ("   token unknown", "dim"), f"  channel {channel}" if channel >= 0 else "")
    facts = "" if maximum.is_m else f"  no M (--sites {visible(sites_of(snapshot))})"
    facts += f"  position {place.position}  channel {channel}  {visible(place.category)}  sample {place.sample}"
    room = width - cell_width(facts) - 4
    return line(look, "   ", *token_parts(place, look, max(room, 12), lead=0), (facts, "dim"))


def sites_of(snapshot: Snapshot) -> str:
    """What the run measures, as `--sites` names it."""
    return snapshot.meta.job.sites if snapshot.meta is not None else ""


def token_parts(place: TokenPlace, look: Look, width: int, *, lead: int = 12) -> list[Part]:
    """A token in its context, between brackets, in exactly `width` cells; `lead` of them at most for what is before."""
    plain = look.ascii_only
    token = f"‹{token_name(place.token, place.part, max(width - 4, 1), ascii_only=plain)}›"
    spare = width - cell_width(token)
    before = cut_start(visible(place.before, ascii_only=plain, space=" "), min(lead, spare))
    after = visible(place.after, spare - cell_width(before), space=" ", ascii_only=plain)
    padding = " " * (spare - cell_width(before) - cell_width(after))
    return [(before, "dim"), (token, "token"), (after, "dim"), padding]


def _signed(snapshot: Snapshot, maximum: Maximum) -> float:
    if snapshot.live is None:
        return maximum.magnitude
    lowest = float(snapshot.live.column("min")[maximum.site])
    return lowest if -lowest == maximum.magnitude else maximum.magnitude


def _model(snapshot: Snapshot) -> str:
    return visible(_name(Path(snapshot.meta.job.model)), space=" ") if snapshot.meta else ""


def _name(path: Path) -> str:
    return visible(path.name.removesuffix(".gguf"), space=" ")


def _what(snapshot: Snapshot) -> str:
    """dtype, device and corpus, as far as they are known."""
    meta = snapshot.meta
    if meta is None:
        return ""
    dtype = str(meta.provenance.get("dtype") or meta.job.dtype)
    parts = [part for part in (dtype, _device(meta)) if part != "auto"]
    if meta.plan is not None:
        parts.append(counted(len(meta.plan.sites), "site"))
    return visible("  ".join(parts), space=" ")


def _device(meta: SessionMeta) -> str:
    """Where the model lies: `cpu`, `cuda:0`, `cuda:0-3`; what the user asked for until it is known."""
    places = sorted({str(place) for place in dict(meta.provenance.get("device_map") or {}).values()})
    names = [f"cuda:{place}" if place.isdigit() else place for place in places]
    if not names:
        return meta.job.device
    return names[0] if len(names) == 1 else f"{names[0]} .. {names[-1]}"
