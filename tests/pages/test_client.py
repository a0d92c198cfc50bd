"""The client of static/ in a real browser: each event once, in order, come what may; and the page of old."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.chaos.checker import check, summary
from tests.chaos.ledger import Ledger, Log, Seen, seq_of
from tests.chaos.publisher import Publisher
from tests.harness import ServerProcess, eventually
from tests.pages.browser import Visitor
from tests.pages.conftest import Visit

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="package")]

LEGACY = Path(__file__).parent.parent.parent / "docs" / "examples" / "legacy-websocket.mjs"
PUBLISH_SECONDS = 0.02
CUT_SECONDS = 0.5
SOMEBODY = 999_999

FOLLOW = """async (userId) => {
    const { ProgressClient } = await import('/static/progress-client.js');
    window.client = new ProgressClient({ userId, timing: { firstRetryMs: 50, mostRetryMs: 400 } });
    window.told = [];
    const watch = client.watchAll();
    for (const type of ['live', 'progress', 'operation', 'gap']) {
        watch.addEventListener(type, ({ data, lastEventId }) => told.push({ type, id: lastEventId, data }));
    }
    await new Promise((resolve) => watch.addEventListener('live', resolve));
}"""


async def follow(visitor: Visitor) -> Page:
    """A tab with a client that notes all it is told; the page that it is on is somebody else's."""
    page = await visitor.context.new_page()
    await page.goto(f"{visitor.url}/?userId={SOMEBODY}")
    await page.evaluate(FOLLOW, visitor.user)
    return page


async def log_of(page: Page, user: int) -> Log:
    """What the tab was told, as if all of it had come over one connection: nothing may come twice."""
    told: list[dict[str, Any]] = await page.evaluate("told")
    kinds = {kind: [it for it in told if it["type"] == kind] for kind in ("live", "gap")}
    return Log(
        page.url,
        user,
        seen=[Seen(0, it["id"], it["data"]) for it in told if it["type"] in {"progress", "operation"}],
        asked=[None],
        gaps=[it["data"] for it in kinds["gap"]],
        complete_after=kinds["live"][0]["id"],
    )


async def level(page: Page, user: int, ledger: Ledger) -> Log:
    """Wait until the tab is up to date; return all it was told."""
    newest = max(seq_of(it.cursor) for it in ledger.answered)

    async def caught_up() -> bool:
        state, at = await page.evaluate("[client.connection.state, told.at(-1).id]")
        return state == "live" and seq_of(at) >= newest

    await eventually(caught_up, 20)
    return await log_of(page, user)


@pytest.mark.parametrize("rounds", [1, pytest.param(5, marks=pytest.mark.chaos)])
async def test_each_event_comes_once_through_kills_cuts_and_tabs_that_go(
    visiting: Visit, tmp_path: Path, rounds: int
) -> None:
    ledger = Ledger()
    async with (
        ServerProcess(tmp_path) as server,
        visiting(server) as visitor,
        asyncio.TaskGroup() as tasks,
    ):
        visitor.is_cut_off = True
        publishers = [
            Publisher(
                server.port, visitor.user, lane, seed=1, ledger=ledger, interval_seconds=PUBLISH_SECONDS
            )
            for lane in range(2)
        ]
        tabs = [await follow(visitor) for _ in range(3 + rounds)]
        publishing = [tasks.create_task(publisher.run()) for publisher in publishers]
        for _ in range(rounds):
            await server.kill()
            await server.start()
            for tab in tabs:
                await eventually(lambda: tab.evaluate("client.connection.state === 'live'"), 20)  # noqa: B023
            await visitor.context.set_offline(True)
            await asyncio.sleep(CUT_SECONDS)  # it tries in vain meanwhile
            await visitor.context.set_offline(False)
            await tabs.pop(0).close()  # the one that held the connection
        for publisher in publishers:
            publisher.finish()
        await asyncio.gather(*publishing)
        logs = [await level(tab, visitor.user, ledger) for tab in tabs]
    findings = check(ledger, logs)
    assert not findings, summary(findings)
    assert not ledger.faults
    assert len(ledger.answered) > 20 * rounds


async def test_page_of_old_works_as_it_is(visiting: Visit) -> None:
    source = LEGACY.read_text().replace("export ", "")
    async with visiting() as visitor:
        page = await visitor.open()
        told = await page.evaluate(
            f"""async (userId) => {{
                {source}
                const told = [];
                const ws = await conectar(location.origin, userId, (update) => told.push(update));
                const id = 'remove-config-1721181234567-abc123xyz';
                const connection = {{ id_conexion: 30, direccion_ip: '10.0.0.30', id_usuario: 3 }};
                const options = {{ base: location.origin, userId, operationId: id, ...connection }};
                await eliminarConexion(ws, options);
                return told;
            }}""",
            visitor.user,
        )
    assert [update["progress"] for update in told] == [10, 30, 80, 100, 20, 60, 100, 25, 70, 100]
    fields = ["operation_id", "step", "status", "message", "progress", "timestamp"]
    assert all(list(update) == fields for update in told)
