"""Long loops that try to break promises of docs/promises.md, by hand or for hours; each prints its seed."""
