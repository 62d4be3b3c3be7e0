from django.urls import path
from ninja import NinjaAPI

from payments.api import checkout, cleanup, health, orders, problems
from payments.api.auth import API_AUTH

api = NinjaAPI(
    title="Paywindow",
    version="1",
    description="Charges orders asynchronously, at most once, inside their payment window.",
    docs_url="docs",
    auth=API_AUTH,
)
problems.register(api)
api.add_router("/orders", orders.router)
api.add_router("/orders", checkout.orders)
api.add_router("/orders", cleanup.orders)
api.add_router("/payments", cleanup.payments)  # Before the paths that begin with an id.
api.add_router("/payments", checkout.payments)

urlpatterns = [
    path("api/", api.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
