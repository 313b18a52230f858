"""Drawing primitives for RGB pictures, (H, W, 3) uint8. Functions named ``draw_...`` change the picture in place."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

BACKGROUND: Color = (24, 26, 30)
BAR: Color = (44, 48, 54)
TEXT: Color = (240, 240, 240)
WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)

#: In a shrunk mask, a pixel is foreground from this share of foreground on; at 0.5, thin cracks would vanish.
KEPT_SHARE = 0.3


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a picture (H, W, 3)."""
    shrinks = height * width < image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def resized_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a (H, W) bool mask: enlarged pixels stay squares, and thin parts survive shrinking."""
    shrinks = height * width < mask.shape[0] * mask.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    return cv2.resize(mask.astype(np.float32), (width, height), interpolation=interpolation) >= KEPT_SHARE


def line_width(image: np.ndarray) -> int:
    """Return a width of lines in pixels that suits the size of a picture."""
    return max(2, round(max(image.shape[:2]) / 280))


def draw_mask(image: np.ndarray, mask: np.ndarray, color: Color, alpha: float) -> None:
    """Tint the foreground and trace its contour.

    Args:
        image: (H, W, 3) uint8, drawn on in place.
        mask: (H, W) bool of the picture's size.
        color: Of tint and contour.
        alpha: Opacity of the tint.
    """
    tinted = image[mask] * (1 - alpha) + np.array(color) * alpha
    image[mask] = tinted.round().astype(np.uint8)
    draw_contour(image, mask, color, line_width(image))


def draw_contour(image: np.ndarray, mask: np.ndarray, color: Color, width: int) -> None:
    """Trace the contour of a (H, W) bool mask, holes included."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, contours, -1, color, width, cv2.LINE_AA)


def draw_box(image: np.ndarray, box: Sequence[float], color: Color, width: int, rim: bool = True) -> None:
    """Draw a box (x1, y1, x2, y2), clipped to the picture, with a dark rim that shows on any background."""
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    last_x, last_y = image.shape[1] - 1, image.shape[0] - 1
    corners = (max(x1, 0), max(y1, 0)), (min(x2, last_x), min(y2, last_y))
    if rim:
        cv2.rectangle(image, *corners, BLACK, width + 2, cv2.LINE_AA)
    cv2.rectangle(image, *corners, color, width, cv2.LINE_AA)


def draw_point(image: np.ndarray, point: Sequence[float], color: Color, radius: int) -> None:
    """Draw a disc with a white edge and a thin dark rim."""
    center = round(float(point[0])), round(float(point[1]))
    edge = max(1, radius // 3)
    cv2.circle(image, center, radius + edge + 1, BLACK, -1, cv2.LINE_AA)
    cv2.circle(image, center, radius + edge, WHITE, -1, cv2.LINE_AA)
    cv2.circle(image, center, radius, color, -1, cv2.LINE_AA)


def text_bar(text: str, width: int, font_size: int, color: Color = BAR, swatch: Color | None = None) -> np.ndarray:
    """Return a bar with one line of text; the beginning of text that is too long is cut off.

    The end matters more, because most texts are paths.

    Args:
        text: Text to write.
        width: Width of the bar in pixels.
        font_size: Height of the font in pixels.
        color: Colour of the bar.
        swatch: Colour of a small square before the text; None for no square.

    Returns:
        (H, width, 3) uint8, where H is 1.7 times the font size.
    """
    height = round(font_size * 1.7)
    bar = Image.new('RGB', (width, height), color)
    draw = ImageDraw.Draw(bar)
    font = ImageFont.load_default(font_size)
    left = font_size // 2
    if swatch is not None:
        top = (height - font_size) // 2 + 1
        draw.rectangle((left, top, left + font_size - 2, top + font_size - 2), fill=swatch)
        left += font_size + font_size // 2
    shown = text
    while len(shown) > 4 and font.getlength(shown) > width - left - 4:
        shown = '...' + shown.removeprefix('...')[1:]
    draw.text((left, height / 2), shown, fill=TEXT, font=font, anchor='lm')
    return np.asarray(bar).copy()


def framed(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a dark canvas with the picture at the top, centred; the canvas must not be smaller than the picture."""
    canvas = np.full((height, width, 3), BACKGROUND, np.uint8)
    left = (width - image.shape[1]) // 2
    canvas[: image.shape[0], left : left + image.shape[1]] = image
    return canvas
