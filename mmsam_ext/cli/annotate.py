"""Label images in the browser by clicks, and train on the labels.

The arguments are in :mod:`.arguments.annotate`.
"""

from __future__ import annotations

import argparse
import sys

from mmsam_ext.apis.annotation import Assistant, Store
from mmsam_ext.apis.annotation.first_proposals import FirstProposals, by_boxes, by_words, everything
from mmsam_ext.apis.annotation.server import PageServer
from mmsam_ext.apis.annotation.service import Service
from mmsam_ext.apis.annotation.training import Training
from mmsam_ext.apis.errors import InferenceError
from mmsam_ext.apis.fitting import MODELS

from .arguments.annotate import parse
from .infer import detector, messages_to_stderr

#: Key of MODELS -> the config for clicks before anything was trained.
CLICK_CONFIGS = dict(
    sam_tiny='sam_tiny',
    sam_vit_b='sam_vitb_industrial',
    sam_vit_l='sam_vitl_industrial',
    sam_vit_h='sam_vith_industrial',
)


def make_server(args: argparse.Namespace, options: tuple[str, ...] = ()) -> PageServer:
    """Return the server, which does not run yet.

    Args:
        args: Of :func:`parse`.
        options: Further arguments of `fit` for trainings from the page.

    Raises:
        InferenceError: The folders, the classes or the model cannot be used.
    """
    if args.model not in MODELS:
        raise InferenceError(f'--model {args.model}: expected one of {", ".join(MODELS)}')
    store = Store(args.images, args.out, args.classes)
    weights = args.checkpoint or MODELS[args.model].checkpoint
    assistant = Assistant(CLICK_CONFIGS[args.model], weights, args.device, first_proposals(args), args.dtype)
    if args.checkpoint:
        options = (*options, '--checkpoint', args.checkpoint)
    service = Service(store, assistant, Training(args.out, options), args.model)
    service.progress({})  # takes the weights of an earlier training
    return PageServer(service, args.host, args.port)


def first_proposals(args: argparse.Namespace) -> FirstProposals | None:
    """Return what proposes before the first training, if anything.

    Raises:
        InferenceError: The file of boxes, the words or the detector cannot be used.
    """
    if args.everything:
        return everything
    if args.boxes is not None:
        return by_boxes(args.boxes, args.images)
    return None if args.text is None else by_words(args.text, detector(args.text, args.detector, None))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    try:
        with messages_to_stderr():
            server = make_server(args)
    except (InferenceError, OSError) as error:
        print(f'annotate: error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    number = len(server.service.store.files)
    done = server.service.state({})['done']
    print(f'{number} images, {done} labelled. Open {server.address}', flush=True)
    print('Stop with Ctrl+C; everything is saved.', flush=True)
    try:
        with messages_to_stderr():
            server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.service.training.stop()
        server.server_close()
        server.service.store.close()
    return 0
