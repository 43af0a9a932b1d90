#!/usr/bin/env bash
# Takes away what quickstart started: stacks, Gantry's containers and networks, its images and those of
# the examples, the context. Named volumes stay, unless --volumes is given.
source "$(dirname "$0")/common.sh"

volumes=()
[ "${1:-}" = --volumes ] && volumes=(--volumes)
if ! engine_answers; then
    say "No Docker Engine answers: there is nothing to stop."
    exit 0
fi
gantry=$release_dir/gantry
if [ -x "$gantry" ]; then
    "$gantry" leave --force "${volumes[@]}"
elif [ -n "$(docker ps -aq --filter label=gantry.part)" ]; then
    fail "there is a cluster, and $gantry is not built to stop it" "make build"
fi

# What earlier clusters left: nobody's any more once no cluster is here.
if [ ${#volumes[@]} -gt 0 ] && [ -z "$(docker ps -aq --filter label=gantry.part)" ]; then
    docker volume ls --quiet --filter label=gantry.cluster | xargs -r docker volume rm >/dev/null
fi

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1)
images=()
for part in scheduler watchdog agent proxy; do images+=("gantry/$part:$version"); done
for example in counter-web counter-redis accounts-web accounts-db; do
    images+=("$example:latest" "e2e-$example:latest")
done
images+=(gantry-example-worker:latest gantry-e2e/probe:latest)
for image in "${images[@]}"; do
    docker image inspect "$image" >/dev/null 2>&1 && docker rmi --force "$image" >/dev/null
done
# What building the examples left behind.
docker image prune --force --filter label=gantry.example=1 >/dev/null
# The base image too, if it was made here (one that was pulled has no such label) and nobody builds on it.
for image in $(docker images --quiet --filter label=gantry.made=1 debian:bookworm-slim); do
    docker rmi "$image" >/dev/null 2>&1 || say "debian:bookworm-slim stays: other images were built from it."
done
say "Gantry's containers, networks and images are gone."
