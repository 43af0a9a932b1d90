#!/usr/bin/env bash
# Builds the service images from the release binaries: an empty file system and one static binary each.
source "$(dirname "$0")/common.sh"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1)
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$root/deploy/Dockerfile" "$context/"
for part in scheduler agent proxy; do
    binary=$release_dir/gantry-$part
    [ -x "$binary" ] || fail "$binary is not there" "make build builds it"
    cp "$binary" "$context/"
    # The binary's time would change the image with every build; its content is what counts.
    touch -d @0 "$context/gantry-$part"
    docker_build --quiet --build-arg "PART=$part" --tag "gantry/$part:$version" "$context" >/dev/null
    rm "$context/gantry-$part"
done
say "Images gantry/{scheduler,agent,proxy}:$version are ready."
