"""Quantisers by name, as they are typed, stored and shown; the words come from the tables of formats and schemes.

- `parse_scheme`  a name -> scheme
- `find_scheme`   the same for a quantiser that is applied in the pass; None for any other name
- `read_choice`   names a user chose -> names as they are stored
- `schemes_in_pass`, `schemes_of_tensors`  what a run's `--quant` and `--schemes` come to
- `title_of`      a name as people read it: `int8-q99.9`, `int8-smooth0.5`
- `nearest_name`  the known name that was meant
- `UnknownNameError`  what `parse_scheme` raises for a name that means nothing
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from engine.formats import ELEMENTS, INTEGER_BITS, FloatFormat, QuantizationError, no_integer
from engine.schemes import DEFAULT_SCHEMES, FULL_SCHEMES, MICROSCALED_BLOCK, NVFP4, POLICY_LETTERS, Scheme

_NUMBER: Final = r"[0-9.]+(?:e[+-]?[0-9]+)?"
_NAMED: Final = {
    NVFP4.name: NVFP4,
    **{
        one.microscaled: Scheme(name, "block-power-of-two", MICROSCALED_BLOCK)
        for name, one in ELEMENTS.items()
        if isinstance(one, FloatFormat) and one.microscaled
    },
}
# Element formats that are no integers.
OTHERS: Final = tuple(name for name in ELEMENTS if not name.startswith("int"))
_HEAD: Final = re.compile(rf"int(?P<bits>\d+)|(?P<other>{'|'.join(map(re.escape, OTHERS))})")
_PART: Final = re.compile(
    r"-(?:(?P<asym>asym)|(?P<rule>token|channel)|g(?:roup)?(?P<block>\d+)|(?P<word>mse|unscaled)"
    rf"|smooth(?P<alpha>{_NUMBER})|(?P<letter>{'|'.join(POLICY_LETTERS.values())})(?P<value>{_NUMBER}))(?=-|$)"
)
LONGEST_NAME: Final = 32  # of a scheme in a session
FURTHER: Final = ("int4-token", "int4-g32", "int4-g128", "e4m3-token", "e5m2-token",
                  "e2m3", "e3m2", "nf4", "mxfp6-e2m3", "mxfp6-e3m2", "nf4-g64", "int4-g32-asym",
                  "int4-g128-asym")  # fmt: skip
OFFERED: Final = (*(one.name for one in (*DEFAULT_SCHEMES, *FULL_SCHEMES)), *FURTHER)
"""Names that help and errors offer; many more are read."""
_LEAST_PERCENT: Final = 50  # below it a level in per cent could be meant as anything
_QUANTILE: Final = re.compile(r"-q(0\.[0-9]+)")


class UnknownNameError(QuantizationError):
    """A name that means no quantiser; the message says in one line what names do."""


def parse_scheme(name: str) -> Scheme:
    """The scheme of that name or title.

    Raises:
        UnknownNameError: it is none.
        QuantizationError: a quantiser that cannot be computed.
    """
    return _parse(name.strip().lower())


def find_scheme(name: str) -> Scheme | None:
    """The scheme of that name or title if it is applied in the pass; None for any other name."""
    try:
        found = parse_scheme(name)
    except QuantizationError:
        return None
    return found if found.is_in_pass else None


def read_choice(texts: Iterable[str]) -> tuple[str, ...]:
    """The names of quantisers in texts such as `mxfp4,nf4-g64`, as they are stored, each once.

    Raises:
        QuantizationError: one of them is none, or too long to be stored; the nearest is named.
    """
    found: dict[str, None] = {}
    for text in (part.strip() for one in texts for part in one.split(",")):
        if not text:
            continue
        try:
            name = parse_scheme(text).name
        except UnknownNameError as error:
            nearest = nearest_name(text, OFFERED)
            words = f"there is no scheme '{text}'; did you mean {nearest}?" if nearest else str(error)
            raise QuantizationError(words) from None
        if len(name) > LONGEST_NAME:
            rule = f"a name of at most {LONGEST_NAME} letters can be stored"
            raise QuantizationError(f"{name}: {rule}; give fewer digits")
        found[name] = None
    return tuple(found)


def schemes_in_pass(quant: str, chosen: Iterable[str]) -> tuple[Scheme, ...]:
    """What a run sums in the pass: all of `--quant full`, and what was chosen besides.

    Args:
        quant: as of `engine.base.job.Job`.
        chosen: names, `--schemes`; one that this version does not know is passed over.
    """
    usual = FULL_SCHEMES if quant == "full" else ()
    more = (find_scheme(name) for name in chosen)
    return tuple(dict.fromkeys((*usual, *(one for one in more if one is not None))))


def schemes_of_tensors(chosen: Iterable[str]) -> tuple[Scheme, ...]:
    """What was chosen besides the usual columns from histograms; a name this version does not know is passed over."""
    found = []
    for name in chosen:
        try:
            scheme = parse_scheme(name)
        except QuantizationError:
            continue
        if not scheme.is_in_pass and scheme not in DEFAULT_SCHEMES:
            found.append(scheme)
    return tuple(found)


def title_of(name: str) -> str:
    """A scheme's name as people read it, its quantile in per cent: `int8-q99.9`, `int8-smooth0.5`.

    Levels below the median stay as they are: `q0.4` must not be taken for 0.4 %. What does not print, in a name that a
    session holds, becomes `?`.
    """
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return _QUANTILE.sub(_in_percent, shown).replace("-token-smooth", "-smooth")


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that was meant; None if none is near, or it is this one."""
    text = name.strip().lower()
    found = difflib.get_close_matches(text, list(known), n=1, cutoff=0.5)
    return found[0] if found and found[0] != text else None


@lru_cache(maxsize=512)
def _parse(text: str) -> Scheme:
    if text in _NAMED:
        return _NAMED[text]
    head = _HEAD.match(text)
    if head is None:
        raise UnknownNameError(_unknown(text))
    parts: dict[str, str] = {}
    place = head.end()
    while place < len(text):
        found = _PART.match(text, place)
        fresh = {key: value for key, value in found.groupdict().items() if value is not None} if found else {}
        if found is None or parts.keys() & fresh.keys():
            raise UnknownNameError(_unknown(text))
        parts |= fresh
        place = found.end()
    if (("rule" in parts or "alpha" in parts) and "block" in parts) or ("word" in parts and "letter" in parts):
        raise UnknownNameError(_unknown(text))
    element = (head["other"] or f"int{int(head['bits'])}") + ("-asym" if "asym" in parts else "")
    if element not in ELEMENTS and head["bits"] is not None:
        raise UnknownNameError(no_integer(int(head["bits"])))
    if element not in ELEMENTS:
        raise UnknownNameError(_unknown(text))
    return Scheme(**{"element": element, **_rule(parts, text)})


def _rule(parts: dict[str, str], text: str) -> dict[str, Any]:
    """What the parts of a name behind its element say."""
    found: dict[str, Any] = {}
    if "block" in parts:
        found |= {"scale": "group", "block": int(parts["block"])}
    elif "rule" in parts or "alpha" in parts:
        found["scale"] = parts.get("rule", "token")
    if "alpha" in parts:
        found["alpha"] = _number(parts["alpha"], text)
    if "word" in parts:
        found["policy"] = parts["word"]
    if "letter" in parts:
        found["policy"] = next(policy for policy, letter in POLICY_LETTERS.items() if letter == parts["letter"])
        found["value"] = _number(parts["value"], text)
        if found["policy"] == "quantile" and found["value"] >= _LEAST_PERCENT:
            found["value"] = _of_percent(parts["value"])
    return found


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise QuantizationError(f"{text!r} in {name!r} is not a number") from None


def _unknown(name: str) -> str:
    return (
        f"there is no scheme {name!r}; there are int{INTEGER_BITS[0]} to int{INTEGER_BITS[-1]}, {', '.join(OTHERS)}, "
        "each with -mse, -q0.999, -paper0.999 or -t12.5 behind it, with -token, -channel or -g32, "
        f"int8-asym, int4-g32-asym, e4m3-unscaled, int8-token-smooth0.5, and {', '.join(_NAMED)}"
    )


def _in_percent(found: re.Match[str]) -> str:
    level = float(found[1])
    percent = f"{100 * level:.12g}"
    return f"-q{percent}" if float(percent) >= _LEAST_PERCENT and _of_percent(percent) == level else found[0]


def _of_percent(percent: str) -> float:
    """A level given in per cent, without what the division adds behind its digits."""
    return float(f"{float(percent) / 100:.12g}")
