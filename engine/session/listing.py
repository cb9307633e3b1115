"""Which sessions there are.

- `list_sessions`     every session in a folder, newest first
- `describe_session`  one of them
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from engine.messages import Code, message
from engine.session.library import SUFFIX, sessions_folder, size_of
from engine.session.patience import Patience
from engine.session.reader import SessionReader
from engine.session.records import BROKEN_OFF, SessionInfo, Status
from engine.session.schema import DamagedError, SessionError
from engine.sites.site import headline_sites


def list_sessions(folder: Path | None = None, patience: Patience | None = None) -> list[SessionInfo]:
    """Every session of a folder, newest first, also damaged ones; files that are not sessions are left out.

    Args:
        folder: None for the usual one.
        patience: with another process that writes into one of them.
    """
    found, patience = [], patience or Patience()
    for path in (folder or sessions_folder()).glob(f"*{SUFFIX}"):
        with suppress(SessionError, FileNotFoundError):  # not a session, or removed just now
            found.append(patience.wait_for(partial(_describe, path)))
    return sorted(found, key=lambda info: info.created, reverse=True)


def describe_session(reader: SessionReader) -> SessionInfo:
    """One session in a line.

    A run that broke off had often got further than its last checkpoint; what is lost is not counted, so that the
    list, the summary and the exports name the same M.
    """
    with reader.snapshot():
        meta, status, live = reader.meta(), reader.status(), reader.live()
        saved = reader.checkpoint_status() if status.phase in BROKEN_OFF else None
        magnitude = live.magnitude if live is not None else np.zeros(0)
        bad = int((live.column("nonfinite") > 0).sum()) if live is not None else 0
        if saved is not None:
            magnitude, bad = reader.saved_magnitude(), reader.saved_nonfinite_sites()
            status = status.changed(samples_done=saved.samples_done, tokens_done=saved.tokens_done)
    sites = headline_sites(meta.plan) if meta.plan is not None else ()
    values = magnitude[[site for site in sites if site < len(magnitude)]]
    largest = float(np.nanmax(values)) if np.isfinite(values).any() else float("nan")
    is_m = meta.plan is None or not sites or meta.plan.sites[sites[0]].counts_for_m
    return SessionInfo(reader.path, meta.job.model, status, largest, meta.created, size_of(reader.path), bad, is_m)


def _describe(path: Path, wait_seconds: float) -> SessionInfo:
    try:
        with SessionReader(path, wait_seconds, is_glance=True) as reader:
            return describe_session(reader)
    except DamagedError as error:
        status = Status(phase="damaged", message=message(Code.FILE_DAMAGED, what=error.what))
        return SessionInfo(path, "", status, float("nan"), path.stat().st_mtime, size_of(path))
