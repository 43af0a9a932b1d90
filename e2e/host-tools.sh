# What real hosts on one machine are made with. Sourced, not run, after deploy/common.sh.

require_host_tools() {
    is_root || fail "hosts are made of network namespaces, which needs root" "run this as root"
    local tool missing=()
    if ! command -v docker-registry >/dev/null && is_debian; then
        say "docker-registry is not installed: installing it from this system's packages, for tests of registries."
        # Only the program: the package would start it as a service.
        RUNLEVEL=1 install_packages docker-registry
    fi
    for tool in ip tc nft iptables nsenter unshare dockerd docker-registry; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} -eq 0 ] || fail "hosts need ${missing[*]}" \
        "apt-get install -y iproute2 nftables iptables util-linux docker.io docker-registry"
}
