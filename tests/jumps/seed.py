"""`python -m tests.jumps.seed COUNT`: so many open attempts, made as the product makes them; prints their ids."""

import json
import sys

import django

if __name__ == "__main__":
    django.setup()

    from tests import factories

    customer, item = factories.make_user(), factories.make_item(on_hand=100_000)
    attempts = [factories.place_order(customer=customer, item=item) for _ in range(int(sys.argv[1]))]
    print(json.dumps([str(attempt.id) for attempt in attempts]))
