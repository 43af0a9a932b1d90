#!/usr/bin/env bash
# End-to-end tests on this machine's real engine: run.sh [NAME…], as cargo test takes them.
source "$(dirname "$0")/../deploy/common.sh"
source "$(dirname "$0")/host-tools.sh"
cd "$root"

deploy/ensure-engine.sh
require_host_tools
deploy/base-image.sh
e2e/build-probe.sh
# A Python of the tests' own, with gRPC's packages.
venv=$target_dir/tools/python
if ! cmp -s e2e/python/requirements.txt "$venv/requirements.txt"; then
    command -v python3 >/dev/null || fail "python3 is needed for the tests of other clients" "apt-get install -y python3 python3-venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r e2e/python/requirements.txt
    cp e2e/python/requirements.txt "$venv/"
fi
export GANTRY_E2E_PYTHON=$venv/bin/python
export GANTRY_BIN=$release_dir/gantry
# One after the other: they share the engine, and some take it away.
cargo test --package gantry-e2e --locked --no-fail-fast "$@" -- --test-threads 1
