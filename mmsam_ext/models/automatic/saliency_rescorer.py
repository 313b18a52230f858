"""How much a region looks unlike the rest of its image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import _load_checkpoint
from mmseg.registry import MODELS
from torch import Tensor

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@MODELS.register_module()
class SaliencyRescorer(BaseModule):
    """Raise the scores of masks whose content is salient (SAA+, saliency prompts).

    Features are an ImageNet network's stages 1 to 3, brought to stride 4, concatenated and of length 1. One object: the
    image at 256 x 256, and of each of 64 x 64 tokens the mean of the 400 largest distances 0.5 (1 - cos) to all tokens.
    Several objects: the image at 1024 x 1024, and the distance of each token of an object to the most similar token of
    the other objects; the largest over objects. With fewer than two objects found, the first rule is taken.

    Paper: SAA+ (arXiv:2305.10724, section 4.3).

    Args:
        weights: Path or URL of the network's weights under timm's names; None: timm's own (a download).
        arch: Name in timm.
        neighbours: Distances averaged.
        sizes: Of the image for one and for several objects, in pixels.
        strength: Factor of the saliency in the exponent.
        bgr: Show the network the image as BGR, as the official code does.

    Raises:
        ValueError: the weights do not fit the network.
    """

    #: Whether a checkpoint of plain SAM may lack its parameters.
    added_to_sam = True

    def __init__(
        self,
        weights: str | None = None,
        arch: str = 'wide_resnet50_2',
        neighbours: int = 400,
        sizes: tuple[int, int] = (256, 1024),
        strength: float = 3.0,
        bgr: bool = False,
    ) -> None:
        super().__init__()
        import timm  # slow to import, and needed here alone

        self.network = timm.create_model(arch, pretrained=weights is None, features_only=True, out_indices=(1, 2, 3))
        if weights is not None:
            self._load(weights)
        self.network.eval().requires_grad_(False)
        self.neighbours, self.sizes, self.strength, self.bgr = neighbours, tuple(sizes), strength, bgr
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer('mean', torch.tensor(MEAN).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(STD).view(-1, 1, 1), persistent=False)

    def _load(self, path: str) -> None:
        state = _load_checkpoint(path, map_location='cpu')
        missing = self.network.load_state_dict(state.get('state_dict', state), strict=False).missing_keys
        if missing:
            raise ValueError(
                f'{path}: {len(missing)} weights of the saliency network are missing, such as {missing[:3]}; expected '
                "timm's names, as timm.create_model(arch, pretrained=True).state_dict() has them"
            )

    def train(self, mode: bool = True) -> SaliencyRescorer:
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Tensor, objects: Tensor, number: int = 1) -> Tensor:
        """Compute the saliency of every pixel.

        Args:
            image: (3, H, W) uint8, RGB.
            objects: (T, H, W) bool, masks of the objects found.
            number: Objects that the image is expected to have.

        Returns:
            (H, W) float in [0, 1].
        """
        several = number > 1 and len(objects) > 1
        features = self.features(image, self.sizes[int(several)])  # (C, h, w)
        if several:
            small = F.interpolate(objects[None].float(), features.shape[-2:], mode='nearest')[0] > 0
            saliency = unlike_other_objects(features, small)
        else:
            saliency = unlike_all_tokens(features, self.neighbours)
        return F.interpolate(saliency[None, None], image.shape[-2:], mode='bilinear', align_corners=False)[0, 0]

    def features(self, image: Tensor, size: int) -> Tensor:
        """Return unit features (C, size / 4, size / 4) of an image (3, H, W) uint8 RGB."""
        image = image.to(self.mean.device).float()
        image = image.flip(0) if self.bgr else image
        resized = F.interpolate(image[None], (size, size), mode='bilinear', align_corners=False).round()
        stages = self.network((resized - self.mean) / self.std)
        stages = [F.interpolate(stage, stages[0].shape[-2:]) for stage in stages]
        return F.normalize(torch.cat(stages, 1), dim=1)[0]

    def rescore(self, masks: Tensor, scores: Tensor, saliency: Tensor) -> Tensor:
        """Return scores (N,) times exp(strength x mean saliency in each mask); an empty mask keeps its score.

        Args:
            masks: (N, H, W) bool.
            scores: (N,).
            saliency: (H, W).
        """
        areas = masks.flatten(1).sum(1)
        means = (masks * saliency).flatten(1).sum(1) / areas.clamp(min=1)
        return scores * torch.where(areas > 0, (self.strength * means).exp(), 1.0)


def unlike_all_tokens(features: Tensor, neighbours: int) -> Tensor:
    """Unit features (C, h, w) -> (h, w), mean of the largest distances 0.5 (1 - cos) of each token to all."""
    tokens = features.flatten(1)  # (C, N)
    distances = 0.5 * (1 - tokens.T @ tokens)
    return distances.topk(min(neighbours, len(distances)), 1).values.mean(1).view(features.shape[1:])


def unlike_other_objects(features: Tensor, objects: Tensor, chunk: int = 4096) -> Tensor:
    """Distance of each token of an object to the most similar token of the other objects.

    Args:
        features: (C, h, w) of length 1.
        objects: (T, h, w) bool, T of 2 or more.
        chunk: Tokens compared at a time.

    Returns:
        (h, w), the largest 0.5 (1 - cos) over objects, 0 outside of all. Tokens that two objects share are compared
        with nothing of each other: the official code sets them to zero, a cosine of 0.
    """
    flat, tokens = objects.flatten(1), features.flatten(1).T  # (T, N), (N, C)
    saliency = tokens.new_zeros(len(tokens))
    for index, own in enumerate(flat):
        others = flat[[other for other in range(len(flat)) if other != index]].any(0)
        places = own.nonzero()[:, 0]
        if not (len(places) and others.any()):
            continue
        elsewhere = tokens[others & ~own]
        for part in places.split(chunk):
            similar = (tokens[part] @ elsewhere.T).amax(1) if len(elsewhere) else tokens.new_zeros(len(part))
            similar = similar.clamp(min=0) if (others & own).any() else similar
            saliency[part] = saliency[part].maximum(0.5 * (1 - similar))
    return saliency.view(features.shape[1:])
