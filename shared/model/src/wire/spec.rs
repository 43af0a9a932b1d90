//! [`StackSpec`] as `gantry.cluster.v1.StackSpec`.

mod read;
mod references;
mod write;

pub use read::read_stack;
pub use write::{write_service_spec, write_stack};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::autoscale::{Autoscale, AutoscaleMode, MetricTarget, Recurrence, ScheduleEntry};
    use crate::container::{Container, MountSource};
    use crate::ids::StackName;
    use crate::placement::{Mode, Placement};
    use crate::port::{AppProtocol, Port, PublishMode};
    use crate::probe::Check;
    use crate::spec::{Condition, Dependency, EndpointMode, ServiceSpec};
    use crate::stack::StackSpec;

    fn stack(services: &[(&str, &[&str])]) -> StackSpec {
        let service = |needs: &[&str]| ServiceSpec {
            container: Container { image: "x".into(), ..Container::default() },
            depends_on: needs
                .iter()
                .map(|name| {
                    ((*name).to_owned(), Dependency { condition: Condition::Healthy, required: true })
                })
                .collect(),
            ..ServiceSpec::default()
        };
        StackSpec {
            name: StackName::new("s").unwrap(),
            services: services.iter().map(|(name, needs)| ((*name).to_owned(), service(needs))).collect(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
        }
    }

    #[test]
    fn a_stack_reads_back_as_it_was_written() {
        let mut stack = stack(&[("web", &["db"]), ("db", &[])]);
        let web = stack.services.get_mut("web").unwrap();
        let port = Port::new(80, Some(8000));
        web.ports = vec![
            Port { mode: PublishMode::Host, ..port.clone() },
            Port { app_protocol: Some(AppProtocol::Grpc), ..port },
        ];
        web.endpoint_mode = Some(EndpointMode::Dnsrr);
        web.placement = Placement {
            constraints: vec!["node.role != manager".parse().unwrap()],
            spread: vec!["node.labels.zone".parse().unwrap()],
            max_replicas_per_node: Some(1),
        };
        web.autoscale = Some(Autoscale {
            min: 0,
            max: 20,
            cpu: Some(70),
            rps: Some(12.5),
            p99: Some(Duration::from_millis(250)),
            metrics: vec![MetricTarget {
                service: "db".into(),
                port: 9187,
                path: "/metrics".into(),
                name: "jobs_waiting".into(),
                target: 30.0,
            }],
            scale_up_after: Duration::ZERO,
            mode: AutoscaleMode::Recommend,
            schedule: vec![ScheduleEntry {
                begins: Recurrence::parse("0 8 * * 1-5", "Europe/Berlin").unwrap(),
                min: Some(2),
                max: None,
            }],
            ..Autoscale::default()
        });
        stack.services.get_mut("db").unwrap().exclusive = true;
        let everywhere = ServiceSpec { mode: Mode::Global, ..stack.services["db"].clone() };
        stack.services.insert("log".into(), ServiceSpec { exclusive: false, ..everywhere });
        assert_eq!(read_stack(write_stack(&stack)).unwrap(), stack);
    }

    #[test]
    fn a_check_without_a_port_is_of_the_only_one_and_bad_ones_are_refused() {
        use gantry_api::cluster::v1::{ExecCheck, HealthProbe, HttpCheck, health_probe::Check as Wire};

        let with = |ports: &[u16], check: Wire| {
            let mut stack = stack(&[("web", &[])]);
            stack.services.get_mut("web").unwrap().ports =
                ports.iter().map(|port| Port::new(*port, Some(*port))).collect();
            let mut spec = write_stack(&stack);
            spec.services[0].liveness = Some(HealthProbe { check: Some(check), ..HealthProbe::default() });
            read_stack(spec)
        };
        let http = |http: HttpCheck| Wire::Http(http);
        let read = with(&[80], http(HttpCheck::default())).unwrap();
        assert_eq!(read_stack(write_stack(&read)).unwrap(), read);
        let Some(Check::Http { port, path, status, .. }) =
            read.services["web"].liveness.as_ref().map(|probe| probe.check.clone())
        else {
            panic!("{read:?}");
        };
        assert_eq!((port, path.as_str(), status), (80, "/", (200, 399)));
        assert!(with(&[], Wire::Exec(ExecCheck { command: vec!["true".into()] })).is_ok());
        let bad = [
            (with(&[80, 81], http(HttpCheck::default())), "does not have just one"),
            (with(&[], http(HttpCheck::default())), "does not have just one"),
            (with(&[80], http(HttpCheck { path: "x".into(), ..HttpCheck::default() })), "such as /healthz"),
            (with(&[80], http(HttpCheck { status_from: 99, ..HttpCheck::default() })), "100 to 599"),
            (
                with(
                    &[80],
                    http(HttpCheck { headers: [("a b".into(), "c".into())].into(), ..HttpCheck::default() }),
                ),
                "no request can have",
            ),
            (with(&[80], Wire::Exec(ExecCheck::default())), "empty command"),
        ];
        for (read, words) in bad {
            let error = read.unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("liveness"), "{error}");
        }
    }

    #[test]
    fn a_circle_of_dependencies_is_shown() {
        let error =
            read_stack(write_stack(&stack(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]))).unwrap_err();
        assert_eq!(error.to_string(), "depends_on goes in a circle: b → c → b");
    }

    #[test]
    fn what_is_named_must_exist() {
        let error = read_stack(write_stack(&stack(&[("a", &["nobody"])]))).unwrap_err();
        assert!(error.to_string().contains("\"nobody\""), "{error}");
        let mut with_volume = stack(&[("a", &[])]);
        with_volume.services.get_mut("a").unwrap().container.mounts.push(crate::Mount {
            target: "/d".into(),
            source: MountSource::Volume { name: Some("gone".into()), no_copy: false },
            read_only: false,
        });
        assert!(read_stack(write_stack(&with_volume)).unwrap_err().to_string().contains("\"gone\""));
        let mut with_metric = stack(&[("a", &[])]);
        let metric = MetricTarget {
            service: "gone".into(),
            port: 80,
            path: "/metrics".into(),
            name: "jobs".into(),
            target: 1.0,
        };
        with_metric.services.get_mut("a").unwrap().autoscale =
            Some(Autoscale { max: 2, metrics: vec![metric], ..Autoscale::default() });
        assert!(read_stack(write_stack(&with_metric)).unwrap_err().to_string().contains("\"gone\""));
    }

    #[test]
    fn autoscaling_that_makes_no_sense_is_refused() {
        let mut bad = stack(&[("a", &[])]);
        bad.services.get_mut("a").unwrap().autoscale =
            Some(Autoscale { min: 3, max: 2, cpu: Some(70), ..Autoscale::default() });
        let error = read_stack(write_stack(&bad)).unwrap_err().to_string();
        assert_eq!(
            error,
            "services.a.autoscale makes no sense: min is 3 and max is 2: min must not be above max"
        );
    }
}
