"""A model over some texts, in this process.

- `measure`  a model (or its name) and texts -> a session
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from engine.api.bar import shown_progress
from engine.api.errors import MaxactError
from engine.api.looking import provenance_of, untouched
from engine.api.opened import Session
from engine.base.job import Job
from engine.loading.load import LoadedModel
from engine.run.runner import run
from engine.session.library import SUFFIX, new_path
from engine.session.reader import SessionReader
from engine.session.schema import SessionError
from engine.session.writer import SessionWriter

if TYPE_CHECKING:
    from engine.base.job import SiteChoice

_OPTIONS = frozenset(one.name for one in fields(Job)) - {"model", "corpus", "sites"}


def measure(
    model: str | Path | nn.Module,
    texts: Iterable[str | Mapping[str, str]],
    *,
    tokenizer: Any = None,
    sites: SiteChoice = "auto",
    session: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> Session:
    """Measure a model over texts, as `maxact-tui MODEL --corpus FILE` does, and open the session.

    An interrupt (ctrl-c, or a notebook's stop button) ends it after the batch in hand; what was measured is returned.

    Args:
        model: a hub id, a folder, a GGUF file, or a model of transformers that is loaded already.
        texts: each a text, or a mapping with `text` and `category`.
        tokenizer: needed with a model that is loaded already.
        sites: which sites, as for `maxact-tui --sites`.
        session: the session file to write; None for a new one in the sessions folder.
        progress: show a progress bar.
        options: of `engine.base.job.Job`: `dtype`, `device`, `policy`, `quant`, `batch_tokens`, `detail`, ...

    Raises:
        MaxactError: the run failed; the message says why.
        TypeError: an unknown option, or a loaded model without its tokenizer.
    """
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise TypeError(f"measure has no option {unknown[0]!r}; there are: {', '.join(sorted(_OPTIONS))}")
    is_loaded = isinstance(model, nn.Module)
    if is_loaded and tokenizer is None:
        raise TypeError(
            "a model that is loaded already needs its tokenizer: measure(model, texts, tokenizer=tokenizer)"
        )
    name = _name_of(model)
    path = Path(session).expanduser().absolute() if session is not None else new_path(name)
    path = path if path.name.endswith(SUFFIX) else path.with_name(path.name + SUFFIX)
    with tempfile.TemporaryDirectory(prefix="maxact-") as folder:
        corpus = _written(texts, Path(folder) / "texts.jsonl")
        job = replace(Job(name, corpus=str(corpus), sites=sites), **options)
        try:
            SessionWriter.create(path, job).close()
        except SessionError as error:
            raise MaxactError(str(error)) from error
        loaded = LoadedModel(model, tokenizer, provenance_of(model, tokenizer, name)) if is_loaded else None
        with shown_progress(path, wanted=progress), untouched(model) if is_loaded else nullcontext():
            code = run(path, loaded=loaded)
    if code:
        with SessionReader(path) as reader:
            raise MaxactError(reader.status().detail)
    return Session(path)


def _name_of(model: str | Path | nn.Module) -> str:
    if isinstance(model, nn.Module):
        return str(getattr(getattr(model, "config", None), "name_or_path", "") or type(model).__name__)
    path = Path(model).expanduser()
    return str(path.absolute()) if path.exists() else str(model)


def _written(texts: Iterable[str | Mapping[str, str]], path: Path) -> Path:
    """The texts as a corpus file."""
    if isinstance(texts, str):
        raise TypeError("texts is one text; give a list of texts")
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for text in texts:
            entry = {"text": text} if isinstance(text, str) else {str(key): str(value) for key, value in text.items()}
            file.write(json.dumps(entry, ensure_ascii=True) + "\n")
            count += 1
    if not count:
        raise MaxactError("there are no texts to measure")
    return path
