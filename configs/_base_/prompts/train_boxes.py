# Training: four prompts an image, mostly boxes as an inspector would draw them, now and then an imprecise box or
# points.
train_modes = {
    'box': dict(kind='box', weight=3),
    'boxes': dict(kind='box', targets='parts', weight=3),
    'noisy box': dict(kind='box', targets='parts'),
    '1 point': dict(kind='points', targets='parts'),
    '5 points': dict(kind='points', num_points=5),
}
