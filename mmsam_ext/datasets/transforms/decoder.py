"""Decoding with cv2, and what the libraries below it and below Pillow have to say about a damaged file."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

#: What libjpeg, libpng and libtiff print about damaged data. They print it and fill the picture with something; neither
#: cv2 nor Pillow passes it on. cv2 puts a level and a place before what libtiff says.
DAMAGE = re.compile(
    r'(?:\[ ?(?:WARN|ERROR):.* TIFF_(?:Error|Warning) )?(?P<what>(?:JPEGLib: )?(?:Corrupt JPEG data|Premature end of '
    r'JPEG file|Inconsistent progression sequence|Invalid SOS parameters).*|libpng error.*|\w*Decode: .*|'
    r'TIFFFill(?:Strip|Tile): .*|.*Using code not yet in table.*)'
)
#: Lines about one file that are kept.
SHOWN = 3
JPEG, PNG, GIF, TIFF = b'\xff\xd8', b'\x89PNG', b'GIF8', (b'II', b'MM')
#: Starts of files whose decoders print about damage.
_SPEAKING = (JPEG, PNG, *TIFF)
_LOCK = threading.RLock()  # standard error is one for all threads


def decode_color(content: bytes) -> tuple[np.ndarray | None, list[str]]:
    """Decode a picture as ``cv2.IMREAD_COLOR`` does, but with 16 bits where the file has them.

    Returns:
        (H, W, 3) BGR uint8 or uint16 (or another type that the file has), None where the content cannot be decoded;
        and the lines with which the decoder reported damage.

    Raises:
        cv2.error: The decoder of cv2 fails in its own code.
    """
    with reported_damage(content) as damage:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    return image, damage


@contextmanager
def reported_damage(content: bytes) -> Iterator[list[str]]:
    """Collect the lines with which libraries report damage of a JPEG, PNG or TIFF file while it is decoded.

    Standard error of the process is diverted to a temporary file meanwhile. What else arrives there is printed
    afterwards.

    Args:
        content: Bytes of the file; for other formats nothing is diverted.

    Yields:
        A list that is filled when the block ends.
    """
    damage: list[str] = []
    if not content.startswith(_SPEAKING):
        yield damage
        return
    with _LOCK:
        try:
            kept = os.dup(2)
        except OSError:  # a process without standard error
            yield damage
            return
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield damage
            finally:
                os.dup2(kept, 2)
                os.close(kept)
                file.seek(0)
                lines = file.read().decode(errors='replace').splitlines()
                for line in lines:
                    found = DAMAGE.match(line)
                    if found is None:
                        print(line, file=sys.stderr)
                    elif found['what'] not in damage and len(damage) < SHOWN:
                        damage.append(found['what'])
