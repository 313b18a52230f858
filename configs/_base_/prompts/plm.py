# Prompt learning: mostly a single point, now and then a box. Tested on 20 points for each target, so that ST
# (stability) tells how much the mask depends on where the point falls.
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
