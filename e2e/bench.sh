#!/usr/bin/env bash
# Benches on this machine's real engine: bench.sh [NAME…], all without a name. Each prints a table and
# writes target/bench/NAME.json.
source "$(dirname "$0")/../deploy/common.sh"
source "$(dirname "$0")/host-tools.sh"
cd "$root"

require_host_tools
e2e/build-probe.sh
export GANTRY_BIN=$release_dir/gantry
export GANTRY_PROXY_BIN=$release_dir/gantry-proxy
export GANTRY_BENCH=$target_dir/bench
names=("$@")
[ $# -gt 0 ] || for file in e2e/benches/*.rs; do names+=("$(basename "$file" .rs)"); done
for name in "${names[@]}"; do
    [ -f "e2e/benches/$name.rs" ] || fail "there is no bench $name" "there are: $(basename -s .rs e2e/benches/*.rs | xargs)"
    say "· $name"
    cargo bench --quiet --package gantry-e2e --locked --bench "$name"
done
