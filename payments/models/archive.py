"""What is left of a payment whose history went into an archive file: enough to know it and to verify the file."""

import pgtrigger
from django.db import models
from django.db.models import Q

from payments.domain.ids import Prefix, public_id
from payments.models.order import Order


class _ArchivedChain(models.Model):
    """The end of a history that is in a file. Its id is that of the row that was archived."""

    id = models.UUIDField(primary_key=True, editable=False)
    state = models.CharField(max_length=16)
    version = models.PositiveIntegerField(help_text="The number of the last entry of its history.")
    head_hash = models.CharField(max_length=64, help_text="The hash of that entry.")
    head_at = models.DateTimeField(help_text="The time of that entry.")

    class Meta:
        abstract = True


class ArchivedAttempt(_ArchivedChain):
    """One attempt, written in the transaction that deleted it and everything that belonged to it."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="archived_attempts", db_index=False)
    number = models.PositiveSmallIntegerField(help_text="1 for the first attempt of its order.")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    gateway = models.CharField(max_length=32)
    gateway_reference = models.CharField(max_length=255, blank=True, help_text="The gateway's id of the charge.")
    archive = models.CharField(max_length=128, db_index=True, help_text="The name of the file.")
    archive_sha256 = models.CharField(max_length=64, help_text="The hash of that file.")
    archived_at = models.DateTimeField(help_text="Database time.")

    class Meta:
        constraints = [
            models.UniqueConstraint(name="archived_attempt_number_once", fields=["order", "number"]),
            models.UniqueConstraint(
                name="archived_attempt_one_success_per_order", fields=["order"], condition=Q(state="succeeded")
            ),
            models.CheckConstraint(name="archived_attempt_names_its_file", condition=~Q(archive="")),
        ]
        triggers = [
            pgtrigger.Protect(name="archived_attempt_append_only", operation=pgtrigger.Update | pgtrigger.Delete),
            # With it a row may be deleted, so it must be true.
            pgtrigger.Trigger(
                name="archived_attempt_is_true",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    IF NOT EXISTS (
                        SELECT FROM payments_paymentattempt a JOIN payments_order o ON o.id = a.order_id
                        JOIN payments_historyentry h ON h.attempt_id = a.id AND h.number = a.version
                        WHERE a.id = NEW.id AND a.closed_at IS NOT NULL AND o.closed_at IS NOT NULL
                            AND (a.order_id, a.number, a.state, a.version, a.amount_minor, a.currency)
                                = (NEW.order_id, NEW.number, NEW.state, NEW.version, NEW.amount_minor, NEW.currency)
                            AND (a.gateway, a.gateway_reference) = (NEW.gateway, NEW.gateway_reference)
                            AND (h.entry_hash, h.at) = (NEW.head_hash, NEW.head_at)
                    ) THEN
                        RAISE EXCEPTION 'attempt % has not ended, or is not what its archive says', NEW.id;
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        """The id that the attempt was known by, `pay_...`."""
        return public_id(Prefix.PAYMENT, self.id)


class ArchivedCompensation(_ArchivedChain):
    """One compensation of an archived attempt."""

    attempt = models.ForeignKey(ArchivedAttempt, on_delete=models.PROTECT, related_name="compensations")

    class Meta:
        triggers = [
            pgtrigger.Protect(name="archived_compensation_append_only", operation=pgtrigger.Update | pgtrigger.Delete),
            pgtrigger.Trigger(
                name="archived_compensation_is_true",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    IF NOT EXISTS (
                        SELECT FROM payments_compensation c
                        JOIN payments_compensationentry h ON h.compensation_id = c.id AND h.number = c.version
                        WHERE c.id = NEW.id AND c.closed_at IS NOT NULL
                            AND (c.attempt_id, c.state, c.version) = (NEW.attempt_id, NEW.state, NEW.version)
                            AND (h.entry_hash, h.at) = (NEW.head_hash, NEW.head_at)
                    ) THEN
                        RAISE EXCEPTION 'compensation % is not done, or is not what its archive says', NEW.id;
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return public_id(Prefix.COMPENSATION, self.id)
