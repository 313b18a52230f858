# Pretraining: boxes (some loose), points, and a few prompts on the background, whose masks are empty.
scene_modes = {
    'box': dict(kind='box', targets='parts', weight=3),
    'loose box': dict(kind='box', targets='parts', weight=1.5),
    '1 point': dict(kind='points', targets='parts', weight=2.5),
    '5 points': dict(kind='points', targets='parts', num_points=5, weight=2),
    'nothing, point': dict(kind='points', targets='background', weight=0.3),
    'nothing, box': dict(kind='box', targets='background', weight=0.15),
}
