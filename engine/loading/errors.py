"""What can go wrong while a model is loaded, as one line with the user's next step.

transformers hides the real cause of a failed load: a network error, a gated repository and a missing file all arrive as
a bare OSError whose `__cause__` says which. So every exception of the chain is compared with the rules, in their order.

- `LoadError`  the only exception of this room
- `ErrorKind`  the kinds it distinguishes
- `classify`   the `LoadError` of any exception
- `is_panic`   whether an exception is a panic of a Rust library
- `first_line` what an exception says, in one line
- `RULES`      what is known about, first match first
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_LONGEST_QUOTE = 200

ErrorKind = Literal[
    "missing",  # the model, file or revision does not exist
    "access",  # gated, private, bad token, not readable
    "network",  # the hub could not be reached, or answered with an error of its own
    "format",  # the files are there but broken or incomplete
    "unsupported",  # an architecture or quantisation this version cannot run
    "policy",  # needs a permission the user has not given: remote code, pickle
    "device",  # the device is not there
    "memory",  # not enough of it
    "storage",  # no space, or no right to write
    "dependency",  # a Python package is missing
    "internal",  # none of the above
]


class LoadError(Exception):
    """A model that could not be loaded; `str()` is one line: what happened, then what to do.

    The original exception, with its traceback, is kept in `__cause__`.

    Attributes:
        message: what happened.
        hint: the user's next step.
        kind: the class of the error, for exit codes and tests.
    """

    def __init__(self, message: str, *, hint: str, kind: ErrorKind) -> None:
        self.message = " ".join(message.split())
        self.hint = " ".join(hint.split())
        self.kind: ErrorKind = kind
        super().__init__(f"{self.message}: {self.hint}" if self.hint else self.message)


@dataclass(frozen=True, slots=True)
class Rule:
    """One known failure.

    Attributes:
        kind: the kind of the resulting error.
        classes: names of exception classes, any of which (or of whose subclasses) matches; compared by name, so that no
            library has to be imported to recognise its errors.
        pattern: a regular expression searched in the message; its groups are available to the templates as {0}, {1}.
        message: template; besides the groups it knows {model}, {revision}, {device} and {text}, the matched exception's
            first line.
        hint: template of the next step.
    """

    kind: ErrorKind
    classes: tuple[str, ...]
    pattern: str
    message: str
    hint: str


_NETWORK_HINT = "check the network (and HTTPS_PROXY, HF_ENDPOINT), or give a local folder or GGUF file"

RULES: tuple[Rule, ...] = (
    # The hub, most specific first: the later classes also occur in the chains of the earlier ones.
    Rule("access", ("GatedRepoError",), "", "{model} is gated",
         "accept its terms on its hub page, then `hf auth login` with a token of that account"),
    Rule("access", ("DisabledRepoError",), "", "{model} has been disabled by the hub", "choose another model"),
    Rule("missing", ("RevisionNotFoundError",), "", "{model} has no revision '{revision}'",
         "give a branch, tag or full commit hash of that repository"),
    Rule("missing", ("RepositoryNotFoundError",), "", "{model} does not exist on the hub, or is private",
         "check the spelling; for a private model, `hf auth login` first"),
    Rule("missing", ("RemoteEntryNotFoundError",), "", "a file of {model} is missing on the hub: {text}",
         "try another revision, or report it to the model's authors"),
    Rule("access", ("HfHubHTTPError",), r"\b401\b", "the hub rejected the access token",
         "renew it with `hf auth login`, or unset HF_TOKEN"),
    Rule("access", ("HfHubHTTPError",), r"\b403\b", "the hub refuses access to {model}",
         "use a token that may read it: `hf auth login`"),
    Rule("network", ("HfHubHTTPError",), r"\b429\b", "the hub refuses further requests for now (429)",
         "wait a few minutes, or `hf auth login` for a higher limit"),
    Rule("network", ("HfHubHTTPError",), r"\b(\d\d\d)\b", "the hub answered with error {0}", "try again later"),
    Rule("network", ("OfflineModeIsEnabled",), "",
         "{model} is not in the local cache, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids asking the hub",
         "unset it, or give a local folder or GGUF file"),
    Rule("network", ("ProxyError",), "", "the proxy to the hub does not answer", _NETWORK_HINT),
    Rule("network", ("TimeoutException",), "", "the hub did not answer in time", _NETWORK_HINT),
    Rule("network", ("TransportError",), "", "the hub cannot be reached", _NETWORK_HINT),
    Rule("network", ("LocalEntryNotFoundError",), "", "{model} is not in the local cache and the hub cannot be reached",
         _NETWORK_HINT),
    Rule("missing", ("HFValidationError",), "", "'{model}' is neither a path that exists nor a hub id",
         "check the path"),
    # Devices and memory.
    Rule("memory", ("OutOfMemoryError",), r"Tried to allocate ([\d.]+ \w+)", "out of GPU memory (no room for {0} more)",
         "free the GPU, use --dtype bfloat16, a smaller model, or --device auto to spread it over all devices"),
    Rule("memory", ("OutOfMemoryError",), "", "out of GPU memory",
         "free the GPU, use --dtype bfloat16, a smaller model, or --device auto to spread it over all devices"),
    Rule("memory", ("RuntimeError",), r"can't allocate memory: you tried to allocate (\d+) bytes",
         "out of memory (no room for {0} bytes more)", "close other programs, use --dtype bfloat16 or a smaller model"),
    Rule("memory", ("MemoryError",), "", "out of memory", "close other programs, or use a smaller model"),
    Rule("memory", ("ValueError",), "offload_folder|offloaded to the disk", "{model} does not fit into memory",
         "use a smaller model, --dtype bfloat16, or more memory; running from the disk is not supported"),
    Rule("device", ("AssertionError",), "not compiled with CUDA", "this PyTorch is built without CUDA",
         "install a CUDA build of torch, or use --device cpu"),
    Rule("device", ("RuntimeError",), "none is available|No CUDA GPUs are available|NVIDIA driver",
         "{device} is not available: {text}", "check the driver and CUDA_VISIBLE_DEVICES, or use --device cpu"),
    Rule("device", ("RuntimeError",), "invalid device ordinal", "{device} is not there",
         "list the devices with `maxact-tui doctor`, or use --device cpu"),
    # The configuration.
    Rule("format", ("JSONDecodeError", "UnicodeDecodeError"), "", "a JSON file of {model} is not valid: {text}",
         "fetch the model again"),
    Rule("format", ("OSError",), "config file at '(.*)' is not a valid JSON file", "{0} is not valid JSON",
         "fetch the model again"),
    Rule("format", ("StrictDataclassError",), "", "config.json of {model} has an impossible value: {text}",
         "correct it, or fetch the model again"),
    Rule("unsupported", ("ValueError",), "model type `?([^`\\s]+)`? but Transformers does not recognize",
         "{model} is a '{0}', which this transformers does not know",
         "update transformers, or add --trust-remote-code if the repository brings its own code and you trust it"),
    Rule("format", ("ValueError",), "Should have a `?model_type`? key", "config.json of {model} names no model_type",
         "give a transformers model folder, or fetch the model again"),
    Rule("policy", ("ValueError",), "contains custom code which must be executed|trust_remote_code",
         "{model} brings its own model code",
         "add --trust-remote-code if you trust its authors: the code will run here"),
    Rule("unsupported", ("ValueError",), r"Unrecognized configuration class <class '[\w.]*?(\w+)'",
         "{model} is not a causal language model ({0})", "choose a text-generating decoder model"),
    # The weights.
    Rule("format", ("SafetensorError",), "(?i)no space left", "no space left while writing the converted model",
         "make room, or point MAXACT_CACHE to a larger disk"),
    Rule("format", ("SafetensorError",), "No such file or directory: (.*)", "a weight file of {model} is missing: {0}",
         "fetch the model again"),
    Rule("format", ("SafetensorError",), "",
         "a safetensors file of {model} is broken or cut off (or a Git LFS pointer): {text}", "fetch the model again"),
    Rule("format", ("OSError",), "no file named|does not appear to have a file named",
         "{model} has no weights: neither model.safetensors nor an index of shards", "fetch the model again"),
    Rule("format", ("RuntimeError",), "ignore_mismatched_sizes",
         "weights of {model} have other shapes than its config.json says", "fetch config and weights of one revision"),
    Rule("policy", ("UnpicklingError",), "", "the pickle of {model} is broken or wants to run code; nothing was run",
         "look for a safetensors version"),
    Rule("format", ("RuntimeError",), "PytorchStreamReader|failed finding central directory",
         "a .bin file of {model} is broken or cut off", "fetch the model again"),
    Rule("format", ("ValueError",), "instantiate the backend tokenizer", "{model} has no usable tokenizer",
         "put tokenizer.json and tokenizer_config.json into its folder"),
    Rule("unsupported", ("ValueError",), r"GGUF (?:model with )?architecture '?([\w-]+)'? is not supported",
         "GGUF files of architecture '{0}' cannot be loaded by transformers", "use the model's safetensors version"),
    # The machine.
    Rule("unsupported", ("NotImplementedError",), "", "{model} cannot be run here: {text}",
         "use an unquantised version of the model"),
    Rule("dependency", ("ImportError",), "",
         "loading {model} needs a Python package that is missing or too old: {text}",
         "install it into this environment"),
    Rule("storage", ("OSError",), "No space left on device", "no space left on the disk",
         "make room, or point HF_HOME and MAXACT_CACHE to a larger disk"),
    Rule("access", ("PermissionError",), r"'(.+)'", "{0} cannot be opened", "check its permissions"),
    Rule("format", ("FileNotFoundError",), r"(?:directory: )?'?([^':]+)'?$", "a file of {model} is missing: {0}",
         "fetch the model again"),
)  # fmt: skip


def classify(error: BaseException, model: str, *, revision: str | None = None, device: str = "the device") -> LoadError:
    """The `LoadError` of an exception raised while `model` was loaded; a `LoadError` in its chain is returned as is.

    Args:
        error: the exception; its `__cause__` and `__context__` are looked through.
        model: what the user asked for, for the message.
        revision: the hub revision asked for.
        device: the device asked for.
    """
    fields = {"model": model, "revision": revision or "main", "device": device}
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, LoadError):
            return link
    for rule in RULES:
        for link in chain:
            found = _match(rule, link)
            if found is not None:
                return _fill(rule, link, found, fields)
    return LoadError(
        f"{model} could not be loaded: {type(error).__name__}: {first_line(error)}",
        hint="the log has the whole traceback; please report it if the model should work",
        kind="internal",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _match(rule: Rule, error: BaseException) -> re.Match[str] | None:
    names = {cls.__name__ for cls in type(error).__mro__}
    return re.search(rule.pattern, str(error)) if names.intersection(rule.classes) else None


def _fill(rule: Rule, error: BaseException, found: re.Match[str], fields: dict[str, str]) -> LoadError:
    known = {**fields, "text": first_line(error)}
    return LoadError(
        rule.message.format(*found.groups(), **known), hint=rule.hint.format(*found.groups(), **known), kind=rule.kind
    )


def is_panic(error: BaseException) -> bool:
    """Whether a Rust library (tokenizers, safetensors) panicked: pyo3 raises that as a `BaseException`."""
    return type(error).__name__ == "PanicException"


def first_line(error: BaseException) -> str:
    """What an exception says, in one line of at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # A line that ends in a colon announces what is wrong on the next one.
    text = " ".join(lines[:2]) if lines and lines[0].endswith(":") else (lines or [type(error).__name__])[0]
    return text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…"
