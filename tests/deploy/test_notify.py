"""What systemd is told (`Type=notify`): that it serves once it does, and that it stops when it must."""

import asyncio
import secrets
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.harness import ServerProcess, eventually
from wellnet_sse.server.notify import notify


class Manager:
    """systemd's end: a datagram socket at `address`, as it stands in NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(address.replace("@", "\0", 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def told(self) -> str:
        """Wait for the next that it is told."""
        async with asyncio.timeout(20):
            return (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode()

    def told_nothing(self) -> bool:
        """Say whether nothing is left that it was told."""
        try:
            return not self._socket.recv(4096)
        except BlockingIOError:
            return True


@pytest.fixture
def manager() -> Iterator[Manager]:
    """One at a short path: such a path has at most 107 bytes, so not pytest's own."""
    with (
        tempfile.TemporaryDirectory(prefix="notify-") as directory,
        Manager(f"{directory}/socket") as manager,
    ):
        yield manager


def server_under(manager: Manager, directory: Path, *arguments: str, **settings: object) -> ServerProcess:
    environment = {f"WELLNET_{name.upper()}": value for name, value in settings.items()}
    return ServerProcess(
        directory, arguments=arguments, settings={"NOTIFY_SOCKET": manager.address, **environment}
    )


async def test_it_is_ready_when_it_serves_and_stops_when_it_is_told_to(
    manager: Manager, tmp_path: Path
) -> None:
    server = server_under(manager, tmp_path, "--demo", demo_pace_seconds=1)
    try:
        await server.start(ready=False)
        assert await manager.told() == "READY=1"
        async with server.http(user=7) as client:
            assert (await client.get("/readyz")).status_code == 200
            work = {"X-Operation-ID": "remove", "Prefer": "respond-async"}
            begun = await client.post("/api/conexiones/eliminar", json={"id_conexion": 3}, headers=work)
            assert begun.status_code == 202
            ending = asyncio.create_task(server.terminate())
            assert await manager.told() == "STOPPING=1"
            # Told first, and then it lets the work end: systemd shows `deactivating` meanwhile.
            assert server.exit_code is None
            assert (await client.get("/readyz")).status_code == 503
            assert await ending == 0
        assert manager.told_nothing()
    finally:
        server.sweep()


async def test_it_is_not_ready_while_another_process_has_its_history(
    manager: Manager, tmp_path: Path
) -> None:
    async with ServerProcess(tmp_path) as first:
        second = server_under(manager, tmp_path)
        try:
            await second.start(ready=False)
            lock = tmp_path / "wellnet.db.lock"
            await eventually(
                lambda: any(lock.samefile(file) for file in Path(f"/proc/{second.pid}/fd").iterdir()),
                timeout_seconds=20,
            )
            assert manager.told_nothing()
            assert await first.terminate() == 0
            assert await manager.told() == "READY=1"
        finally:
            second.sweep()


async def test_it_is_never_ready_where_it_cannot_listen(manager: Manager, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = server_under(manager, tmp_path, "--bind", f"127.0.0.1:{taken.getsockname()[1]}")
        await server.start(ready=False)
        assert await server.wait() == 1
    assert "WELLNET_BIND: cannot listen" in server.log
    assert manager.told_nothing()


async def test_a_manager_at_an_abstract_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd has it in containers: @ stands for the NUL that such an address begins with."""
    with Manager(f"@wellnet-sse-{secrets.token_hex(8)}") as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
        notify("READY=1")
        assert await manager.told() == "READY=1"


def test_without_a_manager_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_manager_that_is_gone_is_no_reason_not_to_serve(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")
    assert caplog.messages == ["manager_not_told"]
