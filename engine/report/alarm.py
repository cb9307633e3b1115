"""NaN and infinity in words, the same on the screen, in a summary and in every report.

- `alarm_line`     the headline: what, where, which token, how much comes after it
- `alarm_event`, `alarm_message`  all sites in one event
- `excluded_words` what M and its verdicts leave out
"""

from __future__ import annotations

from engine.analysis.maximum import place_label
from engine.analysis.nonfinite import Alarm
from engine.base.wording import counted
from engine.messages import Code, Message, message, words
from engine.sites.site import HookPlan


def alarm_line(alarm: Alarm, plan: HookPlan, token: str = "", room: int | None = None) -> str:
    """`first Inf: L11 mlp_output, sample 2, position 0, channel 507, token ‹Once›; 75 sites after it`.

    Args:
        alarm: the first non-finite element in the order of a forward.
        plan: the hook plan.
        token: at its position, printable; empty where it is not known.
        room: characters there are; what, where and the address stay longest, the token and the count go first.
    """
    site = place_label(plan, (alarm.site,))
    after = f"; {counted(alarm.after, 'site')} after it" if alarm.after else "; no other site"
    brief = f"; {alarm.after} after" if alarm.after else ""
    head = f"first {alarm.kind}: {site}"
    if alarm.sample < 0:
        return f"{head}{after}"
    long = f", sample {alarm.sample}, position {alarm.position}, channel {alarm.channel}"
    short = f", sample {alarm.sample}, pos {alarm.position}, ch {alarm.channel}"
    said = f", token ‹{token}›" if token else ""
    shown = f", ‹{token}›" if token else ""
    forms = [head + long + said + after, head + short + shown + after, head + short + shown + brief]
    least = f", {alarm.sample}:{alarm.position}:{alarm.channel}"
    forms += [head + short + brief, head + short, head + least, head]
    return next((text for text in forms if room is None or len(text) <= room), forms[-1])


def alarm_event(alarm: Alarm, plan: HookPlan) -> str:
    """`Inf/NaN in 76 sites, first Inf at L11 mlp_output`."""
    return words(alarm_message(alarm, plan))


def alarm_message(alarm: Alarm, plan: HookPlan) -> Message:
    """The event of an alarm: all sites in one."""
    first = place_label(plan, (alarm.site,))
    return message(Code.NONFINITE, sites=len(alarm.sites), first=first, kind=alarm.kind, kinds=alarm.kinds)


def excluded_words(sites: int) -> str:
    """`over finite elements; 76 sites hold Inf/NaN`."""
    return f"over finite elements; {counted(sites, 'site')} {'holds' if sites == 1 else 'hold'} Inf/NaN"
