#!/usr/bin/env bash
# Fill .wheels with what a machine lacks that has Python 3.12, PyTorch and the usual packages.
#
#   benchmarks/device/wheels.sh [FOLDER]
#
# Pure packages but for one; their own needs (torch, numpy, transformers, peft, accelerate, ...) are
# expected there. Add names as arguments of MORE="name==version ...".
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${1:-.wheels}
mkdir -p "$target"
names=$(grep -iE '^(diffusers|tyro|rich|docstring_parser|docstring-parser|typeguard|ftfy|wcwidth|importlib_metadata|importlib-metadata|zipp|jaxtyping|wadler_lindig|wadler-lindig|shtab)==' constraints.txt || true)
# shellcheck disable=SC2086 # a list of names
python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
    -d "$target" $names ${MORE:-}
ls "$target"
