#!/usr/bin/env bash
# Builds the release binaries, static, so that they run from an empty image and on any Linux.
source "$(dirname "$0")/common.sh"
cd "$root"
# With --target the flags are for the binaries only, not for build scripts.
export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
cargo build --release --locked --target "$triple" \
    --bin gantry --bin gantry-scheduler --bin gantry-watchdog --bin gantry-agent --bin gantry-probe "$@"
# The proxy has a profile of its own, that takes longer to build for less time per request. Where speed is not the point,
# PROXY_PROFILE=release does.
profile=${PROXY_PROFILE:-proxy}
cargo build --profile "$profile" --locked --target "$triple" --bin gantry-proxy "$@"
[ "$profile" = release ] || install "$target_dir/$triple/$profile/gantry-proxy" "$release_dir/"
