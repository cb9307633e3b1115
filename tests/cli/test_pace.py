"""Progress in lines: every line says something new."""

from __future__ import annotations

from maxact_tui.cli.pace import Pace


def test_a_line_is_printed_for_a_step_for_news_and_for_a_long_silence() -> None:
    out: list[str] = []
    now = [0.0]
    pace = Pace("a: ", write=out.append, clock=lambda: now[0])

    def lines(seconds: float, step: str, text: str, left: float | None = None) -> list[str]:
        now[0], before = seconds, len(out)
        pace.say(step, text, left)
        return out[before:]

    assert lines(0, "loading", "loading 0/9") == ["a: loading 0/9"]
    assert lines(5, "loading", "loading 4/9") == []
    assert lines(11, "loading", "loading 5/9", 20.0) == ["a: loading 5/9, 0:20 left"]
    assert lines(12, "running", "running: 3 samples") == ["a: running: 3 samples"]
    assert lines(40, "running", "running: 3 samples", 33.0) == [], "an estimate alone is no news"
    assert lines(75, "running", "running: 3 samples") == ["a: running: 3 samples; nothing new for 1:03"]
    assert lines(80, "running", "running: 3 samples") == []
    assert lines(136, "running", "running: 3 samples") == ["a: running: 3 samples; nothing new for 2:04"]
    assert lines(147, "running", "running: 4 samples") == ["a: running: 4 samples"]


def test_what_is_left_follows_from_the_rate_of_the_step() -> None:
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    assert pace.seconds_left("loading", 0, 0) is None
    assert pace.seconds_left("working", 2, 10) is None
    now[0] = 4.0
    assert pace.seconds_left("working", 4, 10) == 12.0
    assert pace.seconds_left("comparing", 1, 10) is None, "another step has a rate of its own"
