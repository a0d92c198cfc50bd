"""`config`: whether the settings can be used, and where each comes from."""

from pathlib import Path

from tests.doctor.support import SECRET, said
from wellnet_sse.settings import PREFIX, Settings


async def test_good_settings_are_told_so(tmp_path: Path) -> None:
    found = await said("config", "check", directory=tmp_path, settings={"heartbeat_seconds": 20})
    assert found == (0, "The settings can be used.\n")


async def test_all_that_is_wrong_is_named(tmp_path: Path) -> None:
    bad = {"heartbeat_seconds": -1, "retry": 5, "router_password": SECRET}
    found = await said("config", "check", directory=tmp_path, settings=bad)
    assert found.code == 1
    assert "WELLNET_HEARTBEAT_SECONDS" in found.text
    assert "WELLNET_RETRY is not a setting" in found.text


async def test_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    tls = {"tls_certificate": tmp_path / "no.crt", "tls_key": tmp_path / "no.key"}
    found = await said("config", "check", directory=tmp_path, settings=tls)
    assert (found.code, "WELLNET_TLS_CERTIFICATE: cannot be read" in found.text) == (1, True)


async def test_key_of_tokens_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    settings = {"auth": "token", "token_key": SECRET}
    found = await said("config", "check", directory=tmp_path, settings=settings)
    assert (found.code, "WELLNET_TOKEN_KEY" in found.text) == (1, True)


async def test_each_setting_is_shown_with_its_source_and_without_secrets(tmp_path: Path) -> None:
    given = {
        "database_url": f"postgresql+asyncpg://wellnet:{SECRET}@db.internal/wellnet?password={SECRET}",
        "router_password": SECRET,
        "origins": "https://a.example,https://b.example",
        "token": SECRET,  # a client's, on the same machine
    }
    found = await said("config", "show", directory=tmp_path, settings=given)
    assert found.code == 0, found.text
    shown = {line.split()[0]: line.split()[1:] for line in found.text.splitlines()}
    assert shown.keys() == {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert shown["WELLNET_DATABASE_URL"] == [
        "environment",
        "postgresql+asyncpg://(hidden)@db.internal/wellnet?(hidden)",
    ]
    assert shown["WELLNET_ROUTER_PASSWORD"] == ["environment", "(hidden)"]
    assert shown["WELLNET_ORIGINS"] == ["environment", "https://a.example,", "https://b.example"]
    assert shown["WELLNET_HEARTBEAT_SECONDS"] == ["default", "15"]
    assert shown["WELLNET_TLS_KEY"] == ["default"]
