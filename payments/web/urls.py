from django.urls import URLPattern, path

from payments.web import shop

app_name = "shop"
urlpatterns: list[URLPattern] = [
    path("", shop.show_items, name="items"),
    path("orders/", shop.place_order, name="place-order"),
    path("pay/<str:payment_id>/", shop.show_payment, name="payment"),
]
