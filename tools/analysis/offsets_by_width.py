"""Show how deformable sampling changes masks of thin and of wide defects, and what smaller offsets would change.

    python tools/analysis/offsets_by_width.py CONFIG CHECKPOINT [--limits 4 2 1 0.5 0] [--draws 10] [--noise 0.4]
        [--images N] [--device cpu]

For each test image of CONFIG (a model with DeformableSamplingPlugin) it draws noisy boxes around the defects, predicts
their masks with the largest offset `max_offset` set to each of --limits (in cells of the embedding; 0 keeps learned
amplitudes and moves nothing), and without the plugin, and prints mIoU and ST by the width of the defects in cells: the
diameter of the largest circle that fits into them. It also prints the mean length of the offsets on the cells that the
defects touch. Every image is encoded once for all of this.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

runpy.run_path(str(Path(__file__).resolve().parents[1] / '_bootstrap.py'))

import mmsam_ext  # noqa: E402, F401  (before mmseg)

# isort: split
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.dataset import pseudo_collate  # noqa: E402
from mmseg.registry import DATASETS  # noqa: E402

from mmsam_ext.apis.model_loading import load_config, load_model  # noqa: E402
from mmsam_ext.cli.table import text_table  # noqa: E402
from mmsam_ext.cli.visualize_sampling import decoder_of, remove_sampling, with_own_decoder  # noqa: E402
from mmsam_ext.evaluation.functional import mask_iou, stability  # noqa: E402
from mmsam_ext.models.mask_decoders import SamplingRecord  # noqa: E402
from mmsam_ext.models.segmentors import PromptableSegmentor  # noqa: E402
from mmsam_ext.structures import PromptBatch, SAMFeatures  # noqa: E402
from mmsam_ext.structures.samples import target_masks  # noqa: E402

#: Upper ends of the groups of widths, in cells.
WIDTHS = (0.5, 1.0, 2.0, float('inf'))
WITHOUT = 'without DSP'
#: Group -> setting -> (IoU, ST, length of offsets) of each image.
Values = dict[str, dict[str, list[tuple[float, float, float]]]]


def noisy_boxes(config: Config, draws: int, noise: float) -> list[dict]:
    """Return the config's test pipeline with noisy boxes around all defects as the only prompts."""
    modes = dict(noisy=dict(kind='box', draws=draws))
    drawing = [
        dict(type='GeneratePrompts', modes=modes, seed=0),
        dict(type='PerturbPrompts', box_noise=noise, modes=['noisy'], seed=0),
    ]
    pipeline = list(config.test_dataloader.dataset.pipeline)
    place = next(index for index, step in enumerate(pipeline) if step['type'] == 'GeneratePrompts')
    rest = [step for step in pipeline[place:] if step['type'] not in ('GeneratePrompts', 'PerturbPrompts')]
    return [*pipeline[:place], *drawing, *rest]


def settings(model: PromptableSegmentor, limits: Sequence[float]) -> dict[str, PromptableSegmentor]:
    """Return models that share all but the decoder: without the plugin, and with offsets of at most each limit.

    Args:
        model: A model with DeformableSamplingPlugin, which stays as it is.
        limits: Largest offsets along each axis, in cells of the embedding.
    """
    models = {WITHOUT: with_own_decoder(model)}
    remove_sampling(models[WITHOUT])
    for limit in limits:
        own = models[f'at most {limit:g}'] = with_own_decoder(model)
        for module in decoder_of(own)[1].sampling:
            module.max_offset = limit
    return models


def width_in_cells(mask: np.ndarray, size: tuple[int, int]) -> float:
    """Return the diameter of the largest circle in a mask (H, W) bool, in cells of an embedding of `size` (h, w)."""
    scale = 16  # as the network sees it: the mask at its input size
    resized = cv2.resize(mask.astype(np.uint8), (size[1] * scale, size[0] * scale), interpolation=cv2.INTER_AREA)
    depth = cv2.distanceTransform(np.pad((resized > 0).astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return 2 * (float(depth.max()) - 0.5) / scale


@torch.no_grad()
def of_image(
    models: Mapping[str, PromptableSegmentor], packed: dict
) -> tuple[float, dict[str, tuple[float, float, float]]]:
    """Return the width of an image's defects in cells, and by setting mIoU, ST and the length of offsets there."""
    model = models[WITHOUT]  # the parts that all share
    data = model.data_preprocessor(pseudo_collate([packed]), False)
    inputs, (sample,) = data['inputs'], data['data_samples']
    encoded = model.extract_feat(inputs)
    target = target_masks(sample)[0].cpu()
    size = tuple(encoded.embedding.shape[-2:])
    cells = cv2.resize(target.numpy().astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA).ravel() > 0
    found = {}
    for name, own in models.items():
        batch = PromptBatch.from_samples([sample], inputs)
        records: list[SamplingRecord] = []
        features = SAMFeatures(encoded.embedding, encoded.stages, inputs, observe=records.append)
        own.predict_from_features(features, batch, [sample])
        length = 0.0
        if name != WITHOUT:
            _, plugin = decoder_of(own)  # of the decoder that makes the final mask
            offsets = [record.sampling()[0].norm(dim=-1).mean(0) for record in records if record.plugin is plugin]
            length = float(torch.stack(offsets).mean(0).cpu()[torch.from_numpy(cells)].mean())
        masks = sample.pred_instances.mask_logits.cpu() > 0
        found[name] = float(mask_iou(masks, target).mean()), float(stability(masks)), length
    return width_in_cells(target.numpy(), size), found


def group_of(width: float) -> str:
    """Return the name of the group that a width belongs to."""
    index = next(index for index, end in enumerate(WIDTHS) if width <= end)
    return f'up to {WIDTHS[index]:g}' if index < len(WIDTHS) - 1 else f'above {WIDTHS[-2]:g}'


def table(values: Values) -> str:
    """Return a row for each group and setting: images, mIoU, ST and the length of offsets."""
    rows = []
    order = [group_of(end) for end in WIDTHS]
    for group in [name for name in order if name in values]:
        for setting, numbers in values[group].items():
            iou, st, length = np.mean(numbers, 0)
            rows.append([group, setting, str(len(numbers)), f'{100 * iou:.1f}', f'{100 * st:.1f}', f'{length:.2f}'])
    return text_table(('width (cells)', 'offsets (cells)', 'images', 'mIoU', 'ST', 'mean length'), rows, left=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a model with DeformableSamplingPlugin')
    parser.add_argument('checkpoint')
    parser.add_argument('--limits', type=float, nargs='+', default=[4, 2, 1, 0.5, 0], help='largest offsets, in cells')
    parser.add_argument('--draws', type=int, default=10, help='noisy boxes for each image')
    parser.add_argument('--noise', type=float, default=0.4, help='largest shift and growth, as a share of the sides')
    parser.add_argument('--images', type=int, help='use only the first N images')
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args(arguments)
    if args.draws < 2 or args.noise < 0 or min(args.limits) < 0:
        parser.error(
            f'--draws {args.draws} --noise {args.noise:g} --limits {args.limits}, expected 2 or more, 0 or more'
        )
    try:
        config = load_config(args.config)
        model = load_model(config, args.checkpoint, args.device, False)
        decoder_of(model)
        dataset = config.test_dataloader.dataset
        dataset.pipeline = noisy_boxes(config, args.draws, args.noise)
        images = DATASETS.build(dataset)
    except (OSError, ValueError) as error:
        sys.exit(f'offsets_by_width: error: {error}')
    models = settings(model, args.limits)
    values: Values = defaultdict(lambda: defaultdict(list))
    for index in range(len(images) if args.images is None else min(args.images, len(images))):
        width, found = of_image(models, images[index])
        for setting, numbers in found.items():
            for group in (group_of(width), 'all'):
                values[group][setting].append(numbers)
        print(f'{index + 1} of {len(images)}: {width:.2f} cells', file=sys.stderr, flush=True)
    print(table(values))
    print(table({group_of(WIDTHS[0]): values['all']}).replace(group_of(WIDTHS[0]), 'all'))


if __name__ == '__main__':
    main()
