# Shared by the scripts beside this one: how they speak, and where things are. Sourced, not run.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target_dir=${CARGO_TARGET_DIR:-$root/target}
triple=x86_64-unknown-linux-gnu
[ "$(uname -m)" = aarch64 ] && triple=aarch64-unknown-linux-gnu
release_dir=$target_dir/$triple/release

say() { printf '%s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

# Whether this script may install packages of Debian or Ubuntu.
is_debian() { [ -r /etc/os-release ] && . /etc/os-release && case "${ID:-} ${ID_LIKE:-}" in *debian* | *ubuntu*) true ;; *) false ;; esac; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# Where nft is; nothing if it is not installed. It is not on the path of everybody.
find_nft() { PATH=$PATH:/usr/sbin:/sbin command -v nft || true; }

# Whether a Docker Engine answers.
engine_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# `docker build`, with whichever builder this machine has.
docker_build() {
    if docker buildx version >/dev/null 2>&1; then
        docker build "$@"
    else
        # The older builder warns about its age, which is nobody's business here.
        DOCKER_BUILDKIT=0 docker build "$@" 2> >(grep -v -i 'legacy builder\|buildx\|buildkit\|environment-variable\|^$' >&2)
    fi
}

# Installs packages; the first is what it is about.
install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    local log
    log=$(mktemp)
    if ! { apt-get update && apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -20 "$log" >&2
        fail "$1 could not be installed" "the lines above say why"
    fi
    rm -f "$log"
}
