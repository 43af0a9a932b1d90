#!/usr/bin/env bash
# Builds the service images from the release binaries: an empty file system and one static binary each.
# The agent's also holds this machine's nft, with the libraries that it is linked with.
source "$(dirname "$0")/common.sh"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1)
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$root/deploy/Dockerfile" "$context/"

# Copies nft and its libraries into a folder, each to where it is looked for.
add_nft() {
    local nft library
    nft=$(find_nft)
    [ -n "$nft" ] || fail "nft is not installed on this machine" "install it, such as with apt-get install -y nftables"
    install -D "$nft" "$1/usr/sbin/nft"
    # Lines such as `libmnl.so.0 => /lib/…/libmnl.so.0 (0x…)`, and one with the dynamic loader alone. A
    # copied library has to be where the loader looks: where it was found here.
    ldd "$nft" | grep -o '/[^ ]*' | while read -r library; do
        install -D "$library" "$1$library"
    done
}

for part in scheduler watchdog agent proxy; do
    binary=$release_dir/gantry-$part
    [ -x "$binary" ] || fail "$binary is not there" "make build builds it"
    mkdir "$context/$part"
    cp "$binary" "$context/$part/gantry"
    [ "$part" != agent ] || add_nft "$context/agent"
    # Times would change the image with every build; the content is what counts.
    find "$context/$part" -exec touch -h -d @0 {} +
    docker_build --quiet --build-arg "PART=$part" --tag "gantry/$part:$version" "$context" >/dev/null
    rm -r "${context:?}/$part"
done
say "Images gantry/{scheduler,watchdog,agent,proxy}:$version are ready."
