# Prompt learning: a single point, by default; now and then a box. Tested on 20 points each, so that ST says how much it
# matters where a point falls.
train_modes = {
    '1 point': dict(kind='points', targets='parts', weight=3),
    'box': dict(kind='box', targets='parts'),
}
val_modes = {
    '1 point': dict(kind='points', targets='parts', draws=3),
    'box': dict(kind='box', targets='parts'),
}
test_modes = {
    '1 point': dict(kind='points', targets='parts', draws=20),
    'box': dict(kind='box', targets='parts'),
}
