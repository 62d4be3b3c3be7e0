"""The rows, with the constraints and triggers that refuse what must not be (DESIGN: what the database refuses)."""

from payments.models.attempt import PaymentAttempt
from payments.models.gateway_call import GatewayCall
from payments.models.history import HistoryEntry
from payments.models.order import Order, OrderLine
from payments.models.stock import Reservation, StockItem

__all__ = ["GatewayCall", "HistoryEntry", "Order", "OrderLine", "PaymentAttempt", "Reservation", "StockItem"]
