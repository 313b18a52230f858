"""The page's server: the standard library's, on the loopback address, with a token."""

from __future__ import annotations

import hmac
import json
import secrets
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from mmengine.logging import print_log

import mmsam_ext

from ..errors import InferenceError
from .service import Service
from .store import ConflictError

PAGE = Path(mmsam_ext.__file__).resolve().parent / 'assets' / 'annotate.html'
#: Bytes of a request.
LARGEST_BODY = 64 * 2**20
#: Nothing is loaded from elsewhere, and no other page may show this one in a frame.
_POLICY = "default-src 'none'; img-src 'self' blob: data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
_POLICY += "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class PageServer(ThreadingHTTPServer):
    """Serve the page and its calls.

    Every request needs the token, in the address or in the header ``X-Token``; the name of the host must be the one
    that the server was started for, so that no other site can reach it by a name of its own; and a request from a page
    of another origin is rejected.

    Args:
        service: Answers the calls.
        host: Address to listen on.
        port: 0 for any that is free.
        token: None for a new one.

    Raises:
        InferenceError: The address cannot be listened on: a port in use or out of range, an unknown host.
    """

    daemon_threads = True

    def __init__(self, service: Service, host: str = '127.0.0.1', port: int = 0, token: str | None = None) -> None:
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, 'strerror', None) or error
            raise InferenceError(
                f'host {host}, port {port}: cannot be listened on ({reason}); expected an address of this computer '
                'and a port of 0 to 65535 that is free, 0 for any'
            ) from error
        self.service, self.token = service, token or secrets.token_urlsafe(24)
        self.hosts = {f'{name}:{self.server_port}' for name in {host, 'localhost', '127.0.0.1'}}

    @property
    def address(self) -> str:
        """The address to open, with the token."""
        return f'http://{self.server_address[0]}:{self.server_port}/?token={self.token}'


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = 'HTTP/1.1'
    server: PageServer

    def do_GET(self) -> None:
        """Answer with the page, or with a part of an image."""
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if not self._allowed(query.get('token', '')):
            return
        if url.path == '/':
            self._send(HTTPStatus.OK, 'text/html; charset=utf-8', PAGE.read_bytes())
        elif url.path == '/picture':
            self._answer(lambda: self.server.service.picture(query), 'image/jpeg')
        else:
            self._fail(HTTPStatus.NOT_FOUND, f'there is no page {url.path[:100]}')

    def do_POST(self) -> None:
        """Answer a call: POST /api/NAME with JSON."""
        if not self._allowed(''):
            return
        url = urlsplit(self.path)
        kind = self.headers.get('Content-Type', '').split(';')[0].strip()
        length = self.headers.get('Content-Length', '')
        if kind != 'application/json' or not length.isdigit() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self._fail(
                HTTPStatus.BAD_REQUEST,
                f'Content-Type {kind!r} with {length!r} bytes, expected application/json and at most {LARGEST_BODY}',
            )
            return
        body = self.rfile.read(int(length))

        def call() -> bytes:
            try:
                values = json.loads(body or b'{}')
            except ValueError as error:
                raise InferenceError(f'the body is not JSON ({error})') from error
            if not isinstance(values, dict):
                raise InferenceError(f'the body is a {type(values).__name__}, expected an object')
            name = url.path.removeprefix('/api/')
            return json.dumps(self.server.service.call(name, values)).encode()

        self._answer(call, 'application/json')

    def _allowed(self, token: str) -> bool:
        """Return whether host, origin and token are right; otherwise answer with the reason."""
        origin = self.headers.get('Origin')
        given = self.headers.get('X-Token') or token
        if self.headers.get('Host') not in self.server.hosts:
            reason = f'host {self.headers.get("Host")!r} is not that of this server'
        elif origin is not None and origin not in {f'http://{host}' for host in self.server.hosts}:
            reason = f'a page of {origin!r} may not use this server'
        elif not hmac.compare_digest(given.encode(), self.server.token.encode()):
            reason = 'the token is missing or wrong; open the address that the program printed'
        else:
            return True
        self.close_connection = True  # a body may be left unread
        self._fail(HTTPStatus.FORBIDDEN, reason)
        return False

    def _answer(self, make: Any, kind: str) -> None:
        try:
            self._send(HTTPStatus.OK, kind, make())
        except ConflictError as error:
            self._fail(HTTPStatus.CONFLICT, str(error))
        except (InferenceError, ValueError) as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except (BrokenPipeError, ConnectionError):  # the browser went away
            self.close_connection = True
        except OSError as error:
            self._fail(HTTPStatus.INSUFFICIENT_STORAGE, f'not saved: {error}')
        except Exception as error:  # a mistake in the program; the page shows it, the log has all of it
            print_log(traceback.format_exc(), logger='current')
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, f'{type(error).__name__}: {error}')

    def _fail(self, status: HTTPStatus, reason: str) -> None:
        self._send(status, 'application/json', json.dumps(dict(error=reason)).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {
            'Content-Type': kind, 'Content-Length': str(len(content)), 'Cache-Control': 'no-store',
            'Content-Security-Policy': _POLICY, 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer',
        }  # fmt: skip
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Print nothing for each request."""
