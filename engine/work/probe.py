"""The largest |x| of every site for every token, of a prompt the user typed or of one sample of the corpus.

- `probe`  the work: arguments in, a result of kind `probe` out
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from corpus.samples import Corpus, PolicyError, Sample
from corpus.tokenization import Policy, TokenizedCorpus, tokenize
from engine.messages import Code, message
from engine.sites.hooks import attach
from engine.sites.site import headline_sites
from engine.work.work import Progress, WorkContext, WorkError

POLICIES: tuple[Policy, ...] = ("raw", "bos", "chat")
TITLE_CHARACTERS = 60


def probe(context: WorkContext, arguments: Mapping[str, Any]) -> Generator[Progress, None, int]:
    """Run one text through the model alone.

    Arguments of the command: `sample`, the number of a sample of the run; or `text` with `policy` (`raw`, `bos`,
    `chat`; the run's own by default).

    The result's data: `tokens`, `policy`, `sample` (None for a prompt), `was_cut`, `maximum` (value, site, token,
    channel of the largest |x| over the sites that count for M, None where no value is finite), `nonfinite_sites` (how
    many saw NaN or infinity). Its arrays: `token_ids` int32 [tokens]; `maxima` float32 [sites, tokens], the signed
    value of the largest |x| of each token, NaN where a site saw nothing or something not finite; `channels` int32
    [sites, tokens], where it is, also of what is not finite; -1 where a site saw nothing.
    The pieces of the tokens are in the session's vocabulary.

    Raises:
        WorkError, CorpusError: no such sample, no text, or a policy this tokenizer cannot follow.
    """
    prepared = context.prepared
    ids, settings, was_cut = _tokens(context, arguments)
    yield Progress(0, 1, message(Code.TEXT_LENGTH, tokens=len(ids)))
    plan = prepared.plan
    peaks = _TokenPeaks(len(plan.sites), len(ids))
    with attach(prepared.loaded.model, plan, peaks.record, lambda _site, _text: None):
        prepared.text_model(input_ids=torch.from_numpy(ids)[None].long().to(prepared.device), use_cache=False)
    maxima, channels = peaks.collect()
    data = {
        "tokens": len(ids),
        "policy": settings["policy"],
        "sample": settings["sample"],
        "was_cut": was_cut,
        "nonfinite_sites": int((np.isnan(maxima) & (channels >= 0)).any(axis=1).sum()),
        "maximum": _maximum(maxima, channels, np.isin(np.arange(len(plan.sites)), headline_sites(plan)).tolist()),
    }
    arrays = {"token_ids": ids, "maxima": maxima, "channels": channels}
    return context.writer.add_result("probe", _title(settings), settings, data, arrays)


def _tokens(context: WorkContext, arguments: Mapping[str, Any]) -> tuple[NDArray[np.int32], dict[str, Any], bool]:
    """Token ids, the settings of the result, and whether the text was too long."""
    tokenized = context.prepared.tokenized
    if arguments.get("sample") is not None:
        number = int(arguments["sample"])
        if not 0 <= number < len(tokenized) or not tokenized.lengths[number]:
            raise WorkError(f"there is no sample {number}; samples are numbered from 0 to {len(tokenized) - 1}")
        settings = {"text": None, "policy": context.job.policy, "sample": number}
        return tokenized.tokens(number).copy(), settings, bool(tokenized.was_cut[number])
    text, policy = str(arguments.get("text") or ""), arguments.get("policy") or context.job.policy
    if not text:
        raise WorkError("there is no text; type a prompt first")
    if policy not in POLICIES:
        raise WorkError(f"there is no token policy '{policy}'; it is one of {', '.join(POLICIES)}")
    prompt = _tokenize(context, text, policy)
    context.writer.add_samples((), prompt.vocabulary)
    return prompt.tokens(0).copy(), {"text": text, "policy": policy, "sample": None}, bool(prompt.was_cut[0])


def _tokenize(context: WorkContext, text: str, policy: Policy) -> TokenizedCorpus:
    prepared = context.prepared
    corpus = Corpus("prompt", (Sample(text, "prompt"),), hashlib.sha256(text.encode("utf-8", "replace")).hexdigest())
    try:
        return tokenize(corpus, prepared.loaded.tokenizer, policy=policy, max_length=prepared.tokenized.max_length)
    except PolicyError as error:
        raise WorkError(f"{error.cause}; ask for the text {' or '.join(error.others)}") from None


def _title(settings: Mapping[str, Any]) -> str:
    if settings["sample"] is not None:
        return f"sample {settings['sample']}"
    words = " ".join(str(settings["text"]).split())
    return words if len(words) <= TITLE_CHARACTERS else f"{words[: TITLE_CHARACTERS - 1]}…"


def _maximum(
    maxima: NDArray[np.float32], channels: NDArray[np.int32], counts: list[bool]
) -> dict[str, float | int] | None:
    """The largest |x| over the sites that count for M; the first site and token among equals."""
    magnitudes = np.where(np.array(counts)[:, None] & np.isfinite(maxima), np.abs(maxima), -1.0)
    site, token = np.unravel_index(int(magnitudes.argmax()), magnitudes.shape)
    if magnitudes[site, token] < 0:
        return None
    place = (int(site), int(token))
    return {"value": float(maxima[place]), "site": place[0], "token": place[1], "channel": int(channels[place])}


class _TokenPeaks:
    """Collects the signed largest |x| of every token, on the device each site is on."""

    def __init__(self, sites: int, tokens: int) -> None:
        self._shape = (sites, tokens)
        self._found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def record(self, site: int, x: torch.Tensor, token_index: torch.Tensor | None = None, /) -> None:
        """Keep the peak of each row of `x`, [1, T, D] or [rows, D]; of all rows of a token where it has several."""
        rows = x.reshape(-1, x.shape[-1])
        channel = rows.abs().argmax(dim=-1)
        value = rows.gather(-1, channel[:, None])[:, 0].float()
        if token_index is not None:
            value, channel = self._per_token(value, channel, token_index)
        if len(value) == self._shape[1]:
            self._found[site] = (value, channel)

    def collect(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """(maxima float32, channels int32), both [sites, tokens]."""
        maxima, channels = np.full(self._shape, np.nan, np.float32), np.full(self._shape, -1, np.int32)
        for site, (value, channel) in self._found.items():
            maxima[site], channels[site] = value.cpu().numpy(), channel.cpu().numpy()
        return np.where(np.isfinite(maxima), maxima, np.float32(np.nan)), channels

    def _per_token(
        self, value: torch.Tensor, channel: torch.Tensor, token_index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The row with the largest |x| of each token; NaN is larger than any, as in the maximum of a row."""
        tokens = self._shape[1]
        size = value.abs().nan_to_num(nan=math.inf, posinf=math.inf)
        best = value.new_full((tokens,), -1.0).scatter_reduce(0, token_index, size, "amax")
        wins = size == best[token_index]
        spare = torch.where(wins, token_index, tokens)  # losers write to a place beyond the last token
        values = value.new_full((tokens + 1,), float("nan")).scatter(0, spare, value)[:tokens]
        channels = channel.new_full((tokens + 1,), -1).scatter(0, spare, channel)[:tokens]
        return values, channels
