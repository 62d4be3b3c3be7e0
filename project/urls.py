from django.conf import settings
from django.contrib import admin
from django.urls import include, path

handler400 = "payments.api.problems.handle_400"
handler404 = "payments.api.problems.handle_404"
handler500 = "payments.api.problems.handle_500"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("payments.api.urls")),
]

if settings.PAYMENT_DEMO:
    urlpatterns.append(path("shop/", include("payments.web.urls")))
