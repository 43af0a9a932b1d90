#!/usr/bin/env bash
# End-to-end tests on this machine's real engine: run.sh [NAME…], as cargo test takes them.
source "$(dirname "$0")/../deploy/common.sh"
cd "$root"

deploy/ensure-engine.sh
deploy/base-image.sh
export GANTRY_BIN=$release_dir/gantry
# One after the other: they share the engine, and some take it away.
cargo test --package gantry-e2e --locked -- --test-threads 1 "$@"
