"""Nobody waits for a broker: what is published, what is dropped, and who publishes it in the end."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from kombu import Queue
from pytest_django import Settings

from payments import dispatch, lifecycle
from payments.dispatch import Job
from payments.models import PaymentAttempt, StockItem
from project.celery import app
from tests import factories
from tests.contract.sandbox_server import wait_until
from tests.faults import SilentServer
from tests.integration.conftest import NOBODY_LISTENS
from tests.system import CHECKOUT

QUEUES = ("charge", "resolve", "upkeep", "announce")
PUBLISH_LATER = "dispatch.publish_later(job=dispatch.Job('payments.announce'))"
AN_ID = UUID("0198f0c2-e4b2-7c3a-9d1e-5f60718293a4")

UseBroker = Callable[[str | None], None]
Logs = list[MutableMapping[str, Any]]


def messages(queue: str) -> list[Any]:
    """Take every message of a queue from the broker."""
    assert dispatch.flush(timeout_seconds=10)
    found = []
    with app.connection_for_read() as broker, broker.channel() as channel:
        bound = Queue(queue, channel=channel)
        bound.declare()
        while (message := bound.get(no_ack=True)) is not None:
            found.append(message)
    return found


def ids(queue: str) -> list[dict[str, str]]:
    """The keyword arguments of every message of a queue."""
    return [message.payload[1] for message in messages(queue)]


def dropped(logs: Logs) -> list[str]:
    """Why jobs were not published, in the order of the log."""
    return [event["reason"] for event in logs if event["event"] == "job_not_published"]


@pytest.fixture(autouse=True)
def empty_queues() -> Iterator[None]:
    for queue in QUEUES:
        messages(queue)
    yield
    dispatch.close(timeout_seconds=10)


def silent_broker(server: SilentServer) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


# What is published


@pytest.mark.parametrize(
    ("job", "queue", "task", "kwargs"),
    [
        (dispatch.charge(attempt_id=AN_ID), "charge", "payments.charge", {"attempt_id": str(AN_ID)}),
        (dispatch.resolve(attempt_id=AN_ID), "resolve", "payments.resolve", {"attempt_id": str(AN_ID)}),
        (dispatch.compensate(compensation_id=AN_ID), "resolve", "payments.compensate", {"compensation_id": str(AN_ID)}),
        (Job("payments.announce"), "announce", "payments.announce", {}),
    ],
)
@pytest.mark.parametrize("is_sent_later", [True, False])
def test_a_message_names_a_task_and_its_ids_and_no_time(
    job: Job, queue: str, task: str, kwargs: Mapping[str, str], is_sent_later: bool
) -> None:
    if is_sent_later:
        dispatch.publish_later(job=job)
    else:
        assert dispatch.publish(jobs=[job]) == 1
    (message,) = messages(queue)
    assert message.headers["task"] == task
    assert message.payload[:2] == [[], dict(kwargs)]
    assert (message.headers["eta"], message.headers["expires"]) == (None, None)
    assert not {"expiration", "eta", "expires", "countdown"} & message.properties.keys()
    assert message.headers["timelimit"] == [None, None]


@pytest.mark.django_db(transaction=True)
def test_a_submit_publishes_its_attempt_and_nothing_else(customer: User, item: StockItem) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert ids("charge") == [{"attempt_id": str(attempt.id)}]
    assert [messages(queue) for queue in ("resolve", "upkeep")] == [[], []]


def test_jobs_are_published_in_their_order(use_broker: UseBroker) -> None:
    sent = [str(uuid4()) for _ in range(50)]
    for number in sent:
        dispatch.publish_later(job=dispatch.charge(attempt_id=UUID(number)))
    assert [found["attempt_id"] for found in ids("charge")] == sent


# A broker that does not take it


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_stops_no_submit(
    customer: User, item: StockItem, captured_logs: Logs, broker_is_away: None
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert attempt.state == "queued"
    assert dispatch.flush(timeout_seconds=10)
    assert dropped(captured_logs) == ["broker_failed"]


@pytest.mark.django_db(transaction=True)
def test_a_submit_has_returned_while_a_silent_broker_is_still_silent(
    customer: User,
    item: StockItem,
    settings: Settings,
    captured_logs: Logs,
    use_broker: UseBroker,
    silent_server: SilentServer,
) -> None:
    settings.PAYMENT_PUBLISH_TIMEOUT_SECONDS = 3600  # Whoever waits for this broker waits until it is released.
    use_broker(silent_broker(silent_server))
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert attempt.state == "queued"
    wait_until(lambda: silent_server.connections == 1, what="the publishing thread asks the broker")
    assert not dispatch.flush(timeout_seconds=0), "the job must be the thread's, and still unpublished"
    assert not silent_server.is_released
    silent_server.release()
    assert dispatch.flush(timeout_seconds=10)
    assert dropped(captured_logs) == ["broker_failed"]


@pytest.mark.django_db(transaction=True)
def test_what_does_not_fit_into_the_queue_is_dropped_and_published_from_its_row_later(
    customer: User,
    item: StockItem,
    settings: Settings,
    captured_logs: Logs,
    use_broker: UseBroker,
    silent_server: SilentServer,
) -> None:
    settings.PAYMENT_PUBLISH_TIMEOUT_SECONDS, settings.PAYMENT_PUBLISH_QUEUE_JOBS = 3600, 1
    use_broker(silent_broker(silent_server))
    attempts = [factories.place_order(customer=customer, item=item) for _ in range(3)]
    factories.submit(attempts[0])
    wait_until(lambda: silent_server.connections == 1, what="the publishing thread has the first job")
    factories.submit(attempts[1])
    assert dropped(captured_logs) == []
    factories.submit(attempts[2])
    (event,) = (event for event in captured_logs if event["event"] == "job_not_published")
    assert (event["reason"], event["attempt_id"]) == ("queue_full", str(attempts[2].id))
    assert not silent_server.is_released
    silent_server.release()
    assert dispatch.flush(timeout_seconds=10)
    assert dropped(captured_logs) == ["queue_full", "broker_failed", "broker_failed_just_now"]

    use_broker(None)
    settings.PAYMENT_PUBLISH_TIMEOUT_SECONDS = 10
    assert lifecycle.publish_owed().published == 0  # Not yet: each row is looked at again when it is due.
    for attempt in attempts:
        PaymentAttempt.objects.filter(id=attempt.id).update(due_at=attempt.opened_at)
    assert lifecycle.publish_owed().published == 3
    assert sorted(found["attempt_id"] for found in ids("charge")) == sorted(str(attempt.id) for attempt in attempts)


def test_after_a_failure_nothing_is_tried_for_a_while(
    settings: Settings, captured_logs: Logs, use_broker: UseBroker, silent_server: SilentServer
) -> None:
    settings.PAYMENT_PUBLISH_TIMEOUT_SECONDS, settings.PAYMENT_PUBLISH_PAUSE_SECONDS = 0.2, 3600
    use_broker(silent_broker(silent_server))
    for _ in range(5):
        dispatch.publish_later(job=dispatch.charge(attempt_id=AN_ID))
    assert dispatch.flush(timeout_seconds=10)
    dispatch.publish_later(job=dispatch.charge(attempt_id=AN_ID))
    assert dispatch.flush(timeout_seconds=0), "a job must not wait for the pause to end"
    assert dispatch.publish(jobs=[dispatch.charge(attempt_id=AN_ID)] * 5) == 0
    assert silent_server.connections == 1
    assert dropped(captured_logs) == ["broker_failed"] + ["broker_failed_just_now"] * 6


def test_when_the_pause_is_over_the_broker_is_asked_again(
    settings: Settings, captured_logs: Logs, use_broker: UseBroker
) -> None:
    settings.PAYMENT_PUBLISH_PAUSE_SECONDS = 0
    use_broker(NOBODY_LISTENS)
    for _ in range(2):
        dispatch.publish_later(job=dispatch.charge(attempt_id=AN_ID))
        assert dispatch.flush(timeout_seconds=10)
    assert dropped(captured_logs) == ["broker_failed"] * 2


def test_publishing_several_stops_at_the_first_that_the_broker_refuses(
    captured_logs: Logs, broker_is_away: None
) -> None:
    taken_from = iter([dispatch.charge(attempt_id=AN_ID)] * 5)
    assert dispatch.publish(jobs=taken_from) == 0
    assert len(list(taken_from)) == 4
    assert dropped(captured_logs) == ["broker_failed"]


def test_publishing_counts_what_the_broker_took() -> None:
    assert dispatch.publish(jobs=[]) == 0
    assert dispatch.publish(jobs=[dispatch.charge(attempt_id=AN_ID)] * 3) == 3
    assert len(messages("charge")) == 3


# Processes


def run(script: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a few lines in a process of their own, to its end."""
    return subprocess.run(
        [sys.executable, "-c", "import django; django.setup()\nfrom payments import dispatch\n" + script],
        cwd=CHECKOUT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "project.settings.test",
            "REDIS_URL": django_settings.REDIS_URL,
            "CELERY_BROKER_URL": django_settings.CELERY_BROKER_URL,
            **environment,
        },
        check=False,
        timeout=60,
    )


def test_a_process_that_ends_publishes_what_it_holds() -> None:
    assert run(PUBLISH_LATER).returncode == 0
    assert ids("announce") == [{}]


def test_a_process_ends_although_its_broker_is_silent(silent_server: SilentServer) -> None:
    ended = run(PUBLISH_LATER, CELERY_BROKER_URL=silent_broker(silent_server))
    assert ended.returncode == 0
    assert (silent_server.connections, silent_server.is_released) == (1, False)


def test_a_forked_process_publishes_with_a_thread_of_its_own() -> None:
    forked = run(
        "import os, sys\n"
        f"{PUBLISH_LATER}\n"
        "assert dispatch.flush(timeout_seconds=10)\n"
        "child = os.fork()\n"
        f"{PUBLISH_LATER}\n"
        "flushed = dispatch.flush(timeout_seconds=10)\n"
        "if child == 0: os._exit(0 if flushed else 1)\n"
        "sys.exit(os.waitpid(child, 0)[1])\n"
    )
    assert forked.returncode == 0
    assert ids("announce") == [{}] * 3
