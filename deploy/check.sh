#!/usr/bin/env bash
# Everything that can be said about the code without running it.
source "$(dirname "$0")/common.sh"
cd "$root"
tools=$target_dir/tools
mkdir -p "$tools"

say "· format"
cargo fmt --all --check || fail "the code is not formatted" "cargo fmt --all"

say "· lints"
cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

say "· shell scripts"
for script in deploy/*.sh e2e/*.sh .ci/run; do bash -n "$script"; done

say "· protos (buf)"
command -v npm >/dev/null || fail "npm is needed for buf" "apt-get install -y npm, or https://nodejs.org"
if [ ! -x "$tools/node_modules/.bin/buf" ]; then
    npm install --silent --no-fund --no-audit --prefix "$tools" @bufbuild/buf@1.75.0
fi
"$tools/node_modules/.bin/buf" lint proto

say "· licences, bans, sources and advisories (cargo deny)"
if ! deny=$(command -v cargo-deny); then
    deny=$tools/bin/cargo-deny
    if [ ! -x "$deny" ]; then
        say "  building cargo-deny (once, about three minutes)"
        cargo install cargo-deny --version 0.20.2 --locked --quiet --root "$tools"
    fi
fi
"$deny" --log-level error check --hide-inclusion-graph licenses bans sources
if ! "$deny" --log-level error check --hide-inclusion-graph advisories 2>"$tools/advisories.log"; then
    if grep -q -i 'failed to fetch\|unable to fetch\|could not connect\|failed to resolve' "$tools/advisories.log"; then
        say "  the advisory database cannot be reached from here: only the versions that deny.toml names were checked"
    else
        cat "$tools/advisories.log" >&2
        exit 1
    fi
fi
