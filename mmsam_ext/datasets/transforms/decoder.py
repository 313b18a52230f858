"""Decoding with cv2, and what the libraries below it have to say about a damaged file."""

from __future__ import annotations

import os
import sys
import tempfile
import threading

import cv2
import numpy as np

#: Starts of what libjpeg and libpng print about damaged data. They print it and fill the picture with grey; neither cv2
#: nor Pillow passes it on.
DAMAGE = (
    'Corrupt JPEG data',
    'Premature end of JPEG file',
    'Inconsistent progression sequence',
    'Invalid SOS parameters',
    'libpng error',
)
_JPEG, _PNG = b'\xff\xd8', b'\x89PNG'
_LOCK = threading.Lock()  # standard error is one for all threads


def decode_color(content: bytes) -> tuple[np.ndarray | None, list[str]]:
    """Decode a picture as ``cv2.IMREAD_COLOR`` does, but with 16 bits where the file has them.

    Standard error of the process is diverted to a temporary file while a JPEG or PNG is decoded. What else arrives
    there meanwhile is printed afterwards.

    Returns:
        (H, W, 3) BGR uint8 or uint16 (or another type that the file has), None where the content cannot be decoded;
        and the lines with which the decoder reported damage.
    """
    data, flags = np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    if not content.startswith((_JPEG, _PNG)):
        return cv2.imdecode(data, flags), []
    with _LOCK:
        try:
            kept = os.dup(2)
        except OSError:  # a process without standard error
            return cv2.imdecode(data, flags), []
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                image = cv2.imdecode(data, flags)
            finally:
                os.dup2(kept, 2)
                os.close(kept)
            file.seek(0)
            lines = file.read().decode(errors='replace').splitlines()
    damage = [line for line in lines if line.startswith(DAMAGE)]
    for line in lines:
        if line not in damage:
            print(line, file=sys.stderr)
    return image, damage
