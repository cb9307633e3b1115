"""What arguments name is looked for before an engine is started: what cannot be there is refused at once.

- `check_job`    model, corpus and device of a run
- `check_model`  a model alone
"""

from __future__ import annotations

from corpus.reading import check_source
from engine.job import Job
from engine.loading.errors import LoadError
from maxact_tui.errors import UserError


def check_job(job: Job) -> None:
    """Refuse a run that names no model, no corpus or no device; what only an engine can find out is left to it.

    Raises:
        UserError, CorpusError: with the exit code for a usage error.
    """
    from engine.loading.devicenames import check_device_name

    check_model(job.model)
    check_source(job.corpus)
    try:
        check_device_name(job.device)
    except LoadError as error:
        raise UserError(str(error), code=2) from error


def check_model(model: str) -> None:
    """Refuse a path where there is no model; any other name may be one of the hub.

    Raises:
        UserError: there is nothing, or nothing that can be a model.
    """
    from engine.loading.resolve import find_local

    try:
        find_local(model)
    except LoadError as error:
        raise UserError(str(error), code=2) from error
