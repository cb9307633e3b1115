"""A slow terminal gets the newest frame, not every frame."""

from __future__ import annotations

from maxact_tui.pacing import FIRST_ANSWER_SECONDS, LOST_ANSWER_SECONDS, QUERY, Pacer


class Link:
    """A terminal with a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.written: list[str] = []
        self.pacer = Pacer(self.written.append, lambda: self.now)


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
