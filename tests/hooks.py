"""A host's function for announcements, as PAYMENT_ANNOUNCEMENT_HOOK names it."""

from collections.abc import Callable

from payments.domain.announcements import Notice

PATH = "tests.hooks.on_announcement"

heard: list[Notice] = []
acts: list[Callable[[Notice], object]] = []  # What the next calls do, after they have noted what they heard.

NOT_A_FUNCTION = "something else"


def on_announcement(notice: Notice) -> None:
    heard.append(notice)
    if acts:
        acts.pop(0)(notice)
