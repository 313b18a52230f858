# SAA+'s prompts for MVTec AD, as its official code has them: (caption, phrase to filter), share of the object that a
# defect may cover. All have one object an image and fuse the best 5 masks.
anomaly_prompts = {
    'carpet': dict(object='carpet', defects=[('black hole', 'carpet'), ('thread', 'carpet'), ('defect.', 'carpet')]),
    'grid': dict(object='grid', defects=[('irregular pattern', 'grid'), ('defect.', 'grid')]),
    'leather': dict(object='leather', defects=[('defect.', 'leather')]),
    'tile': dict(object='tile', defects=[('defect.', 'tile')]),
    'wood': dict(object='wood', defects=[('defect.', 'wood')]),
    'bottle': dict(
        object='bottle', largest_share=0.3, defects=[('broken part. contamination. white broken.', 'bottle')]
    ),
    'cable': dict(object='cable', defects=[('crack. flawed golden wire. black hole.', 'cable')]),
    'capsule': dict(object='capsule', largest_share=0.6, defects=[('white crack. hole.', 'capsule')]),
    'hazelnut': dict(object='hazelnut', defects=[('white print. crack. thread.', 'hazelnut')]),
    'metal_nut': dict(
        object='metal_nut', largest_share=1.0, defects=[('blue defect. black defect. red defect. scratch.', 'nut')]
    ),
    'pill': dict(
        object='pill',
        largest_share=1.0,
        defects=[('red defect. yellow defect. blue defect. crack. scratch.', 'pill')],
    ),
    'screw': dict(object='screw', largest_share=0.1, defects=[('defect.', 'screw')]),
    'toothbrush': dict(object='toothbrush', largest_share=0.5, defects=[('defect.', 'toothbrush')]),
    'transistor': dict(object='transistor', largest_share=1.0, defects=[('defect.', 'transistor')]),
    'zipper': dict(object='zipper', largest_share=0.5, defects=[('crack. broken leather.', 'zipper')]),
}
