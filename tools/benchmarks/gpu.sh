#!/usr/bin/env bash
# Measure this package on a CUDA machine, and write one table.
#
#     tools/benchmarks/gpu.sh [OUT_DIR] [ARCH]
#
# OUT_DIR (work_dirs/gpu_benchmark) gets a log and a JSON file for each part, and table.md. ARCH is base (default), large
# or huge. Parts: parity with segment_anything in fp32 and bf16, encoder, decoder and image to mask against it,
# everything against Hugging Face with peft, the costs of SPT, Stable-SAM and PLM by parts, the selective scan (also with
# mamba-ssm's kernels where they can be installed), torch.compile, and an epoch with stored embeddings.
#
# A part that fails is named in the table and does not stop the others; the exit code is then 1. Environment: PYTHON
# (python), REPEATS (10), SIZE (1024), PROMPTS ("1 20 100"), SKIP (names of parts to leave out, such as "peers mamba").
# The script changes nothing in the Python environment: peers and mamba-ssm go into temporary ones.
set -uo pipefail

out=${1:-work_dirs/gpu_benchmark}
arch=${2:-base}
python=${PYTHON:-python}
repeats=${REPEATS:-10}
size=${SIZE:-1024}
read -r -a prompts <<<"${PROMPTS:-1 20 100}"
skip=" ${SKIP:-} "
tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
failed=()

case $arch in
    base | large | huge) ;;
    *)
        echo "gpu.sh: ARCH is '$arch', expected base, large or huge" >&2
        exit 2
        ;;
esac
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "gpu.sh: $python finds no GPU (torch.cuda.is_available() is False, or PyTorch is missing)" >&2
    exit 2
fi
mkdir -p -- "$out" || exit 2

# part NAME COMMAND...: run a part, unless it is in SKIP; its output goes to OUT_DIR/NAME.log.
part() {
    local name=$1
    shift
    if [[ $skip == *" $name "* ]]; then
        echo "$name: skipped"
        return
    fi
    echo "$name ..."
    if ! "$@" >"$out/$name.log" 2>&1; then
        failed+=("$name")
        echo "$name failed; see $out/$name.log" >&2
        tail -n 3 -- "$out/$name.log" >&2
    fi
}

# bench NAME BENCHMARK OPTIONS...: a part that is a benchmark of tools/benchmark.py.
bench() {
    local name=$1 benchmark=$2
    shift 2
    part "$name" "$python" "$tools/benchmark.py" "$benchmark" --device cuda --repeats "$repeats" \
        --json "$out/$name.json" --overwrite "$@"
}

mamba() {
    local folder
    folder=$(mktemp -d) || return 1
    # shellcheck disable=SC2064 # the folder is known now
    trap "rm -rf -- '$folder'" RETURN
    "$python" -m venv "$folder/env" || return 1
    local place='import sysconfig; print(sysconfig.get_path("purelib"))'
    # The new environment sees the packages of the running one, PyTorch above all.
    "$python" -c "$place" >"$("$folder/env/bin/python" -c "$place")/parent.pth" || return 1
    "$folder/env/bin/python" -m pip install --quiet --no-build-isolation mamba-ssm causal-conv1d || return 1
    "$folder/env/bin/python" "$tools/benchmark.py" scan --device cuda --repeats "$repeats" \
        --json "$out/mamba.json" --overwrite
}

"$python" - >"$out/machine.txt" <<'PYTHON'
import torch

device = torch.cuda.get_device_properties(0)
print(f'{device.name}, {device.total_memory / 2**30:.0f} GiB, compute capability {device.major}.{device.minor}, '
      f'PyTorch {torch.__version__}, CUDA {torch.version.cuda}')
PYTHON

bench core core --arch "$arch" --size "$size" --dtype fp32 bf16 --prompts "${prompts[@]}"
bench peers peers --arch "$arch" --size "$size" --dtype fp32 bf16 --prompts "${prompts[@]}"
bench spt spt --arch "$arch" --size "$size" --dtype fp32 bf16 --prompts "${prompts[@]}"
bench stable_sam stable_sam --arch "$arch" --size "$size" --dtype fp32 bf16 --prompts "${prompts[@]}"
bench plm plm --arch "$arch" --size "$size" --dtype fp32 bf16 --prompts "${prompts[@]}"
bench scan scan --dtype fp32
part mamba mamba
bench cache cache --arch base --size "$size" --prompts 1
bench compile compile --arch "$arch" --size "$size" --dtype fp32 bf16 --prompts "${prompts[0]}"

"$python" "$tools/benchmarks/gpu_table.py" "$out" "${failed[@]+"${failed[@]}"}" >"$out/table.md" || failed+=(table)
echo "The table is in $out/table.md"
if ((${#failed[@]})); then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
