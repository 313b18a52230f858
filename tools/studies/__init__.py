from .ods_sam import ODS_SAM
from .plm import PLM
from .spt import SPT
from .spt_options import SPT_OPTIONS
from .stable_sam import STABLE_SAM

#: By their names on the command line of tools/reproduce.py.
STUDIES = {study.name: study for study in (SPT, SPT_OPTIONS, STABLE_SAM, ODS_SAM, PLM)}

__all__ = ['ODS_SAM', 'PLM', 'SPT', 'SPT_OPTIONS', 'STABLE_SAM', 'STUDIES']
