"""What a corpus is once it is read: labelled texts, and what was left out on the way.

- `Sample`   one text with its category and origin
- `Corpus`   the samples in file order, a content hash, and the problems met while reading
- `Progress`  how long work reports: (done, total, label)
- `PolicyError`  a tokenizer without what a token policy needs
- `CorpusError`  a corpus that cannot be used at all, with the next step in its message
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int, str], None]


class CorpusError(Exception):
    """The corpus cannot be used; one line that names the user's next step.

    `code` is the exit code: 2 for an argument that cannot be meant.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class PolicyError(CorpusError):
    """A tokenizer cannot follow a token policy; the message is for a run, others name an option of their own.

    Attributes:
        cause: what is missing, without a next step.
        others: the policies that can be taken instead.
    """

    def __init__(self, cause: str, policy: str) -> None:
        super().__init__(f"{cause}; run without --{policy}")
        self.cause = cause
        self.others = tuple(name for name in ("raw", "bos", "chat") if name != policy)


@dataclass(frozen=True, slots=True)
class Sample:
    """One text of the corpus.

    Attributes:
        text: the text as it was read, never empty.
        category: domain label such as `math`, `code` or `minority`.
        origin: where it comes from (`file.jsonl:12`, a dataset row), for the report.
        language: ISO 639 code or script name where known, else empty.
        script: ISO 15924 code of the script most of its letters are in (`Latn`, `Hani`), else empty.
    """

    text: str
    category: str
    origin: str = ""
    language: str = ""
    script: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The samples of one source, in the source's order.

    Attributes:
        name: what the user asked for (`starter`, a path).
        samples: never empty.
        content_hash: sha256 hex digest over the categories and texts in order.
        problems: one line for each thing that was skipped, with its line number.
    """

    name: str
    samples: tuple[Sample, ...]
    content_hash: str
    problems: tuple[str, ...] = ()
