"""One module per group of commands; each imports only what it needs."""
