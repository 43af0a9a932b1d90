//! Crates depend on each other in one direction: proto → model → {compose, store, feed, identity, boot}
//! → services, and no service depends on another.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// How far from the protos each crate stands. A crate may depend on those of lower layers, and within
/// the shared layer on those to its left.
const LAYERS: &[&[&str]] = &[
    &["gantry-api"],
    &["gantry-model"],
    &["gantry-autoscale", "gantry-identity", "gantry-compose", "gantry-store", "gantry-boot", "gantry-feed"],
    &["gantry-testkit"],
    &["gantry-agent", "gantry-cli", "gantry-proxy", "gantry-scheduler", "gantry-watchdog"],
    &["gantry-e2e", "gantry-probe"],
];

/// The one exception to "nothing inside a layer depends on its neighbours": what speaks gRPC is served by boot.
const WITHIN: &[(&str, &str)] =
    &[("gantry-boot", "gantry-identity"), ("gantry-feed", "gantry-boot"), ("gantry-feed", "gantry-identity")];

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

/// Each crate of the workspace, with the crates of the workspace that it depends on outside its tests.
fn crates() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let ours = dependencies
                .filter(|dependency| !dependency["path"].is_null() && dependency["kind"] != "dev")
                .map(|dependency| text(&dependency["name"]));
            (text(&package["name"]), ours.collect())
        })
        .collect()
}

/// What is wrong with one dependency, if anything.
fn fault(from: &str, to: &str) -> Option<String> {
    let (Some(above), Some(below)) = (layer(from), layer(to)) else {
        return Some(format!("{from} → {to}: one of them has no layer in this test: give it one"));
    };
    let fine = below < above || WITHIN.contains(&(from, to));
    (!fine).then(|| format!("{from} must not depend on {to}: layer {above} → layer {below}"))
}

#[test]
fn crates_depend_on_each_other_in_one_direction_only() {
    let crates = crates();
    assert!(crates.len() >= 12, "the whole workspace was read: {:?}", crates.keys());
    let faults: Vec<_> = crates
        .iter()
        .flat_map(|(from, targets)| targets.iter().filter_map(move |to| fault(from, to)))
        .chain(crates.keys().filter(|name| layer(name).is_none()).map(|name| format!("{name} has no layer")))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_service_that_depends_on_a_service_is_a_fault() {
    assert!(fault("gantry-cli", "gantry-agent").is_some());
    assert!(fault("gantry-model", "gantry-store").is_some());
    assert!(fault("gantry-store", "gantry-feed").is_some());
    assert!(fault("gantry-console", "gantry-model").is_some(), "a new crate needs a layer");
    assert_eq!(fault("gantry-agent", "gantry-feed"), None);
}
