"""Sentences of how an engine ended, with the user's next step.

- `name_of_signal`    a signal as people write it
- `names_the_way_on`  whether the sentence says already how to go on
"""

from __future__ import annotations

import signal as signals

from engine.base.wording import counted
from engine.messages.codes import Code
from engine.messages.message import Message, fixed, sentence, words

_FULL = Message("disk", {"error": "database or disk is full", "trouble": "full"})
_STEPS = {
    "full": "free some space",
    "failing": "its disk fails: see to it, or copy the session to another one",
    "read-only": "make it and its folder writable again",
    "folder": "make its folder writable again",
    "held": "another process holds it: close what reads it",
}


def names_the_way_on(ending: Message | None) -> bool:
    """Whether the sentence names the command that goes on."""
    if ending is None:
        return False
    return bool(ending.data.get("resume")) or ending.code == Code.FAILED_RESUME


def name_of_signal(signal: int) -> str:
    """`signal 6 (SIGABRT)`."""
    try:
        return f"signal {signal} ({signals.Signals(signal).name})"
    except ValueError:
        return f"signal {signal}"


def _way_on(resume: str | None) -> str:
    return f"; continue with: maxact-tui resume {resume}" if resume else ""


@sentence(Code.DISK, **_FULL.data)
def _disk(error: str, trouble: str) -> str:
    return f"{error}; {_STEPS.get(trouble, 'see to its disk')}"


@sentence(Code.STOPPED, resume="run.maxact")
def _stopped(resume: str | None) -> str:
    return f"stopped{_way_on(resume)}"


@sentence(Code.STOPPED_LOADING, resume="run.maxact")
def _stopped_loading(resume: str | None) -> str:
    return f"stopped while it loaded{_way_on(resume)}"


@sentence(Code.MOVED, name="run.maxact")
def _moved(name: str) -> str:
    return f"{name} was moved while it ran"


@sentence(Code.WATCHED_FAILED, error="KeyboardInterrupt")
def _watched_failed(error: str) -> str:
    return f"{error} in the watched loop"


@sentence(Code.FAILED_STORAGE, why=Message("not_saved", {"why": _FULL.to_json()}), resume="run.maxact")
def _failed_storage(why: Message | None, resume: str | None) -> str:
    step = f"continue with: maxact-tui resume {resume}" if resume else "start again"
    return f"{words(why)}, then {step}"


@sentence(Code.FAILED_MOVED, path="run.maxact", error=None, resume="run-saved.maxact")
def _failed_moved(path: str, error: str | None, resume: str | None) -> str:
    if resume is None:
        return f"{path} was moved or replaced while it ran, and could not be saved: {error}"
    return f"{path} was moved or replaced while it ran; what was measured is in {resume}{_way_on(resume)}"


@sentence(Code.FAILED_INPUT, kind="memory", reason="the model does not fit: use another device", log=None)
def _failed_input(kind: str, reason: str, log: str | None) -> str:  # the kind is for programs
    return f"{reason} (log: {log})" if log else reason


@sentence(Code.FAILED_RESUME, differences=(Message("difference.weights").to_json(),))
def _failed_resume(differences: list[Message]) -> str:
    found = "; ".join(words(one) for one in differences)
    return f"cannot continue: {found}. To go on all the same: maxact-tui resume --anyway"


@sentence(Code.FAILED_RUN, reason="ValueError", log="run.log")
def _failed_run(reason: str, log: str | None) -> str:
    return f"the run failed: {reason}; what was measured is saved; see {log}"


@sentence(Code.FAILED_SERVICE, reason="ValueError", log="run.log")
def _failed_service(reason: str, log: str | None) -> str:
    return f"the engine failed: {reason}; see {log}"


@sentence(Code.CRASHED, signal=6, fault="Aborted", panic=None, log="run.log")
def _crashed(signal: int | None, fault: str, panic: str | None, log: str) -> str:
    how = f"ended by {name_of_signal(signal)}" if signal is not None else f"ended by a fault ({fault})"
    return f"the engine was {how}{f': {panic}' if panic else ''}; the log ({log}) says where"


@sentence(Code.GONE, signal=9, step=Message("loading.weights"))
def _gone(signal: int | None, step: Message | None) -> str:
    at = f" while {words(step)}" if step is not None else ""
    if signal is None:
        return f"the engine is gone{at} and gave no reason (killed? out of memory?)"
    guess = " (out of memory?)" if signal == signals.SIGKILL else ""
    return f"the engine was ended by {name_of_signal(signal)}{at}{guess}"


fixed(Code.NO_REASON, "it gave no reason; the last lines of its log may")


@sentence(Code.MERGED, sessions=2)
def _merged(sessions: int) -> str:
    return f"merged from {counted(sessions, 'session')}"


@sentence(Code.FILE_DAMAGED, what="its totals cannot be read")
def _file_damaged(what: str) -> str:
    return what
