"""Doubles for the suites of weights: a real server on this machine, which misbehaves on demand, and a meter."""

from __future__ import annotations

import contextlib
import http.server
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Site:
    """What a server gives, and what it was asked."""

    address: str = ""
    #: Path -> bytes.
    files: dict[str, bytes] = field(default_factory=dict)
    #: The first answers: a status code, or how many bytes go out before the connection is cut.
    script: list[str | int] = field(default_factory=list)
    #: Whether it goes on in the middle of a file when asked to.
    knows_ranges: bool = True
    #: Whether it says how long an answer is.
    says_length: bool = True
    #: (path, range asked for or "") of every request.
    asked: list[tuple[str, str]] = field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        site = self.site
        wanted = self.headers.get("Range", "")
        site.asked.append((self.path, wanted))
        orders = site.script.pop(0) if site.script else ""
        if isinstance(orders, int) or self.path not in site.files:
            self.send_error(orders if isinstance(orders, int) else 404)
            return
        content, code, start = site.files[self.path], 200, 0
        if wanted and site.knows_ranges:
            start = int(re.findall(r"\d+", wanted)[0])
            code = 206 if start < len(content) else 416
        self.send_response(code)
        if code == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if site.says_length or code == 416:
            self.send_header("Content-Length", str(0 if code == 416 else len(content) - start))
        self.end_headers()
        rest = b"" if code == 416 else content[start:]
        self.wfile.write(rest[: int(orders)] if orders else rest)


@pytest.fixture
def site() -> Iterator[Site]:
    """A server on a free port of this machine, with range support; stopped when the test ends."""
    described = Site()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": described}))
    described.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield described
    finally:
        with contextlib.suppress(OSError):
            server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Meters:
    """Notes what a download shows; as a `Start`."""

    #: (title, total, advances, whether it was finished).
    shown: list[tuple[str, float, list[float], list[bool]]] = field(default_factory=list)

    def __call__(self, title: str, total: float) -> Any:
        """Begin."""
        self.shown.append((title, total, [], []))
        return self

    def advance(self, units: float) -> None:
        """So many bytes."""
        self.shown[-1][2].append(units)

    def finish(self) -> None:
        """The end."""
        self.shown[-1][3].append(True)


@pytest.fixture
def meters() -> Meters:
    """What shows progress and remembers it."""
    return Meters()
