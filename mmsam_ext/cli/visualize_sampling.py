"""Draw where the mask token looks, without and with deformable sampling, as in Stable-SAM's Figure 4.

    python -m mmsam_ext visualize-sampling IMAGE CONFIG --box X1 Y1 X2 Y2 --out PICTURE [--weights FILE]
    python -m mmsam_ext visualize-sampling IMAGE CONFIG --point X Y [--point X Y ...] --out PICTURE
        [--block 1] [--top 80]

Draws the image with the prompt, the mask, and the image features that the mask token attends to most in a two-way
block: a circle at each sampled place, whose area is the attention weight (mean over heads). The left panel is without
deformable sampling in any decoder, the right panel with it. Coordinates are pixels of the image. Places in the padding
of the network's input are not drawn.
"""

from __future__ import annotations

import argparse
import copy
import sys
from dataclasses import replace
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mmsam_ext.apis import InferenceError, PromptSegInferencer
from mmsam_ext.apis.checks import multimask_choice
from mmsam_ext.apis.encoded_image import EncodedImage
from mmsam_ext.apis.image_inputs import Source
from mmsam_ext.apis.prompt_sets import PromptSet
from mmsam_ext.apis.tiled_image import TiledImage
from mmsam_ext.models.mask_decoders import DeformableSamplingPlugin, SAMMaskDecoder, SamplingRecord
from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.utils import check_output_file, replacing
from mmsam_ext.visualization.drawing import Color, draw_box, draw_mask, draw_point, line_width, text_bar

ORANGE: Color = (255, 150, 30)
GREEN: Color = (60, 210, 90)
BLUE: Color = (70, 130, 255)
GAP = 8  # pixels between the pictures


class Look(NamedTuple):
    """What a decoder does with one prompt; N is the number of image tokens.

    Attributes:
        mask: (H, W) bool at the image's size.
        points: (N, 2) x, y where features are sampled, in pixels of the feature map.
        places: (N, 2) the same in pixels of the image; those in the padding lie beyond it.
        weights: (N,) attention of the mask token, sum 1.
        size: (h, w) of the feature map.
        alpha: alpha_1, the weight of the deformable features; None without a plugin.
    """

    mask: np.ndarray
    points: Tensor
    places: Tensor
    weights: Tensor
    size: tuple[int, int]
    alpha: float | None


def decoder_of(model: PromptableSegmentor) -> tuple[SAMMaskDecoder, DeformableSamplingPlugin]:
    """Return the decoder that makes the final mask, and its DeformableSamplingPlugin.

    Raises:
        InferenceError: The decoder has no such plugin.
    """
    decoder = cast('SAMMaskDecoder', getattr(model.mask_decoder, 'refine', model.mask_decoder))
    for plugin in decoder.plugins:
        if isinstance(plugin, DeformableSamplingPlugin):
            return decoder, plugin
    raise InferenceError('the mask decoder of this config has no DeformableSamplingPlugin')


def look(inferencer: PromptSegInferencer, prompt: dict[str, Any], block: int, deformable: bool) -> Look:
    """Predict one prompt on the image that is set, with deformable sampling or without it."""
    encoded = inferencer.encoded
    if encoded is None:
        raise InferenceError('no image is set; call set_image first')
    if isinstance(encoded, TiledImage):
        raise InferenceError('the model works on tiles; leave out test_cfg.mode="slide"')
    model = with_own_decoder(inferencer.model)
    decoder, plugin = decoder_of(model)
    if not deformable:
        remove_sampling(model)
    blocks: Any = decoder.transformer.layers
    if not 0 <= block < len(blocks):
        raise InferenceError(f'--block {block}, expected 0 to {len(blocks) - 1}')
    seen: list[Tensor] = []
    blocks[block].cross_attn_token_to_image.register_forward_pre_hook(  # runs after the plugins' hooks
        lambda module, args, kwargs: seen.append(attention_weights(module, kwargs['q'], kwargs['k'])), with_kwargs=True
    )
    records: list[SamplingRecord] = []
    features = replace(encoded.features, observe=records.append)
    given = PromptSet.create(prompt.get('boxes'), prompt.get('points'), prompt.get('point_labels'), None, encoded.name)
    low_res, _ = encoded._replace(features=features).decode(model, given, multimask_choice(model, None))
    height, width = cast('Tensor', low_res.logits).shape[-2:]
    size = height // 4, width // 4
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in size), indexing='ij')
    points, alpha = torch.stack([x, y], -1).flatten(0, 1), None
    for record in records:
        if record.plugin is plugin and record.site == block:
            points = (
                (points + record.sampling()[0][0].cpu()).clamp(min=0).minimum(torch.tensor([size[1], size[0]]) - 1.0)
            )
            alpha = float(record.alphas[0, 0])
    mask = low_res.full_logits(inferencer.chunk_bytes)[0] > 0
    return Look(mask, points, to_image(points, size, encoded), seen[0].cpu(), size, alpha)


def with_own_decoder(model: PromptableSegmentor) -> PromptableSegmentor:
    """Return a copy with a mask decoder of its own, which may be changed; the other parts are shared."""
    shared = {id(part): part for name, part in model.named_children() if name != 'mask_decoder'}
    return copy.deepcopy(model, shared)


def remove_sampling(model: PromptableSegmentor) -> None:
    """Take deformable sampling out of all decoders of a model: the final one and those that draft."""
    for decoder in [part for part in model.modules() if isinstance(part, SAMMaskDecoder)]:
        decoder.plugins = nn.ModuleList(
            [plugin for plugin in decoder.plugins if not isinstance(plugin, DeformableSamplingPlugin)]
        )


def to_image(points: Tensor, size: tuple[int, int], encoded: EncodedImage) -> Tensor:
    """Convert points (N, 2) from pixels of the feature map of `size` (h, w) to pixels of the image as it was read."""
    (height, width), meta = encoded.input_size, encoded.meta  # of the network input, padded
    (old_h, old_w), (new_h, new_w) = meta['ori_shape'][:2], meta['img_shape'][:2]  # before and after resizing
    stride = torch.tensor([width / size[1], height / size[0]])
    return (points + 0.5) * stride * torch.tensor([old_w / new_w, old_h / new_h]) - 0.5


def attention_weights(attention: Any, queries: Tensor, keys: Tensor) -> Tensor:
    """Return the attention weights (N,) of the mask token, averaged over heads.

    Args:
        attention: An attention of SAM's two-way transformer.
        queries: Its queries (1, K, C), as they enter it.
        keys: Its keys (1, N, C), as they enter it.
    """
    q = attention.q_proj(queries)[0, 1].unflatten(0, (attention.num_heads, -1))  # (heads, c); token 0 is IoU
    k = attention.k_proj(keys)[0].unflatten(1, (attention.num_heads, -1)).transpose(0, 1)  # (heads, N, c)
    scores = (k @ q.unsqueeze(-1)).squeeze(-1) / q.shape[-1] ** 0.5
    return scores.softmax(-1).mean(0)


def picture(image: np.ndarray, seen: Look, prompt: dict[str, Any], title: str, top: int) -> np.ndarray:
    """Draw one panel: `image` (H, W, 3) uint8 RGB with mask, prompt and the `top` places of largest weight."""
    canvas = image.copy()
    draw_mask(canvas, seen.mask, BLUE, 0.35)
    places = seen.places.round().long().tolist()
    largest = 0.035 * max(image.shape[:2])
    on_image = _on_image(seen, image.shape[:2])
    chosen = [i for i in seen.weights.argsort(descending=True).tolist() if on_image[i]][:top]
    for index in chosen:
        radius = max(1, round(largest * float(seen.weights[index] / seen.weights[chosen[0]]) ** 0.5))
        cv2.circle(canvas, places[index], radius, ORANGE, max(1, line_width(image) // 2), cv2.LINE_AA)
    for box in prompt.get('boxes', ()):
        draw_box(canvas, box, GREEN, line_width(image))
    for point in np.reshape(prompt.get('points', ()), (-1, 2)):
        draw_point(canvas, point.tolist(), GREEN, 2 * line_width(image))
    return np.concatenate([text_bar(title, canvas.shape[1], max(12, canvas.shape[1] // 30)), canvas])


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('image', help='image file')
    parser.add_argument('config', help='name or path of a config with DeformableSamplingPlugin')
    parser.add_argument('--weights', help="checkpoint; default: the config's own")
    parser.add_argument(
        '--untrained', action='store_true', help='go on if the weights lack parts that this config trains'
    )
    parser.add_argument('--box', nargs=4, type=float, metavar=('X1', 'Y1', 'X2', 'Y2'))
    parser.add_argument('--point', nargs=2, type=float, action='append', metavar=('X', 'Y'))
    parser.add_argument('--block', type=int, default=1, help='index of the two-way block (in the paper 1)')
    parser.add_argument('--top', type=int, default=80, help='number of places to draw')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; default: a GPU if there is one')
    parser.add_argument('--out', required=True, metavar='PICTURE')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that no earlier run wrote, too')
    args = parser.parse_args(arguments)
    if args.top < 1:
        parser.error(f'--top {args.top}: expected 1 or more')
    if not args.box and not args.point:
        parser.error('no prompt is given; expected --box or --point')
    return args


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    prompt: dict[str, Any] = {}
    if args.box:
        prompt['boxes'] = np.array([args.box])
    if args.point:
        prompt.update(points=np.array([args.point]), point_labels=np.ones((1, len(args.point)), int))
    try:
        check_output_file(args.out, [args.image], args.overwrite)
        inferencer = PromptSegInferencer(args.config, args.weights, args.device, args.untrained)
        inferencer.set_image(args.image)
        image = inferencer.pipeline.load(Source(args.image, path=args.image))['img']
        plain, stable = (look(inferencer, prompt, args.block, deformable) for deformable in (False, True))
    except (InferenceError, OSError) as error:
        print(f'visualize-sampling: error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    panels = [
        picture(image, plain, prompt, 'without DSP', args.top),
        picture(image, stable, prompt, f'with DSP, alpha_1 {stable.alpha:.3f}', args.top),
    ]
    gap = np.full((len(panels[0]), GAP, 3), 255, np.uint8)
    out = np.concatenate([panels[0], gap, panels[1]], 1)
    try:
        with replacing(args.out, args.overwrite) as temporary:
            written = cv2.imwrite(str(temporary), cv2.cvtColor(out, cv2.COLOR_RGB2BGR))
    except (cv2.error, OSError):
        written = False
    if not written:
        print(f'visualize-sampling: error: cannot write {args.out}', file=sys.stderr)
        return 2
    for name, seen in (('without', plain), ('with', stable)):
        inside = float(seen.weights[torch.from_numpy(_inside(seen, image.shape[:2]))].sum())
        print(f'{name} deformable sampling: {inside:.3f} of the attention is on the predicted mask')
    print(f'Written: {args.out}')
    return 0


def _inside(seen: Look, shape: tuple[int, int]) -> np.ndarray:
    """Return (N,) bool, whether a sampled place lies on the mask."""
    x, y = seen.places.round().long().numpy().T
    return seen.mask[y.clip(0, shape[0] - 1), x.clip(0, shape[1] - 1)] & _on_image(seen, shape)


def _on_image(seen: Look, shape: tuple[int, int]) -> np.ndarray:
    """Return (N,) bool, whether a sampled place lies on the image of `shape` (H, W) and not in the padding."""
    limit = torch.tensor([shape[1], shape[0]]) - 0.5
    return ((seen.places >= -0.5) & (seen.places < limit)).all(1).numpy()
