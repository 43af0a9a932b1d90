#!/usr/bin/env bash
# Says what is missing to build Gantry, all at once.
source "$(dirname "$0")/common.sh"

missing=()
command -v cargo >/dev/null || missing+=("cargo: install Rust from https://rustup.rs (1.95 or newer)")
command -v cc >/dev/null || missing+=("cc: install a C compiler, such as with apt-get install -y gcc")
command -v make >/dev/null || missing+=("make")
command -v curl >/dev/null || missing+=("curl: install it, such as with apt-get install -y curl")
# Where deploy/ensure-engine.sh may install packages, it installs this one.
if [ -z "$(find_nft)" ] && ! { is_debian && is_root; }; then
    missing+=("nft: install nftables, such as with apt-get install -y nftables")
fi
if command -v rustc >/dev/null; then
    have=$(rustc --version | cut -d' ' -f2 | cut -d- -f1)
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    if [ "$(printf '%s\n' "$want" "$have" | sort -V | head -1)" != "$want" ]; then
        missing+=("Rust $want or newer: this is $have; rustup update installs it")
    fi
fi
case $(uname -s) in Linux) ;; *) missing+=("Linux: Gantry's containers need a Linux host") ;; esac
if [ ${#missing[@]} -gt 0 ]; then
    fail "this machine lacks what is needed to build Gantry:" "${missing[@]}"
fi
