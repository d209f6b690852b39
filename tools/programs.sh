#!/bin/sh
# Programs that some tests use: Chromium looks at the report, tesseract judges lettering. Debian's are
# installed where we can, else it is said what is missing.
browser() {
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null 2>&1 && return 0
    done
    return 1
}
wanted=""
browser || wanted="chromium fonts-dejavu-core"
command -v tesseract >/dev/null 2>&1 || wanted="$wanted tesseract-ocr"
[ -z "$wanted" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing programs for the tests ($wanted) ..."
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list of names
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $wanted >/dev/null
fi
if ! browser; then
    echo "No Chromium on the PATH: the browser tests will be skipped (under CI=true they fail)."
    echo "To run them, install it; on Debian: apt-get install chromium"
fi
if ! command -v tesseract >/dev/null 2>&1; then
    echo "No tesseract on the PATH: its tests will be skipped (under CI=true they fail)."
    echo "To run them, install it; on Debian: apt-get install tesseract-ocr"
fi
exit 0
