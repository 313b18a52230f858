"""The parts of SAA+: fusion and filters by hand, saliency against loops, boxes from files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmsam_ext.models.automatic import AnomalyPrompt, BoxesFromFile, SaliencyRescorer, fuse_masks, normalise_caption
from mmsam_ext.models.automatic.saliency_rescorer import unlike_all_tokens, unlike_other_objects
from tests.naming import raises_naming


def test_fusion_by_hand() -> None:
    masks = torch.zeros(3, 1, 4, dtype=torch.bool)
    masks[0, 0, :2] = masks[1, 0, 1:3] = masks[2, 0] = True
    scores = torch.tensor([0.8, 0.6, 0.1])
    # The best two: 0.8 alone, both together, 0.6 alone, none.
    assert torch.allclose(fuse_masks(masks, scores, 2), torch.tensor([[0.8 / 2, 1.4 / 3, 0.6 / 2, 0.0]]))
    assert torch.allclose(fuse_masks(masks, scores, 5)[0, 1], torch.tensor(1.5 / 4))
    assert not fuse_masks(masks[:0], scores[:0], 5).any()


def test_rescoring_by_hand() -> None:
    rescorer = SaliencyRescorer.__new__(SaliencyRescorer)
    torch.nn.Module.__init__(rescorer)
    rescorer.strength = 3.0
    masks = torch.tensor([[[True, True, False]], [[False, False, False]]])
    saliency = torch.tensor([[0.2, 0.4, 0.9]])
    scores = rescorer.rescore(masks, torch.tensor([0.5, 0.5]), saliency)
    assert scores.tolist() == pytest.approx([0.5 * np.exp(3 * 0.3), 0.5])


def unit(generator: torch.Generator, size: int = 6) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.rand(5, size, size, generator=generator), dim=0)


def test_unlike_all_tokens_equals_loops() -> None:
    features = unit(torch.Generator().manual_seed(0))
    tokens = features.flatten(1).T
    for place in range(36):
        distances = sorted((0.5 * (1 - float(tokens[place] @ other)) for other in tokens), reverse=True)
        expected = np.mean(distances[:7])
        assert float(unlike_all_tokens(features, 7).flatten()[place]) == pytest.approx(expected, abs=1e-6)


def test_unlike_other_objects_equals_the_official_steps() -> None:
    """Own tokens set to zero, then compared with all tokens of the other masks, one after the other."""
    generator = torch.Generator().manual_seed(1)
    features = unit(generator)
    objects = torch.rand(3, 6, 6, generator=generator) < 0.4  # they overlap
    expected = torch.zeros(6, 6)
    for index in range(3):
        emptied = features.clone()
        emptied[:, objects[index]] = 0
        others = torch.cat([emptied[:, objects[other]] for other in range(3) if other != index], 1)
        for y, x in objects[index].nonzero().tolist():
            similar = max(float(features[:, y, x] @ other) for other in others.T)
            expected[y, x] = max(float(expected[y, x]), 0.5 * (1 - similar))
    assert torch.allclose(unlike_other_objects(features, objects, chunk=3), expected, atol=1e-6)


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights of a small network, as a file."""
    import timm

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('weights') / 'resnet18.pth'
    torch.save(timm.create_model('resnet18').state_dict(), path)
    return str(path)


def test_saliency_of_an_image(weights: str) -> None:
    """A bright spot on a plain surface stands out."""
    rescorer = SaliencyRescorer(weights, arch='resnet18', sizes=(64, 128)).train()
    assert not rescorer.training and not any(p.requires_grad for p in rescorer.parameters())
    image = torch.full((3, 80, 100), 90, dtype=torch.uint8)
    image[:, 30:45, 40:55] = 250
    saliency = rescorer(image, torch.zeros(0, 80, 100, dtype=torch.bool))
    assert saliency.shape == (80, 100) and 0 <= saliency.min() and saliency.max() <= 1
    assert saliency[32:43, 42:53].mean() > 2 * saliency[60:, :20].mean()
    objects = torch.zeros(2, 80, 100, dtype=torch.bool)
    objects[0, 20:60, 10:50] = objects[1, 20:60, 55:95] = True
    several = rescorer(image, objects, number=2)
    assert several[70:, :].max() == 0 and several[25:55, 60:90].max() > 0, 'nothing outside of the objects'
    assert torch.equal(rescorer(image, objects[:1], number=2), rescorer(image, objects, number=1))


def test_weights_of_another_network(weights: str) -> None:
    with raises_naming(ValueError, 'resnet18.pth', 'missing'):
        SaliencyRescorer(weights, arch='resnet34')


def test_boxes_from_files(tmp_path: Path) -> None:
    rows = [
        dict(file_name='MT_Crack/Imgs/1.jpg', bbox=[10, 20, 30, 100], score=0.7, phrase='crack'),
        dict(file_name='MT_Crack/Imgs/2.jpg', bbox=[1, 2, 3, 4], score=0.5),
    ]
    (tmp_path / 'defects.json').write_text(json.dumps(rows))
    source = BoxesFromFile(str(tmp_path / 'defects.json'))
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    sample = dict(img_path='data/mtd/MT_Crack/Imgs/1.jpg')
    found = source.find(image, ['anything'], 'defect', sample)
    assert found.boxes.tolist() == [[10, 20, 40, 60]] and found.phrases == ('crack',), 'clipped to the image'
    assert found.areas((60, 80)).tolist() == pytest.approx([30 * 40 / 4800])
    assert len(source.find(image, ['anything'], 'object', sample)) == 0
    assert len(source.find(image, ['anything'], 'defect', dict(img_path='other.jpg'))) == 0
    with raises_naming(FileNotFoundError, 'nothing.json'):
        BoxesFromFile(str(tmp_path / 'nothing.json'))


def test_boxes_of_objects_and_defects_in_different_images(tmp_path: Path) -> None:
    def write(name: str, *images: str) -> str:
        rows = [dict(file_name=image, bbox=[1, 2, 3, 4], score=0.5) for image in images]
        (tmp_path / name).write_text(json.dumps(rows))
        return str(tmp_path / name)

    defects = write('defects.json', 'a.png', 'b.png')
    with raises_naming(ValueError, 'defects.json', 'objects.json', 'a.png', 'c.png'):
        BoxesFromFile(defects, write('objects.json', 'c.png'))
    assert BoxesFromFile(defects, write('some.json', 'a.png', 'c.png')).files['object'] is not None


def test_captions() -> None:
    prompt = AnomalyPrompt('carpet', defects=[('black hole', 'carpet')])
    assert prompt.captions == [
        ('defect on carpet', 'carpet'),
        ('damage on carpet', 'carpet'),
        ('flaw on carpet', 'carpet'),
        ('black hole', 'carpet'),
    ]
    assert normalise_caption(' Black hole ') == 'black hole.' and normalise_caption('a. b.') == 'a. b.'
    with raises_naming(ValueError, "' . '"):
        normalise_caption(' . ')
    with raises_naming(ValueError, "'carpet'", 'number=0'):
        AnomalyPrompt('carpet', number=0)
