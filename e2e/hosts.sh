#!/usr/bin/env bash
# Several real Docker hosts on this machine, to try things by hand: hosts.sh up [N], hosts.sh down, and
# faults of them; hosts.sh help lists all.
source "$(dirname "$0")/../deploy/common.sh"
cd "$root"

is_root || fail "hosts are made of network namespaces, which needs root" "run this as root"
for tool in ip nft iptables tc nsenter unshare dockerd; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null ||
        fail "$tool is needed for hosts" "apt-get install -y iproute2 iptables nftables util-linux docker.io"
done
if [ "${1:-}" = up ]; then
    deploy/ensure-engine.sh
    e2e/build-probe.sh
fi
export GANTRY_BIN=$release_dir/gantry
cargo run --quiet --package gantry-e2e --locked --bin gantry-hosts -- "$@"
