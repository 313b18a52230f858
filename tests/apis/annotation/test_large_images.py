"""A photograph of 6000 x 4000 pixels in a real browser: what is sent, kept and saved.

    python -m pytest -s tests/apis/annotation/test_large_images.py

prints the memory and the times.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.apis.annotation.test_in_chromium import end, serve
from tests.chromium import NEEDS_CHROMIUM, Browser

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
WIDTH, HEIGHT = 6000, 4000


def memory(field: str) -> float:
    """Return VmRSS (now) or VmHWM (peak) of this process, which is the server, in MB."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def test_a_scratch_in_a_large_photograph(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / 'images').mkdir()
    image = np.full((HEIGHT, WIDTH, 3), 180, np.uint8)
    cv2.line(image, (4100, 3000), (4210, 3050), (20, 20, 20), 6)
    cv2.imwrite(str(tmp_path / 'images/large.jpg'), image)
    del image
    server = serve(tmp_path / 'images', tmp_path / 'dataset')
    sent: list[int] = []
    picture = server.service.picture
    server.service.picture = lambda values: (found := picture(values), sent.append(len(found)))[0]
    before, started, times = memory('VmRSS'), time.monotonic(), {}

    def took(what: str) -> None:
        nonlocal started
        times[what], started = round(time.monotonic() - started, 2), time.monotonic()

    browser.open(server.address)
    took('open')
    assert browser.run('[base.width, base.height]') == [1600, 1067]  # shrunk for the display
    browser.click(3000, 2000)  # on the whole image
    browser.until("current !== null || document.getElementById('message').textContent !== ''")
    took('click on the whole image')
    browser.key('c', shift=True)
    browser.run(
        'zoom = 2; left = 4155 - canvas.clientWidth / 4; top_ = 3025 - canvas.clientHeight / 4; draw(); sharpen()'
    )
    browser.until('detail !== null')
    took('zoom')
    part = json.loads(browser.run('JSON.stringify(detailAt)'))
    assert browser.run('[detail.width, detail.height]') == [part['width'], part['height']]  # full resolution
    browser.click(4155, 3025)
    browser.until('current !== null')
    took('click when zoomed in')
    browser.key('c')
    browser.until('instances.length === 1 && !unsaved')
    took('commit')
    assert browser.errors == []
    end(server)
    saved = cv2.imread(str(tmp_path / 'dataset/masks/large.png'), cv2.IMREAD_UNCHANGED)
    assert saved.shape == (HEIGHT, WIDTH)
    scratch = cv2.line(np.zeros((HEIGHT, WIDTH), np.uint8), (4100, 3000), (4210, 3050), 1, 6) > 0
    near = cv2.line(np.zeros((HEIGHT, WIDTH), np.uint8), (4100, 3000), (4210, 3050), 1, 26) > 0
    # One pixel of the network input is 23 of the image when all of it is seen, but less than 2 in the part.
    assert (saved[scratch] > 0).mean() > 0.3 and near[saved > 0].mean() > 0.95
    grown = memory('VmHWM') - before
    print(f'server: {before:.0f} MB before, at most {grown:.0f} MB more; pictures {sent} bytes; seconds {times}')
    assert max(sent) < 2**20 and grown < 700  # the image itself has 72 MB
