"""tools/fetch_photographs.py takes what the licence file frees, and nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

_SPEC = importlib.util.spec_from_file_location(
    'fetch_photographs', Path(__file__).resolve().parents[2] / 'tools' / 'fetch_photographs.py'
)
fetch = importlib.util.module_from_spec(_SPEC)
sys.modules['fetch_photographs'] = fetch  # dataclasses look their module up
_SPEC.loader.exec_module(fetch)

COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2020, Everybody
License: GPL-2+

Files: nature/hill.png
       nature/lake_*.png
Copyright: 2018, Ada Lovelace
  2019, Alan Turing
License: CC-BY-SA-4.0

Files: a/twin.png
Copyright: 1
License: CC0-1.0

Files: b/twin.png
Copyright: 2
License: CC-BY-NC-4.0

License: CC-BY-SA-4.0
 Files: of no stanza
"""


def test_stanzas() -> None:
    stanzas = fetch.read_stanzas(COPYRIGHT)
    assert [stanza.licence for stanza in stanzas] == ['GPL-2+', 'CC-BY-SA-4.0', 'CC0-1.0', 'CC-BY-NC-4.0']
    assert stanzas[1].patterns == ('nature/hill.png', 'nature/lake_*.png')
    assert stanzas[1].holder == '2018, Ada Lovelace 2019, Alan Turing'
    assert fetch.read_stanzas('This package was debianized by hand.\n\nCopyright: nobody') == []


@pytest.mark.parametrize(
    ('path', 'licence'),
    [
        ('usr/share/x/nature/hill.png', 'CC-BY-SA-4.0'),
        ('usr/share/x/nature/lake_2.png', 'CC-BY-SA-4.0'),
        ('usr/share/flat/hill.png', 'CC-BY-SA-4.0'),  # by its name
        ('usr/share/x/desktop/other.png', 'GPL-2+'),
        ('usr/share/x/a/twin.png', 'CC0-1.0'),
        ('usr/share/flat/twin.png', None),  # two of this name under different licences
    ],
)
def test_licence_of_a_file(path: str, licence: str | None) -> None:
    stanza = fetch.licence_of(path, fetch.read_stanzas(COPYRIGHT))
    assert (stanza and stanza.licence) == licence


@pytest.mark.parametrize('free', ['CC0', 'CC0-1.0', 'CC-BY-3.0', 'CC-BY-SA', 'CC-BY-SA-4.0 or CC-BY-SA-3.0'])
def test_free_licences(free: str) -> None:
    assert fetch.FREE.fullmatch(free)


@pytest.mark.parametrize('other', ['GPL-2+', 'CC-BY-NC-4.0', 'CC-BY-ND-4.0', 'CC-BY-SA-4.0 and GPL-2', 'LGPLv3', ''])
def test_other_licences(other: str) -> None:
    assert not fetch.FREE.fullmatch(other)


def test_collect(tmp_path: Path) -> None:
    root, out = tmp_path / 'root', tmp_path / 'out'
    out.mkdir()
    doc, nature = root / 'usr/share/doc/pack', root / 'usr/share/x/nature'
    for folder in (doc, nature, nature.parent / 'desktop'):
        folder.mkdir(parents=True)
    (doc / 'copyright').write_text(COPYRIGHT)
    grain = np.random.default_rng(0).integers(0, 255, (300, 1000, 3)).astype(np.uint8)
    cv2.imwrite(str(nature / 'hill.png'), grain)
    cv2.imwrite(str(nature / 'lake_copy.png'), grain)  # the same picture
    cv2.imwrite(str(nature / 'lake_flat.png'), np.full((300, 400, 3), 90, np.uint8))  # a graphic
    cv2.imwrite(str(nature / 'lake_small.png'), grain[:100, :100])
    cv2.imwrite(str(nature.parent / 'desktop' / 'gpl.png'), grain[::-1])
    normals = np.clip(np.random.default_rng(1).normal((230, 128, 128), 9, (300, 300, 3)), 0, 255).astype(np.uint8)
    cv2.imwrite(str(nature / 'lake_normals.png'), normals)
    rows = fetch.collect('pack', root, out, least=256, most=800)
    assert [(row['file'], row['licence']) for row in rows] == [('usr/share/x/nature/hill.png', 'CC-BY-SA-4.0')]
    assert [file.name for file in out.iterdir()] == ['pack-0000.jpg']
    assert cv2.imread(str(out / 'pack-0000.jpg')).shape == (240, 800, 3)
