"""A certificate of the loopback, signed by itself."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, in PEM."""

    path: Path
    key: Path

    @classmethod
    def make(cls, directory: Path) -> Self:
        """Make one of `127.0.0.1` and `localhost`, in two files of the directory."""
        made = cls(directory / "tls.crt", directory / "tls.key")
        new = (
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=wellnet-sse"
        )
        names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        files = ["-out", str(made.path), "-keyout", str(made.key)]
        subprocess.run(["openssl", *new.split(), *names, *files], check=True, capture_output=True)  # noqa: S603, S607
        return made

    @property
    def settings(self) -> dict[str, object]:
        """The server's environment with it."""
        return {"WELLNET_TLS_CERTIFICATE": self.path, "WELLNET_TLS_KEY": self.key}

    def trust(self) -> ssl.SSLContext:
        """How a client of Python trusts it, and nothing else."""
        return ssl.create_default_context(cafile=str(self.path))
