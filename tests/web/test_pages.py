"""Pages and files are given to browsers as the strictest of them wants it, and nothing else is."""

import re
from pathlib import Path

import httpx
import pytest

from tests.conftest import MakeServer
from wellnet_sse.web.pages import CONTENT_SECURITY_POLICY, PAGES, STATIC

CLIENT = "/static/progress-client.js"


@pytest.mark.parametrize("path", [*PAGES, CLIENT, "/static/page/icon.svg"])
async def test_everything_is_given_under_a_strict_policy(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(path)
    assert response.status_code == 200
    assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-cache"


def test_policy_lets_nothing_in_from_elsewhere_and_nothing_inline() -> None:
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'; ")
    assert set(re.findall(r"[^\s;]+", CONTENT_SECURITY_POLICY)) == {
        "default-src", "script-src", "style-src", "connect-src", "img-src", "base-uri", "form-action",
        "frame-ancestors", "'none'", "'self'", "data:",
    }  # fmt: skip


@pytest.mark.parametrize("path", PAGES.values())
def test_pages_have_nothing_inline_and_nothing_of_others(path: str) -> None:
    text = (STATIC / path).read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|//", text.replace("<!-- ", ""))


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        (CLIENT, "text/javascript; charset=utf-8"),
        ("/static/page/icon.svg", "image/svg+xml"),
    ],
)
async def test_types_are_told(http: httpx.AsyncClient, path: str, content_type: str) -> None:
    assert (await http.get(path)).headers["Content-Type"] == content_type


async def test_what_has_not_changed_is_not_sent_again(http: httpx.AsyncClient) -> None:
    first = await http.get(CLIENT)
    assert first.content == (STATIC / "progress-client.js").read_bytes()
    again = await http.get(CLIENT, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = await http.get(CLIENT, headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


async def test_head_is_the_same_without_the_content(http: httpx.AsyncClient) -> None:
    got, asked = await http.get(CLIENT), await http.head(CLIENT)
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["Content-Length"] == got.headers["Content-Length"]
    assert asked.headers["ETag"] == got.headers["ETag"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../settings.py",
        "/static/%2e%2e/settings.py",
        "/static/..%2f..%2fpyproject.toml",
        "/static//etc/passwd",
        "/static/page/../../app.py",
        "/static/page/index.html",  # it is a page, whose gaps are filled in
        "/static/README.md",
        "/static/",
    ],
)
async def test_nothing_else_is_handed_out(http: httpx.AsyncClient, path: str) -> None:
    request = http.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())  # as it is: httpx would tidy it up
    response = await http.send(request)
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


async def test_files_are_only_read(http: httpx.AsyncClient) -> None:
    response = await http.post(CLIENT, json={})
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}


async def test_a_page_knows_how_users_are_known_and_who_tries_it_out(
    http: httpx.AsyncClient, make_server: MakeServer
) -> None:
    assert '<html lang="es" data-auth="documented" data-user="7"' in (await http.get("/")).text
    plain = await make_server(demo=False)
    async with plain.http() as client:
        assert '<html lang="es" data-auth="documented" data-user=""' in (await client.get("/")).text


def test_modules_import_what_is_there() -> None:
    """A browser resolves these names; a bundler never does."""
    for file in Path(STATIC).rglob("*.js"):
        for name in re.findall(r"^(?:import|export) .*?from '(\..*)';$", file.read_text(), re.MULTILINE):
            assert (file.parent / name).resolve().is_file(), f"{file.name} imports {name}"


async def test_other_origins_may_use_the_client_where_that_is_allowed(make_server: MakeServer) -> None:
    server = await make_server(demo=False, origins="https://wellnet-rd.com:444")
    async with server.http() as client:
        response = await client.get(CLIENT, headers={"Origin": "https://wellnet-rd.com:444"})
    assert response.headers["Access-Control-Allow-Origin"] == "https://wellnet-rd.com:444"
