"""Training on a folder of labelled images, without a config file. Each name is imported when it is first used."""

from typing import TYPE_CHECKING

from mmsam_ext.lazy import attribute_importer

if TYPE_CHECKING:
    from .facts import FolderFacts, read_folder
    from .plan import Plan, make_plan
    from .recipes import METHODS, MODELS
    from .run import fit

__getattr__ = attribute_importer(
    __name__,
    {
        'facts': ['FolderFacts', 'read_folder'],
        'plan': ['Plan', 'make_plan'],
        'recipes': ['METHODS', 'MODELS'],
        'run': ['fit'],
    },
)
__all__ = ['METHODS', 'MODELS', 'FolderFacts', 'Plan', 'fit', 'make_plan', 'read_folder']
