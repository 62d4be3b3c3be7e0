"""What can be set, at the start and live. Live settings are gone after a restart; the ledger is not."""

import dataclasses

from payments.gateways.sandbox.profiles import PROFILES, Profile

# Well known, because a sandbox's credentials protect nothing; the control endpoints are for loopback only.
DEFAULT_API_KEY = "sk_sandbox"
DEFAULT_WEBHOOK_SECRET = "whsec_sandbox"  # noqa: S105  # see above
KEY_TTL_SECONDS = 86_400.0  # Stripe keeps idempotency keys for at least 24 hours.


@dataclasses.dataclass(slots=True, kw_only=True)
class WebhookSettings:
    """Where events go and how the road there behaves."""

    url: str | None = None
    secrets: tuple[str, ...] = (DEFAULT_WEBHOOK_SECRET,)
    enabled: bool = True  # Off: events wait, and leave when it is on again.
    drop: bool = False  # Events are lost for good, as if the network had eaten them.
    delay_seconds: float = 0.0
    duplicates: int = 0  # How often each event is sent once more.
    reorder: int = 0  # Hold this many events and send them newest first.
    max_tries: int = 8
    retry_base_seconds: float = 0.5  # Doubles with each try, up to a minute.


@dataclasses.dataclass(slots=True, kw_only=True)
class Settings:
    """All settings of one gateway process."""

    api_key: str = DEFAULT_API_KEY
    profile: Profile = PROFILES["instant"]
    key_ttl_seconds: float = KEY_TTL_SECONDS
    execute_at_fraction: float = 0.5  # The ledger commits after this share of the latency.
    drip_interval_seconds: float = 1.0
    settle_delay_seconds: float = 0.2  # Until pending_then_* decides.
    webhook: WebhookSettings = dataclasses.field(default_factory=WebhookSettings)

    def copy(self) -> "Settings":
        """Return an independent copy, to go back to."""
        return dataclasses.replace(self, webhook=dataclasses.replace(self.webhook))

    def restore(self, earlier: "Settings") -> None:
        """Take every value from `earlier`, in place: others hold on to this object."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(earlier.copy(), field.name))
