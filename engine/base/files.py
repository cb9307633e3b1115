"""Files that get their name when they are whole.

- `appear`  give a finished file its name, unless that is taken
"""

from __future__ import annotations

import os
from pathlib import Path


def appear(temporary: Path, path: Path) -> None:
    """Give the file its name, unless that name was taken meanwhile.

    Raises:
        FileExistsError: it was.
        OSError: the folder cannot be written.
    """
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(None, "exists", str(path)) from None
        temporary.replace(path)
