"""What the tests share: a real server in a process of its own, and clients nobody in this project wrote.

Servers: `ServerProcess`, `free_port`, `free_ports`, `Certificate` (TLS); `RouterControl` for a demo's router;
`ValkeyServer`, `ValkeyCluster`. Streams:
`SseReader` (eventsource-parser), `EventSourceClient` (undici's reconnecting EventSource), `CurlReader`.
Sockets: `LegacySocket` and `V2Socket` (PyPI websockets), `NodeSocket` (npm ws). Waiting: `eventually`. Every
wait has a deadline and fails with what was seen.
"""

from tests.harness.certificate import Certificate
from tests.harness.curl import CurlReader
from tests.harness.processes import StreamEndedError
from tests.harness.router import RouterControl
from tests.harness.server import ServerProcess, free_port, free_ports
from tests.harness.sockets import LegacySocket, NodeSocket, V2Message, V2Socket
from tests.harness.sse import BrowserEvent, EventSourceClient, Opened, SseEvent, SseReader
from tests.harness.valkey import ValkeyCluster, ValkeyServer
from tests.harness.waiting import eventually

__all__ = [
    "BrowserEvent",
    "Certificate",
    "CurlReader",
    "EventSourceClient",
    "LegacySocket",
    "NodeSocket",
    "Opened",
    "RouterControl",
    "ServerProcess",
    "SseEvent",
    "SseReader",
    "StreamEndedError",
    "V2Message",
    "V2Socket",
    "ValkeyCluster",
    "ValkeyServer",
    "eventually",
    "free_port",
    "free_ports",
]
