"""What the user has chosen for good: flag > environment > settings file > default.

- `THEMES`         the names of the themes
- `Settings`       theme, ASCII, units, plain, read only, mouse, keys
- `SettingsError`  a settings file that cannot be used, in one line
- `load_settings`  from the file and the environment
- `settings_path`  the file that is read
- `describe`       settings as a file would say them
- `template`       a settings file with every default in it
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from platformdirs import user_config_path

from maxact_tui.errors import UserError
from maxact_tui.keymap.action import Action
from maxact_tui.keymap.actions import TABLES, Keys, Place, actions_of, everywhere, setting
from maxact_tui.keymap.keys import known_key

PATH_VARIABLE = "MAXACT_SETTINGS"
THEMES = ("dark", "light", "ansi")
UNITS = ("binary", "decimal")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class SettingsError(UserError):
    """A settings file, or an environment variable, that says something impossible."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=2)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user has chosen.

    Attributes:
        theme: one of `THEMES`.
        ascii: write ASCII only; None asks the locale.
        units: of memory: `binary` (GiB) or `decimal` (GB).
        plain: append lines instead of drawing a screen.
        read_only: send nothing to engines.
        mouse: take the mouse, which then selects text only with shift held.
        keys: the user's own keys, by the names of `actions.setting`.
    """

    theme: str = THEMES[0]
    ascii: bool | None = None
    units: str = UNITS[0]
    plain: bool = False
    read_only: bool = False
    mouse: bool = False
    keys: Keys = field(default_factory=dict)


_CHOICES = {"theme": THEMES, "units": UNITS}
_SWITCHES = ("ascii", "plain", "read_only", "mouse")
_HELP = {
    "theme": "dark, light (whichever your terminal's background is), or ansi (its own 16 colours)",
    "ascii": "true: write ASCII only; left out: as the locale says",
    "units": "of memory: binary (GiB) or decimal (GB)",
    "plain": "true: append lines instead of drawing a screen, for logs and screen readers",
    "read_only": "true: screens send nothing to engines",
    "mouse": "true: click and wheel work; your terminal then selects text only while shift is held",
}


def settings_path() -> Path:
    """The settings file: MAXACT_SETTINGS, else settings.toml in the user's configuration folder."""
    chosen = os.environ.get(PATH_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_config_path("maxact-tui", appauthor=False) / "settings.toml"


def load_settings() -> Settings:
    """The settings of the file, overridden by the environment (MAXACT_THEME, MAXACT_ASCII, ...).

    Raises:
        SettingsError: one of them is unknown or impossible, or the named file cannot be read.
    """
    path = settings_path()
    chosen = _from_table(_read(path), path.name)
    for name in (*_CHOICES, *_SWITCHES):
        variable = f"MAXACT_{name.upper()}"
        if said := os.environ.get(variable):
            chosen[name] = _value(name, _switch(said) if name in _SWITCHES else said, variable)
    return Settings(**chosen)


def template() -> str:
    """A settings file that changes nothing: every setting and key, commented out."""
    defaults = Settings()
    lines = ["# Settings of maxact-tui. Remove the # before what you want to change.", ""]
    for name, help_line in _HELP.items():
        lines += [f"# {help_line}", f"#{name} = {_toml(getattr(defaults, name) or False)}", ""]
    for place, (title, _) in TABLES.items():
        lines += [f"# {title}", f"[keys.{place}]"]
        for action in actions_of(place):
            lines.append(f"#{action.key_name} = {_toml(action.keys)}  # {action.help}")
        lines.append("")
    return "\n".join(lines)


def describe(settings: Settings) -> str:
    """Settings as a settings file would say them."""
    lines = [f"{name} = {_toml(getattr(settings, name))}" for name in _HELP if getattr(settings, name) is not None]
    for place in TABLES:
        chosen = {name: keys for name, keys in settings.keys.items() if name.startswith(f"{place}.")}
        if chosen:
            lines += ["", f"[keys.{place}]"]
            lines += [f"{name.partition('.')[2]} = {_toml(keys)}" for name, keys in chosen.items()]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """A value as TOML; its strings and lists are JSON's."""
    return json.dumps(value)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if PATH_VARIABLE in os.environ:
            raise SettingsError(
                f"there is no settings file {path}; write one with: maxact-tui settings --init"
            ) from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read the settings {path}: {error}") from error


def _from_table(table: Mapping[str, Any], source: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for name, value in table.items():
        if name == "keys":
            chosen[name] = _keys(value, source)
        elif name in _HELP:
            chosen[name] = _value(name, value, f"{name} in {source}")
        else:
            raise SettingsError(f"unknown setting '{name}' in {source}{_nearest(name, [*_HELP, 'keys'])}")
    return chosen


def _value(name: str, value: object, where: str) -> object:
    if name in _CHOICES and value not in _CHOICES[name]:
        near = _nearest(str(value), _CHOICES[name])
        raise SettingsError(f"{where} cannot be '{value}'{near or '; choose from ' + ', '.join(_CHOICES[name])}")
    if name in _SWITCHES and not isinstance(value, bool):
        raise SettingsError(f"{where} cannot be '{value}'; choose true or false")
    return value


def _switch(said: str) -> object:
    lower = said.lower()
    return True if lower in _TRUE else False if lower in _FALSE else said


def _keys(table: object, source: str) -> Keys:
    """The user's keys, checked: every action exists, every key can be pressed, none is taken twice in one place."""
    if not isinstance(table, Mapping):
        raise SettingsError(f"keys in {source} must be tables such as [keys.monitor]")
    keys: dict[str, tuple[str, ...]] = {}
    for place, chosen in table.items():
        if place not in get_args(Place) or not isinstance(chosen, Mapping):
            raise SettingsError(f"unknown place 'keys.{place}' in {source}{_nearest(place, list(TABLES))}")
        names = {action.key_name: action for action in actions_of(place)}
        for name, wanted in chosen.items():
            if name not in names:
                raise SettingsError(f"unknown action '{place}.{name}' in {source}{_nearest(name, list(names))}")
            keys[setting(place, names[name])] = _key_list(wanted, f"{place}.{name} in {source}")
    for place in TABLES:
        _refuse_clash(place, keys, source)
    return keys


def _key_list(wanted: object, where: str) -> tuple[str, ...]:
    listed = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(listed, list) or not listed or not all(isinstance(key, str) for key in listed):
        raise SettingsError(f'{where} must be a list of keys, such as ["x", "ctrl+x"]')
    found = []
    for key in listed:
        known, nearest = known_key(key)
        if known is None:
            raise SettingsError(f"unknown key '{key}' for {where}{f'; did you mean {nearest}?' if nearest else ''}")
        found.append(known)
    return tuple(found)


def _refuse_clash(place: Place, keys: Keys, source: str) -> None:
    taken: dict[str, str] = {}
    found: list[tuple[Place, Action]] = [] if place == "app" else [("app", one) for one in everywhere(place, keys=keys)]
    for where, action in [*found, *((place, one) for one in actions_of(place, keys=keys))]:
        name = setting(where, action)
        for key in action.keys:
            if key in taken and taken[key] != name:
                raise SettingsError(f"key '{key}' is both {taken[key]} and {name} in {source}; change one of them")
            taken[key] = name


def _nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else ""
