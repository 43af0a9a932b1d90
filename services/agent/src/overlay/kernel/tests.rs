//! Against this machine's kernel, in a network namespace that the test makes for itself.

use std::collections::BTreeMap;
use std::process::Command;

use rtnetlink::LinkBridge;

use super::super::device::Device;
use super::super::plan::{entered, plan};
use super::*;

const INSIDE: &str = "GANTRY_TEST_INSIDE";
const ALIAS: &str = "gantry test";

/// Runs a test again in a fresh network namespace. Answers whether this is the run inside.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let test = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let run = Command::new("unshare")
        .args(["--map-root-user", "--net"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    match run {
        Err(error) => eprintln!("skipped: cannot run unshare: {error}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &said;
            if said.starts_with("unshare:") {
                eprintln!("skipped: no network namespace can be made here: {said}");
            } else {
                assert!(output.status.success() && text.contains("1 passed"), "{text}");
            }
        }
    }
    false
}

async fn host(kernel: &Kernel) {
    let lo = LinkUnspec::new_with_name("lo").up().build();
    kernel.handle.link().change(lo).execute().await.unwrap();
    for address in ["192.0.2.1/32", "2001:db8::1/128"] {
        let (address, length) = address.split_once('/').unwrap();
        let (address, length) = (address.parse().unwrap(), length.parse().unwrap());
        kernel.handle.address().add(1, address, length).execute().await.unwrap();
    }
    for name in ["gt-100001", "gt-100002"] {
        kernel.handle.link().add(LinkBridge::new(name).up().build()).execute().await.unwrap();
    }
}

fn device(number: u32, local: &str, peers: &[&str], endpoints: &[(&str, &str)]) -> Device {
    Device {
        name: format!("gv-{number:06x}"),
        alias: ALIAS.into(),
        vni: number,
        local: local.parse().unwrap(),
        mtu: 1400,
        bridge: format!("gt-{number:06x}"),
        peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
        endpoints: endpoints
            .iter()
            .map(|(mac, peer)| (mac.parse().unwrap(), peer.parse().unwrap()))
            .collect::<BTreeMap<Mac, IpAddr>>(),
    }
}

/// Makes it so; a second look finds nothing left to do.
async fn settle(kernel: &Kernel, wanted: &[Device], before: Option<&[Device]>) -> Seen {
    let known = before.map(entered);
    let changes = plan(wanted, &kernel.look().await.unwrap(), ALIAS, known.as_ref()).unwrap();
    for change in &changes {
        kernel.apply(change).await.unwrap_or_else(|error| panic!("cannot {change}: {error}"));
    }
    let seen = kernel.look().await.unwrap();
    let left = plan(wanted, &seen, ALIAS, Some(&entered(wanted))).unwrap();
    assert!(left.is_empty(), "{left:?}\n{seen:?}");
    seen
}

#[tokio::test]
async fn the_kernel_does_what_was_planned_and_shows_it() {
    if !is_inside("the_kernel_does_what_was_planned_and_shows_it") {
        return;
    }
    let kernel = Kernel::open().unwrap();
    host(&kernel).await;
    let four = device(
        0x10_0001,
        "192.0.2.1",
        &["192.0.2.2", "192.0.2.3"],
        &[("02:42:0a:c0:00:07", "192.0.2.2"), ("02:42:0a:c0:00:08", "192.0.2.3")],
    );
    let six = device(
        0x10_0002,
        "2001:db8::1",
        &["2001:db8::2", "2001:db8::3"],
        &[("02:42:0a:c0:00:07", "2001:db8::2")],
    );
    let wanted = [four, six];
    let seen = settle(&kernel, &wanted, None).await;
    for device in &wanted {
        let (link, bridge) = (&seen.links[&device.name], &seen.links[&device.bridge]);
        assert_eq!((link.bridge, link.up, link.mtu, bridge.mtu), (Some(bridge.index), true, 1400, 1400));
        assert_eq!(link.tunnel.as_ref().unwrap().local, Some(device.local));
    }
    assert_eq!(seen.links["gv-100001"].entries.len(), 4);

    // A node leaves, and a container moves.
    let after = [
        device(0x10_0001, "192.0.2.1", &["192.0.2.3"], &[("02:42:0a:c0:00:07", "192.0.2.3")]),
        wanted[1].clone(),
    ];
    let seen = settle(&kernel, &after, Some(&wanted)).await;
    let entries: Vec<String> =
        seen.links["gv-100001"].entries.iter().map(|(mac, peer)| format!("{mac} {peer}")).collect();
    assert_eq!(
        entries,
        ["00:00:00:00:00:00 192.0.2.3", "02:42:0a:c0:00:07 192.0.2.3", "02:42:0a:c0:00:08 192.0.2.3"]
    );

    // An engine that makes its bridge anew leaves the device without one.
    let old = seen.links["gt-100001"].index;
    kernel.handle.link().del(old).execute().await.unwrap();
    kernel.handle.link().add(LinkBridge::new("gt-100001").up().build()).execute().await.unwrap();
    let seen = settle(&kernel, &after, Some(&after)).await;
    assert_ne!(seen.links["gt-100001"].index, old);

    let seen = settle(&kernel, &[], Some(&after)).await;
    assert!(seen.links.keys().all(|name| !name.starts_with("gv-")));
}

#[tokio::test]
async fn a_number_that_is_taken_says_so() {
    if !is_inside("a_number_that_is_taken_says_so") {
        return;
    }
    let kernel = Kernel::open().unwrap();
    host(&kernel).await;
    let foreign = LinkVxlan::new("other", 0x10_0001).port(7074).build();
    kernel.handle.link().add(foreign).execute().await.unwrap();
    let wanted = [device(0x10_0001, "192.0.2.1", &["192.0.2.2"], &[])];
    let changes = plan(&wanted, &kernel.look().await.unwrap(), ALIAS, None).unwrap();
    let error = kernel.apply(&changes[0]).await.unwrap_err();
    assert!(error.contains("File exists"), "{error}");
}
