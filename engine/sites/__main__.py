"""`python -P -m engine.sites MODEL`: print a model's hook plan from its configuration alone."""

from __future__ import annotations

import argparse
import sys
from typing import get_args

from engine.base.job import SiteChoice
from engine.loading.errors import LoadError
from engine.sites.dry import plan_from_config
from engine.sites.errors import SiteError
from engine.sites.printing import format_plan


def main() -> int:
    """Print the plan; returns the exit code: 0 printed, 1 the model cannot be planned, 2 called wrongly."""
    parser = argparse.ArgumentParser(prog="maxact-tui plan")
    parser.add_argument("model", help="hub id, folder or GGUF file")
    parser.add_argument("--sites", choices=get_args(SiteChoice), default="auto")
    parser.add_argument("--vision", action="store_true", help="also the blocks of a vision tower")
    parser.add_argument("--trust-remote-code", action="store_true", help="run model code from the repository")
    wanted = parser.parse_args()
    try:
        plan = plan_from_config(wanted.model, wanted.trust_remote_code, wanted.sites, vision=wanted.vision)
    except (LoadError, SiteError) as error:
        print(f"maxact-tui: {error}", file=sys.stderr)
        return 1
    print(format_plan(plan))
    return 0


if __name__ == "__main__":
    sys.exit(main())
