"""Which sessions there are.

- `list_sessions`  every session in a folder, newest first
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.session.library import SUFFIX, sessions_folder
from engine.session.reader import SessionReader
from engine.session.records import SessionInfo
from engine.session.schema import SessionError


def list_sessions(folder: Path | None = None) -> list[SessionInfo]:
    """Every readable session of a folder, newest first; files that are not sessions are left out."""
    found = []
    for path in (folder or sessions_folder()).glob(f"*{SUFFIX}"):
        try:
            with SessionReader(path) as reader:
                meta, status, live = reader.meta(), reader.status(), reader.live()
        except (SessionError, KeyError, TypeError):
            continue
        magnitude = float("nan")
        if live is not None and meta.plan is not None:
            counted = [i for i, site in enumerate(meta.plan.sites) if site.counts_for_m and i < len(live.data)]
            values = live.magnitude[counted]
            magnitude = float(np.nanmax(values)) if np.isfinite(values).any() else float("nan")
        found.append(SessionInfo(path, meta.job.model, status, magnitude, meta.created, path.stat().st_size))
    return sorted(found, key=lambda info: info.created, reverse=True)
