"""What is said of a model or a corpus where people publish it: its name, never a folder of the machine it lay on.

- `model_name`       a hub id whole; of a local path the last part
- `corpus_name`      `starter`, or the file's name
- `distinct_names`   names of several models, as long as it takes to tell them apart
- `without_folders`  a record of plain values in which every path has lost its folders

The session file keeps the paths: a resumed run needs them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

# An absolute path of at least one folder, not the middle of an address or a hub id; known paths are found with blanks.
_FOLDERS = re.compile(r"(?<![\w.:/~-])~?/(?:[^\s/:;,'\"<>|]+/)+")


def model_name(model: str) -> str:
    """A hub id as it is; of an absolute path its last part, without `.gguf`."""
    return PurePath(model).name.removesuffix(".gguf") if PurePath(model).is_absolute() else model


def corpus_name(corpus: str) -> str:
    """`starter`, or the name of the file."""
    return PurePath(corpus).name


def distinct_names(models: Sequence[str]) -> list[str]:
    """`model_name` of each; where two paths end alike, with as many of their last folders as tell them apart.

    Of those folders the middle ones are left out where the first alone tells.
    """
    names = [model_name(model) for model in models]
    longest = max((len(PurePath(model).parts) for model in models), default=0)
    for parts in range(2, longest + 1):
        if len(set(names)) == len(set(models)):
            break
        ends = [PurePath(model).parts[-parts:] if PurePath(model).is_absolute() else (model,) for model in models]
        brief = [str(PurePath(*(end if len(end) < 3 else (end[0], "…", end[-1])))) for end in ends]
        names = brief if len(set(brief)) == len(set(models)) else [str(PurePath(*end)) for end in ends]
    return names


def without_folders(record: Any, *known: str) -> Any:
    """The same plain values (dicts, lists, texts, numbers) without the folders of this machine.

    Args:
        record: what will be published.
        known: paths that occur in it; their folders are found even where they hold blanks.
    """
    if isinstance(record, str):
        return _without_folders(record, known)
    if isinstance(record, Mapping):
        return {name: without_folders(value, *known) for name, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [without_folders(value, *known) for value in record]
    return record


def _without_folders(text: str, known: Sequence[str]) -> str:
    folders = {str(Path(path).parent) for path in known if PurePath(path).is_absolute()} | {str(Path.home())}
    for folder in sorted(folders - {"/"}, key=len, reverse=True):
        text = text.replace(f"{folder}/", "")
    return _FOLDERS.sub("", text)
