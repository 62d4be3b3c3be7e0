"""Nobody starts containers here: what can be known of them from their files is checked."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from project.run import read_procfile

CHECKOUT = Path(__file__).resolve().parents[2]
APP = ("web", "worker", "upkeep", "announce", "beat", "flower", "migrate")
STORES = ("postgres", "valkey", "rabbitmq")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
    return found


def shell_line(service: dict[str, Any]) -> str:
    shell, flag, line = service["command"]
    assert (shell, flag) == ("sh", "-c")
    return str(line).replace("$$", "$")


def required_variables() -> set[str]:
    text = (CHECKOUT / "project" / "settings" / "production.py").read_text()
    return set(re.findall(r'required_text\("(\w+)"', text))


def test_every_part_of_the_system_is_there(services: dict[str, Any]) -> None:
    assert set(services) == {*APP, *STORES}


@pytest.mark.parametrize("name", ["web", "worker", "upkeep", "announce", "beat", "flower"])
def test_commands_are_those_of_the_procfile(services: dict[str, Any], name: str) -> None:
    assert shell_line(services[name]) == read_procfile(CHECKOUT / "Procfile")[name]


@pytest.mark.parametrize("name", APP)
def test_everything_that_production_requires_is_given(services: dict[str, Any], name: str) -> None:
    required = required_variables()
    assert {"DATABASE_URL", "DJANGO_SECRET_KEY", "JWT_ALGORITHM"} <= required
    environment = services[name]["environment"]
    assert environment["DJANGO_SETTINGS_MODULE"] == "project.settings.production"
    # Without REDIS_URL a container would start a Valkey of its own.
    assert required | {"REDIS_URL", "CELERY_BROKER_URL", "DJANGO_ALLOWED_HOSTS", "JWT_JWKS_URL"} <= set(environment)


def test_no_secret_has_a_default(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable, value in service["environment"].items():
            if re.search("PASS|KEY|AUTH", variable) and (name, variable) != ("rabbitmq", "RABBITMQ_DEFAULT_PASS"):
                assert re.fullmatch(r"\$\{\w+:(\?.+|-)\}", value), f"{name}: {variable}"  # Required, or none.
    assert "RABBITMQ_DEFAULT_PASS:?" in services["rabbitmq"]["entrypoint"][2]
    assert "guest" not in (CHECKOUT / "docker-compose.yml").read_text()


def test_no_store_is_published_and_the_rest_only_locally(services: dict[str, Any]) -> None:
    for name in STORES:
        assert "ports" not in services[name]
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_processes_wait_for_healthy_stores_and_a_migrated_database(services: dict[str, Any]) -> None:
    for name in STORES:
        assert services[name]["healthcheck"]["test"]
    for name in APP:
        conditions = {what: how["condition"] for what, how in services[name]["depends_on"].items()}
        migrated = {} if name == "migrate" else {"migrate": "service_completed_successfully"}
        assert conditions == {"postgres": "service_healthy", "valkey": "service_healthy"} | migrated


def test_rabbitmq_is_started_only_when_asked_for(services: dict[str, Any]) -> None:
    assert [name for name, service in services.items() if service.get("profiles")] == ["rabbitmq"]


def test_image_copies_what_exists_and_is_not_ignored() -> None:
    text = (CHECKOUT / "Dockerfile").read_text()
    sources = [line.split()[1] for line in text.splitlines() if re.match(r"COPY (?!--from)", line)]
    assert {"project", "payments", "workers", "beat_schedules", "manage.py", "requirements.lock"} == set(sources)
    allowed = (CHECKOUT / ".dockerignore").read_text().splitlines()
    for source in sources:
        assert (CHECKOUT / source).exists()
        assert f"!{source}" in allowed


def test_image_runs_as_an_ordinary_user_from_hashed_packages() -> None:
    text = (CHECKOUT / "Dockerfile").read_text()
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["paywindow"]
    assert "--require-hashes" in text


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_lock_names_versions_and_hashes_and_no_place(name: str) -> None:
    lines = (CHECKOUT / name).read_text().splitlines()
    pattern = r"[A-Za-z0-9._-]+==[^ ]+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?"
    assert [line for line in lines if not re.fullmatch(pattern, line)] == []
