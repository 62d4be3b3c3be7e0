"""`manage.py check_gateways`: which gateways are on, and whether they answer and know us; else exit code 1."""

from typing import Any

from django.core.management.base import BaseCommand

from payments import config
from payments.domain.failures import FailureCode
from payments.domain.outcomes import InDoubt, NeverSent, NotFound, Outcome
from payments.gateways import registry

PATIENCE_SECONDS = 10


class Command(BaseCommand):
    help = "Show which gateways are configured, what they can do, and whether they answer. Nothing is charged."
    requires_system_checks: list[str] = []  # They would refuse to start before anything was shown.

    def handle(self, *_args: Any, **_options: Any) -> None:
        methods = config.payment_methods().values()
        has_failed = False
        for name in registry.names():
            offered = sorted(method.name for method in methods if method.gateway == name)
            missing = registry.missing(name)
            if missing:
                has_failed |= bool(offered)
                needed = f", and {', '.join(offered)} cannot be paid with" if offered else ""
                self.stdout.write(f"{name}: off; PAYMENT_GATEWAYS[{name!r}] lacks {', '.join(missing)}{needed}")
                continue
            is_fine, told = _told(registry.gateway(name).check(deadline_seconds=PATIENCE_SECONDS))
            has_failed |= not is_fine
            self.stdout.write(f"{name}: on, {told}")
            self.stdout.write(f"  methods: {', '.join(offered) or 'none'}")
            self.stdout.write(f"  can: {', '.join(_abilities(name))}")
            self.stdout.write(
                f"  events: {'taken' if registry.takes_events(name) else 'not taken, its secret is missing'}"
            )
        registry.close_gateways()
        if has_failed:
            raise SystemExit(1)


def _told(outcome: Outcome) -> tuple[bool, str]:
    match outcome:
        case NotFound():
            return True, "it answers and knows us"
        case NeverSent(code=FailureCode.RATE_LIMITED):
            return True, "it answers, and asks us to slow down"
        case NeverSent(detail=detail):
            return False, f"it cannot be reached: {detail}"
        case InDoubt(code=FailureCode.CONFIGURATION, detail=detail):
            return False, f"it refuses our credentials: {detail}"
        case InDoubt(detail=detail):
            return False, f"its answer makes no sense: {detail}"
        case _:
            return False, f"it knows of a payment that nobody made: {outcome}"


def _abilities(name: str) -> list[str]:
    can = registry.gateway(name).capabilities
    abilities = {
        "hold money before taking it": can.authorizes,
        "cancel by key": can.cancels_keys,
        "charge cards by token": can.takes_tokens,
        "host the payment page": can.hosts_pages,
        "end a payment with its window": can.takes_window,
    }
    return [ability for ability, is_there in abilities.items() if is_there]
