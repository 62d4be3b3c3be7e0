"""The port for text messages: the host names a class in PAYMENT_SMS_SENDER that has this shape."""

import sys
import threading
from typing import Protocol

from django.utils.module_loading import import_string

from payments import config
from payments.messaging.bounded import Point, within
from payments.messaging.endings import Ending, NotSent, Sent


class SmsNotSent(Exception):
    """The message provably did not leave. What it says is not kept: say the reason in `why`, a short code."""

    def __init__(self, why: str, *, may_retry: bool) -> None:
        super().__init__(why)
        self.why = why
        self.may_retry = may_retry


class SmsSender(Protocol):
    """Sends text messages. It is made without arguments, once for each message, and called from several threads."""

    def send(self, to: str, text: str) -> None:
        """Hand `text` to whoever carries it; `to` is a number in E.164. No transaction is open.

        :raises SmsNotSent: when it provably was not sent. Any other exception means that it may have been, except a
            `ConnectionRefusedError`; it is then never sent again.
        """


class ConsoleSmsSender:
    """Writes messages to standard output, as Django's console backend does with mail."""

    _lock = threading.Lock()

    def send(self, to: str, text: str) -> None:
        """Write one message."""
        with self._lock:
            sys.stdout.write(f"SMS to {to}\n{text}\n{'-' * 79}\n")
            sys.stdout.flush()


def send_sms(*, to: str, text: str) -> Ending:
    """Send one message through the class that PAYMENT_SMS_SENDER names.

    :raises RuntimeError: inside a transaction.
    """
    return within(config.reminders().total_seconds, lambda point: _send(point, to=to, text=text))


def _send(point: Point, *, to: str, text: str) -> Ending:
    sender: SmsSender = import_string(config.reminders().sms_sender)()
    try:
        if not point.pass_by():
            return NotSent(why="too slow to begin", may_retry=True)
        sender.send(to, text)
    except SmsNotSent as error:
        return NotSent(why=error.why[:64], may_retry=error.may_retry)
    except ConnectionRefusedError as error:
        return NotSent(why=type(error).__name__, may_retry=True)
    return Sent()
