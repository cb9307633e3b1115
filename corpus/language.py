"""What a text is written in.

- `language_of`  ISO 639 code, by py3langid
- `script_of`    ISO 15924 code, by the Unicode script property
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from corpus.samples import CorpusError

# A few hundred letters settle the question; the middle of a text has more of them than its head.
_CHARACTERS = 600
# Markup is Latin and English whatever the text around it is.
_MARKUP = re.compile(r"<[^<>]{1,1000}>|&#?\w{1,31};")
_MARKUP_SEARCHED = 8 * _CHARACTERS
_NOT_A_SCRIPT = ("Zyyy", "Zinh", "Zzzz")
# Code, units and names are Latin in every language: another script with this share of the letters is the text's own.
_OWN_SHARE = 0.2


def language_of(text: str) -> str:
    """The most probable of py3langid's languages; source code comes out as `en` or `zxx` (no language)."""
    try:
        from py3langid import classify
    except ImportError as error:
        raise CorpusError("telling languages needs py3langid; run: pip install 'maxact-tui[corpus]'") from error
    return str(classify(_middle(text))[0])


def script_of(text: str) -> str:
    """The script of the middle of a text: the commonest one but Latin if it has a fifth of the letters, else Latin.

    Empty where no character has a script of its own.
    """
    counts: Counter[str] = Counter()
    for character, times in Counter(_middle(text)).items():
        script = _script(character)
        if script not in _NOT_A_SCRIPT:
            counts[script] += times
    others = sorted((script for script in counts if script != "Latn"), key=lambda script: (-counts[script], script))
    if others and counts[others[0]] >= _OWN_SHARE * counts.total():
        return others[0]
    return "Latn" if counts else ""


def _middle(text: str) -> str:
    start = max(0, (len(text) - _MARKUP_SEARCHED) // 2)
    plain = _MARKUP.sub(" ", text[start : start + _MARKUP_SEARCHED])
    start = max(0, (len(plain) - _CHARACTERS) // 2)
    return plain[start : start + _CHARACTERS]


@cache
def _script(character: str) -> str:
    try:
        from fontTools.unicodedata import script
    except ImportError as error:
        raise CorpusError("telling scripts needs fonttools; run: pip install 'maxact-tui[corpus]'") from error
    return str(script(character))
