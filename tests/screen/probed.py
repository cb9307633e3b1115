"""A finished session that holds the values of a sample and of two prompts, as the engine would have stored them.

- `probed`  writes one
- `SAMPLE`  the sample whose values it holds
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engine.session.writer import SessionWriter
from tests.screen import sessions
from tests.screen.sessions import SessionScript
from tests.session.stamping import stamped

SAMPLE = 3
CHANNEL = 50
MASSIVE = 23_168.0
FIRST_AT = 1_790_000_000.0
PIECES: dict[int, bytes] = {
    200: b"Summer",
    201: b" is",
    202: b" warm",
    203: b".",
    204: b" \xe7",
    205: b"\xa7\x8b\xe5",
    206: b"\xa4\xa9",
    207: b"\n",
    208: b"\x1b[2J",
    209: b"Winter",
    210: b"\xe4\xb8",
    211: "👍🏽".encode(),
}
PROMPT = (200, 201, 202, 203, 204, 205, 206, 207, 208, 209, 201, 210, 203, 211)


def probed(path: Path, *, hostile: bool = False) -> SessionScript:
    """A finished session with one sample and two prompts looked into."""
    script = sessions.finished(path, hostile=hostile)
    writer = SessionWriter.open(path)
    writer.add_samples((), PIECES)
    _add(script, writer, {"text": None, "policy": "raw", "sample": SAMPLE}, script.samples[SAMPLE].token_ids)
    text = "Summer is warm. 秋天\n\x1b[2JWinter is …. 👍🏽"
    _add(script, writer, {"text": text, "policy": "raw", "sample": None}, np.array(PROMPT, np.int32))
    short = np.array((209, 201, 202, 203), np.int32)
    _add(script, writer, {"text": "Winter is warm.", "policy": "bos", "sample": None}, short, scale=0.25)
    writer.close(final=True)
    with stamped(path, "results") as db:
        db.execute("UPDATE results SET at = ? + 60 * id", (FIRST_AT,))
    return script


def _add(
    script: SessionScript, writer: SessionWriter, settings: dict[str, Any], ids: np.ndarray, scale: float = 1.0
) -> None:
    random = np.random.default_rng(len(ids))
    maxima = np.stack([_row(script, site, len(ids), scale, random) for site in range(len(script.plan.sites))])
    channels = np.where(np.abs(maxima) > 1000, CHANNEL, random.integers(0, script.width, maxima.shape))
    counts = np.array([site.counts_for_m for site in script.plan.sites])
    site, token = np.unravel_index(np.where(counts[:, None], np.abs(maxima), -1).argmax(), maxima.shape)
    place = (int(site), int(token))
    largest = {"value": float(maxima[place]), "site": place[0], "token": place[1], "channel": int(channels[place])}
    data = {
        "tokens": len(ids),
        "policy": settings["policy"],
        "sample": settings["sample"],
        "was_cut": False,
        "maximum": largest,
    }
    arrays = {"token_ids": ids, "maxima": maxima, "channels": channels.astype(np.int32)}
    title = f"sample {settings['sample']}" if settings["text"] is None else str(settings["text"])
    writer.add_result("probe", title, settings, data, arrays)


def _row(script: SessionScript, site: int, tokens: int, scale: float, random: np.random.Generator) -> np.ndarray:
    """One site's values: the first token and one in the middle massive where the model is, the others ordinary."""
    magnitude = script.magnitude(site)
    ordinary = min(magnitude, 60.0) * random.uniform(0.1, 1.0, tokens) * random.choice((-1.0, 1.0), tokens)
    if magnitude > 20_000:
        ordinary[0] = MASSIVE * scale
        ordinary[tokens // 2] = -MASSIVE * scale / 4
    return ordinary.astype(np.float32)
