//! [`StackSpec`] as `gantry.cluster.v1.StackSpec`.

mod read;
mod references;
mod write;

pub use read::read_stack;
pub use write::{write_service_spec, write_stack};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::container::{Container, MountSource};
    use crate::ids::StackName;
    use crate::placement::{Mode, Placement};
    use crate::port::{AppProtocol, Port, PublishMode};
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
        stack.services.get_mut("db").unwrap().exclusive = true;
        let everywhere = ServiceSpec { mode: Mode::Global, ..stack.services["db"].clone() };
        stack.services.insert("log".into(), ServiceSpec { exclusive: false, ..everywhere });
        assert_eq!(read_stack(write_stack(&stack)).unwrap(), stack);
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
    }
}
