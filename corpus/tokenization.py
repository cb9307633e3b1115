"""Text to token ids under a stated policy, by the model's own tokenizer.

- `Policy`           `raw`: no special tokens; `bos`: the BOS token in front; `chat`: the model's template around
- `TokenizedCorpus`  token ids of every sample, what was cut or dropped, and the text of each token used
- `tokenize`         a corpus and a tokenizer in, a `TokenizedCorpus` out
- `tokenizer_hash`   names the tokenizer by content: the same ids for the same text
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jinja2 import TemplateError
from numpy.typing import NDArray

from corpus.pieces import token_pieces
from corpus.samples import Corpus, CorpusError, PolicyError, Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Policy = Literal["raw", "bos", "chat"]

# Encodings hold far more than ids, so only so many are alive at once.
_TEXTS_AT_ONCE = 64
# No tokenizer averages more characters per token over a text; beyond this nothing can be kept anyway.
_CHARACTERS_PER_TOKEN = 64
# A template is a program of strangers: whatever it does, it is the template that fails (RuntimeError: recursion, too).
_FAILURES = (
    TemplateError, ArithmeticError, LookupError, AttributeError, TypeError, ValueError, RuntimeError, MemoryError,
)  # fmt: skip
# Some templates write today's date into the prompt; with a fixed one the same text gives the same ids every day.
_DATE_PARTS = {"%Y": "2026", "%y": "26", "%m": "01", "%d": "01", "%-d": "1", "%B": "January", "%b": "Jan"}
_FIXED_DATE = "".join(
    [
        "{% macro strftime_now(format) %}{{ format",
        *(f"|replace('{part}', '{value}')" for part, value in _DATE_PARTS.items()),
        " }}{% endmacro %}{{ '' }}",
    ]
)


@dataclass(frozen=True, slots=True)
class TokenizedCorpus:
    """A corpus as token ids; sample numbers are the indices of `Corpus.samples`.

    Attributes:
        ids: int32, the token ids of all samples one after the other.
        offsets: int64 [samples + 1], where each sample begins in `ids`.
        categories: category of each sample.
        was_cut: bool [samples], whether the text was longer than `max_length` tokens.
        dropped: numbers of the samples that came out without any token.
        policy: how text became tokens.
        max_length: tokens per sample at most.
        corpus_hash: `Corpus.content_hash`.
        tokenizer_hash: see `tokenizer_hash`.
        vocabulary: token id -> the bytes it stands for, for the ids in use.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    categories: tuple[str, ...]
    was_cut: NDArray[np.bool_]
    dropped: tuple[int, ...]
    policy: Policy
    max_length: int
    corpus_hash: str
    tokenizer_hash: str
    vocabulary: Mapping[int, bytes]

    def __len__(self) -> int:
        return len(self.categories)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sample, int64 [samples]; 0 for a dropped one."""
        return np.diff(self.offsets)

    @property
    def cut(self) -> tuple[int, ...]:
        """Numbers of the samples that were cut."""
        return tuple(int(sample) for sample in np.flatnonzero(self.was_cut))

    def tokens(self, sample: int) -> NDArray[np.int32]:
        """Token ids of one sample, a view."""
        return self.ids[self.offsets[sample] : self.offsets[sample + 1]]

    def pieces(self, sample: int) -> list[bytes]:
        """The bytes of each token of one sample."""
        return [self.vocabulary[int(token)] for token in self.tokens(sample)]


def tokenize(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerBase,
    *,
    policy: Policy,
    max_length: int,
    progress: Progress | None = None,
) -> TokenizedCorpus:
    """Tokenise every sample.

    `raw` adds nothing, even where the tokenizer adds BOS by itself. `bos` puts BOS first unless the text already
    begins with it. `chat` makes the text a user's message; when that is too long the text is cut, not the template.

    Args:
        corpus: the texts.
        tokenizer: the model's own; a fast one works in batches on all cores.
        policy: see `Policy`.
        max_length: tokens per sample at most, special tokens included.
        progress: called with (samples done, samples, label).

    Raises:
        CorpusError: BOS or a chat template is asked for and the tokenizer has none, or not one sample has a token.
    """
    _check(tokenizer, policy, max_length)
    rows: list[NDArray[np.int32]] = []
    cut: list[bool] = []
    for ids, was_cut in _encode_all([sample.text for sample in corpus.samples], tokenizer, policy, max_length):
        rows.append(np.asarray(ids, dtype=np.int32))
        cut.append(was_cut)
        if progress is not None and (len(rows) % _TEXTS_AT_ONCE == 0 or len(rows) == len(corpus.samples)):
            progress(len(rows), len(corpus.samples), "tokenising")
    flat = np.concatenate(rows)
    if not len(flat):
        raise CorpusError("no sample has a single token under this tokenizer; give another corpus with --corpus")
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    return TokenizedCorpus(
        ids=flat,
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        categories=tuple(sample.category for sample in corpus.samples),
        was_cut=np.array(cut, dtype=np.bool_),
        dropped=tuple(int(sample) for sample in np.flatnonzero(lengths == 0)),
        policy=policy,
        max_length=max_length,
        corpus_hash=corpus.content_hash,
        tokenizer_hash=tokenizer_hash(tokenizer),
        vocabulary=token_pieces(tokenizer, np.unique(flat).tolist()),
    )


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Sha256 hex digest over everything that decides which ids a text gets under any policy."""
    digest = hashlib.sha256()
    if tokenizer.is_fast:
        backend = tokenizer.backend_tokenizer
        for part in (backend.normalizer, backend.pre_tokenizer, backend.model):
            digest.update(b"\0" if part is None else part.__getstate__())
    else:
        digest.update(type(tokenizer).__qualname__.encode())
        digest.update(repr(sorted(tokenizer.get_vocab().items())).encode("utf-8", "backslashreplace"))
    added = sorted((token, repr(spelling)) for token, spelling in tokenizer.added_tokens_decoder.items())
    digest.update(repr((added, tokenizer.bos_token_id, tokenizer.chat_template)).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _check(tokenizer: PreTrainedTokenizerBase, policy: Policy, max_length: int) -> None:
    if max_length < 1:
        raise CorpusError(f"--max-length {max_length} leaves no token; ask for at least 1")
    if policy == "bos" and tokenizer.bos_token_id is None:
        raise PolicyError("this model's tokenizer has no BOS token", policy)
    if policy == "chat" and not tokenizer.chat_template:
        raise PolicyError("this model's tokenizer has no chat template", policy)


def _encode_all(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, policy: Policy, max_length: int
) -> Iterator[tuple[Sequence[int], bool]]:
    room = max_length * _CHARACTERS_PER_TOKEN
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        chunk = [text[:room] for text in texts[start : start + _TEXTS_AT_ONCE]]
        if policy == "chat":
            encoded = [_chat_ids(text, tokenizer, max_length) for text in chunk]
        else:
            first = tokenizer.bos_token_id if policy == "bos" else None
            encoded = [_cut(_with_first(ids, first), max_length) for ids in _encode(chunk, tokenizer)]
        for text, (ids, was_cut) in zip(texts[start : start + _TEXTS_AT_ONCE], encoded, strict=True):
            yield ids, was_cut or len(text) > room


def _encode(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids without any special token; fast tokenizers are called without the wrapper, in 0.6 of its time."""
    if not tokenizer.is_fast:
        return [list(tokenizer.encode(text, add_special_tokens=False)) for text in texts]
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = bool(tokenizer.split_special_tokens)
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


def _with_first(ids: list[int], first: int | None) -> list[int]:
    return ids if first is None or not ids or ids[0] == first else [first, *ids]


def _cut(ids: list[int], max_length: int) -> tuple[list[int], bool]:
    return (ids, False) if len(ids) <= max_length else (ids[:max_length], True)


def _chat_ids(text: str, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list[int], bool]:
    """The ids of the text inside the template; a text that is too long loses its end until the whole fits."""
    ids = _encode([_render(text, tokenizer)], tokenizer)[0]
    was_cut = False
    while len(ids) > max_length and text:
        text = _shortened(text, len(ids) - max_length, tokenizer)
        ids = _encode([_render(text, tokenizer)], tokenizer)[0]
        was_cut = True
    return ids[:max_length], was_cut or len(ids) > max_length


def _shortened(text: str, excess: int, tokenizer: PreTrainedTokenizerBase) -> str:
    """The text without its last `excess` tokens, and at least one character shorter."""
    if tokenizer.is_fast:
        offsets = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).offsets
        end = offsets[len(offsets) - excess][0] if excess < len(offsets) else 0
    else:
        end = int(len(text) * max(0.0, 1.0 - excess / max(1, len(_encode([text], tokenizer)[0]))))
    return text[: min(end, len(text) - 1)]


def _render(text: str, tokenizer: PreTrainedTokenizerBase) -> str:
    messages: list[dict[str, Any]] = [{"role": "user", "content": text}]
    try:
        template = tokenizer.get_chat_template()
        if "strftime_now" in template:
            template = _FIXED_DATE + template
        return str(
            tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=True)
        )
    except _FAILURES as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise PolicyError(f"the chat template fails: {why}", "chat") from error
