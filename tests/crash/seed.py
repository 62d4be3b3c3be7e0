"""`python -m tests.crash.seed COUNT SKU...`: tables, schedule, items, and so many customers; prints their tokens."""

import json
import sys
from datetime import timedelta

import django

if __name__ == "__main__":
    django.setup()

    from django.core.management import call_command

    from beat_schedules.write import write_schedule
    from payments.api.tokens import issue_token
    from tests import factories

    call_command("migrate", verbosity=0)
    write_schedule()
    for sku in sys.argv[2:]:
        factories.make_item(sku, on_hand=100_000)
    users = [factories.make_user() for _ in range(int(sys.argv[1]))]
    print(json.dumps([issue_token(user=user, lifetime=timedelta(hours=1)) for user in users]))
