//! Whole files: what they become, and what is said about those that cannot be used.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use gantry_compose::{Options, Problems, Project, load};
use gantry_model::{Condition, MountSource, NetworkMode, RestartPolicy, UpdateOrder};

fn load_in(
    text: &str,
    prepare: impl FnOnce(&std::path::Path),
    options: Options,
) -> Result<Project, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("My Shop");
    fs::create_dir(&project).unwrap();
    fs::write(project.join("compose.yaml"), text).unwrap();
    prepare(&project);
    load(&project.join("compose.yaml"), &Options { check_binds: true, ..options })
}

fn loaded(text: &str) -> Project {
    load_in(text, |_| {}, Options::default()).unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

fn problems(text: &str) -> String {
    match load_in(text, |_| {}, Options::default()) {
        Ok(project) => panic!("it is fine: {:?}", project.stack),
        Err(problems) => problems.render(false),
    }
}

#[test]
fn a_full_service_is_read_field_for_field() {
    let project = loaded(
        r#"
name: shop
services:
  web:
    image: shop/web:1.10
    command: gunicorn -w 4 "app:create()"
    entrypoint: []
    environment:
      PORT: 5000
      DEBUG: "false"
      FROM_NOWHERE:
    ports: ["8000:5000", {target: 9000, published: 9001, protocol: udp, host_ip: 127.0.0.1}]
    depends_on: {db: {condition: service_healthy}, migrate: {condition: service_completed_successfully}}
    deploy:
      replicas: 3
      resources: {limits: {cpus: "0.5", memory: 128M}, reservations: {memory: 64M}}
      restart_policy: {condition: on-failure, max_attempts: 5}
      update_config: {parallelism: 2, delay: 5s, order: start-first}
    healthcheck: {test: curl -f http://localhost, interval: 1m30s, retries: 4}
    stop_grace_period: 30s
    init: true
    cap_drop: [ALL]
    tmpfs: /run:size=16m
    volumes: ["data:/data:ro", /cache]
    networks: {front: {aliases: [shopfront]}, back: }
    logging: {driver: json-file, options: {max-size: 10m}}
    ulimits: {nofile: {soft: 1000, hard: 2000}, nproc: 50}
    extra_hosts: ["host.docker.internal:host-gateway", "a=10.0.0.1"]
  db:
    image: postgres
    networks: [back]
  migrate:
    image: shop/web:1.10
    restart: "no"
    networks: [back]
networks: {front: , back: {internal: true}}
volumes: {data: }
"#,
    );
    let stack = &project.stack;
    assert_eq!(stack.name.as_str(), "shop");
    let web = &stack.services["web"];
    let container = &web.container;
    assert_eq!(container.image, "shop/web:1.10");
    assert_eq!(container.command.as_deref().unwrap(), ["gunicorn", "-w", "4", "app:create()"]);
    assert_eq!(container.entrypoint.as_deref(), Some(&[][..]));
    assert_eq!(
        container.environment,
        BTreeMap::from([("PORT".into(), "5000".into()), ("DEBUG".into(), "false".into())])
    );
    assert_eq!(
        web.ports.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["8000->5000/tcp", "127.0.0.1:9001->9000/udp"]
    );
    assert_eq!(web.depends_on["db"].condition, Condition::Healthy);
    assert_eq!(web.depends_on["migrate"].condition, Condition::Completed);
    assert_eq!(web.replicas, Some(3));
    assert_eq!(container.resources.nano_cpus, Some(500_000_000));
    assert_eq!(
        (container.resources.memory, container.resources.reserved_memory),
        (Some(128 << 20), Some(64 << 20))
    );
    assert_eq!(container.restart, Some(RestartPolicy::OnFailure { max_retries: Some(5) }));
    assert_eq!(
        (web.update.parallelism, web.update.delay, web.update.order),
        (2, Duration::from_secs(5), Some(UpdateOrder::StartFirst))
    );
    let check = container.healthcheck.as_ref().unwrap();
    assert_eq!(check.test, ["CMD-SHELL", "curl -f http://localhost"]);
    assert_eq!((check.interval, check.retries), (Some(Duration::from_secs(90)), Some(4)));
    assert_eq!(container.stop_grace, Some(Duration::from_secs(30)));
    assert_eq!(container.mounts.len(), 3);
    assert!(container.mounts[0].read_only);
    assert!(matches!(&container.mounts[1].source, MountSource::Volume { name: None, .. }));
    assert_eq!(web.networks[0].aliases, ["shopfront"]);
    assert_eq!(container.ulimits.len(), 2);
    assert_eq!(container.extra_hosts, ["host.docker.internal:host-gateway", "a:10.0.0.1"]);
    assert_eq!(stack.services["migrate"].container.restart, Some(RestartPolicy::No));
    assert!(stack.networks["back"].internal);
    assert!(project.remarks.list.is_empty(), "{}", project.remarks);
}

#[test]
fn a_service_that_sets_no_restart_policy_is_kept_running() {
    let project = loaded("services: {web: {image: a}}");
    assert_eq!(project.stack.services["web"].container.restart, None);
    assert_eq!(project.stack.services["web"].restart(), RestartPolicy::UnlessStopped);
}

#[test]
fn the_name_comes_from_the_folder_unless_it_is_given() {
    assert_eq!(loaded("services: {web: {image: a}}").stack.name.as_str(), "myshop");
    let options = Options { name: Some("other".into()), ..Options::default() };
    assert_eq!(
        load_in("name: x\nservices: {web: {image: a}}", |_| {}, options).unwrap().stack.name.as_str(),
        "other"
    );
    assert!(problems("name: My Shop\nservices: {web: {image: a}}").contains("stack name"));
}

#[test]
fn variables_come_from_the_user_then_from_the_env_file() {
    let options =
        Options { environment: BTreeMap::from([("TAG".into(), "user".into())]), ..Options::default() };
    let prepare = |folder: &std::path::Path| {
        fs::write(folder.join(".env"), "TAG=file\nPORT=81\n").unwrap();
        fs::write(folder.join("web.env"), "A=1\nB=file\n").unwrap();
    };
    let text = "services: {web: {image: 'a:${TAG}', ports: ['${PORT}:80'], env_file: web.env, environment: {B: own}}}";
    let project = load_in(text, prepare, options).unwrap();
    let web = &project.stack.services["web"];
    assert_eq!(web.container.image, "a:user");
    assert_eq!(web.ports[0].published, Some(81));
    assert_eq!(
        web.container.environment,
        BTreeMap::from([("A".into(), "1".into()), ("B".into(), "own".into())])
    );
}

#[test]
fn a_built_service_has_an_image_of_its_own_name() {
    let prepare = |folder: &std::path::Path| {
        fs::create_dir(folder.join("web")).unwrap();
        fs::write(folder.join("web/Dockerfile"), "FROM scratch\n").unwrap();
    };
    let project = load_in("services: {web: {build: ./web}}", prepare, Options::default()).unwrap();
    assert_eq!(project.stack.services["web"].container.image, "myshop-web");
    assert!(project.builds["web"].context.ends_with("web"));
}

#[test]
fn profiles_decide_who_is_part_of_it() {
    let text = "services: {web: {image: a}, debug: {image: b, profiles: [dev]}}";
    assert_eq!(loaded(text).stack.services.len(), 1);
    let options = Options { profiles: vec!["dev".into()], ..Options::default() };
    assert_eq!(load_in(text, |_| {}, options).unwrap().stack.services.len(), 2);
}

#[test]
fn binds_are_absolute_and_must_exist() {
    let text = "services: {web: {image: a, volumes: ['./conf:/etc/x:ro']}}";
    let project =
        load_in(text, |folder| fs::create_dir(folder.join("conf")).unwrap(), Options::default()).unwrap();
    let MountSource::Bind { path, .. } = &project.stack.services["web"].container.mounts[0].source else {
        panic!()
    };
    assert!(path.starts_with('/') && path.ends_with("/My Shop/conf"), "{path}");
    assert!(problems(text).contains("does not exist"));
}

#[test]
fn the_hosts_network_is_honoured() {
    let project = loaded("services: {web: {image: a, network_mode: host}}");
    assert_eq!(project.stack.services["web"].container.network_mode, NetworkMode::Host);
    assert!(
        problems("services: {web: {image: a, network_mode: host, ports: ['80:80']}}")
            .contains("do not go together")
    );
}

#[test]
fn what_is_not_honoured_yet_warns_with_its_line() {
    let project = loaded(
        "version: '3.8'\nservices:\n  web:\n    image: a\n    mac_address: 02:42:ac:11:00:02\n    x-anything: 1\n    x-gantry: {rollout: {strategy: canary}}\n",
    );
    let text = project.remarks.to_string();
    assert!(text.contains("compose.yaml:5:5: mac_address is not honoured yet"), "{text}");
    assert!(text.contains("compose.yaml:1:1: version says nothing any more"), "{text}");
    assert!(text.contains("rollout is not honoured yet"), "{text}");
    assert!(!text.contains("x-anything"), "{text}");
}

/// Each: the file, and what its message must contain.
#[test]
fn every_mistake_is_shown_with_its_line_and_what_to_do() {
    for (text, wanted) in [
        ("services: [", &["this is not YAML", "compose.yaml:1"][..]),
        ("", &["the file is empty"]),
        ("services: {}", &["has no services"]),
        ("just a text", &["a Compose file must be a map"]),
        (
            "services: {web: {imag: a}}",
            &["service web has no key imag", "did you mean image?", "compose.yaml:1"],
        ),
        ("service: {web: {image: a}}", &["a Compose file has no key service", "did you mean services?"]),
        ("services: {web: {}}", &["neither image nor build"]),
        ("services: {web: {image: [a]}}", &["image must be a text, and this is a list"]),
        ("services: {web: {image: a, ports: 80}}", &["ports must be a list"]),
        (
            "services: {web: {image: a, ports: ['70000:80']}}",
            &["70000 is no port: ports are 1 to 65535", "write HOST:CONTAINER"],
        ),
        (
            "services: {web: {image: a, privileged: maybe}}",
            &["privileged must be true or false, and this is \"maybe\""],
        ),
        ("services: {web: {image: a, stop_grace_period: soon}}", &["must be a time such as 30s"]),
        ("services: {web: {image: a, mem_limit: lots}}", &["must be a size such as 64M"]),
        (
            "services: {web: {image: a, restart: sometimes}}",
            &["no restart policy \"sometimes\"", "on-failure:3"],
        ),
        ("services: {web: {image: a, depends_on: [db]}}", &["there is no service db"]),
        (
            "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}",
            &["goes in a circle: a → b → a"],
        ),
        (
            "services: {a: {image: x, ports: ['80:1']}, b: {image: x, ports: ['80:2']}}",
            &["port 80/tcp of the node is taken: the service a publishes it already"],
        ),
        (
            "services: {a: {image: '${TAG:?give a tag}'}}",
            &["the variable TAG is not set, or empty: give a tag"],
        ),
        (
            "services: {a: {image: x, volumes: ['data:/d']}}",
            &["the volume data is not declared", "volumes:\n"],
        ),
        ("services: {a: {image: x, networks: [n]}}", &["the network n is not declared"]),
        ("services: {a: {image: x, volumes: ['/nowhere/at/all:/d']}}", &["/nowhere/at/all does not exist"]),
        ("services: {a: {image: x, volumes: [{type: bind, target: /d}]}}", &["a bind needs a source"]),
        ("services: {a: {image: x, healthcheck: {test: [curl]}}}", &["begins with CMD, CMD-SHELL or NONE"]),
        ("services: {a: {image: x, env_file: gone.env}}", &["cannot read", "gone.env"]),
        ("services: {a: {build: ./gone}}", &["does not exist"]),
        (
            "services: {a: {image: x, deploy: {resources: {limits: {memory: 1M}, reservations: {memory: 2M}}}}}",
            &["more memory is reserved"],
        ),
        ("services: {a: {image: x, tmpfs: run}}", &["begin it with /"]),
        ("services: {a: {image: x, command: 'sh -c \"oops'}}", &["a quote that is never closed"]),
        ("services: {a b: {image: x}}", &["not a valid service name"]),
        ("services: {a: {image: x, labels: {gantry.cluster: stolen}}}", &["Gantry's own"]),
        (
            "services: {a: {image: x}}\nnetworks: {n: {external: true}}",
            &["external networks are not supported yet"],
        ),
    ] {
        let shown = problems(text);
        for part in wanted {
            assert!(shown.contains(part), "{text}\nshould say {part:?}:\n{shown}");
        }
    }
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let shown =
        problems("services:\n  a:\n    imag: x\n    ports: [0]\n  b:\n    image: y\n    tty: perhaps\n");
    for part in ["no key imag", "0 is no port", "tty must be true or false"] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn no_bytes_crash_the_reader() {
    use proptest::prelude::*;
    proptest!(ProptestConfig::with_cases(300), |(text in "(services|web|image|ports|:|\\{|\\}|\\[|\\]|-| |\n|'|\"|\\$|&a|\\*a|<<|[a-z0-9]){0,80}")| {
        let _ = load_in(&text, |_| {}, Options::default());
    });
}
