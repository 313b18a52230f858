"""Training on a folder of labelled images, without a config file."""

from .facts import FolderFacts, read_folder
from .plan import Plan, make_plan
from .recipes import METHODS, MODELS
from .run import fit

__all__ = ['METHODS', 'MODELS', 'FolderFacts', 'Plan', 'fit', 'make_plan', 'read_folder']
