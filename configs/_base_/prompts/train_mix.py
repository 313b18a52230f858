# Training: four prompts an image, of kinds mixed at random.
train_modes = {
    'box': dict(kind='box', weight=2),
    'boxes': dict(kind='box', targets='parts', weight=2),
    '1 point': dict(kind='points', targets='parts'),
    '5 points': dict(kind='points', num_points=5),
}
