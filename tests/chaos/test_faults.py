"""The same promise over a bad network: connections cut, late, in single bytes, and stalled."""

from dataclasses import replace

import pytest

from tests.chaos import test_kill
from tests.chaos.proxy import Faults
from tests.chaos.storm import HEARTBEAT_SECONDS, report, storm
from tests.conftest import MakeServer

pytestmark = pytest.mark.slow

SHORT = replace(test_kill.SHORT, seed=3, kills=1, calm_seconds=(2.0, 3.0), faults=Faults())

LONG = replace(test_kill.LONG, seed=4, kills=10, calm_seconds=(2.0, 5.0), faults=Faults())


async def test_a_bad_network_and_a_kill_lose_nothing(make_server: MakeServer) -> None:
    server = await make_server(demo=False, heartbeat_seconds=HEARTBEAT_SECONDS)
    weather = await storm(server, SHORT)
    print(weather.figures())  # noqa: T201 - shown where it fails
    assert not report(weather)
    assert weather.proxied["cut"] > 5, weather.figures()


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_many_readers_on_a_bad_network_of_a_server_killed_again_and_again_lose_nothing(
    make_server: MakeServer,
) -> None:
    server = await make_server(demo=False, heartbeat_seconds=HEARTBEAT_SECONDS)
    weather = await storm(server, LONG)
    print(weather.figures())  # noqa: T201 - the figures of `make chaos ARGS=-s`
    assert not report(weather)
    for fault in ("cut", "split", "delayed", "stalled"):
        assert weather.proxied[fault] > 50, weather.figures()
