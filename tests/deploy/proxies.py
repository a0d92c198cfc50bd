"""The real nginx and Caddy with the configurations of deploy/, on ports and in folders of a test's own."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import httpx

from tests.harness import Certificate, eventually, free_port
from tests.harness.processes import installed, tied

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
UPSTREAM = "127.0.0.1:4440"
RETRY = ("retry: 2000", "retry: 200")
"""Clients of a test have less time."""


class Change(NamedTuple):
    """What else is put in the place of what, all over the configuration."""

    old: str
    new: str


class Proxy:
    """A running proxy in front of a server; `async with` starts and ends it."""

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        *,
        ports: tuple[int, int],
        certificate: Certificate | None,
    ) -> None:
        """Without a `certificate` it speaks in clear."""
        self.directory = directory
        self._certificate = certificate
        self.ports = ports
        secure = "" if certificate is None else "s"
        self.url, self.documented_url = (f"http{secure}://127.0.0.1:{port}" for port in ports)
        self.ws_url = f"ws{secure}://127.0.0.1:{ports[0]}"
        self._command = tied(command)
        self._output = directory / "output.log"

    async def __aenter__(self) -> Self:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.directory)}
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - one of ours, below
                self._command,
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            await eventually(self._listens, timeout_seconds=10)
        except BaseException:
            self._sweep()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sweep()

    @property
    def certificate(self) -> Certificate:
        """Its certificate, where it speaks TLS."""
        assert self._certificate is not None
        return self._certificate

    def http(self, *, user: int | None = None) -> httpx.AsyncClient:
        """Return a new client that speaks with the server through it; close it with `async with`."""
        headers = {} if user is None else {"X-User-ID": str(user)}
        verify = True if self._certificate is None else self._certificate.trust()
        return httpx.AsyncClient(
            base_url=self.url, headers=headers, verify=verify, trust_env=False, timeout=10
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its first process."""
        self._process.send_signal(number)

    def written(self) -> str:
        """All that it wrote, to its logs and to its terminal."""
        return "\n".join(path.read_text() for path in sorted(self.directory.glob("*.log")))

    async def _listens(self) -> bool:
        assert self._process.poll() is None, self.written()
        for port in self.ports:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
        return True

    def _sweep(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class MakeProxy(Protocol):
    """Makes a proxy in front of `upstream` (host:port); `changes` are made to its configuration as well."""

    def __call__(
        self, directory: Path, certificate: Certificate, upstream: str, *changes: Change
    ) -> Proxy: ...


def nginx(directory: Path, certificate: Certificate, upstream: str, *changes: Change) -> Proxy:
    """nginx as deploy/nginx.conf has it."""
    site = (DEPLOY / "nginx.conf").read_text()
    return _nginx(site, directory, certificate, upstream, *changes)


def nginx_over_http_1_0(directory: Path, certificate: Certificate, upstream: str, *changes: Change) -> Proxy:
    """The same, but it speaks with the server as it does unless told otherwise."""
    return nginx(directory, certificate, upstream, Change("    proxy_http_version 1.1;\n", ""), *changes)


def bare_nginx(directory: Path, certificate: Certificate, upstream: str, *changes: Change) -> Proxy:
    """nginx with its defaults, which know nothing of streams, and what sites often add."""
    site = """
        gzip on; gzip_types *; gzip_min_length 1;
        server {
            listen 443 ssl http2; listen [::]:443 ssl http2;
            listen 444 ssl http2; listen [::]:444 ssl http2;
            ssl_certificate /etc/letsencrypt/live/wellnet-rd.com/fullchain.pem;
            ssl_certificate_key /etc/letsencrypt/live/wellnet-rd.com/privkey.pem;
            location / { proxy_pass http://127.0.0.1:4440; }
        }
    """
    return _nginx(site, directory, certificate, upstream, *changes)


def _nginx(site: str, directory: Path, certificate: Certificate, upstream: str, *changes: Change) -> Proxy:
    directory.mkdir()
    ports = free_port(), free_port()
    own = [
        Change("listen [::]:443 ssl http2;", ""),
        Change("listen [::]:444 ssl http2;", ""),
        Change("listen 443 ", f"listen 127.0.0.1:{ports[0]} "),
        Change("listen 444 ", f"listen 127.0.0.1:{ports[1]} "),
        Change(UPSTREAM, upstream),
        Change("/etc/letsencrypt/live/wellnet-rd.com/fullchain.pem", str(certificate.path)),
        Change("/etc/letsencrypt/live/wellnet-rd.com/privkey.pem", str(certificate.key)),
    ]
    if "/var/log/nginx" in site:
        own.append(Change("/var/log/nginx", str(directory)))
    (directory / "site.conf").write_text(changed(site, *own, *changes))
    # One process, so that it ends with the test run however that ends.
    (directory / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{_temporary(directory)}include {directory}/site.conf;\n}}\n"
    )
    command = [installed("nginx"), "-p", str(directory), "-e", "stderr", "-c", str(directory / "nginx.conf")]
    return Proxy(command, directory, ports=ports, certificate=certificate)


def _temporary(directory: Path) -> str:
    return "".join(
        f"{kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )


def compose_nginx(directory: Path, *upstreams: str, changes: Sequence[Change] = ()) -> Proxy:
    """nginx as deploy/compose/nginx.conf has it, before these nodes (host:port); it speaks in clear.

    It is one process, as `nginx` is, unless `changes` say how it is to be started.
    """
    directory.mkdir()
    port = free_port()
    nodes = [Change(f"node-{n}:4440", upstream) for n, upstream in enumerate(upstreams, 1)]
    own = [
        Change("    resolver 127.0.0.11 valid=5s;\n", ""),  # Docker's, which looks for nodes that have moved
        Change(" resolve ", " "),
        Change("listen 8080", f"listen 127.0.0.1:{port}"),
        Change("/dev/stdout", f"{directory}/access.log"),
        Change("/dev/stderr", f"{directory}/error.log"),
        Change("pid /tmp/nginx.pid;", f"pid {directory}/nginx.pid;\ndaemon off;\nmaster_process off;"),
        Change("http {\n", f"http {{\n{_temporary(directory)}"),
    ]
    file = directory / "nginx.conf"
    file.write_text(changed((DEPLOY / "compose" / "nginx.conf").read_text(), *own, *nodes, *changes))
    command = [installed("nginx"), "-p", str(directory), "-e", "stderr", "-c", str(file)]
    return Proxy(command, directory, ports=(port, port), certificate=None)


def caddy(directory: Path, certificate: Certificate, upstream: str, *changes: Change) -> Proxy:
    """Caddy as deploy/Caddyfile has it."""
    directory.mkdir()
    ports = free_port(), free_port()
    sites = ", ".join(f"https://127.0.0.1:{port}" for port in ports)
    own = [
        # Nobody steers it, and it gets no certificate by itself, nor redirects from port 80.
        Change("{\n\t# Errors", "{\n\tadmin off\n\tauto_https off\n\t# Errors"),
        Change(
            "wellnet-rd.com, wellnet-rd.com:444 {", f"{sites} {{\n\ttls {certificate.path} {certificate.key}"
        ),
        Change(UPSTREAM, upstream),
        Change("/var/log/caddy", str(directory)),
    ]
    file = directory / "Caddyfile"
    file.write_text(changed((DEPLOY / "Caddyfile").read_text(), *own, *changes))
    command = [installed("caddy"), "run", "--adapter", "caddyfile", "--config", str(file)]
    return Proxy(command, directory, ports=ports, certificate=certificate)


def changed(text: str, *changes: Change) -> str:
    """Return the text with the changes; each must find what it changes.

    All at once: what one has put in, a port for instance, may look like what another is to change.
    """
    put = {change.old: change.new for change in changes}
    for old in put:
        assert old in text, f"{old!r} is not in the configuration any more"
    return re.sub("|".join(map(re.escape, put)), lambda found: put[found[0]], text)
