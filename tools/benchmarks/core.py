"""The SAM core against ``segment_anything``, with the same random weights: what ``tools/benchmark.py core`` runs.

Both contenders run in processes that have this package and ``segment_anything`` in memory, so a peak contains the same
libraries; 'extra' memory is what the work adds to them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .comparison import compare, table
from .interleaved import CONTENDER, interleave, serve

#: Our name of an architecture -> segment_anything's.
STOCK_ARCHS = {'base': 'vit_b', 'large': 'vit_l', 'huge': 'vit_h'}
CHANNELS, STRIDE = 256, 16
STAGES = ('encoder', 'decoder', 'end_to_end')
#: Images and prompts of each that this package decodes in one call, and stock SAM in a loop over images.
BATCH = dict(images=8, prompts=4)


@dataclass
class Case:
    """The work of one process.

    Attributes:
        contender: 'stock' or 'ours'.
        stage: 'encoder' (image -> embedding), 'decoder' (embedding and boxes -> mask logits) or 'end_to_end' (both, at
            the size of the input); see :func:`prepare`.
        images: Number of images.
        prompts: Boxes of each image.
        arch: 'base', 'large' or 'huge'.
        size: Side of the square images, a multiple of 16.
        dtype: 'fp32', or 'bf16' by autocast.
        device: As torch names it.
        weights: File of :func:`save_weights`.
    """

    contender: str
    stage: str
    images: int
    prompts: int
    arch: str
    size: int
    dtype: str
    device: str
    weights: str

    @property
    def name(self) -> str:
        """Return the name in the table: stage, images x prompts."""
        return f'{self.stage}_{self.images}x{self.prompts}' if self.prompts else f'{self.stage}_{self.images}'


def save_weights(arch: str, path: Path) -> None:
    """Write random weights of segment_anything; those that are initialized to zero (position codes) are random, too."""
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    state = sam_model_registry[STOCK_ARCHS[arch]]().state_dict()
    for value in state.values():
        if not value.any():
            value.normal_(std=0.02)
    torch.save(state, path)


def prepare(case: Case) -> Callable[[], Tensor]:
    """Prepare the work of a case, with everything that it needs in memory.

    Outputs of the two contenders are comparable:

    - encoder: embedding (images, 256, size/16, size/16);
    - decoder: logits of the three masks for ambiguous prompts (images * prompts, 3, size/4, size/4);
    - end_to_end: logits of the single mask (images * prompts, size, size).
    """
    # Memory-mapped, so that a stage loads only the weights that it uses.
    state = torch.load(case.weights, map_location=case.device, weights_only=True, mmap=True)
    build = {'stock': _stock, 'ours': _ours}[case.contender]
    work = build(case, state)
    enabled = case.dtype == 'bf16'

    def run() -> Tensor:
        with torch.no_grad(), torch.autocast(torch.device(case.device).type, torch.bfloat16, enabled=enabled):
            return work()

    return run


def cases(args: argparse.Namespace, dtype: str, device: torch.device, weights: str) -> list[Case]:
    """Return the cases to compare, each with 'stock' as the contender."""
    one = Case('stock', '', 1, 0, args.arch, args.size, dtype, str(device), weights)
    chosen = []
    if 'encoder' in args.stages:
        chosen.append(replace(one, stage='encoder'))
    if 'decoder' in args.stages:
        chosen += [replace(one, stage='decoder', prompts=number) for number in args.prompts]
        chosen.append(replace(one, stage='decoder', **BATCH))
    if 'end_to_end' in args.stages:
        chosen.append(replace(one, stage='end_to_end', prompts=BATCH['prompts']))
    return chosen


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Compare the two contenders; returns '<case>_<dtype>' -> :func:`~benchmarks.comparison.compare`."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / 'weights.pth'
        save_weights(args.arch, weights)
        for dtype in args.dtype:
            for case in cases(args, dtype, device, str(weights)):
                say(f'{dtype} {case.name} ...')
                commands = {
                    name: [*CONTENDER, 'core', json.dumps(asdict(replace(case, contender=name)))]
                    for name in ('stock', 'ours')
                }
                outcomes = interleave(commands, args.repeats, say)
                results[f'{case.name}_{dtype}'] = compare(outcomes['stock'], outcomes['ours'])
    return results


def contend(case: str, output: str) -> None:
    """Be one contender, a process that ``tools/benchmark.py core`` starts; `case` is a :class:`Case` as JSON."""
    one = Case(**json.loads(case))
    serve(prepare(one), torch.device(one.device), output)


def _inputs(case: Case) -> tuple[Tensor, Tensor]:
    """Return the input, images (B, 3, size, size) or embeddings (B, C, h, w), and boxes (B, P, 4)."""
    generator = torch.Generator().manual_seed(1)
    grid = case.size // STRIDE
    shape = (CHANNELS, grid, grid) if case.stage == 'decoder' else (3, case.size, case.size)
    start = torch.randn(case.images, *shape, generator=generator)
    corners = torch.rand(case.images, case.prompts, 2, 2, generator=generator).sort(2).values * (case.size - 1)
    return start.to(case.device), corners.flatten(2).to(case.device)


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def _stock(case: Case, state: dict[str, Tensor]) -> Callable[[], Tensor]:
    from segment_anything import sam_model_registry

    start, boxes = _inputs(case)
    with torch.device('meta'):
        sam = sam_model_registry[STOCK_ARCHS[case.arch]]()
    # Stock SAM takes only the size that it is built for; its position code is interpolated as this package does it.
    grid = (case.size // STRIDE, case.size // STRIDE)
    if case.size != sam.image_encoder.img_size:
        code = state['image_encoder.pos_embed'].permute(0, 3, 1, 2)
        code = F.interpolate(code, grid, mode='bicubic', align_corners=False).permute(0, 2, 3, 1)
        state['image_encoder.pos_embed'] = code
        sam.image_encoder.pos_embed = torch.nn.Parameter(torch.empty_like(code, device='meta'))
        sam.image_encoder.img_size = case.size
        sam.prompt_encoder.image_embedding_size = grid
        sam.prompt_encoder.input_image_size = (case.size, case.size)
        sam.prompt_encoder.mask_input_size = (4 * grid[0], 4 * grid[1])
    encoder, prompt_encoder, decoder = sam.image_encoder, sam.prompt_encoder, sam.mask_decoder
    if case.stage != 'decoder':
        encoder.load_state_dict(_part(state, 'image_encoder.'), assign=True)
    if case.stage != 'encoder':
        prompt_encoder.load_state_dict(_part(state, 'prompt_encoder.'), assign=True)
        decoder.load_state_dict(_part(state, 'mask_decoder.'), assign=True)
    state.clear()

    def decode(embeddings: Tensor, multimask: bool) -> Tensor:
        logits = []
        for embedding, asked in zip(embeddings, boxes, strict=True):  # its decoder takes one image
            sparse, dense = prompt_encoder(points=None, boxes=asked, masks=None)
            masks, _ = decoder(embedding[None], prompt_encoder.get_dense_pe(), sparse, dense, multimask)
            logits.append(masks)
        return torch.cat(logits)

    def end_to_end() -> Tensor:
        size = (case.size, case.size)
        return sam.postprocess_masks(decode(encoder(start), False), size, size)[:, 0]

    return {'encoder': lambda: encoder(start), 'decoder': lambda: decode(start, True), 'end_to_end': end_to_end}[
        case.stage
    ]


def _ours(case: Case, state: dict[str, Tensor]) -> Callable[[], Tensor]:
    import mmsam_ext  # noqa: F401  (before mmseg)

    # isort: split
    from mmseg.structures import SegDataSample

    from mmsam_ext.models.backbones import SAMImageEncoder
    from mmsam_ext.models.mask_decoders import SAMMaskDecoder
    from mmsam_ext.models.prompt_encoders import SAMPromptEncoder
    from mmsam_ext.models.segmentors import PromptableSegmentor
    from mmsam_ext.structures import PromptBatch, Prompts, SAMFeatures

    start, boxes = _inputs(case)
    prompts = [Prompts.create(boxes=asked) for asked in boxes] if case.prompts else []
    if case.stage == 'encoder':
        with torch.device('meta'):
            encoder = SAMImageEncoder(case.arch).eval()
        encoder.load_state_dict(_part(state, 'image_encoder.'), assign=True)
        state.clear()
        return lambda: encoder(start)[-1]
    if case.stage == 'decoder':
        prompt_encoder, decoder = SAMPromptEncoder().to(case.device), SAMMaskDecoder().to(case.device)
        prompt_encoder.load_state_dict(_part(state, 'prompt_encoder.'), assign=True)
        decoder.load_state_dict(_part(state, 'mask_decoder.'), assign=True)
        state.clear()

        def decode() -> Tensor:
            (group,) = prompt_encoder(
                PromptBatch.from_prompts(prompts, (case.size, case.size)), start.shape[-2:]
            )  # boxes alone: one group
            return decoder(SAMFeatures(start), group).logits[:, 1:]

        return decode
    with torch.device('meta'):
        model = PromptableSegmentor(
            backbone=dict(type='SAMImageEncoder', arch=case.arch),
            prompt_encoder=dict(type='SAMPromptEncoder'),
            mask_decoder=dict(type='SAMMaskDecoder'),
        ).eval()
    model.load_state_dict(state, assign=True)  # Meta's key names
    state.clear()
    meta = dict(img_shape=(case.size, case.size), ori_shape=(case.size, case.size))

    def predict() -> Tensor:
        samples = [SegDataSample(metainfo=meta) for _ in prompts]
        for sample, asked in zip(samples, prompts, strict=True):
            sample.prompts = asked
        model.predict(start, samples)
        return torch.cat([sample.pred_instances.mask_logits for sample in samples])

    return predict


__all__ = ['BATCH', 'STAGES', 'STOCK_ARCHS', 'Case', 'cases', 'contend', 'prepare', 'run', 'save_weights', 'table']
