"""The page in a real browser."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import cv2
import pytest

from mmsam_ext.apis.annotation import Assistant, Store
from mmsam_ext.apis.annotation.server import PageServer
from mmsam_ext.apis.annotation.service import Service
from mmsam_ext.apis.annotation.training import Training
from mmsam_ext.cli import export
from mmsam_ext.datasets.synthetic.cracked_parts import cracked_part
from tests.chromium import NEEDS_CHROMIUM, Browser

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]


def serve(images: Path, dataset: Path) -> PageServer:
    store = Store(images, dataset, ['crack', 'dent'])
    assistant = Assistant('sam_tiny_synthetic', None, 'cpu')
    service = Service(store, assistant, Training(dataset, ('--size', '64', '--iterations', '2')))
    service.progress({})
    server = PageServer(service)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def end(server: PageServer) -> None:
    server.shutdown()
    server.server_close()
    server.service.training.stop()
    server.service.store.close()


SAVED = "document.getElementById('saved').textContent.startsWith('saved') && !unsaved"


def test_label_kill_go_on_train_and_export(browser: Browser, tmp_path: Path) -> None:
    """Label by a click and by a box, kill the server, go on, train, see proposals, export.

    With MMSAM_EXT_SCREENSHOTS=FOLDER, the screenshots of the documentation are written there.
    """
    images, dataset = tmp_path / 'images', tmp_path / 'dataset'
    images.mkdir()
    masks = {}
    for index in range(4):
        image, mask = cracked_part(40 + index, (160, 200), index != 3)
        cv2.imwrite(str(images / f'part {index}.png'), image)
        masks[index] = mask
    shots = Path(os.environ.get('MMSAM_EXT_SCREENSHOTS') or tmp_path / 'shots')
    server = serve(images, dataset)
    browser.open(server.address)
    y, x = (int(value[len(value) // 2]) for value in masks[0].nonzero())
    browser.click(x, y)
    browser.until('current !== null')
    browser.picture(shots / 'annotate_click.png')
    browser.key('c')
    browser.until(SAVED + ' && instances.length === 1')
    browser.key('n')
    browser.until("here() === 'part 1' && base !== null")
    left, top, width, height = cv2.boundingRect(masks[1])
    browser.key('b')
    browser.mouse('mousePressed', left, top)
    browser.mouse('mouseMoved', left + width / 2, top + height / 2)
    browser.mouse('mouseMoved', left + width - 1, top + height - 1)
    browser.mouse('mouseReleased', left + width - 1, top + height - 1)
    browser.until('current !== null')
    browser.key('2')
    browser.key('c')
    browser.until("instances.length === 1 && instances[0].class === 'dent' && !unsaved")
    end(server)  # killed: everything is on the disk
    assert {path.stem for path in (dataset / 'masks').glob('*.png')} == {'part 0', 'part 1'}

    server = serve(images, dataset)
    browser.open(server.address)
    browser.until("here() === 'part 2' && base !== null")
    assert '2 of 4' in browser.run("document.getElementById('progress').textContent")
    y, x = (int(value[len(value) // 2]) for value in masks[2].nonzero())
    browser.key('a')
    browser.click(x, y)
    browser.until('current !== null')
    browser.key('r')  # the brush adds to it, and undo takes that back
    area = browser.run('current.area')
    browser.mouse('mousePressed', 5, 5)
    browser.mouse('mouseMoved', 40, 5)
    browser.mouse('mouseReleased', 40, 5)
    browser.until(f'current.area > {area}')
    browser.key('z')
    browser.until(f'current.area === {area}')
    browser.key('c')
    browser.until('instances.length === 1 && !unsaved')
    browser.run("document.getElementById('train').click()")
    browser.until("document.getElementById('bar').hidden === false")
    browser.until("document.getElementById('training').textContent.startsWith('done')", 300)
    browser.until('proposals')
    browser.key('n')
    browser.until("here() === 'part 3' && base !== null && document.getElementById('message').textContent !== ''")
    browser.picture(shots / 'annotate_proposals.png')
    browser.key('0')  # no defect
    browser.until("images[3].status === 'normal'")
    assert 'all labelled' in browser.run("document.getElementById('progress').textContent")
    assert browser.errors == []
    end(server)
    browser.run("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")  # as when the program is gone
    browser.key('0')
    browser.until("document.getElementById('message').textContent.includes('does not answer')")
    assert browser.run("document.getElementById('saved').textContent") == 'not saved' and browser.run('unsaved')

    assert export.main(['--format', 'coco', str(dataset), '--out', str(tmp_path / 'coco')]) == 0
    coco = json.loads((tmp_path / 'coco/annotations.json').read_text())
    assert len(coco['images']) == 4 and {one['category_id'] for one in coco['annotations']} == {1, 2}
    tools = pytest.importorskip('pycocotools.coco')
    read = tools.COCO(str(tmp_path / 'coco/annotations.json'))
    for one in read.loadAnns(read.getAnnIds()):
        assert read.annToMask(one).sum() == one['area'] > 0
