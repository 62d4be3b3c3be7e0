"""`manage.py cleanup_expired_orders`: end the orders whose time is over, without waiting for the sweep."""

from payments import due
from payments.management import cleanup


class Command(cleanup.CleanupCommand):
    help = (
        "End the orders that were not paid in time, and give their stock back; what the sweep does by itself. That "
        "includes orders whose last payment failed and was not tried again. " + cleanup.EXIT_CODES
    )
    scope = due.ORDERS
    actor = "command:cleanup_expired_orders"
    is_about_orders = True
