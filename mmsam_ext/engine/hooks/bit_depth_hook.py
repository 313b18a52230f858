"""`BitDepthHook`: images of more than 8 bits are read alike in training, validation, test and inference."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmsam_ext.datasets.transforms.load_image import bit_depth_of_dataset, trained_bit_depth, use_bit_depth


@HOOKS.register_module()
class BitDepthHook(Hook):
    """Read images in validation and test by the number of bits that the training set was read by.

    A dataset whose images are in files of 16 bits finds the number of bits in use (:class:`LoadImageFromFile`). The
    hook stores that of the training set in checkpoints, as ``meta['bit_depth']``, where the inferencer
    finds it, too. A pipeline that states its own `bit_depth` is left as it is.
    """

    depth: str | int | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the bit depth of the training that the checkpoint is of."""
        self.depth = trained_bit_depth(checkpoint)

    def before_train(self, runner: Runner) -> None:
        """Take the bit depth of the training set."""
        self.depth = bit_depth_of_dataset(runner.train_dataloader.dataset)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store it in the checkpoint."""
        if self.depth is not None:
            checkpoint['meta']['bit_depth'] = self.depth

    def before_val(self, runner: Runner) -> None:
        """Set it in the pipelines of the validation set."""
        use_bit_depth(runner.val_dataloader.dataset, self.depth)

    def before_test(self, runner: Runner) -> None:
        """Set it in the pipelines of the test set."""
        use_bit_depth(runner.test_dataloader.dataset, self.depth)
