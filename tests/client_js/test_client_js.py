"""The browser client's own tests, which node's test runner runs: against fakes, and against the real server.

By hand: `WELLNET_TEST_PYTHON=$PWD/.venv/bin/python node --test tests/client_js/*.test.mjs`.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ServerProcess

HERE = Path(__file__).parent
FILES = sorted(path.name for path in HERE.glob("*.test.mjs"))
LIMIT_SECONDS = 90  # about 10 on an idle machine


@pytest.mark.timeout(LIMIT_SECONDS + 10)
def test_the_browser_client(server: ServerProcess) -> None:
    assert (HERE / "node_modules").is_dir(), "tests/client_js is not installed: run `make test`"
    process = subprocess.Popen(  # noqa: S603 - our own command
        ["node", "--test", f"--test-concurrency={len(FILES)}", "--test-reporter=spec", *FILES],  # noqa: S607
        cwd=HERE,
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "WELLNET_TEST_PYTHON": sys.executable,
            "WELLNET_TEST_SERVER": server.url,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            output, _ = process.communicate(timeout=LIMIT_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and so have its children
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, f"\n{output}"
