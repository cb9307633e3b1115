"""`effect`: what quantising or ablating activations does to the model's predictions.

- `effect`        measure and print
- `list_effects`  print what was measured before
- `make_request`  what is to be measured, from the options
- `print_effects` as tables
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from engine.analysis.nonfinite import session_alarm
from engine.effect.errors import EffectError
from engine.effect.interventions import Scope, parse_layers
from engine.effect.known import check_finite, check_request
from engine.effect.recipe import Recipe, read_recipe
from engine.effect.request import Request, read_request
from engine.effect.results import Effect, read_effects
from engine.process import IDLE_SECONDS
from engine.report.alarm import alarm_event
from engine.report.effects import effect_dict, effect_notes, effect_table
from engine.session.library import log_path
from engine.session.patience import Patience
from engine.session.reader import SessionReader
from engine.session.records import ENDED
from engine.session.requests import send_command
from maxact_tui.cli.awaiting import await_answer, await_end, opened, patience_of
from maxact_tui.errors import UserError
from maxact_tui.terminal.printing import console, note, say
from maxact_tui.texts.visible import visible
from maxact_tui.watching.asking import ask, is_alive
from maxact_tui.watching.finding import find_session, short_name

GOODBYE_SECONDS = 15.0


def effect(session: Path, request: Request, *, as_json: bool) -> int:
    """Measure a request on the session's model, keep the result in the session, print it.

    What the session's hook plan rules out is refused before an engine is started. An engine that was started only for
    this is ended afterwards; stderr says what goes on.

    Raises:
        UserError: it cannot be measured; one line.
        SessionError: the session cannot be written.
    """
    path = find_session(session)
    patience = patience_of(path)
    with opened(path, patience) as reader:
        patience.wait_for(lambda _: _refuse_unknown(request, reader))
        was_alive = patience.wait_for(lambda _: is_alive(reader))
        number = ask(path, "effect", request.to_json(), patience)
        try:
            result = _await_result(reader, number, patience)
        finally:
            note(_leave(reader, number, patience, was_alive=was_alive))
        effects = patience.wait_for(lambda _: read_effects(reader))
    found = next(one for one in effects if one.number == result)
    if as_json:
        say(json.dumps(effect_dict(found), allow_nan=False))
    else:
        print_effects([found])
    return 0


def _await_result(reader: SessionReader, number: int, patience: Patience) -> int:
    """The number of the result; ctrl+c gives the request up.

    Raises:
        UserError: it was refused, or nobody is there any more who could answer; one line.
    """
    try:
        standing = await_answer(reader, number)
    except KeyboardInterrupt:
        send_command(reader.path, "cancel", {"command": number}, patience)
        raise
    if standing.stage == "ended":
        log = visible(str(log_path(reader.path)), space=" ")
        raise UserError(f"no answer: {standing.text} (log: {log}; dmesg may tell)")
    if standing.has_failed:
        raise UserError(standing.text)
    return standing.result


def _refuse_unknown(request: Request, reader: SessionReader) -> None:
    """Refuse what the model cannot have or give, as far as the session knows it; say what NaN will leave out.

    Raises:
        UserError: a site, component or layer that is not there, with the nearest name or the range; or a model that
            predicts nothing finite.
    """
    plan = reader.meta().plan
    if plan is None:
        return
    try:
        check_request(request, plan)
    except EffectError as error:
        raise UserError(str(error), code=2) from None
    try:
        check_finite(reader)
    except EffectError as error:
        raise UserError(str(error)) from None
    if alarm := session_alarm(reader):
        note(f"{alarm_event(alarm, plan)}: predictions that it reaches are left out")


def make_request(
    *,
    schemes: list[str],
    site: str | None,
    component: str | None,
    layers: str | None,
    gemm: bool,
    amounts: dict[str, int | None],
    exclude: Sequence[str] = (),
    recipes: Sequence[Path] = (),
) -> Request:
    """The request of the command line's options.

    Raises:
        UserError: an unknown scheme, options that exclude each other, or a recipe that cannot be read.
    """
    if recipes and not schemes and (site or component or layers or gemm):
        raise UserError("a recipe says itself what it quantises; leave out modules with --exclude", code=2)
    if gemm and (site or component):
        raise UserError("--gemm means all GEMM inputs; leave --site and --component away", code=2)
    names = [name.strip() for text in schemes for name in text.split(",") if name.strip()]
    try:
        scope = Scope(site, component, None if layers is None else parse_layers(layers), tuple(exclude))
        found = [_read_recipe(path).to_json() for path in recipes]
        return read_request({"schemes": names, "recipes": found, "scope": scope.to_json(), **amounts})
    except EffectError as error:
        raise UserError(str(error), code=2) from None


def _read_recipe(path: Path) -> Recipe:
    """The recipe in a file.

    Raises:
        UserError: it cannot be read.
        EffectError: it holds no recipe that can be tested.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"cannot read the recipe {path}: {reason}", code=2) from None
    return read_recipe(text, path.name)


def list_effects(session: Path, *, as_json: bool) -> int:
    """Print every effect that was measured on a session.

    Raises:
        UserError: none was.
    """
    path = find_session(session)
    with SessionReader(path) as reader:
        found = read_effects(reader)
    if not found and not as_json:
        raise UserError(f"no effect was measured yet; measure one with: maxact-tui effect {path.stem}")
    if as_json:
        say(json.dumps([effect_dict(one) for one in found], allow_nan=False))
    else:
        print_effects(found)
    return 0


def _leave(reader: SessionReader, number: int, patience: Patience, *, was_alive: bool) -> str:
    """End the engine if it was started for request `number` only and nobody else asks it; says what goes on."""
    name = short_name(reader.path)
    status, commands = patience.wait_for(lambda _: (reader.status(), reader.commands()))
    is_asked = any(one.number != number for one in commands if one.state in ("new", "working") and one.name != "cancel")
    if status.phase not in ENDED:
        return f"the run of {name} is {status.phase}, as before"
    if not was_alive and not is_asked:
        send_command(reader.path, "stop", patience=patience)
        if await_end(reader, GOODBYE_SECONDS):
            return "the engine started for this has ended; nothing is left running"
        return "the engine started for this is still ending"
    if not patience.wait_for(lambda _: is_alive(reader)):
        return "the engine that answered has ended; nothing is left running"
    return (
        f"the engine, which others use, too, stays until nobody has asked for {IDLE_SECONDS / 60:.0f} minutes; "
        f"end it now with: maxact-tui stop {name}"
    )


def print_effects(found: Sequence[Effect]) -> None:
    """Print one table for each job, with its notes."""
    out = console()
    for place, one in enumerate(found):
        if place:
            out.print()
        shown = effect_table(one)
        table = Table(title=shown.title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column, heading in enumerate(shown.headings):
            table.add_column(heading, justify="right" if column else "left", no_wrap=True)
        for row in shown.rows:
            table.add_row(*row)
        out.print(table)
        for line in effect_notes(one):
            out.print(line)
