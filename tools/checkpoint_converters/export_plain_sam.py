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

#: Our name of a module -> Meta's.
PREFIXES = {
    'backbone.': 'image_encoder.',
    'prompt_encoder.': 'prompt_encoder.',
    'mask_decoder.': 'mask_decoder.',
    'image_encoder.': 'image_encoder.',
}


def plain_sam(state_dict: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], Counter[str]]:
    """State dict with our names -> with Meta's, and how many keys were left out, by their first two names."""
    plain, left_out = {}, Counter()
    for key, value in state_dict.items():
        prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), None)
        if prefix is None or key.startswith('mask_decoder.plugins.'):
            left_out['.'.join(key.split('.')[:2])] += 1
        else:
            plain[PREFIXES[prefix] + key[len(prefix) :]] = value.contiguous()
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
    except (OSError, RuntimeError) as error:
        sys.exit(f'export_plain_sam.py: {error}')
    plain, left_out = plain_sam(checkpoint.get('state_dict', checkpoint))
    if not any(key.startswith('image_encoder.') for key in plain):
        sys.exit(f'export_plain_sam.py: {args.checkpoint}: no image encoder in it; a trainable-only checkpoint?')
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
