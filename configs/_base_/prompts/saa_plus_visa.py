# SAA+'s prompts for VisA, as its official code has them; see saa_plus_mvtec.py.
pcb = 'printed_circuit_board'
visible = 'broken part. red defect. black defect. crack. hole. scratch.'
spots = 'yellow defect. black defect. small holes. scratch. breakage. crack.'
fryum = 'broken part. purple defect. black defect. red defect. color defect. color crack. break'
pcb1 = ('bent wire on pcb', 'white scratch on pcb', 'white defect on pcb', 'white circle.')
pcb3 = ('bent wire on pcb', 'scratch on pcb', 'defect on pcb')
pcb4 = ('yellow paper', 'yellow defect', 'black defect', 'color defect', 'scratch', 'defect')
anomaly_prompts = {
    'candle': dict(
        object='candle', number=4, most_masks=1, largest_share=0.3,
        defects=[('color defect. hole. black defect. wick hole. spot. ', 'candle')],
    ),
    'capsules': dict(
        object='capsule', name='capsules', number=20, most_masks=15, largest_share=1.0,
        defects=[('black melt. dark liquid.', 'capsules'), ('bubble', 'capsules')],
    ),
    'cashew': dict(
        object='cashew', most_masks=17, largest_share=0.05, defects=[(spots, 'cashew'), ('small spot.', 'cashew')]
    ),
    'chewinggum': dict(
        object='chewinggum', most_masks=50, largest_share=0.2,
        defects=[('crack. yellow defect. color defect. black defect. thread.', 'chewinggum')],
    ),
    'fryum': dict(object='fryum', largest_share=1.0, defects=[(fryum, 'fryum')]),
    'macaroni1': dict(
        object='macaroni', name='macaroni1', number=4, largest_share=0.3,
        defects=[(f'{visible} color crack.', 'macaroni')],
    ),
    'macaroni2': dict(
        object='macaroni', name='macaroni2', number=4, most_masks=50, largest_share=0.3,
        defects=[(visible, 'macaroni'), ('edge. spot. chip.', 'macaroni')],
    ),
    'pcb1': dict(
        object=pcb, name='pcb1', most_masks=1, largest_share=0.3, defects=[(one, 'pcb') for one in pcb1]
    ),
    'pcb2': dict(
        object='pcb', name='pcb2', most_masks=9, largest_share=0.3,
        defects=[('bent wire', 'pcb'), ('pointed', 'pcb'), ('wire', 'pcb')],
    ),
    'pcb3': dict(object=pcb, name='pcb3', largest_share=0.3, defects=[(one, 'pcb') for one in pcb3]),
    'pcb4': dict(
        object='pcb', name='pcb4', most_masks=7, largest_share=0.3, defects=[(f'{one} on pcb', 'pcb') for one in pcb4]
    ),
    'pipe_fryum': dict(object='pipe_fryum', most_masks=19, largest_share=0.3, defects=[(visible, 'fryum')]),
}  # fmt: skip
