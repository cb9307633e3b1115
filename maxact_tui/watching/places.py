"""Where in the corpus a number came from: a token with the text around it.

- `TokenPlace`  one token in its context, as raw bytes
- `place_record`  what a filter can ask of one
- `Places`      looks them up in a session, keeping what it has read
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.session.reader import SessionReader
from engine.session.records import SampleRecord
from maxact_tui.texts.filtering import Value
from maxact_tui.texts.pieces import shown_pieces, whole_text
from maxact_tui.texts.visible import visible

CONTEXT_TOKENS = 24
FOLLOWING_TOKENS = 64
_KEPT_SAMPLES = 512


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """One token of the corpus; all text is raw and must be made visible before it is shown.

    Attributes:
        sample: its number.
        position: the token's position within the sample, from 0.
        length: tokens in the sample.
        category: of the sample.
        language: of the sample, empty where unknown.
        origin: where the sample comes from.
        token_id: id in the vocabulary.
        piece: its own bytes.
        before, token, after: bytes of the text, up to `CONTEXT_TOKENS` tokens before and `FOLLOWING_TOKENS` after;
            of a token that is UTF-8 only together with others all of these, so that characters stay whole; where the
            context cuts a character in two, its rest is left out.
        part: number of the token among those that `token` is made of, from 1, and how many they are.
    """

    sample: int
    position: int
    length: int
    category: str
    language: str
    origin: str
    token_id: int
    piece: bytes
    before: bytes
    token: bytes
    after: bytes
    part: tuple[int, int]


def place_record(place: TokenPlace | None) -> dict[str, Value]:
    """Category, token and text as they are shown; None where the session does not hold the token."""
    if place is None:
        return {"cat": None, "token": None, "text": None}
    text = visible(place.before + place.token + place.after, space=" ")
    return {"cat": visible(place.category, space=" "), "token": visible(place.token, space=" "), "text": text}


class Places:
    """Token places of one session."""

    def __init__(self, reader: SessionReader) -> None:
        self._reader = reader
        self._samples: dict[int, SampleRecord] = {}
        self._pieces: dict[int, bytes] = {}

    def at(self, sample: int, position: int) -> TokenPlace | None:
        """The token at (sample, position); None if the session does not hold it."""
        record = self._sample(sample)
        if record is None or not 0 <= position < len(record.token_ids):
            return None
        start, end = max(position - CONTEXT_TOKENS, 0), min(position + FOLLOWING_TOKENS + 1, len(record.token_ids))
        pieces = self._text([int(i) for i in record.token_ids[start:end]])
        here = position - start
        shown = shown_pieces(pieces)[here]
        first, last = shown.run
        before, after = b"".join(pieces[:first]), b"".join(pieces[last:])
        return TokenPlace(
            sample=sample,
            position=position,
            length=len(record.token_ids),
            category=record.category,
            language=record.language,
            origin=record.origin,
            token_id=int(record.token_ids[position]),
            piece=pieces[here],
            before=_whole_from(before) if start else before,
            token=whole_text(pieces, shown),
            after=_whole_up_to(after) if end < len(record.token_ids) else after,
            part=shown.part(here),
        )

    def _sample(self, number: int) -> SampleRecord | None:
        if number < 0:
            return None
        if number not in self._samples:
            found = self._reader.sample(number)
            if found is None:
                return None
            if len(self._samples) >= _KEPT_SAMPLES:
                self._samples.pop(next(iter(self._samples)))
            self._samples[number] = found
        return self._samples[number]

    def _text(self, token_ids: list[int]) -> list[bytes]:
        unknown = [i for i in token_ids if i not in self._pieces]
        self._pieces.update(zip(unknown, self._reader.pieces(unknown), strict=True))
        return [self._pieces[i] for i in token_ids]


def _whole_from(text: bytes) -> bytes:
    """Without the rest of a UTF-8 character that began before."""
    for start in range(min(4, len(text))):
        if text[start] & 0xC0 != 0x80:
            return text[start:]
    return text


def _whole_up_to(text: bytes) -> bytes:
    """Without the beginning of a UTF-8 character that goes on after."""
    for back in range(1, min(4, len(text)) + 1):
        lead = text[-back]
        if lead & 0xC0 == 0x80:
            continue
        needs = 4 if lead >= 0xF0 else 3 if lead >= 0xE0 else 2 if lead >= 0xC0 else 1
        return text[:-back] if needs > back else text
    return text
