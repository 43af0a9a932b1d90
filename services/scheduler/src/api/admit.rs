//! What applying a spec would change: a pure function, used by `plan` and by `apply` alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gantry_api::cluster::v1::{ChangeAction, PlannedChange};
use gantry_identity::{Identity, Role};
use gantry_model::{
    Change, Condition, Network, NetworkSpec, Record, Revision, Service, ServiceId, ServiceSpec, Severity,
    Snapshot, Stack, StackSpec, Template, Timestamp, Volume, VolumeSpec,
};
use ipnet::Ipv4Net;
use serde_json::Value;
use tonic::Status;

use crate::decide::{Pool, SMALLEST_PREFIX, collide, network_keys, record_event};

/// What an image's name was found to stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The digest; `None` if no node has the image yet.
    pub digest: Option<String>,
    /// Whether the image has a health check of its own.
    pub has_healthcheck: bool,
}

/// What is asked, by whom, and what was found out before.
pub struct Asked<'a> {
    /// The whole stack.
    pub spec: &'a StackSpec,
    /// New replicas even where nothing changed.
    pub force: bool,
    /// Who asks.
    pub by: &'a Identity,
    /// Images by name.
    pub images: &'a BTreeMap<String, Resolved>,
    /// Random, for services that are new.
    pub incarnation: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// The outcome: what people are shown, and what is stored.
#[derive(Debug)]
pub struct Admission {
    /// In the order in which it is made.
    pub planned: Vec<PlannedChange>,
    /// For the store.
    pub changes: Vec<Change>,
}

/// Checks `asked` against the state, and says what it changes.
pub fn admit(snapshot: &Snapshot, asked: &Asked<'_>) -> Result<Admission, Status> {
    let spec = asked.spec;
    check(snapshot, asked)?;
    let mut admission = Admission { planned: Vec::new(), changes: Vec::new() };
    networks(snapshot, spec, &mut admission)?;
    volumes(snapshot, spec, &mut admission)?;
    for (name, service) in &spec.services {
        let id = ServiceId::new(spec.name.clone(), name)
            .map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        admit_service(snapshot, asked, &id, service, &mut admission);
    }
    for service in snapshot.services_of(&spec.name) {
        if !service.removing && !spec.services.contains_key(service.id.name()) {
            admission.plan(
                ChangeAction::Remove,
                "service",
                &service.id,
                vec!["it is not in the file any more".to_owned()],
            );
            let removing = Service { removing: true, updated_at: asked.now, ..service.as_ref().clone() };
            admission.changes.push(Change::Put(Record::Service(Arc::new(removing))));
        }
    }
    let known = snapshot.stacks.get(&spec.name);
    if known.is_none() || !admission.changes.is_empty() {
        let stack = Stack {
            name: spec.name.clone(),
            created_at: known.map_or(asked.now, |stack| stack.created_at),
            updated_at: asked.now,
            removing: false,
            remove_volumes: false,
        };
        admission.changes.push(Change::Put(Record::Stack(Arc::new(stack))));
    }
    if !admission.planned.is_empty() {
        let who = format!("{} {}", asked.by.role, asked.by.name);
        let message = format!("deployed by {who}: {} changes", admission.planned.len());
        let subject = spec.name.to_string();
        admission.changes.extend(record_event(
            snapshot,
            asked.now,
            Severity::Normal,
            &subject,
            None,
            "Deployed",
            message,
        ));
    }
    Ok(admission)
}

impl Admission {
    fn plan(&mut self, action: ChangeAction, kind: &str, subject: &impl ToString, details: Vec<String>) {
        let subject = format!("{kind} {}", subject.to_string());
        self.planned.push(PlannedChange { action: action.into(), subject, details });
    }
}

/// What cannot be admitted whatever is there.
fn check(snapshot: &Snapshot, asked: &Asked<'_>) -> Result<(), Status> {
    let spec = asked.spec;
    let leaving = snapshot.stacks.get(&spec.name).is_some_and(|stack| stack.removing)
        || snapshot
            .services_of(&spec.name)
            .any(|service| service.removing && spec.services.contains_key(service.id.name()));
    if leaving {
        return Err(Status::failed_precondition(format!(
            "{} is being removed: wait until `gantry ps {}` shows nothing, then try again",
            spec.name, spec.name
        )));
    }
    for (name, service) in &spec.services {
        let powers = service.container.host_powers();
        if !powers.is_empty() && asked.by.role != Role::Admin {
            return Err(Status::permission_denied(format!(
                "the service {name} asks for {}, which makes it root on its node: only an admin may deploy that",
                powers.join(", ")
            )));
        }
        for (target, dependency) in &service.depends_on {
            let Some(other) =
                spec.services.get(target).filter(|_| dependency.condition == Condition::Healthy)
            else {
                continue;
            };
            let check = other.container.healthcheck.as_ref();
            let own = check.is_some_and(|check| !check.is_none() && !check.test.is_empty());
            let image = asked.images.get(&other.container.image).is_some_and(|image| image.has_healthcheck);
            let switched_off = check.is_some_and(gantry_model::Healthcheck::is_none);
            let unknown = asked.images.get(&other.container.image).is_none_or(|image| image.digest.is_none());
            if switched_off || !(own || image || unknown) {
                return Err(Status::invalid_argument(format!(
                    "{name} waits for {target} to be healthy, but {target} has no health check: \
                     give it a `healthcheck:`, or wait with `condition: service_started`"
                )));
            }
        }
    }
    check_ports(snapshot, spec)
}

/// Two services cannot listen on one port of a node; replicas of one service can be on several.
fn check_ports(snapshot: &Snapshot, spec: &StackSpec) -> Result<(), Status> {
    let own =
        spec.services.iter().flat_map(|(name, service)| service.ports.iter().map(move |port| (name, port)));
    let own: Vec<_> = own.collect();
    for (at, (name, port)) in own.iter().enumerate() {
        if let Some((other, _)) = own[at + 1..].iter().find(|(_, other)| collide(port, other)) {
            return Err(Status::invalid_argument(format!(
                "the services {name} and {other} both publish port {}/{}: give one of them another",
                port.published.unwrap_or_default(),
                port.protocol
            )));
        }
        let others = snapshot
            .services
            .values()
            .filter(|service| service.id.stack() != &spec.name && !service.removing);
        for other in others {
            if other.spec.ports.iter().any(|held| collide(held, port)) {
                return Err(Status::failed_precondition(format!(
                    "{name} publishes port {}/{}, which {} has already: publish another",
                    port.published.unwrap_or_default(),
                    port.protocol,
                    other.id
                )));
            }
        }
    }
    Ok(())
}

fn networks(snapshot: &Snapshot, spec: &StackSpec, admission: &mut Admission) -> Result<(), Status> {
    let used: BTreeSet<String> =
        spec.services.values().flat_map(|service| network_keys(&service.template(None))).collect();
    let (mut ranges, mut numbers): (Vec<Ipv4Net>, Vec<u32>) = (Vec::new(), Vec::new());
    for key in used {
        let wanted = spec.networks.get(&key).cloned().unwrap_or_default();
        if let Some(known) = snapshot.networks.get(&(spec.name.clone(), key.clone())) {
            same_network(known, &wanted)?;
            continue;
        }
        let pool = Pool(snapshot);
        let subnet = match wanted.subnet {
            Some(subnet) => check_subnet(snapshot, &key, subnet, &ranges)?,
            None => pool.next(&ranges).map_err(|full| Status::resource_exhausted(full.to_string()))?,
        };
        let vni = pool.next_vni(&numbers);
        ranges.push(subnet);
        numbers.push(vni);
        admission.plan(
            ChangeAction::Create,
            "network",
            &format!("{}/{key}", spec.name),
            vec![format!("range {subnet}")],
        );
        admission.changes.push(Change::Put(Record::Network(Arc::new(Network {
            stack: spec.name.clone(),
            key,
            vni,
            subnet,
            internal: wanted.internal,
            labels: wanted.labels,
            nodes: BTreeMap::new(),
            cursor: 0,
            cooling: Vec::new(),
        }))));
    }
    Ok(())
}

fn check_subnet(
    snapshot: &Snapshot,
    key: &str,
    subnet: Ipv4Net,
    taken: &[Ipv4Net],
) -> Result<Ipv4Net, Status> {
    let subnet = subnet.trunc();
    if subnet.prefix_len() > SMALLEST_PREFIX {
        return Err(Status::invalid_argument(format!(
            "the network {key} has the range {subnet}, which is too small: give a /{SMALLEST_PREFIX} or larger"
        )));
    }
    let overlaps = |other: &Ipv4Net| other.contains(&subnet) || subnet.contains(other);
    if let Some(other) = snapshot.networks.values().find(|network| overlaps(&network.subnet)) {
        return Err(Status::failed_precondition(format!(
            "the network {key} has the range {subnet}, which overlaps {} of {}/{}",
            other.subnet, other.stack, other.key
        )));
    }
    if let Some(other) = taken.iter().find(|other| overlaps(other)) {
        return Err(Status::invalid_argument(format!(
            "the network {key} has the range {subnet}, which overlaps {other}"
        )));
    }
    Ok(subnet)
}

fn same_network(known: &Network, wanted: &NetworkSpec) -> Result<(), Status> {
    let subnet_differs = wanted.subnet.is_some_and(|subnet| subnet.trunc() != known.subnet);
    if known.internal != wanted.internal || subnet_differs {
        return Err(Status::failed_precondition(format!(
            "the network {}/{} cannot change while it is in use: `gantry down` the stack first",
            known.stack, known.key
        )));
    }
    Ok(())
}

fn volumes(snapshot: &Snapshot, spec: &StackSpec, admission: &mut Admission) -> Result<(), Status> {
    for (key, wanted) in &spec.volumes {
        let volume = Volume {
            stack: spec.name.clone(),
            key: key.clone(),
            name: wanted.name.clone().unwrap_or_else(|| format!("{}_{key}", spec.name)),
            external: wanted.external,
            driver: wanted.driver.clone(),
            options: wanted.options.clone(),
            labels: wanted.labels.clone(),
            node: None,
            removing: false,
        };
        match snapshot.volumes.get(&(spec.name.clone(), key.clone())) {
            Some(known) if known.removing => {
                return Err(Status::failed_precondition(format!(
                    "the volume {key} is being removed: try again in a moment"
                )));
            }
            Some(known) => same_volume(known, &volume, wanted)?,
            None => {
                let details =
                    if wanted.external { vec!["it must exist already".to_owned()] } else { Vec::new() };
                admission.plan(ChangeAction::Create, "volume", &format!("{}/{key}", spec.name), details);
                admission.changes.push(Change::Put(Record::Volume(Arc::new(volume))));
            }
        }
    }
    Ok(())
}

fn same_volume(known: &Volume, wanted: &Volume, spec: &VolumeSpec) -> Result<(), Status> {
    let same = (&known.name, known.external, &known.driver, &known.options)
        == (&wanted.name, spec.external, &spec.driver, &spec.options);
    if same {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "the volume {}/{} exists with another name, driver or options; they cannot change: \
         use another key, or remove it with `gantry down -v` (its content is lost)",
        known.stack, known.key
    )))
}

fn admit_service(
    snapshot: &Snapshot,
    asked: &Asked<'_>,
    id: &ServiceId,
    spec: &ServiceSpec,
    admission: &mut Admission,
) {
    let known = snapshot.services.get(id);
    let current = known.and_then(|known| snapshot.revisions.get(&(id.clone(), known.revision)));
    let resolved = asked.images.get(&spec.container.image).cloned().unwrap_or_default();
    // An image that nobody has yet is taken for what it was, as long as it is named as it was.
    let digest = resolved.digest.or_else(|| {
        current
            .filter(|current| current.template.container.image == spec.container.image)
            .and_then(|current| current.template.image_digest.clone())
    });
    let template = spec.template(digest);
    let changed = current.is_none_or(|current| current.hash != template.hash());
    let number = known.map_or(0, |known| known.revision) + u64::from(changed || asked.force);
    let replicas = spec.replicas.or(known.map(|known| known.replicas)).unwrap_or(1);
    let service = match known {
        Some(known) => Service {
            spec: spec.clone(),
            revision: number,
            replicas,
            stopped: false,
            updated_at: asked.now,
            ..known.as_ref().clone()
        },
        None => Service {
            id: id.clone(),
            incarnation: asked.incarnation.to_owned(),
            spec: spec.clone(),
            revision: number,
            replicas,
            stopped: false,
            removing: false,
            restart_sequence: 0,
            replicas_made: 0,
            last_batch_at: None,
            created_at: asked.now,
            updated_at: asked.now,
        },
    };
    match known {
        None => {
            let details = vec![format!("image {}", spec.container.image), plural(replicas)];
            admission.plan(ChangeAction::Create, "service", id, details);
        }
        Some(known) => {
            let mut details =
                current.map(|current| differences(&current.template, &template)).unwrap_or_default();
            details.extend(service_differences(known, &service));
            if changed || asked.force {
                if details.is_empty() {
                    details.push("asked for, without a change".to_owned());
                }
                admission.plan(ChangeAction::Replace, "service", id, details);
            } else if !details.is_empty() {
                admission.plan(ChangeAction::Update, "service", id, details);
            } else {
                return;
            }
        }
    }
    if changed || asked.force {
        let hash = template.hash();
        let revision = Revision { service: id.clone(), number, template, hash, created_at: asked.now };
        admission.changes.push(Change::Put(Record::Revision(Arc::new(revision))));
    }
    admission.changes.push(Change::Put(Record::Service(Arc::new(service))));
}

/// What is different for the service's containers, one line each. Values of the environment are
/// never shown.
fn differences(old: &Template, new: &Template) -> Vec<String> {
    let mut lines = Vec::new();
    if old.container.image != new.container.image {
        lines.push(format!("image {} → {}", old.container.image, new.container.image));
    } else if old.image_digest != new.image_digest {
        lines.push(format!("image {} is another one now", new.container.image));
    }
    let (before, after) = (&old.container.environment, &new.container.environment);
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        match (before.get(name), after.get(name)) {
            (None, Some(_)) => lines.push(format!("environment: {name} is new")),
            (Some(_), None) => lines.push(format!("environment: {name} is gone")),
            (old, new) if old != new => lines.push(format!("environment: {name} has another value")),
            _ => {}
        }
    }
    let (before, after) = (fields(&old.container), fields(&new.container));
    for (name, value) in &after {
        if before.get(name) != Some(value) && !matches!(name.as_str(), "image" | "environment") {
            lines.push(format!("{name} changes"));
        }
    }
    if old.networks != new.networks {
        lines.push("networks change".to_owned());
    }
    if old.ports != new.ports {
        lines.push("ports change".to_owned());
    }
    lines
}

fn fields(container: &gantry_model::Container) -> serde_json::Map<String, Value> {
    match serde_json::to_value(container) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    }
}

fn plural(replicas: u32) -> String {
    if replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") }
}

/// What is different for the service itself.
fn service_differences(old: &Service, new: &Service) -> Vec<String> {
    let mut lines = Vec::new();
    if old.replicas != new.replicas {
        lines.push(format!("replicas {} → {}", old.replicas, new.replicas));
    }
    if old.stopped {
        lines.push("it was stopped and starts again".to_owned());
    }
    if old.spec.depends_on != new.spec.depends_on {
        lines.push("depends_on changes".to_owned());
    }
    if old.spec.update != new.spec.update {
        lines.push("update_config changes".to_owned());
    }
    if old.spec.labels != new.spec.labels {
        lines.push("labels of the service change".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use gantry_model::{ClusterId, Container, Dependency, Port, Protocol, StackName};
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
            Resolved { digest: Some(digest.into()), has_healthcheck: false },
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
        let lines = admission.planned.iter().map(|change| {
            format!("{:?} {} ({})", change.action(), change.subject, change.details.join(", "))
        });
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
        assert_eq!(
            deploy(&mut world, &build(3, "a"), "sha256:1"),
            ["Update service shop/web (replicas 1 → 3)"]
        );
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
        let spec = stack(&[(
            "web",
            ServiceBuilder::default().container(|container| container.privileged = true).spec,
        )]);
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
            spec.ports = vec![Port {
                target: 1,
                published: Some(81),
                protocol: Protocol::Tcp,
                host_ip: Some(ip.into()),
            }];
            spec
        };
        let apart = stack(&[("a", here([127, 0, 0, 1])), ("b", here([127, 0, 0, 2]))]);
        assert!(ask(&world, &apart, Role::Operator, &images("x")).is_ok());
    }

    #[test]
    fn waiting_for_the_health_of_a_service_without_a_check_is_refused() {
        let world = World::new(Timestamp::from_millis(5));
        let needs = Dependency { condition: Condition::Healthy, required: true };
        let web = ServiceSpec {
            depends_on: BTreeMap::from([("db".into(), needs)]),
            ..ServiceBuilder::default().spec
        };
        let spec = stack(&[("web", web), ("db", ServiceBuilder::default().spec)]);
        let refused = ask(&world, &spec, Role::Operator, &images("x")).unwrap_err();
        assert!(refused.message().contains("db has no health check"), "{}", refused.message());

        let with_check = BTreeMap::from([(
            "test".to_owned(),
            Resolved { digest: Some("x".into()), has_healthcheck: true },
        )]);
        assert!(ask(&world, &spec, Role::Operator, &with_check).is_ok());
    }

    #[test]
    fn a_stack_on_its_way_out_is_not_deployed_over() {
        let mut world = World::new(Timestamp::from_millis(5)).service("shop/web", |service| service);
        world.remove_stack("shop", false);
        let refused =
            ask(&world, &stack(&[("web", ServiceBuilder::default().spec)]), Role::Admin, &images("x"))
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
        assert_eq!(differences(&old, &new), ["command changes", "user changes"]);
    }
}
