use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

#[test]
fn a_container_reads_back_as_it_was_written() {
    let container = Container {
        image: "redis:7".into(),
        command: Some(vec![]),
        environment: BTreeMap::from([("A".into(), "b".into())]),
        stop_grace: Some(Duration::from_millis(2500)),
        restart: Some(RestartPolicy::OnFailure { max_retries: Some(3) }),
        healthcheck: Some(Healthcheck { test: vec!["CMD".into(), "true".into()], ..Default::default() }),
        resources: Resources { nano_cpus: Some(500_000_000), ..Default::default() },
        mounts: vec![
            Mount {
                target: "/data".into(),
                source: MountSource::Volume { name: Some("d".into()), no_copy: true },
                read_only: false,
            },
            Mount {
                target: "/tmp".into(),
                source: MountSource::Tmpfs { size: Some(9), mode: None },
                read_only: false,
            },
            Mount {
                target: "/etc/x".into(),
                source: MountSource::Bind { path: "/x".into(), propagation: None },
                read_only: true,
            },
        ],
        network_mode: NetworkMode::Host,
        post_start: vec![Hook { command: vec!["warm".into()], user: Some("0".into()), ..Hook::default() }],
        pre_stop: vec![Hook {
            command: vec!["drain".into(), "-q".into()],
            environment: BTreeMap::from([("A".into(), "b".into())]),
            privileged: true,
            ..Hook::default()
        }],
        ..Container::default()
    };
    assert_eq!(read_container(write_container(&container)).unwrap(), container);
}

#[test]
fn what_cannot_be_is_refused_by_field() {
    let good = || write_container(&Container { image: "a".into(), ..Container::default() });
    let problem = |change: &dyn Fn(&mut wire::ContainerSpec)| {
        let mut spec = good();
        change(&mut spec);
        read_container(spec).unwrap_err().to_string()
    };
    assert!(problem(&|spec| spec.image.clear()).starts_with("image"));
    assert!(problem(&|spec| spec.network_mode = "weird".into()).starts_with("network_mode"));
    assert!(
        problem(&|spec| spec.mounts = vec![wire::Mount { target: "x".into(), ..Default::default() }])
            .contains("absolute")
    );
    assert!(
        problem(&|spec| spec.resources = Some(wire::Resources { memory: -1, ..Default::default() }))
            .contains("negative")
    );
    assert!(
        problem(&|spec| spec.pre_stop = vec![wire::LifecycleHook::default()]).starts_with("pre_stop.command")
    );
    assert!(problem(&|spec| drop(spec.environment.insert("A=B".into(), String::new()))).contains("A=B"));
}
