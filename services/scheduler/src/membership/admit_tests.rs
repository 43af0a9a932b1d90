use gantry_api::cluster::v1::HostRoute;
use gantry_model::NodeStatus;
use gantry_testkit::World;
use tonic::Code;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

fn own() -> Fingerprint {
    Fingerprint::of_der(b"our CA")
}

struct Case {
    snapshot: Snapshot,
    token: Token,
    request: JoinRequest,
}

impl Case {
    /// A machine n2 that may join a cluster of n1.
    fn new() -> Self {
        let mut snapshot = World::new(NOW).node("n1").snapshot;
        let token = Token::create(own());
        let record = JoinToken {
            id: token.id.clone(),
            hash: token.hash().to_hex(),
            created_by: "admin ada".into(),
            created_at: NOW,
            expires_at: NOW.after(Duration::from_hours(1)),
            uses: Some(1),
            used: 0,
            voided: false,
        };
        snapshot.apply(&Change::Put(Record::Token(Arc::new(record))));
        let request = JoinRequest {
            token: token.to_string(),
            time: Some(wire::write_time(NOW)),
            name: "n2".into(),
            addresses: vec!["192.0.2.2".into(), "198.51.100.2".into()],
            interface: "eth0".into(),
            interface_mtu: 1500,
            routes: vec![HostRoute { range: "172.17.0.0/16".into(), interface: "docker0".into() }],
            ..JoinRequest::default()
        };
        Self { snapshot, token, request }
    }

    fn admit(&self) -> Result<Vec<Change>, Status> {
        let asked = Asked::read(&self.request, None)?;
        admit(&self.snapshot, &own(), &asked, &NodeId::new("new").unwrap(), NOW, NOW)
    }

    #[track_caller]
    fn refused(&self, code: Code, words: &[&str]) {
        let status = self.admit().unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        for word in words {
            assert!(status.message().contains(word), "{} lacks {word:?}", status.message());
        }
    }

    fn change_token(&mut self, change: impl FnOnce(&mut JoinToken)) {
        let mut token = self.snapshot.tokens[&self.token.id].as_ref().clone();
        change(&mut token);
        self.snapshot.apply(&Change::Put(Record::Token(Arc::new(token))));
    }
}

#[test]
fn a_machine_with_a_good_token_becomes_a_node_with_all_its_addresses() {
    let mut case = Case::new();
    for change in case.admit().unwrap() {
        case.snapshot.apply(&change);
    }
    let node = &case.snapshot.nodes[&NodeId::new("new").unwrap()];
    assert_eq!((node.name.as_str(), node.addresses.len()), ("n2", 2));
    assert_eq!(case.snapshot.tokens[&case.token.id].used, 1);
    case.request.name = "n3".into();
    case.refused(Code::PermissionDenied, &["used up", "gantry token"]);
}

#[test]
fn a_token_that_is_wrong_foreign_expired_or_rotated_is_told_apart() {
    let mut case = Case::new();
    case.request.token = "hello".into();
    case.refused(Code::InvalidArgument, &["not a join token"]);
    case.request.token = Token::create(own()).to_string();
    case.refused(Code::PermissionDenied, &["no such join token"]);
    let guessed = Token::create(own()).to_string();
    let (_, secret) = guessed.rsplit_once('-').unwrap();
    case.request.token = format!("gt1-{}-{}-{secret}", own(), case.token.id);
    case.refused(Code::PermissionDenied, &["no such join token"]);
    case.request.token = Token::create(Fingerprint::of_der(b"their CA")).to_string();
    case.refused(Code::PermissionDenied, &["another cluster"]);

    case.request.token = case.token.to_string();
    case.change_token(|token| token.expires_at = NOW);
    case.refused(Code::PermissionDenied, &["expired at 1970-01-12"]);
    case.change_token(|token| token.voided = true);
    case.refused(Code::PermissionDenied, &["rotated"]);
}

#[test]
fn clocks_that_are_far_apart_are_both_named() {
    let mut case = Case::new();
    for off in [Duration::from_mins(5), Duration::ZERO] {
        case.request.time = Some(wire::write_time(NOW.after(off)));
        assert!(case.admit().is_ok());
    }
    case.request.time = Some(wire::write_time(NOW.after(Duration::from_secs(301))));
    case.refused(Code::FailedPrecondition, &["13:51:41", "13:46:40"]);
    case.request.time = Some(wire::write_time(Timestamp::from_millis(0)));
    case.refused(Code::FailedPrecondition, &["1970-01-01T00:00:00"]);
}

#[test]
fn two_nodes_of_one_name_are_refused_unless_the_first_never_came() {
    let mut case = Case::new();
    case.request.name = "n1".into();
    case.refused(Code::AlreadyExists, &["n1", "is connected", "--node-name"]);
    let id = NodeId::new("n1").unwrap();
    case.snapshot.node_statuses.insert_mut(id.clone(), Arc::new(NodeStatus::default()));
    case.refused(Code::AlreadyExists, &["not connected now", "gantry node rm n1"]);

    case.snapshot.node_statuses.remove_mut(&id);
    let mut never = case.snapshot.nodes[&id].as_ref().clone();
    never.host = Host::default();
    case.snapshot.apply(&Change::Put(Record::Node(Arc::new(never))));
    for change in case.admit().unwrap() {
        case.snapshot.apply(&change);
    }
    assert_eq!(case.snapshot.nodes.size(), 1);
    assert!(case.snapshot.denied.contains_key("node/n1"), "what it was given before is good for nothing");
}

#[test]
fn a_route_of_the_host_into_the_pool_is_refused_and_named() {
    let mut case = Case::new();
    let pool = case.snapshot.cluster.pool;
    case.request.routes.push(HostRoute { range: "0.0.0.0/0".into(), interface: "eth0".into() });
    assert!(case.admit().is_ok(), "the default route is in nobody's way");
    let inside = format!("{}/24", pool.network());
    case.request.routes.push(HostRoute { range: inside.clone(), interface: "wg0".into() });
    case.refused(Code::FailedPrecondition, &[&inside, "wg0", &pool.to_string()]);
    case.request.routes.pop();
    case.request.routes.push(HostRoute { range: "10.0.0.0/8".into(), interface: "tun0".into() });
    case.refused(Code::FailedPrecondition, &["10.0.0.0/8", "tun0"]);
}

#[test]
fn an_interface_that_takes_too_small_packets_is_refused_with_the_numbers() {
    let mut case = Case::new();
    case.request.interface_mtu = 1499;
    case.refused(Code::FailedPrecondition, &["eth0", "1499", "1500", "1450"]);
    case.request.interface_mtu = 1500;
    case.request.addresses = vec!["2001:db8::2".into()];
    case.refused(Code::FailedPrecondition, &["1520"]);
}

#[test]
fn an_address_that_nobody_else_reaches_is_no_address() {
    let mut case = Case::new();
    for bad in ["127.0.0.1", "0.0.0.0", "::1", "host"] {
        case.request.addresses = vec![bad.into()];
        case.refused(Code::InvalidArgument, &[bad]);
    }
    case.request.addresses.clear();
    let asked = Asked::read(&case.request, Some("203.0.113.9".parse().unwrap())).unwrap();
    assert_eq!(asked.addresses, ["203.0.113.9".parse::<IpAddr>().unwrap()], "where it comes from");
}

#[test]
fn names_and_labels_are_bounded() {
    assert!(check_name("web-1.example").is_ok());
    for bad in ["", "-x", "a b", "ü", &"x".repeat(64)] {
        assert!(check_name(bad).is_err(), "{bad}");
    }
    let labels = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    assert!(check_labels(&labels("disk", "ssd")).is_ok());
    assert!(check_labels(&labels("a b", "")).is_err());
    assert!(check_labels(&labels("disk", "a\nb")).is_err());
}
