"""Flags by which a user lets a session's engine run code of its model; the session file alone allows nothing.

- `Trust`  the flags, shared by the commands that load a session's model
- `give`   remember what they allow, for this session on this machine
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a user allows a session that came from elsewhere; remembered once it was given."""

    trust_remote_code: Annotated[
        bool, Parameter(negative=(), help="Let this session run the code that comes with its model.")
    ] = False
    allow_pickle: Annotated[
        bool, Parameter(negative=(), help="Let this session read pickled weights of its model.")
    ] = False


def give(session: Path, trust: Trust) -> None:
    """Remember what the flags allow; without any, nothing is read.

    Raises:
        UserError: there is no such session.
        SessionError: the session cannot be read, or the state folder cannot be written.
    """
    if not (trust.trust_remote_code or trust.allow_pickle):
        return
    from engine.process import allow
    from engine.session.rights import Rights
    from maxact_tui.watching.finding import find_session

    allow(find_session(session), Rights(trust.trust_remote_code, trust.allow_pickle))
