custom_imports = dict(imports=['mmsam_ext'])
default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='PromptVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'
randomness = dict(seed=0)
load_from = None
resume = False
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='TimedLoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='AtomicCheckpointHook', by_epoch=False, interval=500, max_keep_ckpts=2, max_minutes=5, save_best='auto'
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    buffers=dict(type='BroadcastBuffersHook'),  # several ranks validate the model that rank 0 saves
    bit_depth=dict(type='BitDepthHook'),  # images of more than 8 bits are read as in training
    visualization=dict(type='PromptVisualizationHook', interval=1),  # with --show-dir: every batch
)
custom_hooks = [dict(type='InvalidLossHook'), dict(type='RandomStateHook')]
