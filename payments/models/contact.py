"""How a customer may be reached, beyond the address that the user's own row has."""

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

E164 = r"^\+[1-9][0-9]{6,14}$"  # ITU-T E.164: a plus, the country, the number; at most 15 digits.


class CustomerContact(models.Model):
    """A customer's telephone, and whether there may be reminders. It goes with its user: nothing refers to it."""

    customer = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="payment_contact"
    )
    phone = models.CharField(
        max_length=16,
        blank=True,
        validators=[RegexValidator(E164, "Write the number as in +4915112345678: a plus, the country, no spaces.")],
        help_text="In E.164, such as +4915112345678. Empty: no SMS.",
    )
    reminders_stopped_at = models.DateTimeField(
        null=True, blank=True, help_text="Database time from which this customer wants no reminders; empty if they may."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(name="contact_phone_is_e164", condition=Q(phone="") | Q(phone__regex=E164)),
        ]

    def __str__(self) -> str:
        return f"contact of customer {self.pk}"
