# Training prompts of Stable-SAM: good ones alone, or of all qualities (RTS, robust training).
clean_modes = {
    'box': dict(kind='box'),
    '10 points': dict(kind='points', num_points=10),
}
robust_modes = {
    'box': dict(kind='box'),
    'noisy box': dict(kind='box'),
    '1 point': dict(kind='points'),
    '3 points': dict(kind='points', num_points=3),
    '10 points': dict(kind='points', num_points=10),
}
