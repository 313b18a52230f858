# SAA+'s prompts for KolektorSDD2 and magnetic tiles, as its official code has them (for the tiles it names no share of
# the object: that of KolektorSDD2 is taken).
anomaly_prompts = {
    'ksdd2': dict(object='ksdd2', defects=[('black hole.', 'ksdd2'), ('defect.', 'ksdd2')]),
    'mtd': dict(
        object='mtd', defects=[('black hole. blow hole. break. crack. fray. uneven.', 'mtd'), ('defect.', 'mtd')]
    ),
}
