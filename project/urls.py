from django.conf import settings
from django.contrib import admin
from django.urls import include, path

handler404 = "payments.api.problems.handle_404"
handler500 = "payments.api.problems.handle_500"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("payments.api.urls")),
]

if settings.PAYMENT_DEMO_SHOP:
    urlpatterns.append(path("shop/", include("payments.web.urls")))
