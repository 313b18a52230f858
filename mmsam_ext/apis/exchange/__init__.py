"""Labels in the formats that other tools read and write."""

from .labelled import Instance, Labelled, LabelledImage, read_source
from .readers import read_labels, write_dataset
from .writers import WRITERS

__all__ = ['WRITERS', 'Instance', 'Labelled', 'LabelledImage', 'read_labels', 'read_source', 'write_dataset']
