"""Published datasets' own layouts, with a few small images in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mmsam_ext.datasets import MVTecADDataset


def write_pair(image_path: Path, mask_path: Path, index: int, value: int = 255) -> None:
    """Noise of 90 x 70 pixels and a bit, and two bright discs in it; the mask has 0 and `value`, or 0 alone."""
    if mask_path.exists():
        return
    height, width = 70 + index, 90 - 3 * index
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (30, 20 + 5 * index), 8, 255, -1)
    cv2.circle(mask, (65, 45), 10, 255, -1)
    image = np.random.default_rng(index).integers(0, 120, (height, width, 3), dtype=np.uint8) + mask[..., None] // 3
    for path, content in ((image_path, image), (mask_path, (mask > 0).astype(np.uint8) * value)):
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), content)


def write_mvtec_ad(folder: Path) -> Path:
    """Write one category with two kinds of defect and one image without a defect."""
    for index, kind in enumerate(('broken_large', 'contamination')):
        image, mask = f'test/{kind}/00{index}.png', f'ground_truth/{kind}/00{index}_mask.png'
        write_pair(folder / 'bottle' / image, folder / 'bottle' / mask, index)
    write_pair(folder / 'bottle/test/good/000.png', folder / 'bottle/train/good/000.png', 0)
    return folder


def write_mpdd(folder: Path) -> Path:
    """Write one category with one kind of defect."""
    write_pair(folder / 'tubes/test/anomalous/000.png', folder / 'tubes/ground_truth/anomalous/000_mask.png', 0)
    (folder / 'tubes/test/good').mkdir(exist_ok=True)
    return folder


def write_btad(folder: Path) -> Path:
    """Write two categories with one image each, in different file formats."""
    write_pair(folder / '01/test/ko/0000.bmp', folder / '01/ground_truth/ko/0000.png', 0)
    write_pair(folder / '03/test/ko/0001.bmp', folder / '03/ground_truth/ko/0001.bmp', 1)
    write_pair(folder / '01/test/ok/0000.bmp', folder / '01/ground_truth/ok/0000.png', 0, value=0)
    return folder


def write_ksdd2(folder: Path) -> Path:
    """Write one image with and one without a defect for each of train and test."""
    for part, number in (('train', 10000), ('test', 20000)):
        for index, value in enumerate((255, 0)):
            name = folder / part / str(number + index)
            write_pair(Path(f'{name}.png'), Path(f'{name}_GT.png'), index, value)
    return folder


def write_visa(folder: Path) -> Path:
    """Write a category with two defective images, whose masks number the kinds, and a line for a normal one."""
    lines = ['image,label,mask', 'pcb1/Data/Images/Normal/0000.JPG,normal,']
    for index, label in enumerate(('bent', '"scratch,missing"')):
        image, mask = f'pcb1/Data/Images/Anomaly/00{index}.JPG', f'pcb1/Data/Masks/Anomaly/00{index}.png'
        write_pair(folder / image, folder / mask, index, value=index + 2)
        lines.append(f'{image},{label},{mask}')
    (folder / 'pcb1/image_anno.csv').write_text('\n'.join(lines) + '\n')
    return folder


def write_celebamask_hq(folder: Path) -> Path:
    """Faces of 64 x 64 pixels with masks of 32 x 32, at the borders of the splits, one in the second folder."""
    lines = ['idx         orig_idx    orig_file']
    faces = {0: 162770, 1: 162771, 2: 182638, 3: 0, 2000: 182637}
    for number, (index, original) in enumerate(faces.items()):
        lines.append(f'{index}          {original}     {original + 1:06d}.jpg')
        skin, eye, hair = (np.zeros((32, 32, 3), np.uint8) for _ in range(3))
        cv2.circle(skin, (16, 18 - number), 9, (255, 255, 255), -1)
        cv2.circle(eye, (12, 15), 2, (255, 255, 255), -1)
        hair[:6, 6:26] = 255
        parts = dict(skin=skin, l_eye=eye) if index == 3 else dict(hair=hair, skin=skin, l_eye=eye)
        image = np.random.default_rng(index).integers(0, 120, (64, 64, 3), dtype=np.uint8)
        image += cv2.resize(sum(part // 4 for part in parts.values()), (64, 64))
        files = {folder / 'CelebA-HQ-img' / f'{index}.jpg': image}
        for part, mask in parts.items():
            files[folder / 'CelebAMask-HQ-mask-anno' / str(index // 2000) / f'{index:05d}_{part}.png'] = mask
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), content)
    (folder / 'CelebA-HQ-to-CelebA-mapping.txt').write_text('\n'.join(lines) + '\n')
    return folder


#: Type of a dataset -> what writes its layout, and the categories that are in it.
BENCHMARKS: dict[str, tuple[Callable[[Path], Path], list[str]]] = {
    'MVTecADDataset': (write_mvtec_ad, ['bottle']),
    'MPDDDataset': (write_mpdd, ['tubes']),
    'BTADDataset': (write_btad, ['01', '03']),
    'KSDD2Dataset': (write_ksdd2, ['test']),
    'VisADataset': (write_visa, ['pcb1']),
}


def write_glas(folder: Path) -> Path:
    """Two images to train on and one of each test part; glands are numbered."""
    for index, name in enumerate(('train_1', 'train_2', 'testA_1', 'testB_1')):
        write_pair(folder / f'{name}.bmp', folder / f'{name}_anno.bmp', index, value=index + 1)
    return folder


def write_polyp(folder: Path) -> Path:
    """Write two training images of PraNet's collection and one image for each of two test sets."""
    for index in range(2):
        write_pair(folder / f'TrainDataset/image/{index}.png', folder / f'TrainDataset/mask/{index}.png', index)
    for index, name in enumerate(('Kvasir', 'CVC-ColonDB')):
        test = folder / 'TestDataset' / name
        write_pair(test / 'images/1.png', test / 'masks/1.png', index)
    return folder


def write_monuseg(folder: Path) -> Path:
    """An image to train on with outlines, of which the second overlaps the first, and one to test on with a mask."""
    write_pair(folder / 'train/Tissue Images/TCGA-A.tif', folder / 'unused.png', 0)
    write_pair(folder / 'test/TCGA-B.tif', folder / 'test/masks/TCGA-B.png', 1)
    xml = folder / 'train/Annotations/TCGA-A.xml'
    xml.parent.mkdir(exist_ok=True)
    outlines = [(10, 10, 20, 30), (15, 10, 30, 20), (60, 40, 70, 50)]  # x1 y1 x2 y2
    regions = ''.join(
        f'<Region><Vertices><Vertex X="{a}" Y="{b}"/><Vertex X="{c}" Y="{b}"/><Vertex X="{c}" Y="{d}"/>'
        f'<Vertex X="{a}.2" Y="{d}"/></Vertices></Region>'
        for a, b, c, d in outlines
    )
    xml.write_text(f'<Annotations><Annotation><Regions>{regions}</Regions></Annotation></Annotations>')
    return folder


def write_mvtec_ad_split(folder: Path) -> Path:
    """Write one category with two kinds of defect, of five and two images; the other categories are empty."""
    for kind, number in (('crack', 5), ('hole', 2)):
        for index in range(number):
            name = f'test/{kind}/00{index}.png', f'ground_truth/{kind}/00{index}_mask.png'
            write_pair(folder / 'tile' / name[0], folder / 'tile' / name[1], index)
    for category in MVTecADDataset.CATEGORIES:
        (folder / category / 'test').mkdir(parents=True, exist_ok=True)
    return folder


def write_chase_db1(folder: Path) -> Path:
    """The layout that MMSegmentation's converter makes: labels 0 and 1; a second annotator's file is not read."""
    for split in ('training', 'validation'):
        for index in range(2):
            image = folder / f'images/{split}/Image_0{index + 1}L.png'
            for annotator in ('1st', '2nd'):
                mask = folder / f'annotations/{split}/Image_0{index + 1}L_{annotator}HO.png'
                write_pair(image, mask, index, value=1)
    return folder


def write_sbd(folder: Path) -> Path:
    """Two images of both splits; the instances of the second are a disc and a line that hardly fills its box."""
    from scipy.io import savemat

    for index in range(2):
        labels = np.zeros((70, 90), np.uint8)
        cv2.circle(labels, (30, 25), 9, 1, -1)
        if index == 1:
            cv2.line(labels, (50, 10), (88, 60), 2, 1)
        image = np.random.default_rng(index).integers(0, 120, (70, 90, 3), dtype=np.uint8) + labels[..., None] * 60
        (folder / 'img').mkdir(parents=True, exist_ok=True)
        (folder / 'inst').mkdir(exist_ok=True)
        assert cv2.imwrite(str(folder / f'img/2008_00000{index}.jpg'), image)
        struct = dict(Segmentation=labels, Boundaries=np.zeros((2, 1)), Categories=np.array([[15], [2]]))
        savemat(folder / f'inst/2008_00000{index}.mat', dict(GTinst=struct))
    for split in ('train', 'val'):
        (folder / f'{split}.txt').write_text('2008_000000\n2008_000001\n')
    return folder


def write_trimaps(folder: Path, names: tuple[str, str]) -> Path:
    """An image with a disc, around which a ring is unknown (128); `names` are the folders of images and masks."""
    write_pair(folder / names[0] / 'banana.png', folder / 'unused.png', 0)
    mask = np.zeros((70, 90), np.uint8)
    for radius, value in ((11, 128), (8, 255)):
        cv2.circle(mask, (30, 20), radius, value, -1)
    (folder / names[1]).mkdir(exist_ok=True)
    assert cv2.imwrite(str(folder / names[1] / 'banana.png'), mask)
    return folder


def write_grabcut(folder: Path) -> Path:
    """One image and its trimap."""
    return write_trimaps(folder, ('data_GT', 'boundary_GT'))


def write_berkeley(folder: Path) -> Path:
    """One image and its trimap."""
    return write_trimaps(folder, ('images', 'masks'))


def write_davis345(folder: Path) -> Path:
    """A frame with objects in two colours, one of them dark."""
    write_pair(folder / 'img/bear_00000.jpg', folder / 'unused.png', 0)
    mask = np.zeros((70, 90, 3), np.uint8)
    cv2.circle(mask, (30, 20), 8, (0, 0, 128), -1)
    cv2.circle(mask, (65, 45), 10, (0, 1, 0), -1)
    (folder / 'gt').mkdir(exist_ok=True)
    assert cv2.imwrite(str(folder / 'gt/bear_00000.png'), mask)
    return folder


def write_coco(folder: Path, annotations: str = 'annotations/instances_val2017.json', images: str = 'val2017') -> Path:
    """Two images with two discs each, one with a crowd alone, and one without annotations; `annotations` and `images`
    are the file and the folder below `folder`."""
    listed, found = [], []
    for index in range(4):
        write_pair(folder / images / f'{index:012d}.jpg', folder / 'unused' / f'{index}.png', index)
        listed.append(dict(id=10 + index, file_name=f'{index:012d}.jpg', height=70 + index, width=90 - 3 * index))
        discs = [((30, 20 + 5 * index), 8), ((65, 45), 10)][: 2 if index < 2 else 3 - index]
        for (x, y), radius in discs:
            outline = cv2.ellipse2Poly((x, y), (radius, radius), 0, 0, 360, 15).ravel().tolist()
            box = [x - radius, y - radius, 2 * radius, 2 * radius]
            ids = dict(id=100 + len(found), image_id=10 + index, category_id=1 + len(found) % 2)
            found.append(
                ids | dict(iscrowd=int(index == 2), segmentation=[outline], area=float(3 * radius**2), bbox=box)
            )
    categories = [dict(id=1, name='first'), dict(id=2, name='second')]
    (folder / annotations).parent.mkdir(parents=True, exist_ok=True)
    (folder / annotations).write_text(json.dumps(dict(images=listed, annotations=found, categories=categories)))
    return folder


def write_coco_results(path: Path) -> Path:
    """A detector's boxes for :func:`write_coco`: for each image two, one of them wrong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        dict(image_id=10 + index, category_id=1, bbox=bbox, score=score)
        for index in range(3)
        for bbox, score in (([20, 10 + 5 * index, 20.5, 20], 0.9), ([1, 1, 12, 30], 0.3))
    ]
    path.write_text(json.dumps(rows))
    return path


#: Type of a dataset that loads all of a layout -> what writes it.
LAYOUTS: dict[str, Callable[[Path], Path]] = {
    'GlaSDataset': write_glas,
    'PolypDataset': write_polyp,
    'MoNuSegDataset': write_monuseg,
    'MVTecADSplitDataset': write_mvtec_ad_split,
    'ChaseDB1Dataset': write_chase_db1,
    'SBDDataset': write_sbd,
    'GrabCutDataset': write_grabcut,
    'BerkeleyDataset': write_berkeley,
    'DAVIS345Dataset': write_davis345,
}
