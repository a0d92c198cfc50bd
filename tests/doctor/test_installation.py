"""`doctor` at an installation: each part well, and each part ill."""

import os
import resource
import time
from pathlib import Path

import pytest

from tests.conftest import MakeServer
from tests.doctor.support import SECRET, said
from tests.harness import RouterControl, ValkeyServer, free_port
from wellnet_sse.storage.database import Database
from wellnet_sse.storage.inspection import schema_versions


async def test_new_installation_is_fine_and_nothing_is_made(tmp_path: Path) -> None:
    found = await said("doctor", directory=tmp_path)
    assert found.code == 0, found.text
    assert "is not there yet; `serve` makes it" in found.text
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a Path would be read in this loop, too


async def test_running_server_is_fine_and_goes_on(make_server: MakeServer, user: int) -> None:
    server = await make_server()
    found = await said("doctor", "--url", server.url, directory=server.directory)
    assert (found.code, found.wrong) == (0, set()), found.text
    assert found.states("database") == ["ok", "ok"]
    assert "sql://, which a server has open" in found.text
    assert found.states("router") == ["ok"]
    assert [found.states(it) for it in ("server", "stream", "events", "websocket")] == [["ok"]] * 4
    async with server.http(user=user) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/metrics")).text.count("wellnet_connections 0") == 1


async def test_stopped_server_is_told(make_server: MakeServer) -> None:
    server = await make_server()
    assert await server.terminate() == 0
    found = await said("doctor", "--url", server.url, directory=server.directory)
    assert found.code == 1
    assert "sql://, which no server has open" in found.text
    assert found.wrong == {"router", "server"}, "the simulated router ended with it"
    assert "router-demo: " in found.text
    assert "See that it runs" in found.text


@pytest.mark.parametrize(
    ("settings", "wrong", "named"),
    [
        ({"heartbeat_second": 1}, "settings", "did you mean WELLNET_HEARTBEAT_SECONDS?"),
        ({"bind": "0.0.0.0:4440"}, "settings", "WELLNET_AUTH must be set"),
        ({"database_url": f"mysql://me:{SECRET}@db/wellnet"}, "database", "WELLNET_DATABASE_URL"),
        (
            {"database_url": f"postgresql://me:{SECRET}@127.0.0.1:1/wellnet"},
            "database",
            "Start it, and see that WELLNET_DATABASE_URL names it",
        ),
    ],
)
async def test_what_is_set_wrongly_is_named(
    tmp_path: Path, settings: dict[str, object], wrong: str, named: str
) -> None:
    found = await said("doctor", directory=tmp_path, settings=settings)
    assert (found.code, found.wrong) == (1, {wrong})
    assert named in found.text


async def test_tables_of_another_version_are_told(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "wellnet.db").touch()
    found = await said("doctor", directory=old)
    assert (found.code, found.states("database")) == (0, ["doubt", "ok"])
    assert "its tables are of version none" in found.text


async def test_database_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/wellnet.db")
    await database.migrate()
    assert len(set(await schema_versions(database))) == 1
    await database.aclose()
    with (tmp_path / "wellnet.db").open("r+b") as file:  # "file format": a newer one may be read, not written
        file.seek(18)
        file.write(b"\x03")
    found = await said("doctor", directory=tmp_path)
    assert found.wrong == {"database"}
    assert "it can be read and not written" in found.text
    assert (await said("doctor", directory=tmp_path)).code == 1


async def test_clock_that_is_behind_is_told(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/wellnet.db")
    await database.migrate()
    await database.aclose()
    later = time.time() + 4000
    os.utime(tmp_path / "wellnet.db", (later, later))
    found = await said("doctor", directory=tmp_path)
    assert found.wrong == {"clock"}
    assert "Set the clock" in found.text


async def test_history_that_ends_with_the_process_is_doubted(make_server: MakeServer) -> None:
    server = await make_server()
    found = await said("doctor", directory=server.directory, settings={"broker_url": "memory://"})
    assert (found.code, found.states("history")) == (0, ["doubt"])


async def test_valkey_is_asked(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/wellnet.db")
    await database.migrate()
    await database.aclose()
    options = {"requirepass": SECRET}
    async with ValkeyServer(tmp_path / "valkey", options=options) as valkey:
        found = await said("doctor", directory=tmp_path, settings={"broker_url": valkey.url})
        assert (found.code, found.states("history")) == (0, ["ok"])
        refused = await said(
            "doctor", directory=tmp_path, settings={"broker_url": valkey.url.replace(SECRET, "other")}
        )
        assert refused.wrong == {"history"}
        assert "Correct WELLNET_BROKER_URL" in refused.text
    away = await said("doctor", directory=tmp_path, settings={"broker_url": valkey.url})
    assert away.wrong == {"history"}
    assert "Valkey does not answer" in away.text


async def test_routers_are_asked_and_not_changed(make_server: MakeServer) -> None:
    port = free_port()
    server = await make_server(demo_router_bind=f"127.0.0.1:{port}", router_password=SECRET)
    router = RouterControl(port)
    before = await router.calls()
    refused = await said("doctor", directory=server.directory, settings={"router_password": "other"})
    assert refused.wrong == {"router"}
    assert "WELLNET_ROUTER_PASSWORD" in refused.text
    fine = await said("doctor", directory=server.directory, settings={"router_password": SECRET})
    assert fine.states("router") == ["ok"]
    assert await router.calls() == before + 2
    await router.behave("unreachable")
    silent = await said("doctor", directory=server.directory, settings={"router_timeout_seconds": 0.3})
    assert silent.wrong == {"router"}
    assert "See that it is on" in silent.text


async def test_few_open_files_are_doubted(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))  # which the doctor inherits
    try:
        found = await said("doctor", directory=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (found.code, found.states("files")) == (0, ["doubt"])
    assert "LimitNOFILE" in found.text
