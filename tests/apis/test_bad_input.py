"""Wrong input to the inferencer, and what each error names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmsam_ext import config_files
from mmsam_ext.apis import InferenceError, PromptSegInferencer
from mmsam_ext.config_files import known_configs
from tests.apis.conftest import picture, visible
from tests.models.small import config
from tests.naming import assert_names, raises_naming
from tests.numeric import MODEL, assert_close

BOX = [20, 10, 90, 70]
TWO = [picture(), picture(seed=1)]


@pytest.mark.parametrize(
    ('prompts', 'names'),
    [
        ({}, ('boxes', 'points', 'point_labels', 'masks')),
        (
            dict(points=[[3, 4]]),
            ('points', 'point_labels'),
        ),
        (dict(point_labels=[1]), ('point_labels', 'points')),
        (dict(boxes=[[20, 10, 90]]), ('boxes', '(1, 3)', '(4,)', '(P, 4)')),
        (dict(boxes=np.zeros((0, 4))), ('boxes', '0 rows')),
        (dict(boxes=[['a', 1, 2, 3]]), ('boxes', 'array')),
        (
            dict(points=[3, 4], point_labels=[1]),
            ('points', '(2,)', '(N, 2)'),
        ),
        (
            dict(points=[[[1, 2]], [[1, 2], [3, 4]]], point_labels=[[1], [1, 1]]),
            ('points', 'array', 'label -1'),
        ),
        (dict(points=[[3, 4]], point_labels=[2]), ('point_labels', '[2.0]')),
        (
            dict(points=[[3, 4], [5, 6]], point_labels=[1]),
            ('array 0', 'point_labels', '(1, 1)'),
        ),
        (
            dict(boxes=[BOX, BOX], points=[[3, 4]], point_labels=[1]),
            ("'boxes': 2", "'points': 1", "'point_labels': 1"),
        ),
        (
            dict(boxes=[90, 10, 20, 70]),
            ('array 0', 'boxes', 'row 0', '[90.0, 10.0, 20.0, 70.0]'),
        ),
        (dict(boxes=[20, 10, float('nan'), 70]), ('array 0', 'boxes', 'nan')),
        (
            dict(boxes=[BOX, [20, 10, 151, 70]]),
            ('array 0', 'boxes', 'row 1', '[20.0, 10.0, 151.0, 70.0]', '150 x 90'),
        ),
        (
            dict(points=[[-3, 4]], point_labels=[0]),
            ('array 0', 'points', '[0, 0]', '[-3.0, 4.0]'),
        ),
        (
            dict(masks=np.zeros((1, 9, 9))),
            ('array 0', 'masks', '(1, 1, 9, 9)', '(1, 1, 32, 32)'),
        ),
        (dict(boxes=[np.array(BOX)] * 2), ('boxes', '2 arrays', '1 images')),
        (dict(boxes=BOX, batch_size=0), ('batch_size', '0')),
        (dict(boxes=BOX, batch_size=2.5), ('batch_size', '2.5')),
        (dict(points=[[3, 4]], point_labels=[-1]), ('array 0', 'prompt 0', 'point_labels')),
    ],
)
def test_prompts(inferencer, prompts: dict, names: tuple[str, ...]) -> None:
    with raises_naming(InferenceError, *names):
        inferencer(picture(), **prompts)
    if prompts and 'batch_size' not in prompts and '2 arrays' not in names:
        inferencer.set_image(picture())
        with raises_naming(InferenceError, *names):
            inferencer.predict(**prompts)


def test_nested_lists_that_could_mean_two_things(inferencer) -> None:
    """Two boxes for two images are ambiguous: one box each, or both boxes for both images."""
    with raises_naming(InferenceError, 'boxes', '2 images'):
        inferencer(TWO, boxes=[BOX, BOX])
    with raises_naming(InferenceError, 'points', '2 images'):
        inferencer(TWO, points=[[[3, 4]], [[5, 6]]], point_labels=[[1], [1]])
    both = inferencer(TWO, boxes=np.array([BOX, BOX]), show_progress=False)['predictions']
    each = inferencer(TWO, boxes=[np.array(BOX), np.array(BOX)], show_progress=False)['predictions']
    assert [len(one['masks']) for one in both] == [2, 2] and [len(one['masks']) for one in each] == [1, 1]
    # Not ambiguous: two points are one prompt, and None says that an image has none of a kind.
    points = inferencer(TWO, points=[[3, 4], [5, 6]], point_labels=[1, 0], show_progress=False)['predictions']
    assert points[0]['prompts'] == ['1 points on and 1 off the object']
    mixed = dict(boxes=[np.array(BOX), None], points=[None, np.array([[3, 4]])], point_labels=[None, [1]])
    mixed = inferencer(TWO, **mixed, show_progress=False)['predictions']
    assert [one['prompts'] for one in mixed] == [['box 20 10 90 70'], ['point 3 4 label 1']]
    with raises_naming(InferenceError, 'array 1', 'prompt'):
        inferencer(TWO, boxes=[np.array(BOX), None])
    with raises_naming(InferenceError, 'image 1', 'boxes', '(2,)'):
        inferencer(TWO, boxes=[np.array(BOX), np.array([1, 2])])


def test_images(inferencer, tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('no image')
    (tmp_path / 'empty').mkdir()
    for inputs, names in [
        (tmp_path / 'none.png', ('none.png',)),
        (tmp_path / 'notes.txt', ('notes.txt', '8 bytes')),
        (tmp_path / 'empty', (tmp_path / 'empty', 'folder')),
        ('~nouser/x.png', ('~nouser/x.png',)),
        ('x' * 5000 + '.png', ('x' * 5000 + '.png',)),
        ([], ('inputs', 'empty')),
        (7, ('inputs', 'int')),
        (
            picture().astype(np.float32),
            ('array 0', 'float32', '(90, 150, 3)', 'uint8'),
        ),
        (picture()[None], ('array 0', 'uint8', '(1, 90, 150, 3)')),
        ([tmp_path / 'none.png', tmp_path / 'notes.txt'], ('2 images', 'none.png', 'notes.txt')),
    ]:
        with raises_naming(InferenceError, *names):
            inferencer(inputs, boxes=BOX, show_progress=False)
    with raises_naming(InferenceError, 'set_image', '2 images'):
        inferencer.set_image(TWO)
    with raises_naming(InferenceError, 'notes.txt'):
        inferencer.set_image(tmp_path / 'notes.txt')


def test_out_dir_must_not_be_the_folder_of_the_images(inferencer, save, tmp_path: Path) -> None:
    """Reject an output folder in which the union mask of a.png would replace a.png itself."""
    path = save('a.png')
    before = path.read_bytes()
    with raises_naming(InferenceError, tmp_path, 'a.png'):
        inferencer(path, boxes=BOX, out_dir=tmp_path)
    assert path.read_bytes() == before
    with raises_naming(InferenceError, path):
        inferencer(picture(), boxes=BOX, out_dir=path)


def test_out_dir_must_not_lead_to_the_images(inferencer, save, tmp_path: Path) -> None:
    """Inputs are not overwritten through a link to an image, to its folder, or in the place of a result."""
    path = save('real/a.png')
    before = path.read_bytes()
    (tmp_path / 'links').mkdir()
    link = tmp_path / 'links' / 'a.png'
    link.symlink_to(path)
    (tmp_path / 'folder').symlink_to(tmp_path / 'real')
    for image, out in ((link, 'links'), (link, 'real'), (path, 'folder'), (tmp_path / 'folder' / 'a.png', 'real')):
        with raises_naming(InferenceError, 'a.png', out):
            inferencer(image, boxes=BOX, out_dir=tmp_path / out)
    (tmp_path / 'loop.png').symlink_to(tmp_path / 'loop.png')
    with raises_naming(InferenceError, 'loop.png'):
        inferencer(tmp_path / 'loop.png', boxes=BOX, out_dir=tmp_path / 'out')
    (tmp_path / 'scores').write_text('precious')
    (tmp_path / 'links' / 'scores.csv').symlink_to(tmp_path / 'scores')
    with raises_naming(InferenceError, 'links', 'a.png', 'scores.csv'):
        inferencer(path, boxes=BOX, out_dir=tmp_path / 'links')
    inferencer(path, boxes=BOX, out_dir=tmp_path / 'links', overwrite=True)
    assert path.read_bytes() == before and (tmp_path / 'scores').read_text() == 'precious'
    assert not link.is_symlink() and link.exists()


def test_results_that_cannot_be_written(inferencer, save, tmp_path: Path) -> None:
    """Errors of writing end the run if nothing can be written; otherwise they fail only their own image."""
    out = tmp_path / 'out'
    (out / 'scores.csv').mkdir(parents=True)
    with raises_naming(InferenceError, out / 'scores.csv'):
        inferencer(picture(), boxes=BOX, out_dir=out)
    (out / 'scores.csv').rmdir()
    long, good = save('in/' + 'n' * 250 + '.png'), save('in/z.png')
    result = inferencer([long, good], boxes=BOX, out_dir=out, show_progress=False)
    assert [one['path'] for one in result['predictions']] == [str(good)]
    assert 'nnn_overlay.png: File name too long' in result['failed'][0]['error']
    assert visible(out) == {'z.png', 'z_mask0.png', 'z_overlay.png', 'scores.csv'}
    with raises_naming(InferenceError, 'out_dir', '~nouser/out'):
        inferencer(picture(), boxes=BOX, out_dir='~nouser/out')


def test_one_bad_mask_does_not_end_a_batch(inferencer) -> None:
    masks = [np.zeros((1, 32, 32)), np.zeros((1, 9, 9)), np.ones((1, 32, 32))]
    result = inferencer([*TWO, TWO[0]], masks=masks, batch_size=3, show_progress=False)
    assert [one['name'] for one in result['predictions']] == ['array 0', 'array 2']
    assert [one['name'] for one in result['failed']] == ['array 1']
    assert result['failed'][0]['error'].startswith('array 1: field `masks` has shape (1, 1, 9, 9), expected')


def test_a_bad_file_given_twice_counts_twice(inferencer, tmp_path: Path) -> None:
    result = inferencer(['none.png', picture(), 'none.png'], boxes=BOX, show_progress=False)
    assert [one['name'] for one in result['failed']] == ['none.png', 'none.png']
    with raises_naming(InferenceError, '2 images', 'none.png'):
        inferencer(['none.png', 'none.png'], boxes=BOX, show_progress=False)


def test_a_box_whose_points_are_all_padding(inferencer) -> None:
    """Rows may be padded with points of label -1, even completely."""
    both = dict(boxes=[BOX, BOX], points=[[[30, 30]], [[0, 0]]], point_labels=[[1], [-1]])
    got = inferencer(picture(), **both, return_logits=True)['predictions'][0]
    alone = inferencer(picture(), boxes=BOX, return_logits=True)['predictions'][0]
    assert got['prompts'] == ['box 20 10 90 70 + point 30 30 label 1', 'box 20 10 90 70']
    assert_close(got['logits'][1], alone['logits'][0], MODEL)
    assert np.abs(got['logits'][0] - alone['logits'][0]).max() > 1e-2


def test_model_names(tmp_path: Path) -> None:
    known = known_configs()
    assert {'sam_tiny_synthetic', 'sam_tiny_mtd', 'sam_vitb_industrial'} <= set(known)
    with pytest.raises(InferenceError) as error:
        PromptSegInferencer('sam_tinny')
    assert_names(str(error.value), 'model', 'sam_tinny', 'sam_tiny_mtd')
    assert 'spt_vitb_industrial' not in str(error.value)  # the nearest names, not all
    with raises_naming(InferenceError, 'configs/none.py'):
        PromptSegInferencer('configs/none.py')
    with raises_naming(InferenceError, '~nouser/none.py'):
        PromptSegInferencer('~nouser/none.py')
    with raises_naming(InferenceError, 'model', 'x' * 5000):
        PromptSegInferencer('x' * 5000)
    with raises_naming(InferenceError, 'model', 'int'):
        PromptSegInferencer(3)
    (tmp_path / 'bad.py').write_text('model = dict(')
    with raises_naming(InferenceError, 'bad.py', 'SyntaxError'):
        PromptSegInferencer(tmp_path / 'bad.py')
    (tmp_path / 'no_model.py').write_text('a = 1')
    with raises_naming(InferenceError, 'no_model.py', 'model', 'None'):
        PromptSegInferencer(tmp_path / 'no_model.py')
    with raises_naming(InferenceError, 'NoSuchModel'):
        PromptSegInferencer(Config(dict(model=dict(type='NoSuchModel'))))
    with raises_naming(InferenceError, 'model.type', 'SAMMaskDecoder', 'PromptableSegmentor'):
        PromptSegInferencer(Config(dict(model=dict(type='SAMMaskDecoder', transformer_dim=32, num_heads=4, mlp_dim=8))))


def test_an_installation_without_configs_says_so(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config_files, 'CONFIG_FOLDERS', (tmp_path / 'configs',))
    with raises_naming(InferenceError, 'sam_tiny_synthetic', tmp_path / 'configs'):
        PromptSegInferencer('sam_tiny_synthetic')


def test_weights_and_device(small_files, tmp_path: Path) -> None:
    path, weights = small_files
    (tmp_path / 'notes.txt').write_text('no weights')
    for given, names in [
        (None, ('small.py', 'weights=')),
        (tmp_path / 'none.pth', ('none.pth',)),
        ('mmsam_ext://no_such', ('mmsam_ext://no_such',)),
        (tmp_path / 'notes.txt', ('notes.txt', 'checkpoint')),
        ('http://127.0.0.1:9/a.pth', ('http://127.0.0.1:9/a.pth',)),
        ('~nouser/a.pth', ('~nouser/a.pth',)),
    ]:
        with raises_naming(InferenceError, *names):
            PromptSegInferencer(path, given, 'cpu')
    torch.save({'image_encoder.pos_embed': torch.zeros(1, 2, 2, 3)}, tmp_path / 'other.pth')
    with raises_naming(InferenceError, 'other.pth', 'pos_embed'):
        PromptSegInferencer(path, tmp_path / 'other.pth', 'cpu')
    with raises_naming(InferenceError, 'device', 'gpu'):
        PromptSegInferencer(path, weights, 'gpu')


def test_weights_of_the_config_are_loaded_by_default(small_files) -> None:
    settings = Config(dict(model=config(init_cfg=dict(type='Pretrained', checkpoint=str(small_files[1])))))
    model = PromptSegInferencer(settings, device='cpu').model
    wanted = torch.load(small_files[1], weights_only=True)
    assert all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())
    assert not model.training


def test_a_config_inside_the_checkpoint_is_not_executed(small_files, tmp_path: Path) -> None:
    path, weights = small_files
    mark = tmp_path / 'executed'
    code = f'open({str(mark)!r}, "w").close()\nmodel = dict()'
    state = torch.load(weights, weights_only=True)
    torch.save(dict(state_dict=state, meta=dict(config=code, cfg=code)), tmp_path / 'poisoned.pth')
    PromptSegInferencer(path, tmp_path / 'poisoned.pth', 'cpu')
    assert not mark.exists()

    class Payload:
        def __reduce__(self):
            return (open, (str(mark), 'w'))

    torch.save(dict(state_dict=Payload()), tmp_path / 'pickle.pth')
    with raises_naming(InferenceError, 'pickle.pth'):
        PromptSegInferencer(path, tmp_path / 'pickle.pth', 'cpu')
    assert not mark.exists()
