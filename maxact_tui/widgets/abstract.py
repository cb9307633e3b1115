"""Abstract classes among Textual's: what leaves out a method of its base cannot be made.

- `AbstractMeta`  the metaclass of Textual's classes that also refuses unfinished ones
"""

from __future__ import annotations

from abc import ABCMeta

from maxact_tui.terminal.private import MessagePumpMeta


class AbstractMeta(ABCMeta, MessagePumpMeta):
    """Textual's classes have a metaclass of their own, so that `abc.ABC` alone cannot stand beside them."""
