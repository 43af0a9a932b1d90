#!/usr/bin/env bash
# From nothing to a running stack: tools, engine, binaries, images, a one-node cluster, examples/counter.
# A second run finds everything there and changes nothing.
source "$(dirname "$0")/common.sh"
cd "$root"

deploy/check-tools.sh
deploy/ensure-engine.sh
say "Building Gantry (the first time takes some minutes)."
deploy/build-release.sh --quiet
deploy/build-images.sh
deploy/base-image.sh
gantry=$release_dir/gantry
"$gantry" init
"$gantry" --context default up --file examples/counter/compose.yaml

url=http://localhost:8000
for _ in $(seq 50); do
    page=$(curl -fsS --max-time 2 "$url" 2>/dev/null) && break
    sleep 0.2
done
[ -n "${page:-}" ] || fail "the counter does not answer at $url" "$gantry ps counter" "$gantry logs --project-name counter"

cat <<TEXT

$page
It is served at $url. What to try next:

  alias gantry=$gantry
  gantry ps                                      # what runs, and how it is
  gantry logs -f --project-name counter          # what it writes
  gantry scale counter/redis=0                   # take Redis away,
  gantry why counter/redis                       # ask why it is gone, and scale it back to 1

  make down                        # stop everything; the count stays on disk
TEXT
