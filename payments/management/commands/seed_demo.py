"""`manage.py seed_demo`: two users and a small shop, for `make run`."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from payments.models import StockItem

# sku, name, price in minor units, currency, how many
ITEMS = (
    ("MUG-BLUE", "Blue mug", 1250, "USD", 500),
    ("TEA-GREEN", "Green tea, 100 g", 890, "USD", 1000),
    ("LAMP-DESK", "Desk lamp", 4900, "USD", 120),
    ("CHAIR-OAK", "Oak chair", 18900, "USD", 40),
    ("TICKET-LAST", "Concert ticket, the last five", 7500, "USD", 5),
    ("CHAI-MASALA", "Masala chai, 250 g", 34900, "INR", 200),
)


class Command(BaseCommand):
    help = "Create the demo users (customer, staff) and items. What exists is left alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--password", default="paywindow-demo", help="Password of users that are created.")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not settings.PAYMENT_DEMO:
            message = "Demo users have a known password: set PAYWINDOW_DEMO=1, outside production."
            raise CommandError(message)
        for username, is_staff in (("customer", False), ("other", False), ("staff", True)):
            user, created = User.objects.get_or_create(
                username=username,
                defaults={"email": f"{username}@example.com", "is_staff": is_staff, "is_superuser": is_staff},
            )
            if created:
                user.set_password(options["password"])
                user.save(update_fields=["password"])
        for sku, name, price, currency, count in ITEMS:
            StockItem.objects.get_or_create(
                sku=sku,
                defaults={
                    "name": name,
                    "unit_price_minor": price,
                    "currency": currency,
                    "received": count,
                    "on_hand": count,
                },
            )
        self.stdout.write(f"users: {User.objects.count()}, items: {StockItem.objects.count()}")
