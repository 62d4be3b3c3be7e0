"""The rows, with the constraints and triggers that refuse what must not be."""

from payments.models.announcement import Announcement, AnnouncementDelivery
from payments.models.archive import ArchivedAttempt, ArchivedCompensation
from payments.models.attempt import PaymentAttempt
from payments.models.clock import ClockEvent, ClockWitness
from payments.models.compensation import Compensation, CompensationEntry
from payments.models.contact import CustomerContact
from payments.models.correction import StockCorrection
from payments.models.duty import Duty
from payments.models.expiry_failure import ExpiryFailure
from payments.models.gateway_call import GatewayCall
from payments.models.history import HistoryEntry
from payments.models.idempotency import IdempotencyRecord
from payments.models.inbox import WebhookEvent
from payments.models.order import Order, OrderLine
from payments.models.policy import PaymentMethodPolicy, PolicyChange
from payments.models.reminder import Reminder
from payments.models.staff_action import StaffAction
from payments.models.stock import Reservation, StockItem

__all__ = [
    "Announcement",
    "AnnouncementDelivery",
    "ArchivedAttempt",
    "ArchivedCompensation",
    "ClockEvent",
    "ClockWitness",
    "Compensation",
    "CompensationEntry",
    "CustomerContact",
    "Duty",
    "ExpiryFailure",
    "GatewayCall",
    "HistoryEntry",
    "IdempotencyRecord",
    "Order",
    "OrderLine",
    "PaymentAttempt",
    "PaymentMethodPolicy",
    "PolicyChange",
    "Reminder",
    "Reservation",
    "StaffAction",
    "StockCorrection",
    "StockItem",
    "WebhookEvent",
]
