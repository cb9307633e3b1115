"""The promises of docs/promises.md, a module for each."""
