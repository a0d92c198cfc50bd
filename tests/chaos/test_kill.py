"""`kill -9` at any moment loses no event whose publisher was answered (protocol §8)."""

import pytest

from tests.chaos.storm import HEARTBEAT_SECONDS, Plan, report, storm
from tests.conftest import MakeServer

pytestmark = pytest.mark.slow

SHORT = Plan(
    seed=1,
    users=5,
    streams=20,
    followers=5,
    sockets=5,
    events_per_second=100,
    kills=3,
    calm_seconds=(0.3, 1.5),
)

LONG = Plan(
    seed=2,
    users=50,
    streams=200,
    followers=50,
    sockets=50,
    events_per_second=500,
    kills=12,
    calm_seconds=(1.0, 5.0),
)


async def test_a_server_killed_under_load_loses_nothing(make_server: MakeServer) -> None:
    server = await make_server(demo=False, heartbeat_seconds=HEARTBEAT_SECONDS)
    weather = await storm(server, SHORT)
    print(weather.figures())  # noqa: T201 - shown where it fails
    assert not report(weather)
    assert len(weather.ledger.answered) > 100


@pytest.mark.chaos
@pytest.mark.timeout(240)
async def test_many_readers_of_a_server_killed_again_and_again_lose_nothing(make_server: MakeServer) -> None:
    server = await make_server(demo=False, heartbeat_seconds=HEARTBEAT_SECONDS)
    weather = await storm(server, LONG)
    print(weather.figures())  # noqa: T201 - the figures of `make chaos ARGS=-s`
    assert not report(weather)
    assert weather.live_p99_seconds <= 3.0, weather.figures()
    # On a machine that does nothing else all of them are answered: this is so that it was a storm at all.
    assert weather.published_per_second > 0.5 * LONG.events_per_second, weather.figures()
