# Evaluation of accuracy and stability: a clean box, imprecise boxes, few points.
test_modes = {
    'box': dict(kind='box'),
    'box noise 0.4': dict(kind='box', draws=5),
    '1 point': dict(kind='points', draws=5),
    '5 points': dict(kind='points', num_points=5, draws=5),
}
