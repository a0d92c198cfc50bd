"""An address of its own for those who watch over the server."""

from pathlib import Path

from tests.harness import ServerProcess, free_port


async def test_who_watches_is_answered_there_and_nobody_else(tmp_path: Path) -> None:
    port = free_port()
    async with ServerProcess(tmp_path, settings={"WELLNET_METRICS_BIND": f"127.0.0.1:{port}"}) as server:
        async with server.http(user=7) as client:
            there = f"http://127.0.0.1:{port}"
            assert (await client.get(f"{there}/readyz")).status_code == 200
            assert (await client.get(f"{there}/healthz")).json() == {"status": "ok"}
            assert "wellnet_connections 0" in (await client.get(f"{there}/metrics")).text
            for path in ("/", "/api/metricas", "/sse/progress", "/ws/progress", "/api/operaciones"):
                assert (await client.get(there + path)).status_code == 404
        assert await server.terminate() == 0
        assert "Traceback" not in server.log, server.log
