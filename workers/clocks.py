"""Every worker process watches the clocks: the one that talks to the broker, and on a pool of processes each of it."""

from celery.signals import worker_process_init, worker_process_shutdown, worker_ready, worker_shutdown

from payments import clockwatch


@worker_ready.connect
@worker_process_init.connect
def watch(**_: object) -> None:
    """Begin to watch."""
    clockwatch.start()


@worker_shutdown.connect
@worker_process_shutdown.connect
def stop_watching(**_: object) -> None:
    """Stop with the process."""
    clockwatch.stop()
