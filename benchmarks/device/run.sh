#!/usr/bin/env bash
# Everything that only a card can tell, in one call of under six minutes; needs no network.
#
#   benchmarks/device/run.sh [FOLDER]      answers in FOLDER/device.json, by default runs/device
#   DEVICE=cpu benchmarks/device/run.sh    the rehearsal: the same stages without a card
#
# Uses the Python that holds PyTorch (PYTHON=..., by default python3). Packages that it lacks are
# taken from wheels in $WHEELS, by default .wheels, which benchmarks/device/wheels.sh fills.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
wheels=${WHEELS:-.wheels}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if compgen -G "$wheels/*.whl" > /dev/null; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
fi
export PYTHONPATH=$PWD:$site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export SCOREWARD_CACHE=$site/cache HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
exec "$python" -m benchmarks.device.check --device "${DEVICE:-auto}" --folder "${1:-runs/device}"
