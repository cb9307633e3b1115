"""One text through the loaded model: its tokens, and the largest |x| of every site at each of them.

- `Tokens`       a text as tokens, of the corpus or of a prompt
- `ProbeView`    the tokens with their values
- `read_tokens`  a sample of the session as tokens
- `read_probe`   a result of kind `probe`
- `prompts_of`, `sample_result`  which results there are
- `peak_token`   where the largest |x| of a site is
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.stored import check
from engine.session.damage import reading
from engine.session.reader import SessionReader
from engine.session.records import Result
from engine.session.schema import SessionError
from maxact_tui.texts.pieces import ShownPiece, shown_pieces

KIND = "probe"


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """A text as tokens; all text is raw and must be made visible before it is shown.

    Attributes:
        sample: its number in the corpus, None for a prompt.
        token_ids: int32 [tokens].
        pieces: the bytes of each token.
        shown: what stands in the place of each token.
        was_cut: the text was longer.
        category, language, origin: of the sample, empty for a prompt.
    """

    sample: int | None
    token_ids: NDArray[np.int32]
    pieces: tuple[bytes, ...]
    shown: tuple[ShownPiece, ...]
    was_cut: bool = False
    category: str = ""
    language: str = ""
    origin: str = ""

    def __len__(self) -> int:
        return len(self.pieces)


@dataclass(frozen=True, slots=True, eq=False)
class ProbeView:
    """A text and the largest |x| of every site at each of its tokens.

    Attributes:
        result: the session's record of it.
        tokens: the text.
        maxima: float32 [sites, tokens], the signed value of the largest |x|; NaN where a site saw nothing of the token,
            or something that is not finite.
        channels: int32 [sites, tokens], where that is, also of what is not finite; -1 where a site saw nothing.
    """

    result: Result
    tokens: Tokens
    maxima: NDArray[np.float32]
    channels: NDArray[np.int32]

    @property
    def bad(self) -> NDArray[np.bool_]:
        """Where there is NaN or infinity, [sites, tokens]; results of earlier versions do not tell."""
        found: NDArray[np.bool_] = np.isnan(self.maxima) & (self.channels >= 0)
        return found

    @property
    def policy(self) -> str:
        """The token policy: `raw`, `bos` or `chat`."""
        return str(self.result.data.get("policy", ""))


def read_tokens(path: Path, sample: int) -> Tokens:
    """One sample of the session.

    Raises:
        SessionError: the session cannot be read, or holds no text of this sample.
    """
    with SessionReader(path) as reader:
        return _sample_tokens(reader, sample)


def read_probe(path: Path, number: int) -> ProbeView:
    """The result of this number.

    Raises:
        SessionError: the session cannot be read, or the result is not in it or not whole.
    """
    with SessionReader(path) as reader:
        result = next((one for one in reader.results(KIND) if one.number == number), None)
        arrays = reader.result_arrays(number)
        if result is None or not _are_whole(arrays):
            raise SessionError(f"{path} does not hold the values of this text; ask for them again")
        with reading(path, "the values of a text"):
            sample = check(int | None, result.data.get("sample"), "sample")
        ids = np.asarray(arrays["token_ids"], np.int32)
        known = _sample_tokens(reader, sample) if sample is not None else None
        pieces = tuple(reader.pieces(ids.tolist()))
    tokens = Tokens(
        sample=sample,
        token_ids=ids,
        pieces=pieces,
        shown=shown_pieces(pieces),
        was_cut=bool(result.data.get("was_cut")),
        category=known.category if known else "",
        language=known.language if known else "",
        origin=known.origin if known else "",
    )
    return ProbeView(result, tokens, arrays["maxima"], arrays["channels"])


def prompts_of(results: Sequence[Result]) -> list[Result]:
    """The results of prompts, oldest first."""
    return [one for one in results if one.kind == KIND and one.data.get("sample") is None]


def sample_result(results: Sequence[Result], sample: int) -> Result | None:
    """The newest result of a sample, None where it was never asked for."""
    found = [one for one in results if one.kind == KIND and one.data.get("sample") == sample]
    return found[-1] if found else None


def peak_token(maxima: NDArray[np.float32]) -> int:
    """The first token with the largest |x|, of one site's values; 0 where nothing finite was seen."""
    return int(np.nan_to_num(np.abs(maxima), nan=-1.0).argmax())


def _are_whole(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether there is a value and a channel for every token."""
    if not {"token_ids", "maxima", "channels"} <= arrays.keys():
        return False
    maxima = arrays["maxima"]
    kinds = [arrays[name].dtype.kind for name in ("token_ids", "maxima", "channels")]
    return (
        kinds == ["i", "f", "i"]
        and maxima.ndim == 2
        and maxima.shape == arrays["channels"].shape
        and maxima.shape[1:] == arrays["token_ids"].shape
    )


def _sample_tokens(reader: SessionReader, sample: int) -> Tokens:
    record = reader.sample(sample)
    if record is None:
        raise SessionError(f"{reader.path} does not hold the text of sample {sample}")
    pieces = tuple(reader.pieces(record.token_ids.tolist()))
    return Tokens(
        sample=sample,
        token_ids=record.token_ids,
        pieces=pieces,
        shown=shown_pieces(pieces),
        was_cut=record.was_cut,
        category=record.category,
        language=record.language,
        origin=record.origin,
    )
