"""The page's server, asked as the page asks it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mmsam_ext.apis import PromptSegInferencer, SegmentEverything
from mmsam_ext.apis.annotation import Assistant, Store, first_proposals
from mmsam_ext.apis.annotation.assistant import region_of, stroke
from mmsam_ext.apis.annotation.first_proposals import by_boxes, by_words
from mmsam_ext.apis.annotation.server import PageServer
from mmsam_ext.apis.annotation.service import Service
from mmsam_ext.apis.annotation.training import Training
from mmsam_ext.apis.errors import InferenceError
from mmsam_ext.apis.exchange import read_source
from mmsam_ext.apis.exchange.labelled import Instance
from mmsam_ext.apis.fitting import read_folder
from mmsam_ext.datasets.synthetic.cracked_parts import cracked_part
from mmsam_ext.models.automatic.text_boxes import TextBoxes
from tests.naming import assert_names, raises_naming


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Five parts in a folder and a sub-folder, the third without a crack; an image of one pixel; a broken one."""
    folder = tmp_path / 'images'
    (folder / 'more').mkdir(parents=True)
    for index in range(5):
        image, _ = cracked_part(index, (60, 80), index != 2)
        cv2.imwrite(str(folder / ('more' if index > 2 else '') / f'part {index}.png'), image)
    cv2.imwrite(str(folder / 'dot.png'), np.zeros((1, 1, 3), np.uint8))
    return folder


class Client:
    """What a browser does."""

    def __init__(self, server: PageServer) -> None:
        self.server = server

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection('127.0.0.1', self.server.server_port, timeout=60)
        kinds = {'Content-Type': 'application/json', 'X-Token': self.server.token}
        sent = {key: value for key, value in {**kinds, **headers}.items() if value is not None}
        connection.request(method, path, body if isinstance(body, (bytes, str)) else json.dumps(body), sent)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def call(self, what: str, expect: int = 200, /, **values: Any) -> dict:
        status, content = self.request('POST', f'/api/{what}', values)
        assert status == expect, content
        return json.loads(content)


@pytest.fixture
def assistant(small_files: tuple[Path, Path]) -> Assistant:
    return Assistant(str(small_files[0]), str(small_files[1]), 'cpu')


def serve(images: Path, dataset: Path, assistant: Assistant) -> PageServer:
    store = Store(images, dataset, ['crack', 'dent'])
    server = PageServer(Service(store, assistant, Training(dataset, ('--size', '64', '--iterations', '2'))))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def end(server: PageServer) -> None:
    server.shutdown()
    server.server_close()
    server.service.training.stop()
    server.service.store.close()


@pytest.fixture
def client(images: Path, tmp_path: Path, assistant: Assistant) -> Iterator[Client]:
    server = serve(images, tmp_path / 'dataset', assistant)
    yield Client(server)
    end(server)


def bar(name: str, x: int, y: int, width: int, height: int) -> dict:
    mask = dict(size=[height, width], counts=[0, height * width])
    return {'class': name, 'box': [x, y, width, height], 'rle': mask}


def test_the_page_and_pictures(client: Client) -> None:
    status, page = client.request('GET', f'/?token={client.server.token}', b'')
    assert status == 200 and b'Shift+C' in page
    status, content = client.request('GET', '/picture?name=part%200&x=10&y=20&width=30&height=16', b'')
    assert status == 200 and cv2.imdecode(np.frombuffer(content, np.uint8), 1).shape == (16, 30, 3)
    status, content = client.request('GET', '/picture?name=part%200&side=20', b'')
    assert cv2.imdecode(np.frombuffer(content, np.uint8), 1).shape == (15, 20, 3)


def test_clicks_and_boxes_are_what_the_inferencer_says(client: Client, images: Path, small_files) -> None:
    inferencer = PromptSegInferencer(*small_files, device='cpu')
    inferencer.set_image(images / 'part 0.png')
    asked = [
        (dict(box=[10, 5, 60, 50], points=[], labels=[]), dict(boxes=[[10, 5, 60, 50]], multimask=False)),
        (
            dict(points=[[30, 20], [5, 5]], labels=[1, 0]),
            dict(points=[[[30, 20], [5, 5]]], point_labels=[[1, 0]], multimask=False),
        ),
        (dict(points=[[30, 20]], labels=[1]), dict(points=[[[30, 20]]], point_labels=[[1]], multimask='ambiguous')),
    ]
    for sent, given in asked:
        found = client.call('segment', name='part 0', **sent)
        masks, scores, _ = inferencer.predict(**given)
        assert found['score'] == pytest.approx(float(scores[0]), abs=1e-5)
        assert (found['instance'] is None) == (not masks[0].any())
        if found['instance'] is not None:
            assert found['instance']['area'] == int(masks[0].sum())


def test_label_and_go_on_after_a_kill(client: Client, images: Path, tmp_path: Path, assistant: Assistant) -> None:
    dataset = tmp_path / 'dataset'
    assert client.call('labels', name='part 0')['version'] == 0
    assert client.call('commit', name='part 0', version=0, instances=[bar('crack', 5, 6, 20, 3)])['version'] == 1
    two = [bar('dent', 70, 50, 10, 10), bar('crack', 0, 0, 2, 2)]
    client.call('commit', name='more/part 3', version=0, instances=two)
    client.call('commit', name='part 2', version=0, instances=[])  # no defect
    state = client.call('state')
    assert state['done'] == 3 and {one['name']: one['status'] for one in state['images']} == {
        'part 0': 'defect', 'part 1': 'new', 'part 2': 'normal', 'dot': 'new',
        'more/part 3': 'defect', 'more/part 4': 'new',
    }  # fmt: skip
    end(client.server)  # nothing is held back until the end
    server = serve(images, dataset, assistant)
    again = Client(server)
    assert again.call('state')['images'] == state['images']
    found = again.call('labels', name='more/part 3')
    assert [one['class'] for one in found['instances']] == ['dent', 'crack'] and found['version'] == 1
    client.server = server
    mask = cv2.imread(str(dataset / 'masks/more/part 3.png'), cv2.IMREAD_UNCHANGED)
    assert mask[55, 75] == 2 and mask[1, 1] == 1 and mask.sum() == 2 * 100 + 4
    assert (dataset / 'images/part 0.png').read_bytes() == (images / 'part 0.png').read_bytes()
    assert not (dataset / 'images/part 1.png').exists()
    facts = read_folder(dataset)  # what `fit` trains on
    assert facts.classes == ('crack', 'dent') and len(facts.images) == 3 and facts.normals == 1
    source = read_source(dataset)
    assert {image.name: len(image.instances) for image in source.images} == {'part 0': 1, 'part 2': 0, 'more/part 3': 2}


class Found:
    """A detector that finds one box in every image."""

    def find(self, image: torch.Tensor, captions: list, kind: str, sample: dict) -> TextBoxes:
        return TextBoxes(torch.tensor([[10.0, 5, 60, 50]]), torch.tensor([0.9]), ('dent',), torch.tensor([0]))


def test_proposals_before_the_first_training(images: Path, tmp_path: Path, small_files, monkeypatch) -> None:
    """By boxes and by words: the masks of the inferencer; everything: those of SegmentEverything."""
    model, weights = map(str, small_files)
    rows = [dict(file_name='part 0.png', bbox=[10, 5, 50, 45], score=0.9, category_id=1)]
    (tmp_path / 'boxes.json').write_text(json.dumps(rows))
    inferencer = PromptSegInferencer(model, weights, 'cpu')
    inferencer.set_image(images / 'part 0.png')
    wanted = inferencer.predict(boxes=[[10, 5, 60, 50]], multimask=False)[0][0]
    for number, first in enumerate(
        (by_boxes(str(tmp_path / 'boxes.json'), str(images)), by_words('scratch. dent.', Found()))
    ):
        server = serve(images, tmp_path / f'dataset {number}', Assistant(model, weights, 'cpu', first))
        client = Client(server)
        assert client.call('state')['proposals']
        found = client.call('propose', name='part 0')['instances']
        assert [(one['class'], one['area']) for one in found] == [(('crack', 'dent')[number], int(wanted.sum()))]
        assert len(client.call('propose', name='part 1')['instances']) == number  # the file has no box in it
        end(server)
    for name, value in dict(LEAST_IOU=-9.0, LEAST_STABILITY=0.0, LARGEST_SHARE=0.5, GRID=2).items():
        monkeypatch.setattr(first_proposals, name, value)
    found = first_proposals.everything(inferencer, str(images / 'part 0.png'))
    settings = dict(points_per_side=2, pred_iou_thresh=-9.0, stability_score_thresh=0.0)
    records = SegmentEverything(inferencer, **settings)(images / 'part 0.png')
    areas = [record['area'] for record in sorted(records, key=lambda record: -record['predicted_iou'])]
    assert [one.area for one in found] == [area for area in areas if area <= 0.5 * 60 * 80] and found


def test_two_tabs(client: Client) -> None:
    client.call('commit', name='part 0', version=0, instances=[bar('crack', 5, 6, 20, 3)])
    error = client.call('commit', 409, name='part 0', version=0, instances=[])['error']
    assert 'part 0' in error and 'tab' in error
    assert len(client.call('labels', name='part 0')['instances']) == 1


def test_a_full_disk_loses_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.call('commit', name='part 0', version=0, instances=[bar('crack', 5, 6, 20, 3)])
    with monkeypatch.context() as patch:

        def full(descriptor: int) -> None:
            raise OSError(28, 'No space left on device')

        patch.setattr('mmsam_ext.engine.hooks.atomic_checkpoint_hook.os.fsync', full)
        error = client.call('commit', 507, name='part 0', version=1, instances=[])['error']
        assert 'No space left' in error
    with monkeypatch.context() as patch:

        def half(source: Path, target: Path) -> None:
            target.write_bytes(b'half of it')
            raise OSError(28, 'No space left on device')

        patch.setattr('mmsam_ext.apis.annotation.store.shutil.copyfile', half)
        assert 'No space left' in client.call('commit', 507, name='part 1', version=0, instances=[])['error']
    assert not list(client.server.service.store.root.rglob('*.partial'))  # a part of an image would take the last space
    assert len(client.call('labels', name='part 0')['instances']) == 1
    assert client.call('commit', name='part 0', version=1, instances=[])['version'] == 2


def test_a_class_is_renamed_in_the_middle(client: Client, tmp_path: Path) -> None:
    client.call('commit', name='part 0', version=0, instances=[bar('crack', 5, 6, 20, 3)])
    assert client.call('rename_class', old='crack', new='hairline')['classes'] == ['hairline', 'dent']
    assert client.call('labels', name='part 0')['instances'][0]['class'] == 'hairline'
    assert cv2.imread(str(tmp_path / 'dataset/masks/part 0.png'), cv2.IMREAD_UNCHANGED).max() == 1
    assert json.loads((tmp_path / 'dataset/classes.json').read_text()) == ['hairline', 'dent']
    # Another tab still shows the old name; a name that no class ever had is an error.
    client.call('commit', name='part 1', version=0, instances=[bar('crack', 1, 1, 2, 2)])
    assert client.call('labels', name='part 1')['instances'][0]['class'] == 'hairline'
    error = client.call('commit', 400, name='part 1', version=1, instances=[bar('hole', 1, 1, 2, 2)])['error']
    assert 'hole' in error
    assert client.call('add_class', name='stain')['classes'][-1] == 'stain'
    for bad in ('', 'dent', 'a\nb', 'x' * 200):
        client.call('rename_class', 400, old='stain', new=bad)


def test_strangers_are_rejected(client: Client) -> None:
    port = client.server.server_port
    values = dict(name='part 0', version=0, instances=[])
    asked = [
        {'X-Token': 'wrong'}, {'X-Token': None}, {'Origin': 'http://evil.example'}, {'Origin': 'null'},
        {'Host': f'evil.example:{port}'}, {'Host': '127.0.0.1'},
    ]  # fmt: skip
    for headers in asked:
        status, content = client.request('POST', '/api/commit', values, **headers)
        assert status == 403, (headers, content)
    for kind in ('text/plain', 'application/x-www-form-urlencoded'):  # what a form of another site can send
        assert client.request('POST', '/api/commit', values, **{'Content-Type': kind})[0] == 400
    assert client.request('GET', '/?token=wrong', b'', **{'X-Token': None})[0] == 403
    assert client.call('state')['done'] == 0
    assert client.request('POST', '/api/commit', values, Origin=f'http://127.0.0.1:{port}')[0] == 200


@pytest.mark.parametrize('name', ['../secret', '/etc/passwd', 'part 0.png', 'more', '', 'part 0/../part 1', None, 7])
def test_only_images_of_the_folder(client: Client, name: object, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'secret.png'), np.zeros((4, 4), np.uint8))
    for call in ('labels', 'propose'):
        client.call(call, 400, name=name)
    client.call('segment', 400, name=name, points=[[1, 1]], labels=[1])
    client.call('commit', 400, name=name, version=0, instances=[])
    assert client.request('GET', f'/picture?name={str(name).replace(" ", "%20")}', b'')[0] == 400


@pytest.mark.parametrize(
    'instance',
    [
        bar('crack', 75, 6, 20, 3),
        bar('crack', -1, 6, 20, 3),
        {**bar('crack', 5, 6, 20, 3), 'rle': dict(size=[3, 20], counts=[1, 2])},
        {**bar('crack', 5, 6, 20, 3), 'rle': dict(size=[3, 20], counts=[60])},
        {**bar('crack', 5, 6, 20, 3), 'box': [1, 2]},
        {'class': 'crack'},
        'crack',
    ],
)
def test_malformed_defects(client: Client, instance: object) -> None:
    client.call('commit', 400, name='part 0', version=0, instances=[instance])
    assert client.call('labels', name='part 0')['version'] == 0


def test_malformed_requests(client: Client) -> None:
    assert client.request('POST', '/api/state', 'no json')[0] == 400
    assert client.request('POST', '/api/state', [1])[0] == 400
    assert client.request('POST', '/api/remove', {})[0] == 400
    assert client.request('GET', '/etc/passwd', b'')[0] == 404
    client.call('segment', 400, name='part 0', points=[], labels=[])
    client.call('segment', 400, name='part 0', points=[[900, 3]], labels=[1])
    client.call('stroke', 400, name='part 0', points=[], radius=3)
    client.call('propose', 400, name='part 0')


def test_an_image_of_one_pixel(client: Client) -> None:
    client.call('segment', name='dot', points=[[0, 0]], labels=[1])
    assert client.call('commit', name='dot', version=0, instances=[bar('crack', 0, 0, 1, 1)])['version'] == 1


def test_brush_and_eraser(client: Client) -> None:
    drawn = client.call('stroke', name='part 0', points=[[10, 10], [30, 10]], radius=2)['instance']
    assert drawn['box'][0] <= 8 and drawn['box'][0] + drawn['box'][2] >= 33 and 80 <= drawn['area'] <= 130
    less = client.call('stroke', name='part 0', points=[[10, 10]], radius=4, instance=drawn, erase=True)['instance']
    assert less['area'] < drawn['area'] and less['box'][0] > 10
    assert (
        client.call('stroke', name='part 0', points=[[20, 10]], radius=60, instance=less, erase=True)['instance']
        is None
    )


def test_strokes_stay_in_the_image() -> None:
    one = stroke(None, [[0, 0]], 5, False, (20, 30))
    assert isinstance(one, Instance) and one.box == (0, 0, 6, 6)
    assert stroke(None, [[-50, -50]], 5, False, (20, 30)) is None
    assert stroke(one, [[29, 19]], 3, False, (20, 30)).box == (0, 0, 30, 20)


def test_an_assistant_in_bf16(small_files: tuple[Path, Path], images: Path) -> None:
    """Its encoder's weights are in bf16; clicks give nearly the same masks."""
    plain, half = (Assistant(str(small_files[0]), str(small_files[1]), 'cpu', None, kind) for kind in (None, 'bf16'))
    assert {one.dtype for one in half.clicks.model.backbone.parameters()} == {torch.bfloat16}
    (one, _), (other, _) = (each.segment(str(images / 'part 0.png'), box=[10, 10, 50, 40]) for each in (plain, half))
    assert one is not None and other is not None
    assert np.abs(np.array(one.box) - other.box).max() <= 4


def test_views_of_large_images() -> None:
    """A view is answered on a region around it; most of the image, or a click outside, on the whole."""
    whole = (0, 0, 6000, 4000)
    assert region_of((4000, 6000), None) == whole
    assert region_of((4000, 6000), [0, 0, 5000, 3000]) == whole
    region = region_of((4000, 6000), [5200, 3500, 300, 200], [[5300, 3600]])
    assert region.x <= 5300 <= region.x + region.width and region.y <= 3600 <= region.y + region.height
    assert region.x + region.width <= 6000 and region.y + region.height <= 4000 and 300 <= region.width <= 512
    assert region_of((4000, 6000), [5200, 3500, 300, 200], [[10, 10]]) == whole
    assert region_of((4000, 6000), [5195, 3495, 300, 200], [[5300, 3600]]) == region  # encoded once


def test_masks_of_another_tool(images: Path, tmp_path: Path) -> None:
    """They are taken apart; one of another size, or with other values, is an error that names it."""
    path = tmp_path / 'dataset/masks/part 0.png'
    path.parent.mkdir(parents=True)
    mask = np.zeros((60, 80), np.uint8)
    mask[10:20, 5:9], mask[30:33, 40:80] = 1, 2
    cv2.imwrite(str(path), mask)
    store = Store(images, tmp_path / 'dataset', ['crack', 'dent'])
    assert [(one.name, one.box) for one in store.instances('part 0')] == [
        ('crack', (5, 10, 4, 10)),
        ('dent', (40, 30, 40, 3)),
    ]
    assert {one['name']: one['status'] for one in store.overview()}['part 0'] == 'defect'
    assert store.save('part 0', 0, store.instances('part 0')[:1]) == 1
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).max() == 1
    store.close()
    other = path.with_name('part 1.png')
    for wrong, named in ((np.zeros((9, 9), np.uint8), '9'), (np.full((60, 80), 255, np.uint8), '255')):
        cv2.imwrite(str(other), wrong)
        with raises_naming(InferenceError, 'part 1.png', named):
            Store(images, tmp_path / 'dataset')


def test_another_image_of_the_same_name_is_not_replaced(client: Client, tmp_path: Path) -> None:
    theirs = tmp_path / 'dataset/images/part 0.png'
    theirs.write_bytes(b'of the user')
    answer = client.call('commit', 400, name='part 0', version=0, instances=[bar('crack', 1, 1, 2, 2)])
    assert_names(answer['error'], theirs)
    assert theirs.read_bytes() == b'of the user' and not (tmp_path / 'dataset/masks/part 0.png').exists()


def test_two_processes_and_empty_folders(client: Client, images: Path, tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    with raises_naming(InferenceError, 'empty'):
        Store(tmp_path / 'empty', tmp_path / 'other')
    with raises_naming(InferenceError, 'nowhere'):
        Store(tmp_path / 'nowhere', tmp_path / 'other')
    with raises_naming(InferenceError, "''"):
        Store(images, tmp_path / 'third', [''])


def test_a_training_that_fails_says_why(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / 'fit'
    program.write_text('#!/bin/sh\necho "fit: error: dataset: 1 of 3 labelled images have a defect"\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr('mmsam_ext.apis.annotation.training.sys.executable', str(program))
    client.call('train', minutes=1)
    failed = wait(client)
    assert failed['state'] == 'failed' and '1 of 3 labelled images' in failed['error'] and not failed['proposals']


@pytest.mark.slow
def test_train_from_the_page(client: Client, tmp_path: Path) -> None:
    """Started twice is an error; afterwards the page proposes."""
    assert client.call('training')['state'] == 'none'
    for index, name in enumerate(('part 0', 'part 1', 'more/part 3', 'more/part 4')):
        client.call('commit', name=name, version=0, instances=[bar('crack', 5, 6 + index, 40, 6)])
    client.call('commit', name='part 2', version=0, instances=[])
    client.call('train', 400, minutes=0)
    client.call('train', 400, minutes=1, method='magic')
    assert client.call('train', minutes=1)['state'] in ('starting', 'measuring')
    assert 'runs already' in client.call('train', 400, minutes=1)['error']
    done = wait(client)
    assert done['state'] == 'done' and done['proposals'] and len(done['losses']) == 2, done
    assert client.call('state')['proposals']
    for one in client.call('propose', name='part 0')['instances']:
        assert one['class'] == 'crack' and one['area'] > 0


def wait(client: Client) -> dict:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        state = client.call('training')
        if state['state'] in ('done', 'failed', 'stopped'):
            return state
        time.sleep(0.5)
    raise AssertionError(f'the training does not end: {state}')
