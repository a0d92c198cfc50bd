"""nchan in nginx, and the publisher that it needs: HTTP POSTs over a unix socket, one after another.

The publisher is another process, on the load client's core. nchan answers a POST after it has handed the
message to its readers, so it holds the publisher back when it cannot keep up.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.servers.common import Offer, dumps, event, listen_for_commands, offer_of, tell

CONFIGURATION = """\
load_module {module};
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    nchan_shared_memory_size 512M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /sse/progress {{
            nchan_subscriber eventsource;
            nchan_channel_id $arg_userId;
            nchan_eventsource_ping_interval 15;
        }}
    }}
    server {{
        listen unix:{folder}/publish.sock;
        location = /publish {{
            nchan_publisher http;
            nchan_channel_id $arg_userId;
            nchan_message_buffer_length 1000;
            nchan_message_timeout 60s;
        }}
    }}
}}
"""
START_SECONDS = 10.0


class Publisher:
    """Publishes over one connection that is kept open."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))

    def publish_all(self, command: dict[str, Any]) -> None:
        """Publish an offer and tell what came of it."""
        offer = offer_of(command)
        published, late_ns = 0, 0
        while (due_ns := offer.due_ns(published)) < offer.end_ns:
            now_ns = time.monotonic_ns()
            if now_ns >= offer.end_ns:
                break
            if due_ns > now_ns:
                time.sleep((due_ns - now_ns) / 1e9)
                continue
            late_ns = max(late_ns, now_ns - due_ns)
            self._post(offer, published)
            published += 1
        tell(published=published, late_ms=late_ns / 1e6)

    def _post(self, offer: Offer, number: int) -> None:
        body = dumps(event(offer, number)).encode()
        self._socket.sendall(
            b"POST /publish?userId=%d HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (offer.user(number), len(body), body)
        )
        answer = b""
        while not _is_whole(answer):
            if not (more := self._socket.recv(65536)):
                raise ConnectionError("nginx closed the publisher's connection")
            answer += more
        if not answer.startswith(b"HTTP/1.1 20"):
            raise ConnectionError(f"nginx refused a message: {answer!r}")


def _is_whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    return len(body) >= int(length or b"0")


def main() -> None:
    """Run nginx on the servers' core and publish from this one, until the harness is gone."""
    root = Path(os.environ["BENCH_NGINX_ROOT"])
    port = int(os.environ["BENCH_PORT"])
    core = int(os.environ["BENCH_SERVER_CORE"])
    with tempfile.TemporaryDirectory(prefix="nchan-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's worker is another user where it is started by root
        configuration = folder / "nginx.conf"
        module = root / "usr/lib/nginx/modules/ngx_nchan_module.so"
        configuration.write_text(CONFIGURATION.format(module=module, folder=folder, port=port))
        nginx = subprocess.Popen(  # noqa: S603 - our own command
            [root / "usr/sbin/nginx", "-p", folder, "-c", configuration],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - there is one thread
        )
        try:
            publisher = Publisher(_ready(folder / "publish.sock", nginx))
            pids = [nginx.pid, _worker(nginx)]
            tell(port=port, pids=pids, publisher_pid=os.getpid(), versions={})
            commands: list[dict[str, Any]] = []
            listen_for_commands(commands.append, ended=lambda: os.kill(os.getpid(), signal.SIGTERM))
            while True:
                if commands:
                    publisher.publish_all(commands.pop(0))
                time.sleep(0.01)
        finally:
            nginx.terminate()
            nginx.wait(START_SECONDS)


def _worker(nginx: subprocess.Popen[bytes]) -> int:
    """The one process that does nginx's work; its sockets are open a moment before it is there."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if children := Path(f"/proc/{nginx.pid}/task/{nginx.pid}/children").read_text().split():
            return int(children[0])
        time.sleep(0.01)
    raise TimeoutError("nginx has no worker")


def _ready(path: Path, nginx: subprocess.Popen[bytes]) -> Path:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if nginx.poll() is not None:
            raise RuntimeError("nginx ended while it started")
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(path))
                return path
        except OSError:
            time.sleep(0.01)
    raise TimeoutError("nginx is not ready")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    main()
