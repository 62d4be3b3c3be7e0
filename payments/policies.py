"""What holds for the next attempt of a payment method: its settings, its policy over them, held to the limits.

The policy's row is read every time and kept nowhere, so that what the admin saves holds for the very next attempt, in
every process. An attempt that was opened keeps what was stamped on it.
"""

from dataclasses import dataclass, replace

from django.db import connection

from payments import config
from payments.domain.policy import Clamp, GatewayWindow, Terms, Wishes, merge
from payments.gateways import registry
from payments.models import PaymentMethodPolicy
from payments.models.policy import ACTOR_SETTING
from payments.transactions import require_transaction


@dataclass(frozen=True, slots=True)
class MethodInForce:
    """A method as it is now, and what of its policy is not followed."""

    method: config.PaymentMethod
    clamps: tuple[Clamp, ...]


def in_force(method: config.PaymentMethod) -> MethodInForce:
    """Read the policy of a configured method and put it over the settings: one look-up by a unique column."""
    return apply(method=method, policy=PaymentMethodPolicy.objects.filter(method=method.name).first())


def apply(*, method: config.PaymentMethod, policy: PaymentMethodPolicy | None) -> MethodInForce:
    """Put a policy over the settings of its method, without a look at the database."""
    wishes = Wishes() if policy is None else policy.wishes
    settings = Terms(
        window_minutes=method.window_minutes,
        grace_seconds=method.grace_seconds,
        late_allowance_seconds=method.late_allowance_seconds,
        reminder_lead_minutes=method.reminder_lead_minutes,
    )
    terms, clamps = merge(settings=settings, wishes=wishes, gateway=gateway_window(method))
    in_force = replace(
        method,
        window_minutes=terms.window_minutes,
        grace_seconds=terms.grace_seconds,
        late_allowance_seconds=terms.late_allowance_seconds,
        reminder_lead_minutes=terms.reminder_lead_minutes,
    )
    return MethodInForce(method=in_force, clamps=clamps)


def all_in_force() -> list[MethodInForce]:
    """Give every method that is offered, as it is now."""
    policies = {policy.method: policy for policy in PaymentMethodPolicy.objects.all()}
    return [apply(method=method, policy=policies.get(name)) for name, method in config.payment_methods().items()]


def without_method() -> list[str]:
    """List the policies whose method is not offered, by its name; they have no effect."""
    offered = list(config.payment_methods())
    return list(
        PaymentMethodPolicy.objects.exclude(method__in=offered).order_by("method").values_list("method", flat=True)
    )


def set_actor(*, actor: str) -> None:
    """Say in whose name this transaction changes policies; the database records it with every change.

    :raises RuntimeError: outside a transaction, where it would be forgotten at once.
    """
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [ACTOR_SETTING, actor])


def gateway_window(method: config.PaymentMethod) -> GatewayWindow:
    """Give the limits of the method's gateway; a method that is no longer offered has none.

    :raises KeyError: when the settings of the gateway are missing.
    """
    if method.gateway not in registry.names():
        return GatewayWindow()
    capabilities = registry.gateway(method.gateway).capabilities
    return GatewayWindow(
        shortest_seconds=capabilities.shortest_window_seconds, longest_seconds=capabilities.longest_window_seconds
    )
