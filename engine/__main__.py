"""`python -P -m engine [--serve] SESSION`: run the job of a session file, headless. Started by the command line.

With `--serve` the run is over, and the engine answers requests about its model.
"""

from __future__ import annotations

import faulthandler
import logging
import sys
from pathlib import Path


def main() -> int:
    """Run the engine; returns the exit code: 0 done or stopped, 1 failed, 2 called wrongly."""
    serves, paths = "--serve" in sys.argv[1:], [word for word in sys.argv[1:] if word != "--serve"]
    if len(paths) != 1:
        print("usage: python -m engine [--serve] SESSION  (maxact-tui does this for you)", file=sys.stderr)
        return 2
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if serves:
        from engine.serving import serve

        return serve(Path(paths[0]))
    from engine.runner import run

    return run(Path(paths[0]))


if __name__ == "__main__":
    sys.exit(main())
