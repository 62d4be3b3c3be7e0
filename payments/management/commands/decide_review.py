"""`manage.py decide_review`: what nobody could find out, a person decides, with a reason on record."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from payments import lifecycle, queries
from payments.domain import money
from payments.domain.errors import PaymentError
from payments.domain.ids import Prefix, parse_public_id, public_id

_ASKED_WRONGLY = 2  # As argparse has it; 1 means that it could not be done.
_LONGEST_REFERENCE = 255

PAYMENT_VERDICTS = ("succeeded", "failed")
COMPENSATION_VERDICTS = ("done", "again")


class Command(BaseCommand):
    help = (
        "Decide a payment (pay_...) or a compensation (cmp_...) under review, after you have looked at the gateway. "
        "Without an id, list what is under review, oldest first."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", nargs="?", type=_reviewed, metavar="pay_...|cmp_...")
        parser.add_argument(
            "verdict",
            nargs="?",
            choices=[*PAYMENT_VERDICTS, *COMPENSATION_VERDICTS],
            help="Of a payment: the money is ours (succeeded) or there is none (failed). Of a compensation: the money "
            "went back (done), or it is tried again (again).",
        )
        parser.add_argument("--reason", default="", help="What you found out and where; it stays in the history.")
        parser.add_argument("--staff", default="", metavar="USERNAME", help="Who decides: an active member of staff.")
        parser.add_argument("--reference", default="", help="The gateway's id of the charge, for succeeded.")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["id"] is None:
            self._list()
            return
        prefix, row_id = options["id"]
        _require_verdict(prefix, options)
        staff_id, reason = _staff_id(options["staff"]), options["reason"].strip()
        if not reason:
            message = "A decision needs a reason: --reason says what you found out and where."
            raise CommandError(message, returncode=_ASKED_WRONGLY)
        try:
            if prefix is Prefix.PAYMENT:
                state = str(
                    lifecycle.decide_review(
                        attempt_id=row_id,
                        verdict=options["verdict"],
                        reference=options["reference"],
                        staff_id=staff_id,
                        reason=reason,
                    )
                )
            else:
                state = str(
                    lifecycle.decide_compensation(
                        compensation_id=row_id, verdict=options["verdict"], staff_id=staff_id, reason=reason
                    )
                )
        except PaymentError as error:
            raise CommandError(f"{public_id(prefix, row_id)}: {error.detail}") from None
        self.stdout.write(f"{public_id(prefix, row_id)}: {state}")
        if options["verdict"] == "succeeded" and state != "succeeded":
            self.stdout.write("The order cannot be paid any more, so the money is owed back to the customer.")

    def _list(self) -> None:
        found = queries.under_review()
        for row in found:
            amount = money.display(amount_minor=row.amount_minor, currency=row.currency)
            since = row.since.isoformat(timespec="seconds")
            self.stdout.write(f"{row.public_id}  {row.order_id}  since {since}  {row.why}  {amount}")
        more = ", and there may be more" if len(found) >= queries.MAX_UNDER_REVIEW else ""
        self.stdout.write(f"{len(found)} under review{more}")


def _require_verdict(prefix: Prefix, options: dict[str, Any]) -> None:
    fitting = PAYMENT_VERDICTS if prefix is Prefix.PAYMENT else COMPENSATION_VERDICTS
    what = "payment" if prefix is Prefix.PAYMENT else "compensation"
    if options["verdict"] not in fitting:
        message = f"A {what} is decided as {' or '.join(fitting)}, not as {options['verdict'] or 'nothing'}."
        raise CommandError(message, returncode=_ASKED_WRONGLY)
    if options["reference"] and options["verdict"] != "succeeded":
        message = f"--reference names the charge of a payment that succeeded; {options['verdict']} has none."
        raise CommandError(message, returncode=_ASKED_WRONGLY)
    if len(options["reference"]) > _LONGEST_REFERENCE:
        message = f"--reference has {len(options['reference'])} characters; at most {_LONGEST_REFERENCE} are kept."
        raise CommandError(message, returncode=_ASKED_WRONGLY)


def _staff_id(username: str) -> int:
    """Give the id of a member of staff.

    :raises CommandError: for nobody, and for anybody else.
    """
    if not username:
        message = "A decision needs somebody who takes it: --staff names a member of staff."
        raise CommandError(message, returncode=_ASKED_WRONGLY)
    user = User.objects.filter(username=username, is_active=True, is_staff=True).first()
    if user is None:
        message = f"There is no active member of staff {username!r}."
        raise CommandError(message, returncode=_ASKED_WRONGLY)
    return user.pk


def _reviewed(text: str) -> tuple[Prefix, UUID]:
    for prefix in (Prefix.PAYMENT, Prefix.COMPENSATION):
        value = parse_public_id(prefix, text)
        if value is not None:
            return prefix, value
    examples = " or ".join(public_id(prefix, UUID(int=0)) for prefix in (Prefix.PAYMENT, Prefix.COMPENSATION))
    message = f"{text!r} is not the id of a payment or a compensation; one looks like {examples}."
    raise ArgumentTypeError(message)
