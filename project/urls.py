from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from payments.ops.metrics import metrics
from payments.web.reminders import stop_reminders
from payments.web.returns import show_return

handler400 = "payments.api.problems.handle_400"
handler404 = "payments.api.problems.handle_404"
handler500 = "payments.api.problems.handle_500"

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("", include("payments.api.urls")),
    path("metrics", metrics, name="metrics"),
    path("payments/return/<str:gateway>/", show_return, name="payment-return"),
    path("reminders/stop/<str:token>/", stop_reminders, name="stop-reminders"),
]

if settings.PAYMENT_DEMO:
    urlpatterns += [
        path("", RedirectView.as_view(pattern_name="shop:items")),
        path("shop/", include("payments.web.urls")),
    ]
