"""The text that each token stands for, so that a viewer without a tokenizer can show tokens in context.

- `token_pieces`  token id -> exact bytes, for byte-level, SentencePiece-like and WordPiece-like tokenizers

Joining the pieces of a text's tokens gives back its bytes for a byte-level tokenizer. SentencePiece and WordPiece
tokenizers may put one space before the text, and what their normaliser changed (case, accents) stays changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_Step = Callable[[str], "str | bytes"]
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@cache
def _byte_of_character() -> dict[str, int]:
    """The GPT-2 byte alphabet: printable Latin-1 stands for itself, the other bytes are 256, 257, ... in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update({chr(256 + place): byte for place, byte in enumerate(others)})
    return alphabet


def _byte_level(token: str) -> str | bytes:
    alphabet = _byte_of_character()
    return bytes(alphabet[c] for c in token) if all(c in alphabet for c in token) else token


def _byte_fallback(token: str) -> str | bytes:
    match = _BYTE_TOKEN.fullmatch(token)
    return bytes([int(match[1], 16)]) if match else token


def _replace(old: str, new: str) -> _Step:
    return lambda token: token.replace(old, new)


def _word_piece(prefix: str) -> _Step:
    return lambda token: token[len(prefix) :] if token.startswith(prefix) else " " + token


def _steps(decoder: dict[str, Any] | None) -> list[_Step]:
    """What a `tokenizers` decoder does to one token; steps that only trim or join whole texts are left out."""
    match decoder:
        case {"type": "Sequence", "decoders": list(parts)}:
            return [step for part in parts for step in _steps(part)]
        case {"type": "ByteLevel"}:
            return [_byte_level]
        case {"type": "ByteFallback"}:
            return [_byte_fallback]
        case {"type": "Replace", "pattern": {"String": str(old)}, "content": str(new)}:
            return [_replace(old, new)]
        case {"type": "Metaspace", "replacement": str(mark)}:
            return [_replace(mark, " ")]
        case {"type": "WordPiece", "prefix": str(prefix)}:
            return [_word_piece(prefix)]
        case {"type": "BPEDecoder", "suffix": str(suffix)}:
            return [_replace(suffix, " ")]
        case _:
            return []


def _state(part: Any) -> dict[str, Any] | None:
    loaded = None if part is None else json.loads(part.__getstate__())
    return loaded if isinstance(loaded, dict) else None


def _fast_steps(tokenizer: PreTrainedTokenizerBase) -> list[_Step]:
    backend = tokenizer.backend_tokenizer
    return _steps(_state(backend.decoder)) or _steps(_state(backend.pre_tokenizer))


def _guessed_steps(tokens: Iterable[Any]) -> list[_Step]:
    """For tokenizers written in Python: what the spelling of their tokens says about them."""
    strings = [token for token in tokens if isinstance(token, str)]
    if any("▁" in token for token in strings):
        return [_byte_fallback, _replace("▁", " ")]
    if any("Ġ" in token for token in strings):
        return [_byte_level]
    if any(token.startswith("##") for token in strings):
        return [_word_piece("##")]
    return [_byte_fallback]


def _piece(token: str | bytes | None, steps: Iterable[_Step]) -> bytes:
    current = token or b""
    for step in steps:
        if isinstance(current, bytes):
            break
        current = step(current)
    return current if isinstance(current, bytes) else current.encode("utf-8", "replace")


def token_pieces(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int]) -> dict[int, bytes]:
    """The bytes each token contributes to a text, for the given ids only.

    Special tokens stand for their own spelling. A piece may be part of a character: join before decoding.
    """
    wanted = [int(token) for token in ids]
    spellings = tokenizer.convert_ids_to_tokens(wanted)
    steps = _fast_steps(tokenizer) if tokenizer.is_fast else _guessed_steps(spellings)
    # An added token is matched in the text as it is spelt, so the byte alphabet does not apply to it.
    added_steps = [step for step in steps if step is not _byte_level]
    added = tokenizer.added_tokens_decoder
    pieces: dict[int, bytes] = {}
    for token, spelling in zip(wanted, spellings, strict=True):
        if token not in added:
            pieces[token] = _piece(spelling, steps)
        else:
            pieces[token] = _piece(spelling, [] if added[token].special else added_steps)
    return pieces
