#!/usr/bin/env bash
# Makes sure that the image debian:bookworm-slim is there, which the examples build from: looks for
# it, tries to pull it, and otherwise makes it from Debian's packages.
source "$(dirname "$0")/common.sh"
image=debian:bookworm-slim

docker image inspect "$image" >/dev/null 2>&1 && exit 0
# Where no registry can be reached this must not take long.
if timeout 60 docker pull --quiet "$image" >/dev/null 2>&1; then
    say "Pulled $image."
    exit 0
fi

# What was made once is kept, so that it is quick the next time.
archive=$target_dir/bookworm-slim.tar
if [ ! -f "$archive" ]; then
    say "Cannot pull $image: making it from Debian's packages (about half a minute)."
    [ "$(id -u)" -eq 0 ] || fail "making $image needs root" "run this as root, or pull $image yourself"
    if ! command -v debootstrap >/dev/null; then
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends debootstrap; } >/dev/null 2>&1 ||
            fail "debootstrap could not be installed" "apt-get install -y debootstrap says why"
    fi
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    debootstrap --variant=minbase bookworm "$folder/root" >"$folder/log" 2>&1 ||
        { tail -5 "$folder/log" >&2; fail "debootstrap failed" "the lines above say why"; }
    rm -rf "$folder/root/var/cache/apt/archives/"*.deb "$folder/root/var/lib/apt/lists/"*
    mkdir -p "$target_dir"
    tar -C "$folder/root" -c . >"$archive.new" && mv "$archive.new" "$archive"
fi
# The label says who made it, so that `make down` can take it away again.
docker import --change 'LABEL gantry.made=1' --change 'CMD ["bash"]' "$archive" "$image" >/dev/null
say "Made $image."
