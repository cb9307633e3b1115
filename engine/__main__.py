"""`python -P -m engine SESSION`: run the job of a session file, headless. Started by the command line."""

from __future__ import annotations

import faulthandler
import logging
import sys
from pathlib import Path


def main() -> int:
    """Run the engine; returns the exit code: 0 done or stopped, 1 failed, 2 called wrongly."""
    if len(sys.argv) != 2:
        print("usage: python -m engine SESSION  (maxact-tui does this for you)", file=sys.stderr)
        return 2
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from engine.runner import run

    return run(Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
