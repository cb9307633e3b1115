"""The plan command: where a model would be hooked. Runs in its own process, because it needs torch.

- `plan`  print the hook plan of a model from its config alone
"""

from __future__ import annotations

import subprocess
import sys

from maxact_tui.cli.arguments import check_model
from maxact_tui.cli.output import last_words
from maxact_tui.errors import UserError
from maxact_tui.terminal.printing import note, say_document


def plan(model: str, *, sites: str, vision: bool, trust_remote_code: bool) -> int:
    """Print the hook plan; the engine's package does it, so that this process stays without torch.

    Raises:
        UserError: a path where there is no model, or one whose reading ended without a word.
    """
    check_model(model)
    flags = ["--sites", sites, *(["--vision"] if vision else [])]
    flags += ["--trust-remote-code"] if trust_remote_code else []
    command = [sys.executable, "-P", "-m", "engine.sites", model, *flags]
    found = subprocess.run(command, capture_output=True, check=False)
    said = found.stderr.splitlines()
    if found.returncode and not any(line.startswith((b"maxact-tui", b"usage")) for line in said):
        raise UserError(f"the plan could not be made: {last_words(found.returncode, said)}")
    note(*said)
    say_document(found.stdout)  # here, where a reader that has gone is no failure
    return found.returncode
