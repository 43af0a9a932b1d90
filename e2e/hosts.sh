#!/usr/bin/env bash
# Several real Docker hosts on this machine, to try things by hand: hosts.sh up [N], hosts.sh down, and
# faults of them; hosts.sh help lists all.
source "$(dirname "$0")/../deploy/common.sh"
source "$(dirname "$0")/host-tools.sh"
cd "$root"

if [ "${1:-}" = up ]; then
    deploy/ensure-engine.sh
    require_host_tools
    e2e/build-probe.sh
fi
export GANTRY_BIN=$release_dir/gantry
cargo run --quiet --package gantry-e2e --locked --bin gantry-hosts -- "$@"
