# SAA+ on SAM ViT-H: boxes by text from GroundingDINO (extra `text`), saliency by an ImageNet network whose weights are
# expected in checkpoints/. Boxes from a file: box_source=dict(_delete_=True, type='BoxesFromFile', defects=...).
_base_ = './sam_vith.py'
model = dict(
    type='SAAPlusSegmentor',
    box_source=dict(type='GroundingDINOBoxes', model='IDEA-Research/grounding-dino-tiny'),
    saliency=dict(type='SaliencyRescorer', weights='checkpoints/wide_resnet50_2.pth'),
    trainable=(),
)
