#!/usr/bin/env bash
# Builds the image gantry-e2e/probe: a tiny program that serves, ends and misbehaves on demand.
source "$(dirname "$0")/../deploy/common.sh"
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$release_dir/gantry-probe" "$context/probe"
touch -d @0 "$context/probe"
printf 'FROM scratch\nCOPY probe /probe\nENTRYPOINT ["/probe"]\nCMD ["serve"]\n' >"$context/Dockerfile"
docker_build --quiet --tag gantry-e2e/probe "$context" >/dev/null
