"""A slow terminal gets the newest frame, not every frame."""

from __future__ import annotations

from maxact_tui.terminal.pacing import (
    FIRST_ANSWER_SECONDS,
    LONGEST_REST_SECONDS,
    LOST_ANSWER_SECONDS,
    PROCESSOR_SHARE,
    QUERY,
    SAVED_SECONDS,
    Pacer,
)


class Link:
    """A terminal with a clock of its own."""

    def __init__(self) -> None:
        self.now = self.worked = 0.0
        self.written: list[str] = []
        self.pacer = Pacer(self.written.append, lambda: self.now, lambda: self.worked)


def test_the_next_frame_waits_for_the_answer() -> None:
    link = Link()
    assert link.pacer.may_draw()
    link.pacer.frame_sent()
    assert link.written == [QUERY]
    assert not link.pacer.may_draw()
    link.pacer.answered()
    assert link.pacer.may_draw()


def test_a_terminal_that_never_answers_is_not_waited_for_again() -> None:
    link = Link()
    link.pacer.frame_sent()
    link.now = FIRST_ANSWER_SECONDS + 0.1
    assert link.pacer.may_draw()
    link.pacer.frame_sent()
    assert link.pacer.may_draw()
    assert link.written == [QUERY]


def test_a_terminal_that_has_answered_once_is_waited_for_longer() -> None:
    link = Link()
    link.pacer.frame_sent()
    link.pacer.answered()
    link.pacer.frame_sent()
    link.now = FIRST_ANSWER_SECONDS + 1
    assert not link.pacer.may_draw()
    link.now = LOST_ANSWER_SECONDS + 1
    assert link.pacer.may_draw()


def test_there_is_never_more_than_one_question_on_the_way() -> None:
    link = Link()
    link.pacer.frame_sent()
    link.pacer.frame_sent()
    assert link.written == [QUERY]


def draw(link: Link, cost: float) -> bool:
    """A frame of that cost, if it may be drawn."""
    if not link.pacer.may_draw():
        return False
    link.worked += cost
    link.now += cost
    link.pacer.frame_sent()
    link.pacer.answered()
    return True


def test_frames_take_no_more_than_their_share_of_the_processor() -> None:
    link, frames = Link(), 0
    while link.now < 120:
        frames += draw(link, 0.02)
        link.now += max(min(link.pacer.rest_seconds, 0.25), 0.01)
    assert 2 * 120 < frames < 4 * 120
    assert 0.02 * frames <= PROCESSOR_SHARE * 120 + SAVED_SECONDS + 0.02


def test_the_first_frames_of_a_session_are_not_held_back() -> None:
    link = Link()
    assert draw(link, 0.3)
    assert draw(link, 0.15)
    assert draw(link, 0.2)
    assert not draw(link, 0.1)


def test_a_frame_however_dear_is_followed_by_another_within_a_second() -> None:
    link = Link()
    assert draw(link, 30.0)
    assert not link.pacer.may_draw()
    assert link.pacer.rest_seconds == LONGEST_REST_SECONDS
    link.now += LONGEST_REST_SECONDS
    assert link.pacer.may_draw()
