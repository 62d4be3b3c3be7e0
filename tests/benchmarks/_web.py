"""The web server that a benchmark asks: Paywindow's own pages and, beside them, views that do the least there is.

The bare views go through the same middleware and the same check of the token, in the same process.
"""

from uuid import UUID

from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from payments.api.auth import TokenAuth
from payments.models import PaymentAttempt
from project.urls import handler400, handler404, handler500
from project.urls import urlpatterns as own_urlpatterns
from workers.charging import charge_attempt

settings.ROOT_URLCONF = __name__

from project.wsgi import application  # noqa: E402 - it resolves the URLs of above

__all__ = ["application", "handler400", "handler404", "handler500", "urlpatterns"]

_token_auth = TokenAuth()


@csrf_exempt
def bare_submit(request: HttpRequest, attempt_id: UUID) -> HttpResponseBase:
    """Insert one row and publish one message, as a view of an ordinary application does."""
    user = _token_auth(request)
    if not isinstance(user, User):
        return JsonResponse({"detail": "who?"}, status=401)
    row = LogEntry.objects.create(
        user=user, object_id=str(attempt_id), object_repr="a payment", action_flag=CHANGE, change_message="submitted"
    )
    charge_attempt.delay(attempt_id=str(attempt_id))
    return JsonResponse({"id": row.pk}, status=202)


def bare_status(request: HttpRequest, attempt_id: UUID) -> HttpResponseBase:
    """Read one row by its primary key."""
    user = _token_auth(request)
    if not isinstance(user, User):
        return JsonResponse({"detail": "who?"}, status=401)
    row = get_object_or_404(PaymentAttempt, pk=attempt_id)
    return JsonResponse({"id": row.public_id, "state": row.state, "expires_at": row.expires_at})


urlpatterns = [
    path("bare/<uuid:attempt_id>/submit/", bare_submit),
    path("bare/<uuid:attempt_id>/", bare_status),
    *own_urlpatterns,
]
