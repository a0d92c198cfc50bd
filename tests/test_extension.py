"""`QuartProgress` in somebody else's application, served for real and watched by other hands."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from quart import Quart, Response, request

from tests.harness import EventSourceClient, SseReader, eventually
from tests.harness.sse import Comment, Retry
from tests.simulated_router import served
from wellnet_sse import EventSourceResponse, Progress, QuartProgress, UserId, WellnetError
from wellnet_sse.brokers.memory import MemoryBroker
from wellnet_sse.progress.hub import Limits, wall_clock_ms
from wellnet_sse.progress.items import CloseReason
from wellnet_sse.progress.tracker import Lifetimes

USER = UserId(7)


class Shop:
    """An application that knows nothing of WellNet: it packs parcels, and people watch."""

    def __init__(self, extension: QuartProgress, **configuration: object) -> None:
        self.app = Quart("shop")
        self.app.config.update(configuration)
        self.when_stopping: Callable[[], None] = lambda: None
        self.app.after_serving(self._stopping)
        extension.init_app(self.app)
        self.progress = extension.progress
        self.go = asyncio.Event()

        @self.app.get("/parcels/<parcel>/events")
        async def watch(parcel: str) -> Response:
            cursor = request.headers.get("Last-Event-ID")
            return EventSourceResponse(
                self.progress.hub.subscribe(USER, operation_id=parcel, cursor=cursor), retry_ms=200
            )

        @self.app.post("/parcels/<parcel>")
        async def pack(parcel: str) -> tuple[str, int]:
            self.progress.supervisor.spawn(self.pack(parcel), name=f"pack {parcel}")
            return "", 202

        @self.app.errorhandler(WellnetError)
        async def refuse(error: WellnetError) -> tuple[str, int]:
            return error.detail, error.status

    async def _stopping(self) -> None:
        self.when_stopping()

    async def pack(self, parcel: str) -> None:
        async with self.progress.operation(parcel, user_id=USER, steps=["fetch", "wrap"]) as operation:
            async with operation.step("fetch") as step:
                await step.update(50, "Halfway \u2028 \U0001f680")
                await self.go.wait()
            async with operation.step("wrap", done="Wrapped"):
                pass


@pytest.fixture
async def shop() -> Shop:
    return Shop(QuartProgress(), QUART_PROGRESS_GRACE_SECONDS=0)


@pytest.fixture
async def url(shop: Shop) -> AsyncIterator[str]:
    async with served(shop.app) as url:
        yield url


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        yield http


async def test_a_parcel_is_watched_from_before_its_beginning_to_its_end(
    shop: Shop, url: str, http: httpx.AsyncClient
) -> None:
    async with SseReader(f"{url}/parcels/p1/events") as stream:
        opened = await stream.opened()
        assert opened.status == 200
        assert opened.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert [it.event for it in await stream.until_live()] == ["live"]
        assert (await http.post("/parcels/p1")).status_code == 202
        told = [await stream.next() for _ in range(3)]
        assert [it.json["status"] for it in told] == ["pending", "pending", "in_progress"]
        assert told[2].json["message"] == "Halfway \u2028 \U0001f680"
        shop.go.set()
        rest = await stream.rest()
    assert [it.event for it in rest] == ["message", "message", "end"]
    assert rest[1].json["message"] == "Wrapped"
    assert rest[2].json["outcome"] == "completed"
    await eventually(lambda: len(shop.progress.hub) == 0)


async def test_a_watcher_that_comes_back_resumes_where_it_was(
    shop: Shop, url: str, http: httpx.AsyncClient
) -> None:
    await http.post("/parcels/p1")
    async with SseReader(f"{url}/parcels/p1/events") as stream:
        first = (await stream.until_live())[0]
    await eventually(lambda: len(shop.progress.hub) == 0)
    shop.go.set()
    async with SseReader(f"{url}/parcels/p1/events", last_event_id=first.id) as stream:
        ids = [first.id, *[it.id for it in await stream.rest()]]
    assert [str(it).rpartition("-")[2] for it in ids] == ["2", "3", "4", "5", "6"]


async def test_a_browser_gets_a_heartbeat_and_a_bounded_retry(shop: Shop, url: str) -> None:
    async with SseReader(f"{url}/parcels/p1/events") as stream:
        await stream.until_live()
        retry = stream.lines[1]
        for subscription in shop.progress.hub.subscriptions():
            subscription.beat(time.monotonic())
        await stream.take(lambda line: isinstance(line, Comment))
    assert isinstance(retry, Retry)
    assert 150 <= retry.milliseconds <= 250


async def test_a_drained_stream_says_why_and_an_event_source_comes_back(shop: Shop, url: str) -> None:
    async with EventSourceClient(f"{url}/parcels/p1/events") as browser:
        await browser.until(lambda it: it.type == "live")
        for subscription in list(shop.progress.hub.subscriptions()):
            subscription.close(CloseReason.DRAIN)
        told = await browser.until(lambda it: it.type == "live")
    assert [it.type for it in told] == ["end", "error", "open", "live"]
    assert told[0].data == '{"reason":"drain"}'


async def test_what_runs_when_the_application_stops_is_told_as_interrupted(shop: Shop) -> None:
    async with served(shop.app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        await http.post("/parcels/p1")
        await eventually(shop.progress.broker.active_operations)
    found = await shop.progress.broker.operation(USER, "p1")
    assert found is not None
    assert found[0].outcome == "interrupted"
    assert len(shop.progress.supervisor) == 0


async def test_a_stopping_application_lets_work_end_within_its_grace() -> None:
    shop = Shop(QuartProgress(), QUART_PROGRESS_GRACE_SECONDS=5)
    async with served(shop.app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        await http.post("/parcels/p1")
        await eventually(shop.progress.broker.active_operations)
        shop.when_stopping = shop.go.set
    found = await shop.progress.broker.operation(USER, "p1")
    assert found is not None
    assert found[0].outcome == "completed"


# How it is set up


def test_it_may_be_given_its_application_at_once_or_later() -> None:
    app = Quart("shop")
    extension = QuartProgress(app)
    assert isinstance(extension.progress, Progress)
    assert app.extensions["progress"] is extension.progress


def test_its_configuration_has_defaults_that_can_be_seen() -> None:
    app = Quart("shop")
    QuartProgress(app)
    assert {key: value for key, value in app.config.items() if key.startswith("QUART_PROGRESS_")} == {
        "QUART_PROGRESS_HISTORY_SECONDS": 86400,
        "QUART_PROGRESS_HISTORY_EVENTS": 10_000,
        "QUART_PROGRESS_HEARTBEAT_SECONDS": 15,
        "QUART_PROGRESS_IDLE_SECONDS": 60,
        "QUART_PROGRESS_GRACE_SECONDS": 10,
    }


async def test_its_configuration_is_obeyed() -> None:
    shop = Shop(QuartProgress(), QUART_PROGRESS_IDLE_SECONDS=0.001, QUART_PROGRESS_HISTORY_EVENTS=5)
    progress = shop.progress
    await progress.name(USER, "op", steps=[f"s{n}" for n in range(20)])
    bounds = await progress.broker.bounds(USER)
    assert bounds[0] is not None
    assert bounds[0].seq > 10

    async def ended() -> bool:
        await progress.expire_silent()
        return progress.broker.active_operations() == 0

    await eventually(ended)


async def test_what_it_is_given_wins_over_the_configuration() -> None:
    broker = MemoryBroker(history_ms=1000, history_events=10, clock=wall_clock_ms)
    limits, lifetimes = Limits(heartbeat_seconds=3), Lifetimes(idle_seconds=4)
    extension = QuartProgress(Quart("shop"), broker=broker, limits=limits, lifetimes=lifetimes)
    assert extension.progress.broker is broker
    assert extension.progress.hub._limits is limits
    assert extension.progress._lifetimes is lifetimes
