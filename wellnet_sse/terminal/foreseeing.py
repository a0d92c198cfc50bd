"""What the server foresees of what goes on, which no stream tells: it is asked every two seconds."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from wellnet_sse.terminal.exits import RefusedError
from wellnet_sse.terminal.following import Stalled
from wellnet_sse.terminal.remote import BusyError, Remote, body_of
from wellnet_sse.terminal.story import OperationStory, Story

LOOK_SECONDS = 2.0
LIMIT = 100
"""Where all are followed: so many, the newest."""


async def foresee(
    remote: Remote,
    operation_id: str | None,
    story: Story,
    show: Callable[[Stalled, OperationStory], None],
) -> None:
    """Let the operations of `story` know their outlook, until cancelled; `show` each step that gets stuck."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if all(one.outcome is not None for one in story.operations.values()):
            continue
        try:
            states = await _states(remote, operation_id)
        except BusyError:
            continue  # whoever follows the stream says what is wrong
        except RefusedError:
            return  # it is followed all the same, without an outlook
        for state in states:
            one = story.operations.get(str(state.get("operation_id")))
            if one is not None and one.outcome is None:
                for step in one.foresee(state):
                    show(Stalled(one.operation_id, step), one)


async def _states(remote: Remote, operation_id: str | None) -> list[dict[str, Any]]:
    if operation_id is None:
        page = await body_of(await remote.ask("GET", f"/api/operaciones?limit={LIMIT}"))
        return list(page.get("operations", ()))
    return [await body_of(await remote.ask("GET", f"/api/operaciones/{quote(operation_id)}"))]
