# Adapters (Houlsby et al. 2019), 8 wide: behind every attention and every MLP, of the encoder and of each decoder.
peft = dict(
    encoder=dict(type='Adapter', modules=r'^backbone\..*\.(attn\.proj|mlp\.lin2)$', width=8),
    draft=dict(type='Adapter', modules=r'^mask_decoder\.drafts\..*\.(out_proj|mlp\.lin2)$', width=8),
    refine=dict(type='Adapter', modules=r'^mask_decoder\.refine\..*\.(out_proj|mlp\.lin2)$', width=8),
)
trainable = [r'\.((down|up)\.(weight|bias)|beta\.\d+)$']
