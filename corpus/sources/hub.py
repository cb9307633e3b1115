"""Hugging Face datasets, in streaming: nothing is stored, rows arrive one by one.

- `hub_samples`  the samples of a dataset's first rows
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corpus.network import http_error, transport_error
from corpus.reading import RowError
from corpus.recipe import SourceSpec
from corpus.samples import CorpusError, Sample
from corpus.sources.reading import SourceReading
from corpus.sources.rows import RowReader

_LOOKUP_SECONDS = 6.0
_REPORT_ROWS = 200


def hub_samples(spec: SourceSpec, reading: SourceReading) -> Iterator[Sample]:
    """The samples of at most `spec.rows` rows from a dataset's start; the caller may stop earlier.

    The hub is asked once, with a short timeout, so that a machine without network hears of it at once.

    Raises:
        CorpusError: unknown or gated dataset, unknown configuration or split, no network, or a broken stream.
    """
    try:
        import datasets
    except ImportError as error:
        raise CorpusError("hub datasets need another package; run: pip install 'maxact-tui[corpus]'") from error
    failures = (OSError, ValueError, http_error(), datasets.exceptions.DatasetsError)
    revision = None if Path(spec.location).is_dir() else _revision(spec)
    reader = RowReader(spec, reading)
    label = f"reading {spec.title}"
    reading.start(spec.rows)
    datasets.disable_progress_bars()
    try:
        stream: Any = datasets.load_dataset(
            spec.location, spec.config or None, split=spec.split, streaming=True, revision=revision
        )
    except failures as error:
        raise CorpusError(f"{spec.title} cannot be opened: {_first_line(error)}") from error
    rows = iter(stream)
    for number in range(1, spec.rows + 1):
        try:
            row = next(rows, None)
        except failures as error:
            raise CorpusError(f"{spec.title} broke off at row {number}: {_first_line(error)}; run it again") from error
        if row is None:
            return
        reading.advance(1, label, _REPORT_ROWS)
        try:
            sample = reader.sample(row, f"{spec.title}:{number}")
        except RowError as error:
            reading.problem(f"{spec.title}:{number}", str(error))
        else:
            if sample is not None:
                yield sample


def _revision(spec: SourceSpec) -> str:
    """The dataset's newest commit, and one clear line where it cannot be had."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    api = HfApi()
    try:
        info = api.dataset_info(spec.location, timeout=_LOOKUP_SECONDS)
        if info.gated:
            api.auth_check(spec.location, repo_type="dataset")
    except GatedRepoError as error:
        raise CorpusError(f"{spec.title} is gated; accept its terms on the hub, then run: hf auth login") from error
    except RepositoryNotFoundError as error:
        raise CorpusError(f"the hub has no {spec.title} (or it is private); check its name") from error
    except HFValidationError as error:
        raise CorpusError(f"{spec.location} is no dataset name; it must be owner/name or a folder") from error
    except OfflineModeIsEnabled as error:
        raise CorpusError(f"{spec.title} needs the network, but HF_HUB_OFFLINE is set; unset it") from error
    except HfHubHTTPError as error:
        raise CorpusError(f"the hub does not give {spec.title}: {_first_line(error)}") from error
    except (transport_error(), OSError) as error:
        where = " at HF_ENDPOINT" if os.environ.get("HF_ENDPOINT") else ""
        raise CorpusError(
            f"{spec.title} needs the hub{where}, which does not answer; connect, or use --source CATEGORY=GLOB"
        ) from error
    return str(info.sha)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
