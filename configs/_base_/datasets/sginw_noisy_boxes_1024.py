# The 25 sets of SGINW (data/sginw/<set>/valid) with noisy true boxes: AP of each set, then their mean (Stable-SAM,
# Table 3). Sets that are not there are named and left out.
_base_ = './coco_noisy_boxes_1024.py'
names = [
    'Airplane-Parts', 'Bottles', 'Brain-Tumor', 'Chicken', 'Cows', 'Electric-Shaver', 'Elephants', 'Fruits', 'Garbage',
    'Ginger-Garlic', 'Hand', 'Hand-Metal', 'HouseHold-Items', 'House-Parts', 'Nutterfly-Squireel', 'Phones', 'Poles',
    'Puppies', 'Rail', 'Salmon-Fillet', 'Strawberry', 'Tablets', 'Toolkits', 'Trash', 'Watermelon',
]  # fmt: skip
sets = [
    dict(
        type='CocoPromptDataset',
        data_root=f'data/sginw/{name}',
        ann_file='valid/_annotations_min1cat.coco.json',
        data_prefix=dict(img_path='valid'),
    )
    for name in names
]
test_dataloader = dict(
    dataset=dict(_delete_=True, type='BenchmarkSuite', datasets=sets, pipeline={{_base_.test_pipeline}})
)
