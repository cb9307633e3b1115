"""The terminal app and the command line: shows sessions. Never imports torch or transformers."""
