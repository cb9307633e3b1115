"""Settings, keys and themes: what the user chose is what happens, and what cannot be is said in one line."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from maxact_tui.keymap.actions import TABLES, actions_of, help_sections
from maxact_tui.keymap.keys import known_key
from maxact_tui.keymap.settings import THEMES, Settings, SettingsError, load_settings, template
from maxact_tui.pages.footer import footer_line
from maxact_tui.screens.monitor import MonitorScreen
from maxact_tui.screens.reading import ReadingScreen
from maxact_tui.terminal.palette import STYLES, choose_look
from tests.screen.conftest import Shown, is_complete, settle
from tests.screen.pictures import screen_text


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("THEME", "ASCII", "UNITS", "PLAIN", "READ_ONLY"):
        monkeypatch.delenv(f"MAXACT_{name}", raising=False)

    def write(text: str) -> None:
        path = tmp_path / "settings.toml"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setenv("MAXACT_SETTINGS", str(path))

    return write


def test_the_template_changes_nothing(write) -> None:
    write(template())
    assert load_settings() == Settings()


def test_every_default_of_the_template_is_a_possible_setting(write) -> None:
    text = "\n".join(line.removeprefix("#") if line.startswith("#") and line[1:2] != " " else line
                     for line in template().splitlines())  # fmt: skip
    without_keyless = "\n".join(line for line in text.splitlines() if "= []" not in line)
    write(without_keyless)
    loaded = load_settings()
    assert loaded.keys["monitor.pause"] == ("space",)
    for place in TABLES:
        assert actions_of(place, keys=loaded.keys) == [
            replace(action, shown="", pair="") if action.keys else action
            for action in actions_of(place)
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('themes = "dark"', "unknown setting 'themes' in settings.toml; did you mean theme?"),
        ('theme = "drak"', "theme in settings.toml cannot be 'drak'; did you mean dark?"),
        ('theme = "solarized"', "choose from dark, light, ansi"),
        ("ascii = 3", "ascii in settings.toml cannot be '3'; choose true or false"),
        ('[keys.monitr]\npause = ["z"]', "unknown place 'keys.monitr' in settings.toml; did you mean monitor?"),
        ('[keys.monitor]\npuase = ["z"]', "unknown action 'monitor.puase' in settings.toml; did you mean pause?"),
        ('[keys.monitor]\npause = ["spcae"]', "unknown key 'spcae' for monitor.pause in settings.toml; did you mean"),
        ('[keys.monitor]\npause = ["x"]', "key 'x' is both "),
        ('[keys.site]\nnext_tab = ["?"]', "key 'question_mark' is both app.help and site.next_tab"),
        ("[keys.monitor]\npause = 4", "must be a list of keys"),
        ("theme = ", "cannot read the settings"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(write, text: str, said: str) -> None:
    write(text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.code == 2


def test_the_environment_goes_before_the_file(write, monkeypatch: pytest.MonkeyPatch) -> None:
    write('theme = "light"\nascii = true\nunits = "decimal"')
    assert load_settings() == Settings(theme="light", ascii=True, units="decimal")
    monkeypatch.setenv("MAXACT_THEME", "ansi")
    monkeypatch.setenv("MAXACT_ASCII", "0")
    assert load_settings() == Settings(theme="ansi", ascii=False, units="decimal")
    monkeypatch.setenv("MAXACT_THEME", "beige")
    with pytest.raises(SettingsError, match="MAXACT_THEME cannot be 'beige'; choose from"):
        load_settings()


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAXACT_SETTINGS", str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match="settings --init"):
        load_settings()


@pytest.mark.parametrize(
    ("written", "name"), [("?", "question_mark"), ("ctrl+x", "ctrl+x"), ("PgUp", "pageup"), ("G", "G"),
                          (",", "comma"), ("+", "plus"), ("f5", "f5"), ("shift+tab", "shift+tab"), ("bogus", None)]
)  # fmt: skip
def test_keys_may_be_written_as_they_are_printed(written: str, name: str | None) -> None:
    found, _ = known_key(written)
    assert found == name


def test_chosen_keys_are_in_footer_and_help() -> None:
    keys = tomllib.loads('k = ["f5"]')["k"]
    look = choose_look("256", keys={"monitor.pause": tuple(keys)})
    assert "f5 pause" in footer_line(look, 200, "monitor").text
    told = dict(help_sections("site", keys=look.keys))
    assert next(iter(told)) == "Site"
    assert ("f5", "Pause the run after its batch, resume it, or continue one that broke off.") in told["Heatmap"]


async def test_a_chosen_key_does_it_and_the_old_one_does_not(shown: Shown, clean_session: Path) -> None:
    settings = Settings(keys={"app.help": ("f9",), "monitor.measure": ("z",), "monitor.next_pane": ("m",)})
    async with shown(clean_session, 120, 36, settings=settings) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("question_mark")
        assert isinstance(pilot.app.screen, MonitorScreen)
        await pilot.press("f9")
        assert isinstance(pilot.app.screen, ReadingScreen)
        await pilot.press("escape")
        await pilot.press("z")
        await settle(pilot, lambda app: any(row.strip().startswith("rms") for row in screen_text(app).split("\n")))


def luminance(rgb: tuple[int, int, int]) -> float:
    linear = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_number_in_a_coloured_cell_can_be_read(theme: str) -> None:
    for style in choose_look("256", theme=theme).ramp:
        assert style.color is not None
        assert style.bgcolor is not None
        assert contrast(style.color.get_truecolor(), style.bgcolor.get_truecolor()) >= 4.5


@pytest.mark.parametrize("name", STYLES)
def test_coloured_text_can_be_read_on_white_in_the_light_theme(name: str) -> None:
    color = choose_look("256", theme="light").styles[name].color
    assert color is None or contrast(color.get_truecolor(), (255, 255, 255)) >= 4.5


def test_the_ansi_theme_uses_the_terminals_sixteen_colours_alone() -> None:
    look = choose_look("truecolor", theme="ansi")
    for style in (*look.ramp, *look.styles.values()):
        for color in (style.color, style.bgcolor):
            assert color is None or (color.number is not None and color.number < 16)


@pytest.mark.parametrize("theme", THEMES)
def test_no_color_takes_every_colour_away(theme: str) -> None:
    look = choose_look("256", no_colour=True, theme=theme)
    assert not any(style.color or style.bgcolor for style in (*look.ramp, *look.styles.values()))


async def test_the_theme_changes_without_losing_the_place(shown: Shown, clean_session: Path) -> None:
    async with shown(clean_session, 120, 36) as pilot:
        await settle(pilot, is_complete)
        await pilot.press("up", "up", "m")
        await settle(pilot, lambda app: is_complete(app) and app.snapshot.focus == app.monitor.site)
        before, site = screen_text(pilot.app), pilot.app.monitor.site
        await pilot.app.run_action("theme")
        assert pilot.app.look.theme == "light"
        await settle(pilot, lambda app: screen_text(app).split("\n")[:30] == before.split("\n")[:30])
        assert pilot.app.monitor.site == site
