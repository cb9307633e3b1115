"""`python -P -m engine.loading.tokens MODEL CORPUS POLICY MAX_LENGTH`: a corpus counted in a model's tokens, as JSON.

The command line calls it, so that its own process stays without transformers.

- `load_tokenizer`  a model's tokenizer, without its weights where they need not be read
- `main`            print the summary
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from corpus.cache import tokenize_cached
from corpus.reading import load_corpus
from corpus.samples import CorpusError, PolicyError
from corpus.summary import summarise
from engine.base.job import Job
from engine.loading.environment import prepare_environment
from engine.loading.errors import LoadError, classify


def load_tokenizer(model: str) -> Any:
    """The tokenizer of a hub id, a folder or a GGUF file.

    Raises:
        LoadError: it cannot be had.
    """
    prepare_environment()
    from engine.loading.architecture import read_tokenizer
    from engine.loading.gguf import convert_gguf
    from engine.loading.gguf_header import gguf_identity, inspect_gguf
    from engine.loading.progress import Reporter

    path, silent = Path(model).expanduser(), Reporter(lambda progress: None)
    if path.is_dir():
        return read_tokenizer(path, Job(model=model))
    if path.is_file():
        facts = inspect_gguf(path)
        conversion = convert_gguf(path, facts.dtype, facts, gguf_identity(path, silent), silent)
        return read_tokenizer(conversion.folder, Job(model=model))
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except Exception as error:
        raise classify(error, model) from error


def main(arguments: list[str]) -> int:
    """Print the corpus summary as one JSON object; errors are one line on stderr and exit code 1."""
    model, source, policy, max_length = arguments
    try:
        corpus = load_corpus(source)
        tokenized = tokenize_cached(
            corpus,
            load_tokenizer(model),
            policy=policy,  # type: ignore[arg-type]  # the command line has checked it
            max_length=int(max_length),
        )
    except PolicyError as error:
        print(f"maxact-tui: {error.cause}; take --policy {' or '.join(error.others)}", file=sys.stderr)
        return 1
    except (CorpusError, LoadError) as error:
        print(f"maxact-tui: {error}", file=sys.stderr)
        return 1
    summary = asdict(summarise(corpus, tokenized))
    arrays = ("lengths", "histogram_edges", "histogram_counts")
    print(json.dumps({**summary, **{name: summary[name].tolist() for name in arrays}}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
