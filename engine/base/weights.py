"""Whether sessions are of the same weights, also where they were identified in different ways.

- `comparable_weights`  a text for each, equal where the weights are
- `WHOLE`, `SAMPLED`    how an identity begins
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

WHOLE: Final = "sha256:"
SAMPLED: Final = "sampled-sha256:"


def comparable_weights(provenances: Sequence[Mapping[str, Any]]) -> list[str]:
    """An identity of each session's weights, of one kind for all of them: empty where it is not known.

    Sessions of earlier versions have hashes of samples of the files only; the others have them as well, as
    `weight_sample`.
    """
    whole = [str(one.get("weight_hash") or "") for one in provenances]
    if not any(one.startswith(SAMPLED) for one in whole):
        return whole
    return [
        one if one.startswith(SAMPLED) else str(provenance.get("weight_sample") or one)
        for one, provenance in zip(whole, provenances, strict=True)
    ]
