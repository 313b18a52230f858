"""Label, train and decide end to end, and print a table.

    python -m mmsam_ext photograph-to-decision --out work_dirs/decision --minutes 5
    python -m mmsam_ext photograph-to-decision --out work_dirs/decision --mtd data/mtd --minutes 20 --unet work_dirs/net

The images are procedural parts with cracks and without, or magnetic tiles (train.txt and normal.txt against val.txt and
the rest of normal.txt). A simulated user labels the training images through the page's own calls: a box around each
defect, and corrective clicks. The page trains with `fit`; `inspect` decides on test images. The labels of the simulated
user are compared with the truth as well, since a model cannot be better than them. --unet trains a U-Net from scratch
on the same labels for the same CPU time, with a package that is installed into the folder given.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from mmsam_ext.apis import PromptSegInferencer
from mmsam_ext.apis.annotation.server import PageServer
from mmsam_ext.apis.annotation.service import taken
from mmsam_ext.apis.image_inputs import Source
from mmsam_ext.apis.inspection import Criteria, Decision, find_regions, labelled_folder, rates
from mmsam_ext.apis.inspection.calibrate import calibration_of, labelled_scores
from mmsam_ext.apis.inspection.inspector import whole_image_logits
from mmsam_ext.cli.annotate import make_server, parse
from mmsam_ext.datasets import MTDDataset
from mmsam_ext.datasets.synthetic.cracked_parts import write_cracked_parts
from mmsam_ext.evaluation.functional import auroc, score_bins, score_histogram
from mmsam_ext.evaluation.functional.clicker import Clicker

#: Corrective clicks on a defect, after its box.
CLICKS = 2
#: Script of the baseline.
UNET = Path(__file__).with_name('_unet_baseline.py')
#: Rows of the table, in percent.
FIGURES = dict(
    iou='IoU, mean over defective images',
    pooled='IoU of all pixels together',
    auroc='image AUROC',
    recall='recall of images',
    alarms='false alarms on images without a defect',
)
#: IoU with the truth at which the user is content.
GOOD_ENOUGH = 0.85


class User:
    """A simulated user of the page, who knows the truth.

    Args:
        server: Of the page; it must run.
    """

    def __init__(self, server: PageServer) -> None:
        self.server, self.actions = server, 0
        self.ious: list[float] = []

    def call(self, what: str, /, **values: Any) -> dict[str, Any]:
        """Send a call as the page does."""
        url = f'http://127.0.0.1:{self.server.server_port}/api/{what}'
        headers = {'Content-Type': 'application/json', 'X-Token': self.server.token}
        request = urllib.request.Request(url, json.dumps(values).encode(), headers)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def label(self, name: str, truth: np.ndarray) -> None:
        """Label an image: a box for each region of its truth (H, W) bool, and clicks where the mask is wrong."""
        number, parts, stats, _ = cv2.connectedComponentsWithStats(truth.astype(np.uint8), connectivity=8)
        found = []
        for index in range(1, number):
            part, (x, y, width, height) = parts == index, stats[index, :4].tolist()
            instance = self._segment(name, part, [x, y, x + width - 1, y + height - 1])
            if instance is not None:
                found.append({**instance, 'class': 'defect'})
        self.call('commit', name=name, version=0, instances=found)
        self.actions += 1
        if truth.any():
            union = np.zeros_like(truth)
            for one in found:
                union |= full(one, truth.shape)
            self.ious.append(float((union & truth).sum() / (union | truth).sum()))

    def _segment(self, name: str, part: np.ndarray, box: list[int]) -> dict[str, Any] | None:
        """Return the best mask of a defect: after its box, or after a click."""
        clicker = Clicker(part)
        points: list[list[int]] = []
        labels: list[int] = []
        best, best_iou = None, 0.0
        for _ in range(1 + CLICKS):
            answer = self.call('segment', name=name, box=box, points=points, labels=labels)['instance']
            self.actions += 1
            mask = np.zeros_like(part) if answer is None else full(answer, part.shape)
            iou = float((mask & part).sum() / (mask | part).sum())
            if answer is not None and iou > best_iou:
                best, best_iou = answer, iou
            click = clicker.next_click(mask)
            if iou > GOOD_ENOUGH or click is None:
                break
            points.append([click.x, click.y])
            labels.append(int(click.positive))
        return best

    def train(self, minutes: float, method: str) -> Path:
        """Train from the page, and return the weights.

        Raises:
            RuntimeError: The training failed; the message has its reason.
        """
        self.call('train', minutes=minutes, method=method)
        while True:
            state = self.call('training')
            if state['state'] == 'done':
                while self.server.service.training.running:  # its CPU time is known when it has ended
                    time.sleep(0.1)
                return self.server.service.training.best
            if state['state'] in ('failed', 'stopped'):
                raise RuntimeError(f'the training {state["state"]}: {state.get("error")}')
            time.sleep(2)


def full(instance: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Return the mask of a defect at the size of its image."""
    one, mask = taken(instance), np.zeros(shape, bool)
    x, y, width, height = one.box
    mask[y : y + height, x : x + width] = one.mask
    return mask


def evaluate(
    decision: Decision, answers: Iterable[tuple[str, np.ndarray]], truth: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Compare what a decision makes of logits (K, H, W) of the test images with their truth (H, W) bool."""
    criteria = Criteria.of(decision)
    scores, defective, ious = [], [], []
    hits = union = 0
    for name, logits in answers:
        found = np.zeros(logits.shape[1:], bool)
        for one in find_regions(logits, criteria.pixel_threshold, criteria.threshold):
            x, y, width, height = one.box
            found[y : y + height, x : x + width] |= one.mask
        both, either = int((found & truth[name]).sum()), int((found | truth[name]).sum())
        hits, union = hits + both, union + either
        if truth[name].any():
            ious.append(both / either)
        scores.append(float(logits.max()))
        defective.append(bool(truth[name].any()))
    flags = np.array(defective)
    bins = score_bins(torch.tensor(scores))
    area = auroc(score_histogram(bins[torch.tensor(flags)]), score_histogram(bins[torch.tensor(~flags)]))
    figures = rates(np.array(scores), flags, criteria.threshold)
    return dict(
        images=len(scores),
        normal=int((~flags).sum()),
        iou=100 * float(np.mean(ious)),
        pooled=100 * hits / max(1, union),
        auroc=None if area is None else 100 * float(area),
        recall=None if figures['recall'] is None else 100 * figures['recall'],
        alarms=None if figures['false_alarms'] is None else 100 * figures['false_alarms'],
    )


def inspected(weights: Path, images: dict[str, str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the logits (K, H, W) of each test image by the weights of `fit`."""
    inferencer = PromptSegInferencer(weights.parent / 'config.py', weights, 'cpu')
    for name, path in images.items():
        yield name, whole_image_logits(inferencer, Source(name, path))[0]


def unet(weights: Path, dataset: Path, images: dict[str, str], seconds: float, packages: Path) -> tuple[Any, ...]:
    """Train a U-Net on the images, labels and split of a `fit`, for as many CPU seconds.

    Args:
        weights: Of the `fit`.
        dataset: The labelled folder.
        images: Files of the test images.
        seconds: CPU time.
        packages: Folder for the package of the U-Net.

    Returns:
        Its decision, its answers to the test images, and the CPU seconds it took.
    """
    data = labelled_folder(dataset)
    pairs = {(info := data.get_data_info(i))['sample_id']: info for i in range(len(data))}
    split = {part: (weights.parent / f'{part}.txt').read_text().split('\n')[:-1] for part in ('train', 'val')}
    files = {
        part: [[pairs[name][key] for key in ('img_path', 'seg_map_path')] for name in split[part]] for part in split
    }
    # At the size of the images, in steps of 32: a U-Net from scratch gains nothing from larger ones, and steps are few.
    side = np.median([max(cv2.imread(path).shape[:2]) for path, _ in files['train']])
    settings = dict(
        **files, predict=[*(path for path, _ in files['val']), *images.values()], seconds=seconds,
        packages=str(packages), size=int(np.ceil(side / 32)) * 32,
    )  # fmt: skip
    folder = dataset.parent / 'unet'
    folder.mkdir()
    (folder / 'settings.json').write_text(json.dumps(settings))
    script = [sys.executable, UNET, folder / 'settings.json', folder / 'logits.npz']
    with (folder / 'log.txt').open('w') as log:
        subprocess.run([str(word) for word in script], check=True, stdout=log, stderr=subprocess.STDOUT)
    logits = np.load(folder / 'logits.npz')
    chosen = labelled_folder(dataset, str((weights.parent / 'val.txt').resolve()))
    rows = list(labelled_scores(lambda source: (logits[source.path][None], logits[source.path]), chosen))
    decision = calibration_of(rows, '', '', ('defect',)).decision
    return decision, [(name, logits[path][None]) for name, path in images.items()], float(logits['seconds'])


def parts(out: Path, size: int, number: int, test: int) -> tuple[dict[str, str], dict[str, np.ndarray], dict, dict]:
    """Write procedural parts; return image files and truth to label, and to test on."""
    found: list[dict] = []
    for name, count, seed in (('train', number, 1), ('test', test, 2)):
        folder = write_cracked_parts(out / name, count, (size, size), seed=seed)
        files = {path.stem: str(path) for path in sorted((folder / 'images').glob('*.png'))}
        truth = {key: cv2.imread(str(folder / 'masks' / f'{key}.png'), 0) > 0 for key in files}
        found += [files, truth]
    return tuple(found)


def tiles(out: Path, root: str, number: int) -> tuple[dict[str, str], dict[str, np.ndarray], dict, dict]:
    """Copy magnetic tiles into a folder; return image files and truth to label, and to test on.

    The lists are sorted by class (train.txt, val.txt) and by exposure (normal.txt), so images are taken evenly from all
    of a list; those without a defect alternate between training and test.
    """
    found: list[dict] = []
    for part, (name, listed) in enumerate((('train', 'train.txt'), ('test', 'val.txt'))):
        files, truth = {}, {}
        for ann_file, first, step, most in ((listed, 0, 1, number), ('normal.txt', part, 2, max(1, number // 2))):
            data = MTDDataset(data_root=root, ann_file=ann_file, drop_empty=ann_file == listed, serialize_data=False)
            indices = np.arange(first, len(data), step)
            places = np.linspace(0, len(indices) - 1, min(most, len(indices))).round().astype(int)
            for index in indices[places].tolist():
                info = data.get_data_info(index)
                key = info['sample_id'].replace('/', '_')
                target = out / name / 'images' / f'{key}.jpg'
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(Path(info['img_path']).read_bytes())
                files[key], truth[key] = str(target), data.read_mask(info) == 1
        found += [files, truth]
    return tuple(found)


def cpu_seconds() -> float:
    """Return the CPU time of all processes that this one started and that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run everything, and write the table to ``table.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True, help='folder for images, labels, weights and the table')
    parser.add_argument('--minutes', type=float, default=5.0, help='time for the training')
    parser.add_argument('--method', default='full', help='see `fit`')
    parser.add_argument('--unet', metavar='DIR', help='compare with a U-Net; DIR gets its package')
    parser.add_argument('--images', type=int, default=30, help='images to label')
    parser.add_argument('--test', type=int, default=40, help='procedural images to test on')
    parser.add_argument('--size', type=int, default=192, help='side of the procedural images in pixels')
    parser.add_argument('--mtd', metavar='DIR', help='magnetic tiles instead of procedural parts')
    parser.add_argument('--fit', nargs=argparse.REMAINDER, default=[], help='further arguments of `fit`, at the end')
    args = parser.parse_args()
    out = Path(args.out)
    if out.is_dir() and any(out.iterdir()):
        raise FileExistsError(f'{out}: the folder holds files already; give another --out')
    data = tiles(out, args.mtd, args.images) if args.mtd else parts(out, args.size, args.images, args.test)
    _, train_truth, test_files, test_truth = data
    server = make_server(parse([str(out / 'train' / 'images'), '--out', str(out / 'dataset')]), tuple(args.fit))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    user = User(server)
    started = time.monotonic()
    for name, truth in train_truth.items():
        user.label(name, truth)
    labelled = time.monotonic()
    print(f'{len(train_truth)} images labelled with {user.actions} actions, {labelled - started:.0f} s', flush=True)
    before = cpu_seconds()
    weights = user.train(args.minutes, args.method)
    trained, spent = time.monotonic(), cpu_seconds() - before
    server.shutdown()
    columns = [
        (f'fit, {args.method}', evaluate(Decision.load(weights), inspected(weights, test_files), test_truth), spent)
    ]
    done = time.monotonic()
    if args.unet:
        decision, answers, own = unet(weights, out / 'dataset', test_files, spent, Path(args.unet).resolve())
        columns.append(('U-Net', evaluate(decision, answers, test_truth), own))
    figures = columns[0][1]
    print(f'{len(train_truth)} images labelled with {user.actions} actions (boxes, clicks, commits)')
    print(f'IoU of the labels with the truth: {100 * np.mean(user.ious):.1f} %')
    print(
        f'seconds: labels {labelled - started:.0f}, training {trained - labelled:.0f}, decisions {done - trained:.0f}'
    )
    print(f'test images: {figures["images"]}, {figures["normal"]} of them without a defect')
    rows = [('CPU seconds of the training', [f'{seconds:.0f}' for _, _, seconds in columns])]
    for key, name in FIGURES.items():
        rows.append((name, ['undefined' if one[key] is None else f'{one[key]:.1f}' for _, one, _ in columns]))
    head = [f'| | {" | ".join(name for name, _, _ in columns)} |', '| --- |' + ' --- |' * len(columns)]
    table = '\n'.join([*head, *(f'| {name} | {" | ".join(cells)} |' for name, cells in rows)])
    (out / 'table.md').write_text(table + '\n')
    print(table)


if __name__ == '__main__':
    main()
