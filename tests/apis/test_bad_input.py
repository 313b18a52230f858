"""Everything a user can get wrong, by the text of the error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmsam_ext.apis import InferenceError, PromptSegInferencer, model_loading
from mmsam_ext.apis.model_loading import known_configs
from tests.apis.conftest import picture
from tests.models.small import config

BOX = [20, 10, 90, 70]
TWO = [picture(), picture(seed=1)]


@pytest.mark.parametrize(
    'prompts, error',
    [
        ({}, 'array 0: no prompt given; give boxes, points with point_labels, or masks'),
        (
            dict(points=[[3, 4]]),
            r'prompts: points without labels; give point_labels too, 1 foreground and 0 background',
        ),
        (dict(point_labels=[1]), 'prompts: point_labels without points'),
        (dict(boxes=[[20, 10, 90]]), r'prompts: boxes has shape \(1, 3\), expected \(4,\) or \(P, 4\)'),
        (dict(boxes=np.zeros((0, 4))), 'prompts: no prompt given; boxes came with 0 rows'),
        (dict(boxes=[['a', 1, 2, 3]]), 'prompts: boxes cannot become an array'),
        (
            dict(points=[3, 4], point_labels=[1]),
            r'points has shape \(2,\), expected \(N, 2\), one prompt of N points, or',
        ),
        (
            dict(points=[[[1, 2]], [[1, 2], [3, 4]]], point_labels=[[1], [1, 1]]),
            'points cannot become an array .*fill up shorter rows with points of label -1',
        ),
        (dict(points=[[3, 4]], point_labels=[2]), r'point_labels holds \[2.0\], expected 1, 0 or -1'),
        (
            dict(points=[[3, 4], [5, 6]], point_labels=[1]),
            r'array 0: field `point_labels` has shape \(1, 1\), expected',
        ),
        (
            dict(boxes=[BOX, BOX], points=[[3, 4]], point_labels=[1]),
            "different numbers of prompts {'boxes': 2, 'points': 1, 'point_labels': 1}",
        ),
        (
            dict(boxes=[90, 10, 20, 70]),
            r'array 0: field `boxes` row 0 is \[90.0, 10.0, 20.0, 70.0\], expected x1 y1 x2 y2',
        ),
        (dict(boxes=[20, 10, float('nan'), 70]), 'array 0: field `boxes` holds nan'),
        (
            dict(boxes=[BOX, [20, 10, 151, 70]]),
            r'array 0: field `boxes` row 1 is \[20.0, 10.0, 151.0, 70.0\], outside the image of 150 x 90',
        ),
        (
            dict(points=[[-3, 4]], point_labels=[0]),
            r'array 0: field `points` \[0, 0\] is \[-3.0, 4.0\], outside the image',
        ),
        (
            dict(masks=np.zeros((1, 9, 9))),
            r'^array 0: field `masks` has shape \(1, 1, 9, 9\), expected \(1, 1, 32, 32\)',
        ),
        (dict(boxes=[np.array(BOX)] * 2), 'boxes is a list of 2 arrays, one per image, but there are 1 images'),
        (dict(boxes=BOX, batch_size=0), 'batch_size is 0, expected a whole number, 1 or more'),
        (dict(boxes=BOX, batch_size=2.5), 'batch_size is 2.5, expected a whole number, 1 or more'),
        (dict(points=[[3, 4]], point_labels=[-1]), 'array 0: prompt 0 is of kind POINTS but all its'),
    ],
)
def test_prompts(inferencer, prompts: dict, error: str) -> None:
    with pytest.raises(InferenceError, match=error):
        inferencer(picture(), **prompts)
    if prompts and 'batch_size' not in prompts and 'list of 2' not in error:
        inferencer.set_image(picture())
        with pytest.raises(InferenceError, match=error.replace('prompts: ', 'array 0: ')):
            inferencer.predict(**prompts)


def test_nested_lists_that_could_mean_two_things(inferencer) -> None:
    """Two boxes for two images: a box each, or both boxes for both?"""
    with pytest.raises(
        InferenceError, match='boxes is a nested list of length 2 for 2 images, which could mean either'
    ):
        inferencer(TWO, boxes=[BOX, BOX])
    with pytest.raises(InferenceError, match='points is a nested list of length 2 for 2 images'):
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
    with pytest.raises(InferenceError, match='array 1: no prompt given'):
        inferencer(TWO, boxes=[np.array(BOX), None])
    with pytest.raises(InferenceError, match='prompts of image 1: boxes has shape'):
        inferencer(TWO, boxes=[np.array(BOX), np.array([1, 2])])


def test_images(inferencer, tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('no image')
    (tmp_path / 'empty').mkdir()
    for inputs, error in [
        (tmp_path / 'none.png', 'none.png: no such image file'),
        (tmp_path / 'notes.txt', 'notes.txt: unreadable or truncated image of 8 bytes'),
        (tmp_path / 'empty', 'empty: a folder without files, expected images'),
        ('~nouser/x.png', '~nouser/x.png: no such image file'),
        ('x' * 5000 + '.png', 'xxx.png: no such image file'),
        ([], 'inputs: an empty list, expected at least one image'),
        (7, 'inputs: got a int, expected a path, a folder, an array or a list of these'),
        (
            picture().astype(np.float32),
            r'array 0: float32 of shape \(90, 150, 3\), expected uint8 of shape \(H, W, 3\) BGR',
        ),
        (picture()[None], r'array 0: uint8 of shape \(1, 90, 150, 3\), expected'),
        ([tmp_path / 'none.png', tmp_path / 'notes.txt'], 'none of 2 images could be used'),
    ]:
        with pytest.raises(InferenceError, match=error):
            inferencer(inputs, boxes=BOX, show_progress=False)
    with pytest.raises(InferenceError, match='set_image: 2 images, expected one'):
        inferencer.set_image(TWO)
    with pytest.raises(InferenceError, match='notes.txt: unreadable'):
        inferencer.set_image(tmp_path / 'notes.txt')


def test_out_dir_must_not_be_the_folder_of_the_images(inferencer, save, tmp_path: Path) -> None:
    """The union of a.png would be written to a.png."""
    path = save('a.png')
    before = path.read_bytes()
    with pytest.raises(InferenceError, match='is the folder of the image .*a.png; give another one'):
        inferencer(path, boxes=BOX, out_dir=tmp_path)
    assert path.read_bytes() == before
    with pytest.raises(InferenceError, match='expected a folder to write to'):
        inferencer(picture(), boxes=BOX, out_dir=path)


def test_out_dir_must_not_lead_to_the_images(inferencer, save, tmp_path: Path) -> None:
    """Neither by a link to an image, nor by a link to its folder, nor by a link in the place of a result."""
    path = save('real/a.png')
    before = path.read_bytes()
    (tmp_path / 'links').mkdir()
    link = tmp_path / 'links' / 'a.png'
    link.symlink_to(path)
    (tmp_path / 'folder').symlink_to(tmp_path / 'real')
    for image, out in ((link, 'links'), (link, 'real'), (path, 'folder'), (tmp_path / 'folder' / 'a.png', 'real')):
        with pytest.raises(InferenceError, match='is the folder of the image .*a.png; give another one'):
            inferencer(image, boxes=BOX, out_dir=tmp_path / out)
    (tmp_path / 'loop.png').symlink_to(tmp_path / 'loop.png')
    with pytest.raises(InferenceError, match='loop.png: no such image file'):
        inferencer(tmp_path / 'loop.png', boxes=BOX, out_dir=tmp_path / 'out')
    (tmp_path / 'scores').write_text('precious')
    (tmp_path / 'links' / 'scores.csv').symlink_to(tmp_path / 'scores')
    inferencer(path, boxes=BOX, out_dir=tmp_path / 'links')
    assert path.read_bytes() == before and (tmp_path / 'scores').read_text() == 'precious'
    assert not link.is_symlink() and link.exists()


def test_results_that_cannot_be_written(inferencer, save, tmp_path: Path) -> None:
    """They end the run where nothing can be written, and no more than their image else."""
    out = tmp_path / 'out'
    (out / 'scores.csv').mkdir(parents=True)
    with pytest.raises(InferenceError, match='out/scores.csv: Is a directory; expected a file that can be written'):
        inferencer(picture(), boxes=BOX, out_dir=out)
    (out / 'scores.csv').rmdir()
    long, good = save('in/' + 'n' * 250 + '.png'), save('in/z.png')
    result = inferencer([long, good], boxes=BOX, out_dir=out, show_progress=False)
    assert [one['path'] for one in result['predictions']] == [str(good)]
    assert 'nnn_overlay.png: File name too long' in result['failed'][0]['error']
    assert {path.name for path in out.iterdir()} == {'z.png', 'z_mask0.png', 'z_overlay.png', 'scores.csv'}
    with pytest.raises(InferenceError, match='out_dir ~nouser/out: .*[Ee]xpected a folder'):
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
    with pytest.raises(InferenceError, match='none of 2 images could be used'):
        inferencer(['none.png', 'none.png'], boxes=BOX, show_progress=False)


def test_a_box_whose_points_are_all_padding(inferencer) -> None:
    """Rows are filled up with points of label -1, down to none."""
    both = dict(boxes=[BOX, BOX], points=[[[30, 30]], [[0, 0]]], point_labels=[[1], [-1]])
    got = inferencer(picture(), **both, return_logits=True)['predictions'][0]
    alone = inferencer(picture(), boxes=BOX, return_logits=True)['predictions'][0]
    assert got['prompts'] == ['box 20 10 90 70 + point 30 30 label 1', 'box 20 10 90 70']
    np.testing.assert_allclose(got['logits'][1], alone['logits'][0], atol=1e-4)
    assert np.abs(got['logits'][0] - alone['logits'][0]).max() > 1e-2


def test_model_names(tmp_path: Path) -> None:
    known = known_configs()
    assert {'sam_tiny_synthetic', 'sam_tiny_mtd', 'sam_vitb_industrial'} <= set(known)
    with pytest.raises(InferenceError) as error:
        PromptSegInferencer('sam_tinny')
    assert "unknown model name 'sam_tinny'" in str(error.value) and all(name in str(error.value) for name in known)
    with pytest.raises(InferenceError, match="unknown config file 'configs/none.py'"):
        PromptSegInferencer('configs/none.py')
    with pytest.raises(InferenceError, match="unknown config file '~nouser/none.py'"):
        PromptSegInferencer('~nouser/none.py')
    with pytest.raises(InferenceError, match='unknown model name'):
        PromptSegInferencer('x' * 5000)
    with pytest.raises(InferenceError, match='model is a int, expected the name or path of a config, or a Config'):
        PromptSegInferencer(3)
    (tmp_path / 'bad.py').write_text('model = dict(')
    with pytest.raises(InferenceError, match='bad.py: cannot be read as a config .SyntaxError'):
        PromptSegInferencer(tmp_path / 'bad.py')
    (tmp_path / 'no_model.py').write_text('a = 1')
    with pytest.raises(InferenceError, match='no_model.py: field `model` is None, expected a dict'):
        PromptSegInferencer(tmp_path / 'no_model.py')
    with pytest.raises(InferenceError, match='NoSuchModel is not in the'):
        PromptSegInferencer(Config(dict(model=dict(type='NoSuchModel'))))
    with pytest.raises(InferenceError, match='model.type is SAMMaskDecoder, expected a PromptableSegmentor'):
        PromptSegInferencer(Config(dict(model=dict(type='SAMMaskDecoder', transformer_dim=32, num_heads=4, mlp_dim=8))))


def test_an_installation_without_configs_says_so(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(model_loading, 'CONFIG_FOLDERS', (tmp_path / 'configs',))
    wanted = f"unknown model name 'sam_tiny_synthetic'; .*no configs of its own: none in {tmp_path / 'configs'}"
    with pytest.raises(InferenceError, match=wanted):
        PromptSegInferencer('sam_tiny_synthetic')


def test_weights_and_device(small_files, tmp_path: Path) -> None:
    path, weights = small_files
    (tmp_path / 'notes.txt').write_text('no weights')
    for given, error in [
        (None, 'small.py: no weights; .*give weights='),
        (tmp_path / 'none.pth', 'none.pth'),
        ('mmsam_ext://no_such', 'mmsam_ext://no_such: no such weights in this package'),
        (tmp_path / 'notes.txt', 'notes.txt: is not a checkpoint'),
        ('http://127.0.0.1:9/a.pth', 'http://127.0.0.1:9/a.pth: cannot be loaded .URLError.*a URL that can be reached'),
        ('~nouser/a.pth', '~nouser/a.pth'),
    ]:
        with pytest.raises(InferenceError, match=error):
            PromptSegInferencer(path, given, 'cpu')
    torch.save({'image_encoder.pos_embed': torch.zeros(1, 2, 2, 3)}, tmp_path / 'other.pth')
    with pytest.raises(InferenceError, match='other.pth: The checkpoint does not fit the model'):
        PromptSegInferencer(path, tmp_path / 'other.pth', 'cpu')
    with pytest.raises(InferenceError, match="device 'gpu' cannot be used"):
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
    with pytest.raises(InferenceError, match='pickle.pth: refused'):
        PromptSegInferencer(path, tmp_path / 'pickle.pth', 'cpu')
    assert not mark.exists()
