"""Which works there are, by the name of the command that asks for them.

- `WORKS`
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from engine.effect.work import effect
from engine.work.probe import probe
from engine.work.work import Work

WORKS: Mapping[str, Work] = MappingProxyType({"probe": probe, "effect": effect})
