"""The commands of ``python -m mmsam_ext``. A new command is one line in :data:`COMMANDS`."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """What a command runs.

    Attributes:
        target: A module of this folder with ``main(arguments) -> int | None``, or a script in ``tools/`` (it ends in
            '.py').
        help: One line for ``--help``.
        standalone: Whether it runs without PyTorch and MMSegmentation; the package's components are not registered.
        parsed: Whether a module of ``arguments/`` of the same name reads the arguments before PyTorch is loaded.
        greeting: Printed to stderr before the seconds in which PyTorch and MMSegmentation are imported.
    """

    target: str
    help: str
    standalone: bool = False
    parsed: bool = False
    greeting: str = ''


LOADING = 'Loading PyTorch and MMSegmentation ...'

#: Name -> command, in the order of ``--help``.
COMMANDS: dict[str, Command] = {
    'train': Command('train', "Train a model (MMSegmentation's own train.py).", greeting=LOADING),
    'precompute': Command('precompute', "Encode a training's images once, where its image encoder is frozen."),
    'test': Command('test', "Test and evaluate a model (MMSegmentation's own test.py)."),
    'mmseg': Command('mmseg_tool', 'Run another tool of MMSegmentation: mmseg analysis_tools/benchmark.py ARGUMENTS.'),
    'infer': Command('infer', 'Segment an image, or a folder of images, by boxes and points.', parsed=True),
    'annotate': Command(
        'annotate', 'Label images in the browser, and train on the labels.', parsed=True, greeting=LOADING
    ),
    'fit': Command(
        'fit',
        'Train on a folder of labelled images in a given time, without a config.',
        parsed=True,
        greeting=LOADING,
    ),
    'inspect': Command(
        'inspect_images', 'Decide for each image whether it has a defect, and list the defects.', parsed=True
    ),
    'export': Command(
        'export', 'Export a model (ONNX, torch.export), or results and labels (COCO, labelme, YOLO).', parsed=True
    ),
    'import-labels': Command(
        'import_labels', 'Turn COCO, labelme or YOLO labels into a folder for `fit`.', parsed=True
    ),
    'everything': Command('everything', 'Segment everything in an image, without a prompt.', parsed=True),
    'compare-runs': Command('compare_runs', 'Put the results of several tests side by side.', True),
    'model-cost': Command('model_cost', "Count the parameters and FLOPs of a config's model, and measure its speed."),
    'merge-peft': Command('merge_peft', 'Merge LoRA or DoRA into the weights of SAM, or take LoRA out of them.'),
    'export-plain-sam': Command('export_plain_sam', "Write the SAM in a checkpoint under Meta's key names."),
    'convert': Command('convert', "Convert another project's checkpoint into one of ours (spt-official)."),
    'mtd-split': Command('mtd_split', 'Write train.txt and val.txt for the magnetic-tile defects data set (MTD).'),
    'simulate-boxes': Command(
        'simulate_boxes', 'Write a result file of simulated boxes (true ones with noise, false ones).'
    ),
    'analyze-robustness': Command('analyze_robustness', 'Plot accuracy and stability against the quality of prompts.'),
    'visualize-sampling': Command('visualize_sampling', 'Draw where the mask token looks, without and with DSP.'),
    'tiles-demo': Command('analysis/tiles_demo.py', 'Show what overlapping tiles gain on small defects.'),
    'thin-study': Command(
        'analysis/thin_study.py', 'Compare input size, tiles and refinement on thin cracks, at equal CPU time.'
    ),
    'family-goldens': Command(
        'analysis/family_goldens.py', 'Keep what public implementations of other SAMs predict, for the tests.'
    ),
    'family-rounding': Command(
        'analysis/family_rounding.py', 'Tell rounding from real differences to public implementations of other SAMs.'
    ),
    'offsets-by-width': Command(
        'analysis/offsets_by_width.py', 'Show what deformable sampling does to thin and to wide defects.'
    ),
    'photograph-to-decision': Command(
        'analysis/photograph_to_decision.py',
        'Label, train and decide end to end, with a simulated user; print a table.',
    ),
    'kill-and-resume': Command(
        'analysis/kill_and_resume.py', 'Kill and resume a training many times; compare the end.'
    ),
    'reproduce': Command('reproduce.py', "Reproduce a paper's comparison on the test bed, over seeds."),
    'benchmark': Command('benchmark.py', 'Measure ratios of time and memory against reference implementations.'),
    'fetch-photographs': Command('fetch_photographs.py', 'Fetch free photographs for pretraining (Debian, Ubuntu).'),
    'mini-sam-card': Command('mini_sam_card.py', "Measure what the mini SAM's card states."),
    'check-env': Command('check_env.py', 'Check the installed packages, and say how to fix what is wrong.', True),
}
