"""Why a model cannot be run: the errors of the rooms whose messages are written for the user.

- `INPUT_ERRORS`  their types
- `why_not`       one of them as an ending
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from corpus.samples import CorpusError
from engine.loading.errors import LoadError
from engine.messages import Code, Message, message
from engine.run.restoring import ResumeError
from engine.session.rights import RightsError
from engine.sites.errors import SiteError
from engine.statistics.backends import BackendError

_KINDS: Final[dict[type[Exception], str]] = {
    SiteError: "sites",
    CorpusError: "corpus",
    BackendError: "backend",
    RightsError: "rights",
}
INPUT_ERRORS: Final[tuple[type[Exception], ...]] = (LoadError, ResumeError, *_KINDS)


def why_not(error: Exception, log: Path | None = None) -> Message:
    """How it ended.

    Args:
        error: one of `INPUT_ERRORS`.
        log: named where nobody knows what was wrong with the model.
    """
    if isinstance(error, ResumeError):
        return error.why
    if isinstance(error, LoadError):
        named = str(log) if log is not None and error.kind == "internal" else None
        return message(Code.FAILED_INPUT, kind=error.kind, reason=str(error), log=named)
    kind = next(name for one, name in _KINDS.items() if isinstance(error, one))
    return message(Code.FAILED_INPUT, kind=kind, reason=str(error), log=None)
