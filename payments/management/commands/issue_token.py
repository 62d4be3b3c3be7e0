"""`manage.py issue_token`: a token for curl, in development."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from payments import config
from payments.api.tokens import issue_token


class Command(BaseCommand):
    help = "Print an API token of a user, for development."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--minutes", type=int, default=60, help="How long it is valid (default: 60).")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not settings.PAYMENT_DEMO:
            message = "Tokens are issued for demonstrations only: set PAYWINDOW_DEMO=1, outside production."
            raise CommandError(message)
        rules = config.token_rules()
        if not rules.is_symmetric:
            message = f"Tokens are issued for HS256 only; JWT_ALGORITHM is {rules.algorithm}: ask the identity service."
            raise CommandError(message)
        user = User.objects.filter(username=options["username"], is_active=True).first()
        if user is None:
            message = f"There is no active user {options['username']!r}."
            raise CommandError(message)
        if options["minutes"] <= 0:
            message = f"--minutes must be positive, not {options['minutes']}."
            raise CommandError(message)
        self.stdout.write(issue_token(user=user, lifetime=timedelta(minutes=options["minutes"])))
