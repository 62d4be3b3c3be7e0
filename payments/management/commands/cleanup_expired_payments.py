"""`manage.py cleanup_expired_payments`: end the payments that nobody made in time, without waiting for the sweep."""

from payments import due
from payments.management import cleanup


class Command(cleanup.CleanupCommand):
    help = (
        "End the payments that still wait (open or queued) although their time is over, each with its order, and give "
        "their stock back; what the sweep does by itself. Orders whose last payment has failed have no payment that "
        "waits: cleanup_expired_orders ends those, too. " + cleanup.EXIT_CODES
    )
    scope = due.PAYMENTS
    actor = "command:cleanup_expired_payments"
    is_about_orders = False
