"""The store over TLS: one server, Sentinels, a Cluster. It is the system's Redis: our Valkey knows no TLS."""

import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.brokers.changes import USER, update
from tests.brokers.valkey.conftest import MakeNode
from tests.conftest import MakeServer
from tests.doctor.support import SECRET, said
from tests.harness import Certificate, SseReader, ValkeyCluster, ValkeyServer, eventually, free_port
from tests.progress.reading import Reader
from wellnet_sse.brokers.valkey.url import parse
from wellnet_sse.errors import ConfigurationError, UnavailableError

pytestmark = pytest.mark.system

RIGHTS = "~wellnet:* &wellnet:* +@all -@dangerous"
"""What docs/deployment.md gives our account."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def redis(
    tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> AsyncIterator[ValkeyServer]:
    """A Redis that has an account `progress`, with the secret as its password."""
    async with ValkeyServer(tmp_path_factory.mktemp("redis"), certificate=certificate) as server:
        await server.call("ACL", "SETUSER", "progress", "on", f">{SECRET}", *RIGHTS.split())
        yield server


@pytest.fixture
def other_certificate(tmp_path: Path) -> Certificate:
    """Which nobody trusts."""
    (tmp_path / "other").mkdir()
    return Certificate.make(tmp_path / "other")


def url_of(server: ValkeyServer, **options: object) -> str:
    """As the account of ours, trusting these certificates."""
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"rediss://progress:{SECRET}@127.0.0.1:{server.port}?{query}"


@asynccontextmanager
async def changed(server: ValkeyServer, options: Mapping[str, object]) -> AsyncIterator[Redis]:
    """Change its configuration in the block, over a connection that was there before and stays."""
    async with server.client() as client:
        await client.ping()

        async def change(values: Mapping[str, object]) -> None:
            words = [str(word) for option in values.items() for word in option]
            await client.execute_command("CONFIG", "SET", *words)  # type: ignore[no-untyped-call]  # theirs

        await change(options)
        try:
            yield client
        finally:
            await change({name: server.options[name] for name in options})


async def test_a_server_publishes_and_delivers_over_it_and_the_doctor_finds_it_well(
    make_server: MakeServer, redis: ValkeyServer
) -> None:
    assert redis.certificate is not None
    url = url_of(redis, ssl_ca_certs=redis.certificate.path)
    server = await make_server(demo=False, broker_url=url)
    async with server.http(user=7) as client, SseReader(f"{server.url}/sse/progress?userId=7") as reader:
        await reader.until_live()
        answer = await client.post(
            "/api/operaciones/import-1/pasos/copy",
            json={"status": "in_progress", "message": "Copiando...", "progress": 40},
        )
        assert answer.status_code == 201
        assert (await reader.next()).id == answer.json()["cursor"]
        assert (await client.get("/readyz")).status_code == 200
    found = await said("doctor", directory=server.directory, settings={"broker_url": url})
    assert (found.code, found.states("history")) == (0, ["ok"])
    assert await server.terminate() == 0
    assert SECRET not in server.log
    assert "history_away" not in server.log


async def test_who_is_not_trusted_is_named_and_the_password_is_not(
    make_server: MakeServer, redis: ValkeyServer, other_certificate: Certificate
) -> None:
    url = url_of(redis, ssl_ca_certs=other_certificate.path)
    with pytest.raises(AssertionError, match="ended while it started") as caught:
        await make_server(demo=False, broker_url=url)
    assert "certificate verify failed: self-signed certificate" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert SECRET not in str(caught.value)


async def test_what_tls_finds_wrong_is_said(
    make_node: MakeNode, redis: ValkeyServer, certificate: Certificate
) -> None:
    elsewhere = url_of(redis, ssl_ca_certs=certificate.path).replace("127.0.0.1", "127.1")
    for url, reason in (
        (url_of(redis), "self-signed certificate"),  # the system does not know it
        (elsewhere, "certificate is not valid for '127.1'"),
    ):
        with pytest.raises(ConfigurationError, match=f"WELLNET_BROKER_URL.*({reason})"):
            await make_node(url)
    # Both are asked for on purpose.
    await make_node(f"{elsewhere}&ssl_check_hostname=false")
    await make_node(url_of(redis, ssl_cert_reqs="none"))


async def test_a_server_may_want_to_see_our_certificate(
    make_node: MakeNode, redis: ValkeyServer, certificate: Certificate, other_certificate: Certificate
) -> None:
    trusting = url_of(redis, ssl_ca_certs=certificate.path)

    def as_whom(ours: Certificate) -> str:
        return f"{trusting}&ssl_certfile={ours.path}&ssl_keyfile={ours.key}"

    async with changed(redis, {"tls-auth-clients": "yes"}):
        node = await make_node(as_whom(certificate))
        assert (await node.broker.append(USER, "op", update())).records
        with pytest.raises(ConfigurationError, match="certificate required"):
            await make_node(trusting)
        with pytest.raises(ConfigurationError, match="unknown ca"):
            await make_node(as_whom(other_certificate))


async def test_an_account_without_the_rights_is_told(
    make_node: MakeNode, redis: ValkeyServer, certificate: Certificate
) -> None:
    url = url_of(redis, ssl_ca_certs=certificate.path).replace("progress", "stranger")
    for rights in (
        "~wellnet:* +@all",
        "&wellnet:* +@all",
        "~wellnet:* &wellnet:* +@all -time",
        "+@all -evalsha",
    ):
        await redis.call("ACL", "SETUSER", "stranger", "reset", "on", f">{SECRET}", *rights.split())
        with pytest.raises(ConfigurationError, match=r"WELLNET_BROKER_URL: .*(permisos|derecho)"):
            await make_node(url)


async def test_files_that_cannot_be_used_are_told_before_anybody_is_called(
    certificate: Certificate, other_certificate: Certificate, tmp_path: Path
) -> None:
    crossed = f"ssl_certfile={certificate.path}&ssl_keyfile={other_certificate.key}"
    for query, reason in (
        (f"ssl_ca_certs={tmp_path}/none.pem", "ssl_ca_certs: cannot be read: No such file"),
        ("ssl_ca_certs=", "ssl_ca_certs: cannot be read"),
        (f"ssl_ca_certs={certificate.key}", "ssl_ca_certs: no certificates in PEM"),
        (f"ssl_keyfile={certificate.key}", "ssl_keyfile: ssl_certfile is needed, too"),
        (crossed, "ssl_certfile, ssl_keyfile: not a certificate and its key"),
    ):
        with pytest.raises(ConfigurationError, match=f"^WELLNET_BROKER_URL: {reason}"):
            parse(f"rediss://nobody.invalid?{query}")


async def test_connections_share_what_is_read_once(
    make_node: MakeNode, redis: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's certificates take some 40 ms, in which nobody else has a turn."""
    made: list[ssl.SSLContext] = []
    real = ssl.create_default_context

    def make(*arguments: object, **options: object) -> ssl.SSLContext:
        made.append(real(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", make)
    node = await make_node(redis.url)
    await node.broker.append(USER, "op", update())
    await redis.call("CLIENT", "KILL", "TYPE", "normal")
    await node.broker.check()
    ours = [
        context for context in made if context is node.broker._link.shards.of(0).pool.connection_kwargs["tls"]
    ]
    assert len(ours) == 1
    assert len(made) == 1 + 1, "and one of the client that killed"


async def test_why_it_is_away_is_logged_once_and_that_it_is_back(
    make_node: MakeNode,
    redis: ValkeyServer,
    certificate: Certificate,
    other_certificate: Certificate,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A certificate that was replaced by one that nobody trusts."""
    node = await make_node(url_of(redis, ssl_ca_certs=certificate.path), wait_seconds=0.5)
    caplog.set_level(logging.INFO, "wellnet_sse.brokers.valkey.shards")
    shown = {"tls-cert-file": other_certificate.path, "tls-key-file": other_certificate.key}
    async with changed(redis, shown) as client:
        await client.client_kill_filter(_type="normal", skipme=True)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await node.broker.check()
    await node.broker.check()
    away, back = [record for record in caplog.records if record.message.startswith("history_")]
    assert (away.message, back.message) == ("history_away", "history_back")
    assert "certificate verify failed" in away.detail  # type: ignore[attr-defined]
    assert SECRET not in caplog.text


async def test_a_cluster_is_spoken_to_over_it(
    make_node: MakeNode, certificate: Certificate, tmp_path: Path
) -> None:
    async with ValkeyCluster(tmp_path / "cluster", certificate=certificate) as cluster:
        node = await make_node(cluster.url)
        await node.broker.check()
        async with Reader(node.hub.subscribe(USER)) as reader:
            await reader.until_live()
            await node.broker.append(USER, "op", update())
            await reader.until(1)


async def test_sentinels_are_asked_over_it(
    make_node: MakeNode, certificate: Certificate, other_certificate: Certificate, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(ValkeyServer(tmp_path / "primary", certificate=certificate))
        configuration = tmp_path / "sentinel.conf"
        configuration.write_text(f"sentinel monitor main 127.0.0.1 {primary.port} 1\n")
        sentinel = await stack.enter_async_context(
            ValkeyServer(
                tmp_path / "sentinel",
                port=free_port(),
                certificate=certificate,
                options={"requirepass": SECRET},
                mode=[str(configuration), "--sentinel"],
            )
        )
        named = f"rediss+sentinel://127.0.0.1:{sentinel.port}/main?sentinel_password={SECRET}"

        async def knows() -> bool:
            return "'status': 'ok'" in str(await sentinel.call("INFO", "sentinel"))

        await eventually(knows)
        node = await make_node(f"{named}&ssl_ca_certs={certificate.path}")
        assert (await node.broker.append(USER, "op", update())).records
        with pytest.raises(ConfigurationError, match="self-signed certificate"):
            await make_node(f"{named}&ssl_ca_certs={other_certificate.path}")
        with pytest.raises(ConfigurationError, match="no acepta el usuario o la contraseña") as caught:
            await make_node(f"{named}-wrong&ssl_ca_certs={certificate.path}")
        assert SECRET not in str(caught.value)
