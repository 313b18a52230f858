"""Writes the SAM in a checkpoint of this project under Meta's key names, without optimizer, hooks and additions.

    python tools/checkpoint_converters/export_plain_sam.py work_dirs/run/iter_600.pth sam.safetensors --half

A `.pth` of ViT-B, -L or -H loads into `segment_anything` (``sam_model_registry['vit_b'](checkpoint=...)``) and, like
any plain SAM, into this project's configs. Keys that plain SAM does not have are left out and counted.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

#: Our name of a module -> Meta's; of self-draft decoders the refining one is SAM's.
PREFIXES = {
    'backbone.': 'image_encoder.',
    'image_encoder.': 'image_encoder.',
    'prompt_encoder.': 'prompt_encoder.',
    'mask_decoder.refine.': 'mask_decoder.',
    'mask_decoder.': 'mask_decoder.',
}
ADDITIONS = ('mask_decoder.plugins.', 'mask_decoder.refine.plugins.', 'mask_decoder.drafts.')
#: Parameters of PEFT layers, which change what the plain weights beside them compute.
PEFT = ('lora_a', 'lora_b', 'magnitude', 'down.weight', 'up.weight')


def plain_sam(state_dict: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], Counter[str]]:
    """State dict with our names -> with Meta's, and how many keys were left out, by their first two names.

    Raises:
        ValueError: no image encoder in it, or PEFT layers that were not merged.
    """
    unmerged = [key for key in state_dict if key.endswith(PEFT)]
    if unmerged:
        raise ValueError(f'PEFT layers are not merged into plain weights (as {unmerged[0]})')
    plain, left_out = {}, Counter()
    for key, value in state_dict.items():
        prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), None)
        if prefix is None or key.startswith(ADDITIONS):
            left_out['.'.join(key.split('.')[:2])] += 1
        else:
            plain[PREFIXES[prefix] + key[len(prefix) :]] = value.contiguous()
    if not any(key.startswith('image_encoder.') for key in plain):
        raise ValueError('no image encoder in it; a trainable-only checkpoint?')
    return plain, left_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint')
    parser.add_argument('out', type=Path, help='a .pth or .safetensors file')
    parser.add_argument('--half', action='store_true', help='store fp16')
    args = parser.parse_args()
    if args.out.suffix not in ('.pth', '.safetensors'):
        parser.error(f'{args.out}: expected a .pth or .safetensors file')
    from mmengine.runner import CheckpointLoader
    from safetensors.torch import save_file

    import mmsam_ext  # noqa: F401  (registers the loaders)

    try:
        checkpoint = CheckpointLoader.load_checkpoint(args.checkpoint, map_location='cpu')
        plain, left_out = plain_sam(checkpoint['state_dict'])
    except (OSError, RuntimeError) as error:
        sys.exit(f'export_plain_sam.py: {error}')
    except ValueError as error:
        sys.exit(f'export_plain_sam.py: {args.checkpoint}: {error}')
    if args.half:
        plain = {key: value.half() if value.is_floating_point() else value for key, value in plain.items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.out.suffix == '.pth':
        torch.save(plain, args.out)
    else:
        save_file(plain, args.out)
    print(f'{args.out}: {len(plain)} tensors, {args.out.stat().st_size / 2**20:.1f} MB')
    for name, number in left_out.items():
        print(f'  left out: {number} of {name}')


if __name__ == '__main__':
    main()
