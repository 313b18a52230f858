#!/usr/bin/env python
"""Fetch freely licensed photographs and photographic textures from Debian packages, for the mini SAM's pretraining.

    python tools/fetch_photographs.py data/photographs

Needs ``apt-get`` and ``dpkg-deb`` (Debian or Ubuntu), no root. Only images that a package's own licence file puts under
CC0, CC BY or CC BY-SA are taken; graphics with large flat areas are left out. The folder then holds the images as
JPEG and LICENCES.tsv, which names package, version, file, licence and copyright holder of each.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

PACKAGES = (
    'lomiri-wallpapers-16.04',
    'lomiri-wallpapers-20.04',
    'plasma-workspace-wallpapers',
    'ukui-wallpapers',
    'supertuxkart-data',
    'megaglest-data',
)
SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp')
#: One free Creative Commons licence, or several of them; GPL, NC and ND never match.
FREE = re.compile(r'(CC0|CC-BY(-SA)?)(-\d\.\d)?((\s+(and|or)\s+)(CC0|CC-BY(-SA)?)(-\d\.\d)?)*', re.IGNORECASE)


@dataclass(frozen=True)
class Stanza:
    """One `Files` paragraph of a machine-readable copyright file."""

    patterns: tuple[str, ...]
    licence: str
    holder: str


def read_stanzas(text: str) -> list[Stanza]:
    """Read the `Files` paragraphs of a copyright file in Debian's machine-readable format 1.0, in order.

    Args:
        text: Content of the file; one in another format has no such paragraphs.
    """
    stanzas = []
    for paragraph in re.split(r'\n\s*\n', text):
        fields: dict[str, str] = {}
        name = ''
        for line in paragraph.splitlines():
            start = re.match(r'(\S+):\s*(.*)', line)
            if start and not line[0].isspace():
                name = start.group(1).lower()
                fields[name] = start.group(2)
            elif name:
                fields[name] += '\n' + line.strip()
        if 'files' in fields:
            lines = fields.get('license', '').splitlines() or ['']
            holder = ' '.join(fields.get('copyright', '').split())
            stanzas.append(Stanza(tuple(fields['files'].split()), lines[0].strip(), holder))
    return stanzas


def licence_of(path: str, stanzas: list[Stanza]) -> Stanza | None:
    """Return the stanza that covers an installed file, or None where that is not certain.

    Patterns are relative to the source tree, of which an installed file keeps the tail, so every tail of `path` is
    tried and the last matching stanza counts. A package that flattens folders keeps the file name alone; then the
    stanzas that list this name count if they agree. A bare ``*`` is what remains.
    """
    parts = Path(path).parts
    tails = ['/'.join(parts[start:]) for start in range(len(parts))]

    def covered(test: Callable[[str], bool]) -> list[Stanza]:
        return [stanza for stanza in stanzas if any(test(pattern) for pattern in stanza.patterns)]

    exact = covered(lambda pattern: pattern != '*' and any(fnmatch.fnmatchcase(tail, pattern) for tail in tails))
    if exact:
        return exact[-1]
    named = covered(lambda pattern: pattern.rsplit('/', 1)[-1] == parts[-1])
    if named:
        return named[-1] if len({stanza.licence for stanza in named}) == 1 else None
    rest = covered(lambda pattern: pattern == '*')
    return rest[-1] if rest else None


def is_photographic(image: np.ndarray) -> bool:
    """Whether an image (H, W, 3) uint8 BGR has grain or texture on most of its 8 x 8 blocks, unlike flat graphics.

    Normal maps, which games ship beside their textures, are grey-violet on average and are left out.
    """
    blue, green, red, _ = cv2.mean(image)
    if blue > 170 and max(abs(green - 128), abs(red - 128)) < 30:
        return False
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    height, width = (side // 8 * 8 for side in grey.shape)
    blocks = grey[:height, :width].reshape(height // 8, 8, width // 8, 8).std(axis=(1, 3))
    return bool((blocks > 1.0).mean() > 0.7)


def shrink(image: np.ndarray, most: int) -> np.ndarray:
    """Return the image with its longer side at most `most` pixels."""
    factor = most / max(image.shape[:2])
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else image


def wallpaper_licence(file: Path) -> Stanza | None:
    """Read the licence that KDE's metadata states for one wallpaper, which is narrower than the package's."""
    for folder in file.parents:
        data = folder / 'metadata.json'
        if data.is_file():
            plugin = json.loads(data.read_text())['KPlugin']
            holder = ', '.join(author.get('Name', '') for author in plugin.get('Authors', []))
            return Stanza((), plugin.get('License', ''), holder)
    return None


def collect(package: str, root: Path, out: Path, least: int, most: int) -> list[dict[str, str]]:
    """Write the free photographs of an unpacked package and return a row of the licence list for each.

    Args:
        package: Its name.
        root: Folder it was unpacked into.
        out: Folder for the images.
        least: Images with a shorter side below this many pixels are left out.
        most: Longer side of what is written.
    """
    text = (root / 'usr' / 'share' / 'doc' / package / 'copyright').read_text(errors='replace')
    stanzas = read_stanzas(text)
    rows, seen = [], set()
    for file in sorted(path for path in root.rglob('*') if path.suffix.lower() in SUFFIXES and path.is_file()):
        relative = file.relative_to(root).as_posix()
        stanza = wallpaper_licence(file) or licence_of(relative, stanzas)
        if stanza is None or not FREE.fullmatch(stanza.licence):
            continue
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 3 or image.dtype != np.uint8 or min(image.shape[:2]) < least:
            continue
        if image.shape[2] == 4 and image[..., 3].min() < 255:  # cut out: its colours behind are arbitrary
            continue
        image = shrink(np.ascontiguousarray(image[..., :3]), most)
        key = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA).tobytes()
        if key in seen or not is_photographic(image):
            continue
        seen.add(key)
        name = f'{package}-{len(rows):04d}.jpg'
        cv2.imwrite(str(out / name), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        rows.append(dict(image=name, file=relative, licence=stanza.licence, holder=stanza.holder))
    return rows


def main() -> None:
    """Fetch, unpack, select."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder for the images and LICENCES.tsv; must not exist or be empty')
    parser.add_argument('--packages', nargs='+', default=list(PACKAGES), help='Debian packages (default: %(default)s)')
    parser.add_argument('--debs', type=Path, help='folder that holds the .deb files already: nothing is downloaded')
    parser.add_argument('--least', type=int, default=256, help='shortest side in pixels (default: %(default)s)')
    parser.add_argument('--most', type=int, default=800, help='longest side written (default: %(default)s)')
    args = parser.parse_args()
    if args.out.exists() and any(args.out.iterdir()):
        sys.exit(f'{args.out} is not empty; name a new folder')
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory(dir=args.out.parent) as scratch:
        for package in args.packages:
            debs = args.debs or Path(scratch)
            if args.debs is None:
                subprocess.run(['apt-get', 'download', package], cwd=scratch, check=True)
            deb = next(iter(sorted(debs.glob(f'{package}_*.deb'))), None)
            if deb is None:
                sys.exit(f'{debs}: no file {package}_*.deb')
            root = Path(scratch) / 'root' / package
            root.mkdir(parents=True)
            subprocess.run(['dpkg-deb', '-x', str(deb), str(root)], check=True)
            found = collect(package, root, args.out, args.least, args.most)
            version = deb.name.split('_')[1].replace('%3a', ':')
            rows += [dict(package=package, version=version, **row) for row in found]
            print(f'{package} {version}: {len(found)} images')
            if args.debs is None:
                deb.unlink()
            subprocess.run(['rm', '-r', str(root)], check=True)
    if not rows:
        sys.exit('no image was found; is one of the packages a package of photographs?')
    with (args.out / 'LICENCES.tsv').open('w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter='\t')
        writer.writeheader()
        writer.writerows(rows)
    print(f'{len(rows)} images and LICENCES.tsv in {args.out}')


if __name__ == '__main__':
    main()
