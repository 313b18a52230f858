# Stable-SAM's protocol: a clean box, and 20 draws each of imprecise boxes and few points. The pipeline makes the boxes
# imprecise: box_noise=0.4, box_iou=(0.5, 0.6) and box_iou=(0.6, 0.7) of PerturbPrompts.
test_modes = {
    'box': dict(kind='box'),
    'box noise 0.4': dict(kind='box', draws=20),
    'box IoU 0.5-0.6': dict(kind='box', draws=20),
    'box IoU 0.6-0.7': dict(kind='box', draws=20),
    '1 point': dict(kind='points', draws=20),
    '3 points': dict(kind='points', num_points=3, draws=20),
    '5 points': dict(kind='points', num_points=5, draws=20),
    '10 points': dict(kind='points', num_points=10, draws=20),
}
