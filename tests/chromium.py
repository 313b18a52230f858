"""A tab of a headless Chromium, driven by the DevTools protocol, for tests of pages."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest


def chromium() -> str | None:
    """Return the path of a Chromium that starts; an installation that was broken off leaves one that does not."""
    for name in ('chromium', 'chromium-browser', 'google-chrome'):
        path = shutil.which(name)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if path and subprocess.run([path, '--version'], capture_output=True, timeout=30).returncode == 0:
                return path
    return None


CHROMIUM = chromium()
NEEDS_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None, reason='no Chromium starts here (Debian: apt-get install chromium)'
)


class Browser:
    """A tab of a headless Chromium."""

    def __init__(self, folder: Path) -> None:
        arguments = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run']
        arguments += ['--remote-debugging-port=0', f'--user-data-dir={folder}', '--window-size=1200,800', 'about:blank']
        self.process = subprocess.Popen([CHROMIUM, *arguments], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        port = None
        while port is None and time.monotonic() < deadline:
            match = re.search(r'ws://127\.0\.0\.1:(\d+)/', self.process.stderr.readline())
            port = match and match[1]
        assert port, 'Chromium does not start'
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/json') as answer:
            tabs = [one for one in json.load(answer) if one['type'] == 'page']
        url = urlsplit(tabs[0]['webSocketDebuggerUrl'])
        self.socket = socket.create_connection((url.hostname, url.port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f'GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
            f'Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n'.encode()
        )
        head = b''
        while not head.endswith(b'\r\n\r\n'):
            head += self.socket.recv(1)
        self.numbers = itertools.count(1)
        self.errors: list[str] = []
        self.call('Page.enable')
        self.call('Runtime.enable')

    def call(self, method: str, **values: Any) -> dict:
        """Send a command and wait for its answer."""
        number = next(self.numbers)
        self._send(json.dumps(dict(id=number, method=method, params=values)).encode())
        while True:
            message = json.loads(self._receive())
            if message.get('method') == 'Runtime.exceptionThrown':
                self.errors.append(json.dumps(message['params']['exceptionDetails'])[:500])
            if message.get('method') == 'Page.javascriptDialogOpening':
                self._send(
                    json.dumps(dict(id=0, method='Page.handleJavaScriptDialog', params=dict(accept=True))).encode()
                )
            if message.get('id') == number:
                assert 'error' not in message, message
                return message['result']

    def _send(self, content: bytes) -> None:
        size = len(content)
        head = struct.pack('!BB', 0x81, 0x80 | size) if size < 126 else struct.pack('!BBH', 0x81, 0xFE, size)
        if size > 0xFFFF:
            head = struct.pack('!BBQ', 0x81, 0xFF, size)
        self.socket.sendall(head + b'\0\0\0\0' + content)

    def _receive(self) -> bytes:
        content, last = b'', False
        while not last:
            first, size = self._read(2)
            last, size = bool(first & 0x80), size & 0x7F
            if size > 125:
                size = int.from_bytes(self._read(2 if size == 126 else 8), 'big')
            content += self._read(size)
        return content

    def _read(self, size: int) -> bytes:
        content = b''
        while len(content) < size:
            content += self.socket.recv(size - len(content))
        return content

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page; promises are awaited."""
        answer = self.call('Runtime.evaluate', expression=script, awaitPromise=True, returnByValue=True)
        assert 'exceptionDetails' not in answer, answer
        return answer['result'].get('value')

    def until(self, script: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < deadline, (script, self.run("document.getElementById('message').textContent"))
            time.sleep(0.1)

    def open(self, address: str) -> None:
        """Open the page and wait until it is ready."""
        self.call('Page.navigate', url=address)
        self.until("!!document.body && document.body.dataset.ready === 'yes'")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a pixel of the image is on the screen."""
        place = f'(() => {{ const area = canvas.getBoundingClientRect(); return [area.left + ({x} + .5 - left) * zoom, '
        return tuple(self.run(place + f'area.top + ({y} + .5 - top_) * zoom] }})()'))

    def mouse(self, kind: str, x: float, y: float, shift: bool = False) -> None:
        """Press, move or release the left button at a pixel of the image."""
        column, row = self.at(x, y)
        values = dict(type=kind, x=column, y=row, button='left', buttons=1, clickCount=1, modifiers=8 * shift)
        self.call('Input.dispatchMouseEvent', **values)

    def click(self, x: float, y: float, shift: bool = False) -> None:
        """Click at a pixel of the image."""
        self.mouse('mousePressed', x, y, shift)
        self.mouse('mouseReleased', x, y, shift)

    def key(self, key: str, shift: bool = False) -> None:
        """Press a key."""
        for kind in ('keyDown', 'keyUp'):
            self.call('Input.dispatchKeyEvent', type=kind, key=key.upper() if shift else key, modifiers=8 * shift)

    def picture(self, path: Path) -> None:
        """Write a screenshot."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call('Page.captureScreenshot', format='png')['data']))

    def close(self) -> None:
        """End the browser."""
        self.socket.close()
        self.process.kill()
        self.process.wait()
