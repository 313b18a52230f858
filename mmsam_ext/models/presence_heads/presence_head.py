"""`PresenceHead`: whether what a prompt asks for is in the image at all."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsam_ext.structures import MaskPrediction, SAMFeatures

#: Shares of a mask's pixels whose highest logits are averaged.
SHARES = (0.0, 0.001, 0.01, 0.1, 1.0)


@MODELS.register_module()
class PresenceHead(BaseModule):
    """Score each prompt by whether what it asks for is in the image: a decision beside the mask.

    Without a prompt the score is one for the whole image (or one for each class), the decision "defect or not" of an
    inspection. It is an MLP on three things: the image embedding averaged over the image, the same averaged where the
    predicted mask is, and the averages of the mask's highest logits over several shares of its pixels. No gradient
    reaches the mask, so masks are trained as without the head. Its last layer is zero at the start: a probability of
    one half, which no threshold up to one half takes for "nothing there".

    It learns from images without a defect (``missing_mask='normal'``, ``drop_empty=False`` of a dataset), prompts on
    the background (``targets='background'`` of GeneratePrompts), and classes that are not in an image.

    Args:
        embed_dim: C, channels of the image embedding.
        hidden_dim: Width of the hidden layer.
        loss_weight: Factor of the loss.
        init_cfg: See ``BaseModule``.

    Example::

        model = dict(presence_head=dict(type='PresenceHead', embed_dim=128), test_cfg=dict(presence_threshold=0.5))
    """

    added_to_sam = True

    def __init__(
        self,
        embed_dim: int = 256,
        hidden_dim: int = 128,
        loss_weight: float = 1.0,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.loss_weight = loss_weight
        self.norm = nn.LayerNorm(2 * embed_dim)
        self.hidden = nn.Linear(2 * embed_dim + len(SHARES), hidden_dim)
        self.out = nn.Linear(hidden_dim, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: SAMFeatures, image_index: Tensor, prediction: MaskPrediction) -> Tensor:
        """Score prompts.

        Args:
            features: Embedding (B, C, h, w).
            image_index: (P,) the image of each prompt.
            prediction: logits (P, M, 4h, 4w), of which the single-mask output is read.

        Returns:
            (P,) logits; the probability that it is there is their sigmoid.
        """
        masks = prediction.logits[:, 0].detach().float()  # (P, 4h, 4w)
        embedding = features.embedding.detach().float()
        height, width = embedding.shape[-2:]
        where = F.adaptive_avg_pool2d(masks[:, None], (height, width)).flatten(1).softmax(1)  # (P, h * w)
        tokens = embedding.flatten(2)[image_index]  # (P, C, h * w)
        inside = (tokens @ where[..., None])[..., 0]  # (P, C)
        pooled = self.norm(torch.cat([tokens.mean(2), inside], 1))
        return self.out(F.gelu(self.hidden(torch.cat([pooled, highest_logits(masks)], 1))))[:, 0]

    def loss(self, presence: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Compute the loss: binary cross entropy against whether a target has any pixel.

        Args:
            presence: (P,) logits.
            targets: (P, h, w) in [0, 1].
        """
        there = (targets.flatten(1).amax(1) > 0).to(presence.dtype)
        return dict(loss_presence=self.loss_weight * F.binary_cross_entropy_with_logits(presence, there))


def highest_logits(masks: Tensor) -> Tensor:
    """Return the means of the highest logits of masks over several shares of their pixels, in units of 10.

    Args:
        masks: (P, h, w).

    Returns:
        (P, number of SHARES); the first is the highest logit.
    """
    pixels = masks.flatten(1)
    ranked = pixels.topk(max(1, round(SHARES[-2] * pixels.shape[1])), 1).values
    counts = [max(1, round(share * pixels.shape[1])) for share in SHARES[:-1]]
    return torch.stack([*(ranked[:, :count].mean(1) for count in counts), pixels.mean(1)], 1) / 10
