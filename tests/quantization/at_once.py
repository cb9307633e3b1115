"""The populations of all sites held together, as no program should: what streamed boards are compared with."""

from __future__ import annotations

from engine.quantization.distribution import Distribution
from engine.quantization.populations import Populations, SiteReader
from engine.session.reader import SessionReader
from engine.statistics.local_errors import LocalErrors
from engine.statistics.pass_sums import PassSums


def read_populations(reader: SessionReader) -> Populations:
    """The populations of every site of a session, as of its last checkpoint."""
    wholes: list[Distribution | None] = []
    parts: list[tuple[Distribution | None, Distribution | None]] = []
    in_pass: list[PassSums | None] = []
    local: list[LocalErrors | None] = []
    with reader.snapshot():
        sites = SiteReader(reader)
        for number, totals in enumerate(reader.iter_totals()):
            part = (None, None) if totals is None else sites.site(number, totals)
            parts.append(part)
            wholes.append(None if totals is None else part[0] if not sites.closed else Distribution.of(totals))
            in_pass.append(sites.sums(number))
            local.append(sites.local(number))
    return sites.collect(wholes, parts, in_pass, local)
