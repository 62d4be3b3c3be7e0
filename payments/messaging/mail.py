"""Sends one e-mail through Django's backend, and tells what its ending proves.

With SMTP everything until the mail's data is a question that the server answers, and an answer that refuses is proof.
So is a refusal of the data itself: RFC 5321, 4.2.5, has a server that answered 4yz or 5yz to the end of the data not
deliver it. Whatever ends without an answer once the mail was begun is unclear.
"""

import contextlib
import smtplib
from email.utils import parseaddr

from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend

from payments import config
from payments.messaging.bounded import Point, within
from payments.messaging.endings import Ending, NotSent, Sent, Unclear
from payments.messaging.texts import Texts

_REFUSED_FROM, _PERMANENT_FROM = 400, 500


def send_email(*, to: str, texts: Texts) -> Ending:
    """Send a reminder to one address.

    :raises RuntimeError: inside a transaction.
    """
    return within(config.reminders().total_seconds, lambda point: _send(_message(to=to, texts=texts), point))


def _message(*, to: str, texts: Texts) -> EmailMessage:
    from_email = config.reminders().from_email
    domain = parseaddr(from_email)[1].rpartition("@")[2] or "localhost"
    return EmailMessage(
        subject=texts.subject,
        body=texts.body,
        from_email=from_email,
        to=[to],
        headers={
            "Message-ID": f"<{texts.message_id}@{domain}>",
            "Auto-Submitted": "auto-generated",
            # RFC 8058: a mailbox's own button posts to the link, without cookies.
            "List-Unsubscribe": f"<{texts.stop_url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
    )


def _send(message: EmailMessage, point: Point) -> Ending:
    try:
        message.message()
    except ValueError as error:  # A header that cannot be written.
        return NotSent(why=_why(error), may_retry=False)
    connection = get_connection()
    try:
        return _hand_over(message, connection, point)
    except (ConnectionRefusedError, smtplib.SMTPConnectError) as error:  # Of a backend that connects late.
        return NotSent(why=_why(error), may_retry=True)
    except smtplib.SMTPRecipientsRefused as error:
        code = max((code for code, _ in error.recipients.values()), default=_PERMANENT_FROM)
        return NotSent(why=f"{_why(error)} {code}", may_retry=code < _PERMANENT_FROM)
    except smtplib.SMTPResponseException as error:
        why = f"{_why(error)} {error.smtp_code}"
        if error.smtp_code < _REFUSED_FROM:  # No refusal, or no answer that can be read.
            return Unclear(why=why)
        return NotSent(why=why, may_retry=error.smtp_code < _PERMANENT_FROM)
    except smtplib.SMTPNotSupportedError as error:  # An address that this server cannot write.
        return NotSent(why=_why(error), may_retry=False)
    except (OSError, smtplib.SMTPException) as error:
        return Unclear(why=_why(error))
    finally:
        with contextlib.suppress(OSError, smtplib.SMTPException):  # A goodbye that fails undoes nothing.
            connection.close()


def _hand_over(message: EmailMessage, connection: BaseEmailBackend, point: Point) -> Ending:
    try:
        connection.open()
    except (OSError, smtplib.SMTPException) as error:  # Nothing of the mail has been said.
        return NotSent(why=_why(error), may_retry=True)
    if not point.pass_by():
        return NotSent(why="too slow to connect", may_retry=True)
    return Sent() if connection.send_messages([message]) else NotSent(why="not accepted", may_retry=False)


def _why(error: Exception) -> str:
    return type(error).__name__  # What a server says may repeat the address.
