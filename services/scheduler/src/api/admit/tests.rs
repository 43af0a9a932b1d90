//! What is admitted, what is refused, and what people are told.

use gantry_identity::Role;
use gantry_model::{
    AppProtocol, Autoscale, Check, ClusterId, Condition, Container, Dependency, HealthProbe, Port, StackName,
    Template, VolumeSpec,
};
use gantry_testkit::{ServiceBuilder, World};

use super::*;

fn identity(role: Role) -> Identity {
    Identity { cluster: ClusterId::new("test").unwrap(), role, name: "ada".into() }
}

fn stack(services: &[(&str, ServiceSpec)]) -> StackSpec {
    StackSpec {
        name: StackName::new("shop").unwrap(),
        services: services.iter().map(|(name, spec)| ((*name).to_owned(), spec.clone())).collect(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
    }
}

fn images(digest: &str) -> BTreeMap<String, Resolved> {
    BTreeMap::from([(
        "test".to_owned(),
        Resolved { digest: Some(digest.into()), has_healthcheck: false, platform: None },
    )])
}

fn ask(
    world: &World,
    spec: &StackSpec,
    role: Role,
    images: &BTreeMap<String, Resolved>,
) -> Result<Admission, Status> {
    let by = identity(role);
    let asked = Asked { spec, force: false, by: &by, images, incarnation: "i", now: world.now };
    admit(&world.snapshot, &asked)
}

fn deploy(world: &mut World, spec: &StackSpec, digest: &str) -> Vec<String> {
    let admission = ask(world, spec, Role::Operator, &images(digest)).unwrap();
    world.commit(&admission.changes);
    let lines = admission
        .planned
        .iter()
        .map(|change| format!("{:?} {} ({})", change.action(), change.subject, change.details.join(", ")));
    lines.collect()
}

#[test]
fn the_same_file_again_changes_nothing() {
    let mut world = World::new(Timestamp::from_millis(5));
    let spec = stack(&[("web", ServiceBuilder::default().replicas(2).spec)]);
    assert_eq!(
        deploy(&mut world, &spec, "sha256:1"),
        [
            "Create network shop/default (range 10.192.0.0/19)",
            "Create service shop/web (image test, 2 replicas)"
        ]
    );
    let before = world.snapshot.revision;
    assert!(ask(&world, &spec, Role::Operator, &images("sha256:1")).unwrap().changes.is_empty());
    assert_eq!(world.snapshot.revision, before);
}

#[test]
fn a_moved_tag_or_another_variable_makes_a_new_revision_and_more_replicas_do_not() {
    let mut world = World::new(Timestamp::from_millis(5));
    let build = |replicas: u32, secret: &str| {
        let service = ServiceBuilder::default().replicas(replicas);
        let service = service
            .container(|container| drop(container.environment.insert("PASSWORD".into(), secret.into())));
        stack(&[("web", service.spec)])
    };
    deploy(&mut world, &build(1, "a"), "sha256:1");
    assert_eq!(deploy(&mut world, &build(3, "a"), "sha256:1"), ["Update service shop/web (replicas 1 → 3)"]);
    assert_eq!(
        deploy(&mut world, &build(3, "a"), "sha256:2"),
        ["Replace service shop/web (image test is another one now)"]
    );
    let lines = deploy(&mut world, &build(3, "hunter2"), "sha256:2");
    assert_eq!(lines, ["Replace service shop/web (environment: PASSWORD has another value)"]);
    assert_eq!(world.snapshot.services[&"shop/web".parse::<ServiceId>().unwrap()].revision, 3);
}

#[test]
fn a_count_that_was_scaled_to_stays_where_the_file_names_none() {
    let mut world = World::new(Timestamp::from_millis(5));
    let spec = stack(&[("web", ServiceBuilder::default().spec)]);
    deploy(&mut world, &spec, "sha256:1");
    world.change_service("shop/web", |service| service.replicas = 4);
    assert!(deploy(&mut world, &spec, "sha256:1").is_empty());
    assert_eq!(world.snapshot.services[&"shop/web".parse::<ServiceId>().unwrap()].replicas, 4);
}

#[test]
fn a_service_that_left_the_file_is_removed() {
    let mut world = World::new(Timestamp::from_millis(5));
    let web = ServiceBuilder::default().spec;
    deploy(&mut world, &stack(&[("web", web.clone()), ("old", web.clone())]), "sha256:1");
    let lines = deploy(&mut world, &stack(&[("web", web)]), "sha256:1");
    assert_eq!(lines, ["Remove service shop/old (it is not in the file any more)"]);
}

#[test]
fn only_an_admin_may_ask_for_what_equals_root() {
    let world = World::new(Timestamp::from_millis(5));
    let spec =
        stack(&[("web", ServiceBuilder::default().container(|container| container.privileged = true).spec)]);
    let refused = ask(&world, &spec, Role::Operator, &images("x")).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    assert!(refused.message().contains("privileged"), "{}", refused.message());
    assert!(ask(&world, &spec, Role::Admin, &images("x")).is_ok());
}

#[test]
fn two_services_on_one_port_are_refused_by_name() {
    let mut world = World::new(Timestamp::from_millis(5));
    let on_80 = ServiceBuilder::default().port(80).spec;
    let refused =
        ask(&world, &stack(&[("a", on_80.clone()), ("b", on_80.clone())]), Role::Operator, &images("x"))
            .unwrap_err();
    assert!(
        refused.message().starts_with("the services a and b both publish port 80/tcp"),
        "{}",
        refused.message()
    );

    world = world.service("other/web", |service| service.port(80));
    let refused = ask(&world, &stack(&[("a", on_80)]), Role::Operator, &images("x")).unwrap_err();
    assert!(refused.message().contains("other/web has already"), "{}", refused.message());

    let here = |ip: [u8; 4]| {
        let mut spec = ServiceBuilder::default().spec;
        spec.ports = vec![Port { host_ip: Some(ip.into()), ..Port::new(1, Some(81)) }];
        spec
    };
    let apart = stack(&[("a", here([127, 0, 0, 1])), ("b", here([127, 0, 0, 2]))]);
    assert!(ask(&world, &apart, Role::Operator, &images("x")).is_ok());
}

#[test]
fn routes_share_port_80_with_who_publishes_it_unless_it_is_not_http() {
    let routed = ServiceBuilder::default().route("shop.example.com", "/").spec;
    let mut publishing = ServiceBuilder::default().port(80).spec;
    let world = World::new(Timestamp::from_millis(5));
    let spec = |publishing: &ServiceSpec| stack(&[("a", routed.clone()), ("b", publishing.clone())]);
    assert!(ask(&world, &spec(&publishing), Role::Operator, &images("x")).is_ok());
    publishing.ports[0].app_protocol = Some(AppProtocol::Tcp);
    let refused = ask(&world, &spec(&publishing), Role::Operator, &images("x")).unwrap_err();
    assert!(refused.message().contains("the routes of a need"), "{}", refused.message());
}

#[test]
fn two_services_with_one_route_are_refused_by_name() {
    let mut world = World::new(Timestamp::from_millis(5));
    let route = |path: &str| ServiceBuilder::default().route("shop.example.com", path).spec;
    let refused = ask(&world, &stack(&[("a", route("/")), ("b", route("/"))]), Role::Operator, &images("x"))
        .unwrap_err();
    assert!(
        refused.message().contains("a and b both have the route shop.example.com/"),
        "{}",
        refused.message()
    );
    world = world.service("other/web", |service| service.route("shop.example.com", "/api"));
    let refused = ask(&world, &stack(&[("a", route("/api"))]), Role::Operator, &images("x")).unwrap_err();
    assert!(refused.message().contains("which other/web has already"), "{}", refused.message());
    assert!(ask(&world, &stack(&[("a", route("/"))]), Role::Operator, &images("x")).is_ok());
}

#[test]
fn another_published_port_replaces_no_container() {
    let mut world = World::new(Timestamp::from_millis(5));
    deploy(&mut world, &stack(&[("web", ServiceBuilder::default().port(80).spec)]), "x");
    let lines = deploy(&mut world, &stack(&[("web", ServiceBuilder::default().port(81).spec)]), "x");
    assert_eq!(lines, ["Update service shop/web (published ports change)"]);
}

#[test]
fn waiting_for_the_health_of_a_service_without_a_check_is_refused() {
    let world = World::new(Timestamp::from_millis(5));
    let needs = Dependency { condition: Condition::Healthy, required: true };
    let web =
        ServiceSpec { depends_on: BTreeMap::from([("db".into(), needs)]), ..ServiceBuilder::default().spec };
    let spec = stack(&[("web", web), ("db", ServiceBuilder::default().spec)]);
    let refused = ask(&world, &spec, Role::Operator, &images("x")).unwrap_err();
    assert!(refused.message().contains("db has no health check"), "{}", refused.message());

    let with_check = BTreeMap::from([(
        "test".to_owned(),
        Resolved { digest: Some("x".into()), has_healthcheck: true, platform: None },
    )]);
    assert!(ask(&world, &spec, Role::Operator, &with_check).is_ok());
}

fn tcp_check(port: u16) -> HealthProbe {
    HealthProbe::new(Check::Tcp { port })
}

#[test]
fn a_check_by_agents_is_one_to_wait_for() {
    let world = World::new(Timestamp::from_millis(5));
    let needs = Dependency { condition: Condition::Healthy, required: true };
    let web =
        ServiceSpec { depends_on: BTreeMap::from([("db".into(), needs)]), ..ServiceBuilder::default().spec };
    for (readiness, liveness) in [(Some(tcp_check(5432)), None), (None, Some(tcp_check(5432)))] {
        let db = ServiceSpec { readiness, liveness, ..ServiceBuilder::default().spec };
        let spec = stack(&[("web", web.clone()), ("db", db)]);
        assert!(ask(&world, &spec, Role::Operator, &images("x")).is_ok());
    }
}

#[test]
fn another_check_replaces_no_container_and_old_revisions_keep_theirs() {
    let mut world = World::new(Timestamp::from_millis(5));
    let build = |port| {
        stack(&[("web", ServiceSpec { liveness: Some(tcp_check(port)), ..ServiceBuilder::default().spec })])
    };
    deploy(&mut world, &build(80), "x");
    let lines = deploy(&mut world, &build(81), "x");
    assert_eq!(lines, ["Update service shop/web (how its health is checked changes)"]);
    deploy(&mut world, &build(82), "y");
    let id: ServiceId = "shop/web".parse().unwrap();
    let liveness = |number| world.snapshot.revisions[&(id.clone(), number)].checks.liveness.clone();
    assert_eq!((liveness(1), liveness(2)), (Some(tcp_check(81)), Some(tcp_check(82))));
    assert_eq!(world.snapshot.services[&id].revision, 2);
}

#[test]
fn a_stack_on_its_way_out_is_not_deployed_over() {
    let mut world = World::new(Timestamp::from_millis(5)).service("shop/web", |service| service);
    world.remove_stack("shop", false);
    let refused = ask(&world, &stack(&[("web", ServiceBuilder::default().spec)]), Role::Admin, &images("x"))
        .unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
}

#[test]
fn a_volume_keeps_what_it_was_made_with() {
    let mut world = World::new(Timestamp::from_millis(5));
    let mut spec = stack(&[("db", ServiceBuilder::default().volume("data").spec)]);
    spec.volumes.insert("data".into(), VolumeSpec::default());
    deploy(&mut world, &spec, "x");
    spec.volumes.get_mut("data").unwrap().driver = Some("nfs".into());
    let refused = ask(&world, &spec, Role::Operator, &images("x")).unwrap_err();
    assert!(refused.message().contains("cannot change"), "{}", refused.message());
}

#[test]
fn every_difference_is_named_and_no_value_is_shown() {
    let old = Template {
        container: Container { image: "a".into(), ..Container::default() },
        networks: vec![],
        ports: vec![],
        image_digest: None,
    };
    let mut new = old.clone();
    new.container.user = Some("7".into());
    new.container.command = Some(vec!["run".into()]);
    assert_eq!(differences::of_template(&old, &new), ["command changes", "user changes"]);
}

#[test]
fn another_placement_and_another_mode_replace_no_container() {
    let mut world = World::new(Timestamp::from_millis(5));
    deploy(&mut world, &stack(&[("web", ServiceBuilder::default().replicas(2).spec)]), "x");
    let placed = ServiceBuilder::default().replicas(2).constraint("node.role == worker").spec;
    let lines = deploy(&mut world, &stack(&[("web", placed)]), "x");
    assert_eq!(
        lines,
        ["Update service shop/web (placement changes: replicas that may not stay where they are are moved)"]
    );
    let lines = deploy(&mut world, &stack(&[("web", ServiceBuilder::default().global().spec)]), "x");
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("Update service shop/web (one replica on every node"), "{lines:?}");
    assert_eq!(world.snapshot.revisions.size(), 1);
}

#[test]
fn the_files_count_is_only_the_first_one_of_a_service_that_is_scaled_by_its_load() {
    let rules = Autoscale { min: 2, max: 10, rps: Some(100.0), ..Autoscale::default() };
    let web = |replicas: Option<u32>, rules: &Autoscale| {
        let mut service = ServiceBuilder::default().autoscale(rules.clone());
        service.spec.replicas = replicas;
        stack(&[("web", service.spec)])
    };
    let count = |world: &World| world.snapshot.services.values().next().unwrap().replicas;
    let first = |replicas: Option<u32>, rules: &Autoscale| {
        let mut world = World::new(Timestamp::from_millis(5));
        deploy(&mut world, &web(replicas, rules), "sha256:1");
        count(&world)
    };
    assert_eq!((first(Some(3), &rules), first(None, &rules), first(Some(99), &rules)), (3, 2, 10));
    assert_eq!(first(None, &Autoscale { min: 0, ..rules.clone() }), 1, "it is started once");

    let mut world = World::new(Timestamp::from_millis(5));
    deploy(&mut world, &web(Some(3), &rules), "sha256:1");
    world.change_service("shop/web", |service| service.replicas = 7);
    assert!(deploy(&mut world, &web(Some(3), &rules), "sha256:1").is_empty());
    assert_eq!(count(&world), 7);
    let other = Autoscale { max: 20, ..rules.clone() };
    assert_eq!(
        deploy(&mut world, &web(Some(3), &other), "sha256:1"),
        ["Update service shop/web (how it is scaled by its load changes)"]
    );
    assert_eq!(count(&world), 7);
    world.change_service("shop/web", |service| service.replicas = 0);
    deploy(&mut world, &web(Some(3), &other), "sha256:2");
    assert_eq!(count(&world), 1, "what is new shows whether it runs");
    let said = Autoscale { mode: AutoscaleMode::Recommend, ..rules };
    deploy(&mut world, &web(Some(3), &said), "sha256:2");
    assert_eq!(count(&world), 3, "a count that the load does not set is the file's");
}
