from django.urls import path

from payments.api import checkout, cleanup, health, orders, problems, webhooks
from payments.api.auth import API_AUTH
from payments.api.openapi import DESCRIPTION, DocumentedAPI

api = DocumentedAPI(
    title="Paywindow",
    version="1",
    description=DESCRIPTION,
    docs_url="docs",
    auth=API_AUTH,
)
problems.register(api)
api.add_router("/orders", orders.router)
api.add_router("/orders", checkout.orders)
api.add_router("/orders", cleanup.orders)
api.add_router("/payments", cleanup.payments)  # Before the paths that begin with an id.
api.add_router("/payments", checkout.payments)
api.add_router("/webhooks", webhooks.router)

urlpatterns = [
    path("api/", api.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
