"""Sentences of answers to requests, and of where a request stands until then."""

from __future__ import annotations

from engine.base.wording import counted
from engine.messages.codes import Code
from engine.messages.message import Message, fixed, sentence, words

_SILENT = "; the engine shows no sign of life"

fixed(Code.DONE, "done")
fixed(Code.CANCELLED, "cancelled")
fixed(Code.NOT_CANCELLED, "it is done already, or was never asked for")
fixed(Code.STOPPING, "stopping")
fixed(Code.SERVICE_STOPPING, "the engine that answered requests ends; the run stays as it is")
fixed(Code.NOW_PAUSED, "paused")
fixed(Code.NOW_RUNNING, "running")


@sentence(Code.ADDED, samples=12, corpus="more.jsonl")
def _added(samples: int, corpus: str) -> str:
    return f"{counted(samples, 'sample')} added from {corpus}"


@sentence(Code.UNKNOWN_COMMAND, name="sing")
def _unknown_command(name: str) -> str:
    return f"this engine does not know '{name}'"


@sentence(Code.REFUSED, reason="there is no sample 300; samples are numbered from 0 to 299")
def _refused(reason: str) -> str:
    return reason


@sentence(Code.WORK_FAILED, reason="ValueError")
def _work_failed(reason: str) -> str:
    return f"failed: {reason}; the log beside the session says more"


fixed(Code.OUT_OF_MEMORY, "out of memory; give less text, or wait until the run has ended")
fixed(Code.ENGINE_STOPPED, "the engine was stopped")
fixed(Code.RUN_HAD_ENDED, "the run had ended")
fixed(Code.SERVICE_HAD_ENDED, "the engine had ended; ask again")
fixed(Code.RUN_GOES_ON, "the run goes on; ask again")
fixed(Code.TOO_LATE, "the engine it was meant for has ended")
fixed(Code.FOREIGN, "it came with the file and was not asked for on this machine; ask again if you want it")
fixed(Code.NOT_OURS, "another program runs this model: it can be looked at, but takes no requests")

fixed(Code.SENDING, "asking the engine")
fixed(Code.LOCKED, "waiting for the session file: the engine is writing")
fixed(Code.READING, "reading the values")
fixed(Code.GIVEN_UP, "not sent: it was given up")
fixed(Code.BEGUN, "begun")


@sentence(Code.NOT_SENT, reason="run.maxact is read-only here")
def _not_sent(reason: str) -> str:
    return f"not sent: {reason}"


@sentence(Code.NOT_SENT_FAULT, error="ValueError()")
def _not_sent_fault(error: str) -> str:
    return f"not sent, by a fault of this program: {error}"


@sentence(Code.AT_LOADING, step=Message("loading.weights"))
def _at_loading(step: Message | None) -> str:
    return f"the engine loads the model: {words(step) or 'starting'}"


@sentence(Code.AT_BATCH, is_silent=False)
def _at_batch(is_silent: bool) -> str:  # data, given by name
    return f"waiting for the batch in hand{_SILENT if is_silent else ''}"


@sentence(Code.AT_TURN, is_silent=True)
def _at_turn(is_silent: bool) -> str:  # data, given by name
    return f"waiting for its turn{_SILENT if is_silent else ''}"


@sentence(Code.AT_WORK, step=Message("work.comparing"))
def _at_work(step: Message | None) -> str:
    return f"the engine is at it: {words(step)}" if step is not None else "the engine is at it"


@sentence(Code.ENGINE_ENDED, why=Message("request.done_before"))
def _engine_ended(why: Message) -> str:
    return f"the engine has ended: {words(why)}"


fixed(Code.DONE_BEFORE, "it was done before it could answer")
fixed(Code.AWAITING_END, "waiting for the engine to end")
fixed(Code.LATE_FILE, "its session file is being written")
fixed(Code.LATE_LOADING, "it is still loading")
fixed(Code.LATE_BATCH, "its present batch takes long")


@sentence(Code.LATE_SILENT, process=4_711, seconds=31.0)
def _late_silent(process: int, seconds: float) -> str:
    return f"its engine, process {process}, has shown no sign of life for {seconds:.0f} s (halted, or no CPU?)"
