"""`/docs`: a page that needs nothing from elsewhere and leaves nothing out."""

import re
from html.parser import HTMLParser

import httpx

from wellnet_sse.web import asyncapi, openapi
from wellnet_sse.web.docs import page

HTTP, PUSHED = openapi.document(), asyncapi.document()


class Read(HTMLParser):
    """What a page has: its text, its ids, where it leads, and what it would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.inline: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "each element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids += [given["id"]] if "id" in given else []
        if tag == "a":
            self.links.append(given["href"])
        self.loads += [given[name] for name in ("src", "href") if name in given and tag != "a"]
        if tag in {"script", "style"} or "style" in given or any(name.startswith("on") for name in given):
            self.inline.append(tag)
        if tag not in {"meta", "link"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_it_is_served_with_its_files_under_a_strict_policy(http: httpx.AsyncClient) -> None:
    answer = await http.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    read = Read(answer.text)
    assert read.inline == []
    assert read.loads == ["/static/page/icon.svg", "/static/docs/docs.css"]
    types = [(await http.get(it)).headers["content-type"] for it in read.loads]
    assert types == ["image/svg+xml", "text/css; charset=utf-8"]
    again = await http.get("/docs", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_its_links_lead_somewhere(http: httpx.AsyncClient) -> None:
    read = Read((await http.get("/docs")).text)
    assert len(read.ids) == len(set(read.ids))
    assert {link[1:] for link in read.links if link.startswith("#")} == set(read.ids)
    for link in {link for link in read.links if not link.startswith("#")}:
        assert (await http.get(link)).status_code == 200


def test_it_shows_all_of_both_documents() -> None:
    read = Read(page(HTTP, PUSHED))
    text = re.sub(r"\s+", " ", read.text)
    for path, item in HTTP["paths"].items():
        assert path in text
        for method in item.keys() & {"get", "head", "post"}:
            assert item[method]["operationId"] in read.ids
            assert item[method]["summary"].replace("`", "") in text
    for channel in PUSHED["channels"].values():
        assert channel["description"].replace("`", "") in text
    for message in PUSHED["components"]["messages"].values():
        assert message["summary"] in text
    for name, schema in (HTTP["components"]["schemas"] | PUSHED["components"]["schemas"]).items():
        assert f"schema-{name}" in read.ids
        assert schema.get("description", "").replace("`", "") in text
        assert all(field in text for field in schema.get("properties", {}))


def test_what_documents_say_is_text_and_no_markup() -> None:
    http = {**HTTP, "info": {**HTTP["info"], "description": "<script>`<b>`</script>"}}
    text = page(http, PUSHED)
    assert "&lt;script&gt;<code>&lt;b&gt;</code>&lt;/script&gt;" in text
