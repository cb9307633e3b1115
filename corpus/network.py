"""The errors of the HTTP library under huggingface_hub, whichever it is: httpx for its 1.x, httpx2 since 2.0.

- `http_error`       everything that library raises
- `transport_error`  no connection, or one that broke off
"""

from __future__ import annotations

from importlib import import_module


def http_error() -> type[Exception]:
    """The base of all its errors, which is a base of the hub's own `HfHubHTTPError`, too."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")


def transport_error() -> type[Exception]:
    """The base of its errors without an answer."""
    library = http_error().__module__.partition(".")[0]
    error: type[Exception] = import_module(library).TransportError
    return error
