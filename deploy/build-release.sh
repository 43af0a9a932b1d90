#!/usr/bin/env bash
# Builds the release binaries, static, so that they run from an empty image and on any Linux.
source "$(dirname "$0")/common.sh"
cd "$root"
# With --target the flags are for the binaries only, not for build scripts.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" cargo build --release --locked --target "$triple" \
    --bin gantry --bin gantry-scheduler --bin gantry-agent --bin gantry-proxy --bin gantry-probe "$@"
