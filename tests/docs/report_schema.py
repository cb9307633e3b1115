"""The JSON Schema of the documents: `python -m tests.docs.report_schema > engine/report/data/report.schema.json`.

The keys of a site's numbers, what they mean and what they can be come from the registry of site fields.
"""

from __future__ import annotations

import json
import sys

from tests.docs.schema_effect import EFFECT
from tests.docs.schema_quantization import QUANTIZATION
from tests.docs.schema_sites import PARTS, REPORT, SITE
from tests.docs.schema_summary import OPTIONAL, SUMMARY
from tests.docs.schema_words import Node, record


def schema() -> Node:
    """The whole schema."""
    summary = record(SUMMARY, "The summary of a model.", optional=OPTIONAL)
    report = record(SUMMARY | REPORT, "The whole report.", optional=("quantization", "not_measured"))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "maxact-tui report",
        "description": "What maxact-tui measured on a model. `$defs/summary` describes the shorter document of `--json`.",
        "$ref": "#/$defs/report",
        "$defs": {**PARTS, "site": SITE, "summary": summary, "report": report, **EFFECT, **QUANTIZATION},
    }


def page() -> str:
    """The file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
