#!/usr/bin/env bash
# Makes sure that a Docker Engine answers: starts one, and on Debian and Ubuntu installs one first, with
# what else is needed beside it. Says everything that it does.
source "$(dirname "$0")/common.sh"

if [ -z "$(find_nft)" ] && is_debian && is_root; then
    say "nft is not installed: installing nftables from this system's packages, for the agent's image."
    install_packages nftables
fi
if ! PATH=$PATH:/usr/sbin:/sbin command -v tc >/dev/null && is_debian && is_root; then
    say "tc is not installed: installing iproute2 from this system's packages, for tests on several hosts."
    install_packages iproute2
fi
engine_answers && exit 0

if ! command -v dockerd >/dev/null; then
    if ! is_debian || ! is_root; then
        fail "no Docker Engine answers on this machine" \
            "install one (https://docs.docker.com/engine/install/) and start it, then try again" \
            "on Debian and Ubuntu, run this as root and it is installed for you"
    fi
    say "No Docker Engine is installed: installing docker.io from this system's packages."
    install_packages docker.io iptables ca-certificates
fi
is_root || fail "a Docker Engine is installed but does not answer" "start it as root, such as with: systemctl start docker"

if [ -d /run/systemd/system ]; then
    say "Starting the Docker Engine (systemctl start docker)."
    systemctl start docker
else
    say "Starting the Docker Engine (dockerd, log in /var/log/dockerd.log)."
    # In a session of its own, so that it outlives this script and its terminal.
    setsid nohup dockerd >/var/log/dockerd.log 2>&1 </dev/null &
fi
for _ in $(seq 150); do
    if engine_answers; then
        say "Docker Engine $(docker version --format '{{.Server.Version}}') answers."
        exit 0
    fi
    sleep 0.2
done
tail -5 /var/log/dockerd.log 2>/dev/null >&2 || true
fail "the Docker Engine did not start within 30 s" "its log is in /var/log/dockerd.log, or in journalctl -u docker"
