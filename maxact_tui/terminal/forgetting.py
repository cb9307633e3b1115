"""What Textual keeps of screens that are gone.

- `forget_drawn`  let go of the lines they drew
"""

from __future__ import annotations

from textual._styles_cache import StylesCache


def forget_drawn() -> None:
    """Let go of the lines of widgets that are gone.

    Textual remembers the last 1,024 calls of a method of its cache of drawn lines, and with each call the cache: at
    200x60 that is up to 10 MB for every screen that was ever opened.
    """
    StylesCache.get_inner_outer.cache_clear()
