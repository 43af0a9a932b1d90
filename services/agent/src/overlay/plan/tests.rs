use super::*;

const ALIAS: &str = "gantry c1";
const BRIDGE: &str = "gt-100001";
const NAME: &str = "gv-100001";

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn mac(last: u8) -> Mac {
    Mac([2, 0x42, 10, 192, 0, last])
}

fn device(peers: &[u8], endpoints: &[(u8, u8)]) -> Device {
    Device {
        name: NAME.into(),
        alias: ALIAS.into(),
        vni: 0x10_0001,
        local: ip(1),
        mtu: 1450,
        bridge: BRIDGE.into(),
        peers: peers.iter().map(|last| ip(*last)).collect(),
        endpoints: endpoints.iter().map(|(of, at)| (mac(*of), ip(*at))).collect(),
    }
}

/// A host with the network's bridge.
fn host() -> Seen {
    let bridge = Link { index: 5, mtu: 1450, up: true, ..Link::default() };
    Seen { links: BTreeMap::from([(BRIDGE.to_owned(), bridge)]), addresses: BTreeSet::from([ip(1)]) }
}

/// Makes the changes, as the kernel would.
fn make(seen: &mut Seen, changes: &[Change]) {
    for change in changes {
        match change.clone() {
            Change::Remove { name, .. } => drop(seen.links.remove(&name)),
            Change::Add { name, alias, tunnel, mtu, .. } => {
                let link = Link { index: 9, mtu, alias, tunnel: Some(tunnel), ..Link::default() };
                assert!(seen.links.insert(name, link).is_none());
            }
            Change::SetMtu { name, mtu } => seen.links.get_mut(&name).unwrap().mtu = mtu,
            Change::Enslave { name, index, .. } => seen.links.get_mut(&name).unwrap().bridge = Some(index),
            Change::TurnOn { name } => seen.links.get_mut(&name).unwrap().up = true,
            Change::Flood { name, peer } => {
                assert!(seen.links.get_mut(&name).unwrap().entries.insert((Mac::ALL, peer)));
            }
            Change::Enter { name, mac, peer } => {
                let entries = &mut seen.links.get_mut(&name).unwrap().entries;
                entries.retain(|(known, _)| *known != mac);
                entries.insert((mac, peer));
            }
            Change::Forget { name, mac, peer } => {
                assert!(seen.links.get_mut(&name).unwrap().entries.remove(&(mac, peer)));
            }
        }
    }
}

/// Plans and makes until nothing is left to do, which must be after one turn.
fn settle(seen: &mut Seen, wanted: &[Device], before: Option<&[Device]>) -> Vec<Change> {
    let known = before.map(entered);
    let changes = plan(wanted, seen, ALIAS, known.as_ref()).unwrap();
    make(seen, &changes);
    assert_eq!(plan(wanted, seen, ALIAS, Some(&entered(wanted))).unwrap(), []);
    changes
}

fn entries(seen: &Seen) -> Vec<(Mac, IpAddr)> {
    seen.links[NAME].entries.iter().copied().collect()
}

#[test]
fn a_device_is_made_with_all_that_belongs_to_it_in_one_turn() {
    let (mut seen, wanted) = (host(), [device(&[2, 3], &[(7, 2)])]);
    settle(&mut seen, &wanted, None);
    let link = &seen.links[NAME];
    assert_eq!((link.bridge, link.up, link.mtu), (Some(5), true, 1450));
    assert_eq!(link.tunnel, Some(Tunnel { vni: 0x10_0001, port: 7074, local: Some(ip(1)) }));
    assert_eq!(entries(&seen), [(Mac::ALL, ip(2)), (Mac::ALL, ip(3)), (mac(7), ip(2))]);
}

#[test]
fn a_device_waits_for_its_bridge_and_goes_with_its_last_user() {
    let (mut seen, wanted) = (host(), [device(&[2], &[])]);
    let bridge = seen.links.remove(BRIDGE).unwrap();
    assert!(settle(&mut seen, &wanted, None).is_empty());
    seen.links.insert(BRIDGE.into(), bridge);
    settle(&mut seen, &wanted, None);
    settle(&mut seen, &[], Some(&wanted));
    assert!(!seen.links.contains_key(NAME));
}

#[test]
fn what_somebody_changed_is_put_right() {
    let (mut seen, wanted) = (host(), [device(&[2, 3], &[])]);
    settle(&mut seen, &wanted, None);
    let whole = seen.clone();
    let spoil: [fn(&mut Seen); 7] = [
        |seen| drop(seen.links.remove(NAME)),
        |seen| seen.links.get_mut(NAME).unwrap().bridge = None,
        |seen| seen.links.get_mut(NAME).unwrap().bridge = Some(77),
        |seen| seen.links.get_mut(NAME).unwrap().up = false,
        |seen| seen.links.get_mut(NAME).unwrap().mtu = 1500,
        |seen| seen.links.get_mut(BRIDGE).unwrap().mtu = 1500,
        |seen| seen.links.get_mut(NAME).unwrap().entries.clear(),
    ];
    for spoil in spoil {
        spoil(&mut seen);
        assert!(!settle(&mut seen, &wanted, Some(&wanted)).is_empty());
        assert_eq!(seen, whole);
    }
}

#[test]
fn a_tunnel_of_another_kind_is_made_again() {
    let (mut seen, wanted) = (host(), [device(&[2], &[])]);
    settle(&mut seen, &wanted, None);
    let moved = [Device { local: ip(9), ..device(&[2], &[]) }];
    seen.addresses.insert(ip(9));
    let changes = settle(&mut seen, &moved, Some(&wanted));
    assert!(matches!(changes[..2], [Change::Remove { .. }, Change::Add { .. }]), "{changes:?}");
}

#[test]
fn behind_a_nat_the_kernel_chooses_the_address_to_send_from() {
    let (mut seen, wanted) = (host(), [Device { local: ip(200), ..device(&[2], &[]) }]);
    settle(&mut seen, &wanted, None);
    assert_eq!(seen.links[NAME].tunnel.as_ref().unwrap().local, None);
}

#[test]
fn a_node_that_left_gets_no_frames() {
    let (mut seen, before) = (host(), [device(&[2, 3], &[(7, 2), (8, 3)])]);
    settle(&mut seen, &before, None);
    // Something was learned beside what was said.
    seen.links.get_mut(NAME).unwrap().entries.insert((mac(9), ip(2)));
    settle(&mut seen, &[device(&[3], &[(8, 3)])], Some(&before));
    assert_eq!(entries(&seen), [(Mac::ALL, ip(3)), (mac(8), ip(3))]);
}

#[test]
fn what_was_learned_is_believed_until_there_is_news() {
    let (mut seen, before) = (host(), [device(&[2, 3], &[(7, 2)])]);
    settle(&mut seen, &before, None);
    let at = |seen: &Seen| entries(seen).into_iter().find(|(known, _)| *known == mac(7)).map(|(_, at)| at);
    // It moved, and its own frames told sooner than the scheduler.
    make(&mut seen, &[Change::Enter { name: NAME.into(), mac: mac(7), peer: ip(3) }]);
    assert!(settle(&mut seen, &before, Some(&before)).is_empty());
    // An agent that has just started does not know what is news.
    assert!(settle(&mut seen, &before, None).is_empty());
    assert_eq!(at(&seen), Some(ip(3)));
    let after = [device(&[2, 3], &[(7, 3)])];
    settle(&mut seen, &after, Some(&before));
    settle(&mut seen, &before, Some(&after));
    assert_eq!(at(&seen), Some(ip(2)), "the scheduler says that it moved back");
}

#[test]
fn what_is_not_gantrys_is_left_alone() {
    let (mut seen, wanted) = (host(), [device(&[2], &[])]);
    let foreign = Link { alias: "gantry c2".into(), tunnel: Some(Tunnel::default()), ..Link::default() };
    seen.links.insert("gv-200000".into(), foreign.clone());
    settle(&mut seen, &wanted, None);
    settle(&mut seen, &[], Some(&wanted));
    assert!(seen.links.contains_key("gv-200000"));
    seen.links.insert(NAME.into(), foreign);
    let error = plan(&wanted, &seen, ALIAS, None).unwrap_err();
    assert!(error.contains("ip link del gv-100001"), "{error}");
}

#[test]
fn a_device_whose_maker_ended_too_soon_is_made_again() {
    let (mut seen, wanted) = (host(), [device(&[2], &[])]);
    settle(&mut seen, &wanted, None);
    seen.links.get_mut(NAME).unwrap().alias.clear();
    settle(&mut seen, &wanted, Some(&wanted));
    assert_eq!(seen.links[NAME].alias, ALIAS);
}
