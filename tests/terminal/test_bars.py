"""`watch` and `run` at a terminal: what a person sees on the screen."""

import signal
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from tests.conftest import MakeServer
from tests.harness import RouterControl, ServerProcess, eventually
from tests.terminal.support import Piped, Terminal, environment
from tests.terminal.test_watch import RETRY_MS, of, publish, stop
from wellnet_sse.progress.events import timestamp
from wellnet_sse.progress.paces import FEWEST_SAMPLES
from wellnet_sse.terminal.bars import Bars
from wellnet_sse.terminal.following import Told
from wellnet_sse.terminal.story import Story

pytestmark = pytest.mark.slow


async def test_run_draws_each_step_and_the_whole(
    server: ServerProcess, router: RouterControl, tmp_path: Path, user: int
) -> None:
    await router.behave("unreachable")
    run = ["run", "eliminar", "--id-conexion", "21", "--operation", "one", *of(server, user)]
    async with Terminal(run, environment(tmp_path)) as terminal:
        screen = await terminal.shows("remove-router", "20 %", "Conectando con el router...", "40 % in all")
        service, conecting, config = screen.splitlines()[1:4]
        assert service.split()[:2] == ["✔", "remove-service"]
        assert conecting.split()[0] in "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
        assert config.split()[:2] == ["·", "remove-config"]
        assert [line.count("━") + line.count("╸") + line.count("╺") for line in screen.splitlines()[1:4]] == [
            24
        ] * 3
        await terminal.shows("0:01")
        assert not terminal.shows_cursor
        await router.behave("normal")
        assert await terminal.ended() == 0
        lines = terminal.screen.splitlines()
        assert [line.split()[0] for line in lines] == ["one", "✔", "✔", "✔", lines[4].split()[0]]
        assert "100 % completed  0:0" in lines[4]
        assert "Configuración eliminada del sistema" in lines[3]
        assert terminal.shows_cursor


async def test_a_step_that_is_stuck_is_marked_until_it_is_heard_of(
    make_server: MakeServer, tmp_path: Path, user: int
) -> None:
    server = await make_server(demo=False)
    async with server.http(user=user) as client:
        await learn(client)
        await publish(client, "one", "in_progress", 10)
        async with (
            Terminal(["watch", "one", *of(server, user)], environment(tmp_path)) as terminal,
            Piped("watch", "--all", *of(server, user)) as piped,
        ):
            await terminal.shows("in_progress 10  silent for longer than usual")
            await eventually(lambda: STUCK in piped.errors)
            await publish(client, "one", "in_progress", 30)
            assert "silent" not in await terminal.shows("in_progress 30")
            await publish(client, "one", "completed", 100)
            await stop(client, "one")
            assert await terminal.ended() == 0
            assert piped.errors.count(STUCK) == 1


STUCK = "one: copy is silent for longer than usual"


async def learn(client: httpx.AsyncClient) -> None:
    """Let the server see a handful of steps, none of them slow."""
    for number in range(FEWEST_SAMPLES):
        await publish(client, f"op-{number}", "in_progress", 10)
        await publish(client, f"op-{number}", "completed", 100)


async def test_lost_connection_is_said_and_the_picture_goes_on(
    make_server: MakeServer, tmp_path: Path, user: int
) -> None:
    server = await make_server(demo=False, retry_ms=RETRY_MS)
    async with Terminal(["watch", "one", *of(server, user)], environment(tmp_path)) as terminal:
        await terminal.shows("nothing has happened yet")
        async with server.http(user=user) as client:
            await client.post("/api/operaciones", json={"operation_id": "one", "steps": ["copy", "check"]})
            await publish(client, "one", "in_progress", 10)
        await terminal.shows("in_progress 10", "5 % in all")
        await server.kill()
        await terminal.shows("in_progress 10", "trying again in")
        await server.start()
        async with server.http(user=user) as client:
            await publish(client, "one", "in_progress", 30)
            screen = await terminal.shows("in_progress 30", "15 % in all")
            assert "trying again" not in screen
            await publish(client, "one", "error", 0)
            await stop(client, "one")
        assert await terminal.ended() == 3
        assert "✘ copy" in terminal.screen
        assert "failed" in terminal.screen


async def test_several_operations_are_drawn_and_ended_ones_stay_above(
    server: ServerProcess, mine: httpx.AsyncClient, tmp_path: Path, user: int
) -> None:
    async with Terminal(["watch", "--all", *of(server, user)], environment(tmp_path)) as terminal:
        for operation in ("one", "two", "three"):
            await publish(mine, operation, "in_progress", 10)
        screen = await terminal.shows("one", "two", "three")
        assert "% in all" not in screen, "nobody declared how much there is"
        await publish(mine, "two", "completed", 100)
        await stop(mine, "two")
        screen = await terminal.shows("completed  0:0")
        assert screen.index("two") < screen.index("one") < screen.index("three")
        terminal.process.send_signal(signal.SIGINT)
        assert await terminal.ended() == 130
        assert terminal.shows_cursor
        assert "Traceback" not in terminal.screen


async def test_message_cannot_steer_the_terminal(
    server: ServerProcess, mine: httpx.AsyncClient, tmp_path: Path, user: int
) -> None:
    body = {"status": "in_progress", "message": "\x1b[2J\x1b]0;evil\x07[red]x\x9b31m\ny", "progress": 10}
    assert (await mine.post("/api/operaciones/one/pasos/copy", json=body)).status_code == 201
    async with Terminal(["watch", "one", *of(server, user)], environment(tmp_path)) as terminal:
        await terminal.shows("�[2J�]0;evil�[red]x�31m�y")
        terminal.process.send_signal(signal.SIGTERM)
        assert await terminal.ended() == 143
        assert terminal.shows_cursor


# What the server foresees


def told(step: str, status: str, progress: int | None) -> Told:
    data = {"operation_id": "one", "step": step, "status": status, "message": "", "progress": progress}
    return Told("progress", None, {**data, "timestamp": timestamp(1_000_000)})


def drawn(story: Story, *, now: float) -> str:
    """The picture at `now`."""
    console = Console(width=110, color_system=None)
    with console.capture() as capture:
        console.print(Bars(story, console=console, now=lambda: now)._draw())
    return capture.get()


@pytest.mark.parametrize(
    ("now", "said"),
    [(1000, "0:00  about 0:30 left"), (1029, "0:29  about 0:01 left"), (1030, "0:30  less than 0:11 left")],
)
def test_time_left_is_drawn(now: float, said: str) -> None:
    story = Story()
    one = story.hear(told("copy", "in_progress", 40))
    assert one is not None
    one.foresee({"progress": 40, "estimate": {"p50": timestamp(1_030_000), "p90": timestamp(1_040_000)}})
    assert said in drawn(story, now=now)
    assert "left" not in drawn(story, now=1040), "it takes longer than nine in ten do"
    one.foresee({"progress": 40})
    assert "left" not in drawn(story, now=now)


def test_the_whole_has_a_number_only_where_its_steps_are_known() -> None:
    bare, announced, looked_up = Story(), Story(), Story()
    announced.hear(told("copy", "pending", 0))
    announced.hear(told("check", "pending", 0))
    for story in (bare, announced, looked_up):
        story.hear(told("copy", "completed", 100))
    one = looked_up.operations["one"]
    assert (bare.operations["one"].progress, announced.operations["one"].progress) == (None, 50)
    one.foresee({"progress": 100})
    assert one.progress == 100
    assert "100 % in all" not in drawn(bare, now=1000)
    assert "50 % in all" in drawn(announced, now=1000)
