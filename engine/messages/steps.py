"""Sentences of what an engine is at: steps of a load, of a run, and of work on the loaded model."""

from __future__ import annotations

from engine.base.wording import counted
from engine.messages.codes import Code
from engine.messages.message import Message, fixed, sentence, words


@sentence(Code.LOADING_MODEL, model="HuggingFaceTB/SmolLM2-135M")
def _loading_model(model: str) -> str:
    return f"loading {model}"


fixed(Code.LOOKING_UP, "looking up")
fixed(Code.DOWNLOADING, "downloading")
fixed(Code.IMPORTING, "importing transformers")
fixed(Code.HASHING_FILE, "hashing")
fixed(Code.HASHING, "hashing weights")
fixed(Code.CONVERTING, "converting GGUF")
fixed(Code.CHECKING_COPY, "checking the converted copy")
fixed(Code.READING_CONFIG, "reading config")
fixed(Code.READING_TOKENIZER, "reading tokenizer")
fixed(Code.LOADING_WEIGHTS, "loading weights")
fixed(Code.READING_CORPUS, "reading the corpus")
fixed(Code.FINDING_SITES, "finding the sites")
fixed(Code.TOKENISING, "tokenising")
fixed(Code.TIMING, "timing the statistics")
fixed(Code.READY, "ready")
fixed(Code.PAUSED, "paused; space or `resume` continues")
fixed(Code.MEASURING_DAMAGE, "measuring the damage by quantisers")
fixed(Code.QUEUED, "waiting")


@sentence(Code.NOT_SAVED, why=Message("disk", {"error": "database or disk is full", "trouble": "full"}))
def _not_saved(why: Message) -> str:
    return f"checkpoint not written: {words(why)}"


@sentence(Code.TEXT_LENGTH, tokens=12)
def _text_length(tokens: int) -> str:
    return counted(tokens, "token")


fixed(Code.WORK_FINDING_SITES, "finding the sites")
fixed(Code.TRYING_MODEL, "looking at the unchanged model")
fixed(Code.UNCHANGED_MODEL, "the unchanged model")

fixed(Code.CALIBRATING, "calibrating")
fixed(Code.COMPARING, "comparing predictions")


@sentence(Code.WORK_ON, name="int8")
def _work_on(name: str) -> str:
    return name


fixed(Code.WORK_RUNNING, "running")
