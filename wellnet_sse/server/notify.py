"""Tells systemd how it goes (`Type=notify`): sd_notify(3), without its library."""

import logging
import os
import socket

log = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Send `READY=1`, `STOPPING=1`, ... to the manager; started by none, nothing is done."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket: systemd writes its NUL as @
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(state.encode(), address)
    except OSError as error:  # it serves all the same, and a manager that waits in vain will say so
        log.warning("manager_not_told", extra={"state": state, "error": str(error)})
