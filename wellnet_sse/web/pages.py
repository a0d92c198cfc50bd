"""What browsers are given: the pages, and the files of `static/` that they are made of.

All of it is read once, when the application is made: whatever path is asked for is looked up among the names
that were found then, so there is no way out of the folder.
"""

import html
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from quart import Blueprint, Response

from wellnet_sse.errors import NotFoundError
from wellnet_sse.web.etags import etag_of, unless_known
from wellnet_sse.web.services import Services

STATIC = Path(__file__).parent.parent / "static"

PAGES = {"/": "page/index.html", "/panel": "panel/index.html"}
"""Where each page is found, and the file that it is."""

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
"""What is handed out, and as what; files of any other kind are not."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    # The modules import each other by plain names: whoever has them asks each time whether they still are
    # the same (304), so that a browser never runs an old one beside a new one.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is answered."""

    content: bytes
    content_type: str
    etag: str

    @classmethod
    def of(cls, content: bytes, suffix: str) -> Self:
        """A file with that content; its tag changes with it."""
        return cls(content, TYPES[suffix], etag_of(content))

    def answer(self) -> Response:
        """The answer to whoever asks: the file, or that theirs is still it."""
        response = Response(self.content, content_type=self.content_type, headers=HEADERS)
        return unless_known(response, self.etag)


def read_files(folder: Path) -> dict[str, File]:
    """Every file that is handed out, by its path inside the folder."""
    return {
        path.relative_to(folder).as_posix(): File.of(path.read_bytes(), path.suffix)
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES and path.is_file()
    }


def blueprint(services: Services) -> Blueprint:
    """`/`, `/panel` and `/static/…`."""
    pages = Blueprint("pages", __name__)
    files = read_files(STATIC)

    @pages.get("/static/<text:name>")
    async def static(name: str) -> Response:
        if name not in files or name.endswith(".html"):
            raise NotFoundError("No existe ese archivo")
        return files[name].answer()

    for path, name in PAGES.items():
        page = _filled_in(files[name], _told(services))
        pages.add_url_rule(path, name.removesuffix(".html").replace("/", "_"), _view(page), methods=["GET"])
    return pages


def _view(page: File) -> Callable[[], Awaitable[Response]]:
    async def view() -> Response:
        return page.answer()

    return view


def _told(services: Services) -> Mapping[str, str]:
    """What a page is told of this server, as attributes of its root."""
    auth = services.settings.auth
    return {
        "auth": "" if auth is None else auth.value,
        "user": "" if services.demo_user is None else str(services.demo_user),
    }


def _filled_in(page: File, told: Mapping[str, str]) -> File:
    """The page with `{name}` in it replaced: an ordinary `str.format` would stumble over other braces."""
    text = page.content.decode()
    for name, value in told.items():
        text = text.replace(f"{{{name}}}", html.escape(value))
    return File.of(text.encode(), ".html")
