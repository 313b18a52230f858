# Evaluation as in SPT: one box around all defects, a box per defect (masks united), 5 points, 10 points.
test_modes = {
    'box': dict(kind='box'),
    'boxes': dict(kind='box', targets='parts', united=True),
    '5 points': dict(kind='points', num_points=5),
    '10 points': dict(kind='points', num_points=10),
}
# Averages over modes, as in the paper's tables.
mode_groups = {'box-level': ['box', 'boxes'], 'point-level': ['5 points', '10 points']}
