"""What monitoring scrapes: read from the database when it is asked for, so it is right whichever process answers.

A family is a function that reads and returns one metric; `_FAMILIES` is the table of contents.
"""

from collections.abc import Callable, Iterator

from django.db import DatabaseError
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from payments.domain.clock import Detection
from payments.domain.states import AttemptState
from payments.lifecycle import duties
from payments.lifecycle.duties import DutyName
from payments.models import ClockEvent, PaymentAttempt


def _clock_events() -> Metric:
    counted = dict(ClockEvent.objects.values_list("kind").annotate(events=Count("id")).order_by())
    family = CounterMetricFamily("paywindow_clock_events", "What the clock guard saw clocks do.", labels=["kind"])
    for kind in Detection:
        family.add_metric([kind.value], counted.get(kind.value, 0))
    return family


def _sweep_stands_still() -> Metric:
    since, _ = duties.standstill(duty=DutyName.SWEEP)
    return GaugeMetricFamily(
        "paywindow_sweep_stands_still",
        "1 while the sweep leaves due orders alone because the clocks disagree about them.",
        value=float(since is not None),
    )


def _attempts_held() -> Metric:
    held = PaymentAttempt.objects.filter(state=AttemptState.QUEUED, held_since__isnull=False).count()
    return GaugeMetricFamily(
        "paywindow_attempts_held", "Charges that are put off because the clocks disagree.", value=held
    )


_FAMILIES: tuple[Callable[[], Metric], ...] = (_clock_events, _sweep_stands_still, _attempts_held)


class _Rows(Collector):
    def describe(self) -> list[Metric]:
        return []  # Asked when it is registered; without this the rows would be read then.

    def collect(self) -> Iterator[Metric]:
        for family in _FAMILIES:
            yield family()


_registry = CollectorRegistry()
_registry.register(_Rows())


@require_safe
def metrics(_request: HttpRequest) -> HttpResponse:
    """Answer with every metric in the text format of Prometheus; 503 while the database is away."""
    try:
        return HttpResponse(generate_latest(_registry), content_type=CONTENT_TYPE_LATEST)
    except DatabaseError:
        return HttpResponse("The database does not answer.\n", status=503, content_type="text/plain")
