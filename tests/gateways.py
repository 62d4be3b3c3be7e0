"""Every gateway at once, as `make run` has them: faces of one sandbox."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from project.run import demo_gateways
from tests.contract.sandbox_server import SandboxProcess
from tests.system import System


def system_with_all(folder: Path, *, sandbox: SandboxProcess) -> Iterator[System]:
    """Run web, worker and beat that take every payment method of the demo shop."""

    def env(web_url: str) -> Mapping[str, str]:
        return {"PAYWINDOW_DEMO": "1", **demo_gateways({}, sandbox=sandbox.url, events=_events(web_url))}

    system = System(folder, sandbox=sandbox, env=env)
    try:
        system.start()
        yield system
    finally:
        system.stop()


def tell(system: System) -> None:
    """Have the sandbox send its events to this system."""
    system.sandbox.settings(webhook={"url": _events(system.web_url)})


def _events(web_url: str) -> str:
    return f"{web_url}/api/webhooks/{{gateway}}/"
