"""How the key names of other people's files become ours: regular expressions, for :func:`re.sub`, in their order."""

from __future__ import annotations

from collections.abc import MutableMapping

from torch import Tensor

META = {r'^image_encoder\.': 'backbone.'}

#: The part of a SAM 2 that remembers earlier frames of a video. Images need none of it.
VIDEO_PARTS = (
    r'^memory_(attention|encoder|temporal_positional_encoding)\b',
    r'^(maskmem_tpos_enc|no_mem_pos_enc|no_obj_ptr|no_obj_embed_spatial|obj_ptr_proj|obj_ptr_tpos_proj)\b',
    r'^(mask_downsample|object_pointer_proj|temporal_positional_encoding_projection_layer)\b',
    r'^(no_memory_positional_encoding|no_object_pointer|occlusion_spatial_embedding_parameter)$',
)
SAM2 = {
    r'^no_mem_embed$': 'backbone.no_mem_embed',
    r'^image_encoder\.neck\.convs\.(\d)\.conv\.': r'backbone.neck.convs.\1.',
    r'^image_encoder\.(trunk\.blocks\.\d+\.mlp)\.layers\.0\.': r'backbone.\1.fc1.',
    r'^image_encoder\.(trunk\.blocks\.\d+\.mlp)\.layers\.1\.': r'backbone.\1.fc2.',
    r'^image_encoder\.': 'backbone.',
    r'^sam_prompt_encoder\.': 'prompt_encoder.',
    r'^sam_mask_decoder\.': 'mask_decoder.',
    r'^(mask_decoder\.transformer\.layers\.\d\.mlp)\.layers\.0\.': r'\1.lin1.',
    r'^(mask_decoder\.transformer\.layers\.\d\.mlp)\.layers\.1\.': r'\1.lin2.',
}

#: Meta's names of SAM 2 from those of a SAM (``image_encoder.``, ``prompt_encoder.``, ``mask_decoder.``).
TO_SAM2 = {
    r'^image_encoder\.no_mem_embed$': 'no_mem_embed',
    r'^(image_encoder\.neck\.convs\.\d)\.': r'\1.conv.',
    r'^(image_encoder\.trunk\.blocks\.\d+\.mlp)\.fc1\.': r'\1.layers.0.',
    r'^(image_encoder\.trunk\.blocks\.\d+\.mlp)\.fc2\.': r'\1.layers.1.',
    r'^(mask_decoder\.transformer\.layers\.\d\.mlp)\.lin1\.': r'\1.layers.0.',
    r'^(mask_decoder\.transformer\.layers\.\d\.mlp)\.lin2\.': r'\1.layers.1.',
    r'^(prompt_encoder|mask_decoder)\.': r'sam_\1.',
}

#: Of the classifier that the encoder was, and buffers that are made anew.
MOBILE_LEFT_OUT = (r'^image_encoder\.(norm_head|head)\.', r'\.(attention_bias_idxs|ab)$')
MOBILE_SAM = {
    r'^image_encoder\.neck\.': 'backbone.neck.',
    r'^image_encoder\.patch_embed\.seq\.0\.': 'backbone.trunk.patch_embed.conv1.',
    r'^image_encoder\.patch_embed\.seq\.2\.': 'backbone.trunk.patch_embed.conv2.',
    # Theirs ends a stage by halving the resolution, timm's begins the next one.
    r'^image_encoder\.layers\.2\.downsample\.': 'backbone.trunk.stages.3.downsample.',
    r'^image_encoder\.layers\.1\.downsample\.': 'backbone.trunk.stages.2.downsample.',
    r'^image_encoder\.layers\.0\.downsample\.': 'backbone.trunk.stages.1.downsample.',
    r'^image_encoder\.layers\.': 'backbone.trunk.stages.',
    r'^(backbone\.trunk\..+)\.c\.': r'\1.conv.',
}

#: The authors' names of MobileSAM from those of a SAM.
TO_MOBILE_SAM = {
    r'^image_encoder\.trunk\.patch_embed\.conv1\.': 'image_encoder.patch_embed.seq.0.',
    r'^image_encoder\.trunk\.patch_embed\.conv2\.': 'image_encoder.patch_embed.seq.2.',
    r'^image_encoder\.trunk\.stages\.1\.downsample\.': 'image_encoder.layers.0.downsample.',
    r'^image_encoder\.trunk\.stages\.2\.downsample\.': 'image_encoder.layers.1.downsample.',
    r'^image_encoder\.trunk\.stages\.3\.downsample\.': 'image_encoder.layers.2.downsample.',
    r'^image_encoder\.trunk\.stages\.': 'image_encoder.layers.',
    r'^(image_encoder\.(?:patch_embed|layers)\..+)\.conv\.': r'\1.c.',
}

#: Parts that all models of Hugging Face have in common.
_HF_PROMPTS = {
    r'^(shared_image_embedding|prompt_encoder\.shared_embedding)\.positional_embedding$': (
        'prompt_encoder.pe_layer.positional_encoding_gaussian_matrix'
    ),
    r'^prompt_encoder\.point_embed\.(\d)\.': r'prompt_encoder.point_embeddings.\1.',
    r'^prompt_encoder\.mask_embed\.conv1\.': 'prompt_encoder.mask_downscaling.0.',
    r'^prompt_encoder\.mask_embed\.layer_norm1\.': 'prompt_encoder.mask_downscaling.1.',
    r'^prompt_encoder\.mask_embed\.conv2\.': 'prompt_encoder.mask_downscaling.3.',
    r'^prompt_encoder\.mask_embed\.layer_norm2\.': 'prompt_encoder.mask_downscaling.4.',
    r'^prompt_encoder\.mask_embed\.conv3\.': 'prompt_encoder.mask_downscaling.6.',
}
_HF_MASKS = {
    r'^mask_decoder\.upscale_conv1\.': 'mask_decoder.output_upscaling.0.',
    r'^mask_decoder\.upscale_layer_norm\.': 'mask_decoder.output_upscaling.1.',
    r'^mask_decoder\.upscale_conv2\.': 'mask_decoder.output_upscaling.3.',
    r'^(mask_decoder\.transformer)\.layer_norm_final_attn\.': r'\1.norm_final_attn.',
    r'^(mask_decoder\.transformer\.layers\.\d)\.layer_norm(\d)\.': r'\1.norm\2.',
    # Their MLPs of three layers.
    r'^(mask_decoder\.(?:output_hypernetworks_mlps\.\d|\w+_head|hq_mask_mlp))\.layers\.0\.': r'\1.layers.1.',
    r'^(mask_decoder\.(?:output_hypernetworks_mlps\.\d|\w+_head|hq_mask_mlp))\.proj_in\.': r'\1.layers.0.',
    r'^(mask_decoder\.(?:output_hypernetworks_mlps\.\d|\w+_head|hq_mask_mlp))\.proj_out\.': r'\1.layers.2.',
}
HF_SAM = {
    r'^vision_encoder\.patch_embed\.projection\.': 'backbone.patch_embed.proj.',
    r'^vision_encoder\.neck\.conv1\.': 'backbone.neck.0.',
    r'^vision_encoder\.neck\.layer_norm1\.': 'backbone.neck.1.',
    r'^vision_encoder\.neck\.conv2\.': 'backbone.neck.2.',
    r'^vision_encoder\.neck\.layer_norm2\.': 'backbone.neck.3.',
    r'^vision_encoder\.layers\.(\d+)\.layer_norm(\d)\.': r'backbone.blocks.\1.norm\2.',
    r'^vision_encoder\.layers\.': 'backbone.blocks.',
    r'^vision_encoder\.': 'backbone.',
    **_HF_PROMPTS,
    **_HF_MASKS,
}
HF_SAM_HQ = {
    **HF_SAM,
    r'^mask_decoder\.hq_token\.': 'mask_decoder.hf_token.',
    r'^mask_decoder\.hq_mask_mlp\.': 'mask_decoder.hf_mlp.',
    **{
        rf'^mask_decoder\.{theirs}_{layer}\.': f'mask_decoder.{ours}.{place}.'
        for theirs, ours in (
            ('compress_vit', 'compress_vit_feat'),
            ('encoder', 'embedding_encoder'),
            ('mask', 'embedding_maskfeature'),
        )
        for layer, place in (('conv1', 0), ('norm', 1), ('conv2', 3))
    },
}
HF_SAM2 = {
    r'^no_memory_embedding$': 'backbone.no_mem_embed',
    r'^vision_encoder\.neck\.': 'backbone.neck.',
    r'^vision_encoder\.backbone\.patch_embed\.projection\.': 'backbone.trunk.patch_embed.proj.',
    r'^vision_encoder\.backbone\.(blocks\.\d+)\.layer_norm(\d)\.': r'backbone.trunk.\1.norm\2.',
    r'^vision_encoder\.backbone\.(blocks\.\d+\.mlp)\.proj_in\.': r'backbone.trunk.\1.fc1.',
    r'^vision_encoder\.backbone\.(blocks\.\d+\.mlp)\.proj_out\.': r'backbone.trunk.\1.fc2.',
    r'^vision_encoder\.backbone\.': 'backbone.trunk.',
    **_HF_PROMPTS,
    **_HF_MASKS,
    r'^(mask_decoder\.transformer\..+)\.o_proj\.': r'\1.out_proj.',
    r'^(mask_decoder\.transformer\.layers\.\d\.mlp)\.proj_in\.': r'\1.lin1.',
    r'^(mask_decoder\.transformer\.layers\.\d\.mlp)\.proj_out\.': r'\1.lin2.',
}


def split_points(state_dict: MutableMapping[str, Tensor], prefix: str = '') -> None:
    """Split Hugging Face's one table of point embeddings of SAM 2 into Meta's four, in place."""
    table = state_dict.pop(f'{prefix}prompt_encoder.point_embed.weight', None)
    for index, row in enumerate(() if table is None else table):
        state_dict[f'{prefix}prompt_encoder.point_embeddings.{index}.weight'] = row[None].clone()
