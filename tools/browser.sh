#!/bin/sh
# The tests that look at the report need Chromium: install Debian's where we can, else say what is missing.
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Chromium for the tests that look at the report ..."
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
fi
if ! command -v chromium >/dev/null 2>&1; then
    echo "No Chromium on the PATH: the browser tests will be skipped (under CI=true they fail)."
    echo "To run them, install it; on Debian: apt-get install chromium"
fi
exit 0
