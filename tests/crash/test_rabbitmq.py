"""RabbitMQ dies and comes back while customers go on paying, where one is installed to start a node of our own."""

import pytest

from tests.contract.sandbox_server import SandboxProcess
from tests.crash.home import RABBITMQ, Home, RabbitMQ
from tests.crash.shop import Shop

pytestmark = [
    pytest.mark.crash,
    pytest.mark.long,
    pytest.mark.skipif(not RABBITMQ.exists(), reason=f"there is no {RABBITMQ} to start a broker with"),
]

SOME = 15


def test_a_broker_that_is_killed_and_comes_back_is_used_again(
    home: Home, sandbox_process: SandboxProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sandbox_process.reset()
    folder = tmp_path_factory.mktemp("rabbitmq")
    rabbitmq = RabbitMQ(folder)
    with rabbitmq.running():
        # Processes: threads do not resume after RabbitMQ has dropped their connection.
        shop = Shop(folder, home=home, sandbox=sandbox_process, broker=rabbitmq.url, threads=4)
        shop.prepare()
        rabbitmq.wait()
        with shop.running():
            with shop.load(threads=1).running() as load:
                load.wait_for(SOME)
                rabbitmq.kill()
                rabbitmq.start()
                load.wait_for(SOME)
                rabbitmq.wait()
                load.wait_for(SOME)
            shop.assert_paid_once(load)
    assert set(load.answers) == {"order 201", "submit 202"}
