"""A small mail server: it keeps what it takes, and misbehaves as it is told, one fault a connection."""

import email
import enum
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message


class Fault(enum.Enum):
    NONE = enum.auto()
    DRIPS_GREETING = enum.auto()  # A line of its greeting now and then, until it is released.
    TURNS_AWAY = enum.auto()  # 421 instead of a greeting.
    LATER = enum.auto()  # 451 to the recipient, as a greylist has it.
    NO_SUCH_BOX = enum.auto()  # 550 to the recipient.
    REFUSES_SENDER = enum.auto()
    FULL = enum.auto()  # 452 to the whole mail.
    SPAM = enum.auto()  # 554 to the whole mail.
    DROPS_AFTER_DATA = enum.auto()  # It has the mail, and breaks the connection.
    MUMBLES_AFTER_DATA = enum.auto()  # It has the mail, and answers what nobody can read.
    SILENT_AFTER_DATA = enum.auto()  # It has the mail, and says nothing.
    DRIPS_AFTER_DATA = enum.auto()  # It has the mail, and answers a letter at a time.


class Mailbox(socketserver.ThreadingTCPServer):
    """Mails that were taken are in `mails`; `faults` are for the next connections."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.mails: list[Message] = []
        self.faults: list[Fault] = []
        self.conversations = self.ended = 0
        self.released = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def recipients(self) -> list[str]:
        return [str(mail["To"]) for mail in self.mails]


class _Conversation(socketserver.StreamRequestHandler):
    server: Mailbox

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def finish(self) -> None:
        super().finish()
        self.server.ended += 1

    def handle(self) -> None:
        self.server.conversations += 1
        fault = self.server.faults.pop(0) if self.server.faults else Fault.NONE
        if fault is Fault.TURNS_AWAY:
            self.say("421 too busy")
            return
        while fault is Fault.DRIPS_GREETING and not self.server.released.wait(0.2):
            self.say("220-just a moment")
        self.say("220 ready")
        while line := self.rfile.readline():
            match line.split()[0].upper():
                case b"MAIL" if fault is Fault.REFUSES_SENDER:
                    self.say("550 not from you")
                case b"RCPT" if fault is Fault.LATER:
                    self.say("451 come again later")
                case b"RCPT" if fault is Fault.NO_SUCH_BOX:
                    self.say("550 no such box")
                case b"DATA":
                    self.say("354 go on")
                    if not self.take_mail(fault):
                        return
                case b"QUIT":
                    self.say("221 bye")
                    return
                case _:
                    self.say("250 ok")

    def take_mail(self, fault: Fault) -> bool:
        lines = []
        while (line := self.rfile.readline()) not in {b".\r\n", b""}:
            lines.append(line)
        if fault in {Fault.FULL, Fault.SPAM}:
            self.say("452 full" if fault is Fault.FULL else "554 not wanted")
            return True
        self.server.mails.append(email.message_from_bytes(b"".join(lines)))
        if fault is Fault.MUMBLES_AFTER_DATA:
            self.say("well, well")
        if fault is Fault.SILENT_AFTER_DATA:
            self.server.released.wait(30)
        while fault is Fault.DRIPS_AFTER_DATA and not self.server.released.wait(0.2):
            self.wfile.write(b"2")
        if fault is Fault.NONE:
            self.say("250 taken")
        return fault is Fault.NONE


@contextmanager
def listening() -> Iterator[Mailbox]:
    with Mailbox() as mailbox:
        thread = threading.Thread(target=mailbox.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield mailbox
        finally:
            mailbox.released.set()
            mailbox.shutdown()
            thread.join()
