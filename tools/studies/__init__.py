from .hq_stable import HQ_STABLE
from .ods_sam import ODS_SAM
from .plm import PLM
from .spt import SPT
from .spt_options import SPT_OPTIONS
from .stable_sam import STABLE_SAM
from .stable_sam_more import STABLE_SAM_MORE

#: By their names on the command line of tools/reproduce.py.
STUDIES = {study.name: study for study in (SPT, SPT_OPTIONS, STABLE_SAM, STABLE_SAM_MORE, HQ_STABLE, ODS_SAM, PLM)}

__all__ = ['HQ_STABLE', 'ODS_SAM', 'PLM', 'SPT', 'SPT_OPTIONS', 'STABLE_SAM', 'STABLE_SAM_MORE', 'STUDIES']
