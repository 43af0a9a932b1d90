# What real hosts on one machine are made with. Sourced, not run, after deploy/common.sh.

require_host_tools() {
    is_root || fail "hosts are made of network namespaces, which needs root" "run this as root"
    local tool missing=()
    for tool in ip tc nft iptables nsenter unshare dockerd; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} -eq 0 ] || fail "hosts need ${missing[*]}" \
        "apt-get install -y iproute2 nftables iptables util-linux docker.io"
}
