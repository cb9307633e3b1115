"""One thing the user can do.

- `Action`
"""

from __future__ import annotations

from dataclasses import dataclass

from maxact_tui.keymap.keys import printed


@dataclass(frozen=True, slots=True)
class Action:
    """One thing the user can do.

    Attributes:
        name: the method `action_NAME` of the screen, or with `app.` of the application, and its arguments.
        keys: Textual key names; the first is the one that is shown.
        label: one or two words for the footer, empty to leave it out there.
        help: one sentence for help and palette.
        shown: how the key is written, where Textual's name is not what is printed on it.
        pair: how the footer writes it together with the keys of its opposite, which has no label.
        id: what the key map calls it, where the bare name is taken by another action of the place.
    """

    name: str
    keys: tuple[str, ...]
    label: str
    help: str
    shown: str = ""
    id: str = ""
    pair: str = ""

    @property
    def key_text(self) -> str:
        """How the first key is written in the help, and in the footer where it has no `pair`."""
        return self.shown or (printed(self.keys[0]) if self.keys else "")

    @property
    def title(self) -> str:
        """What the palette calls it."""
        return self.label or self.key_name.replace("_", " ")

    @property
    def key_name(self) -> str:
        """What the key map calls it within its place."""
        return self.id or self.name.partition("(")[0].removeprefix("app.")
