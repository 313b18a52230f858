# PLM on the mini SAM, with each image encoded once: the colours are drawn from four outcomes for each image and flip.
# tools/train.py configs/plm_tiny_mtd_cache.py
_base_ = './plm_tiny_mtd.py'
default_hooks = dict(embedding_cache=dict(type='EmbeddingCacheHook'))  # in memory; path='data/embeddings' keeps it
distortion = dict(type='EnumeratedVariants', number=4, transforms=[dict(type='PhotoMetricDistortion')])
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    {{_base_.resize}},
    dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
    distortion,
    dict(type='GeneratePrompts', modes={{_base_.train_modes}}, num_prompts=4, min_area=20),
    dict(type='PackPromptInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
