"""What the engine and a session tell people: a code and data in the file, a sentence only where it is shown.

- `Code`      names what can be said
- `Message`   a code with its data; what is stored, compared and decided by
- `message`   makes one
- `words`     its sentence; nobody decides anything by it
- `key_of`    tells one from another
- `as_written` a text of a session of before there were codes

The sentences are functions in `events`, `warnings_`, `endings`, `steps` and `answers`, one for each code.
docs/messages.md lists them all.
"""

from __future__ import annotations

from engine.messages import answers, endings, events, steps, warnings_  # noqa: F401  # their sentences are registered
from engine.messages.codes import Code
from engine.messages.message import Message, as_written, key_of, message, read_message, words

__all__ = ["Code", "Message", "as_written", "key_of", "message", "read_message", "words"]
