use gantry_model::{
    Autoscale, Condition, Container, Dependency, EndpointMode, Mode, Mount, MountSource, NetworkMode, Port,
    PublishMode, RestartPolicy, Route, ServiceNetwork, ServiceSpec, UpdateOrder,
};

/// Builds what is asked for one service; it has one replica of the image `test` unless told otherwise.
#[derive(Debug, Clone)]
pub struct ServiceBuilder {
    /// What was built so far.
    pub spec: ServiceSpec,
}

impl Default for ServiceBuilder {
    fn default() -> Self {
        let container = Container { image: "test".into(), ..Container::default() };
        Self { spec: ServiceSpec { container, ..ServiceSpec::default() } }
    }
}

impl ServiceBuilder {
    /// Keeps `count` replicas.
    pub fn replicas(mut self, count: u32) -> Self {
        self.spec.replicas = Some(count);
        self
    }

    /// Publishes `port` of the container on the same port of every node.
    pub fn port(mut self, port: u16) -> Self {
        self.spec.ports.push(Port::new(port, Some(port)));
        self
    }

    /// Publishes `port` of the container on the same port of the replica's own node.
    pub fn host_port(mut self, port: u16) -> Self {
        self.spec.ports.push(Port { mode: PublishMode::Host, ..Port::new(port, Some(port)) });
        self
    }

    /// Has as many replicas as its load needs.
    pub fn autoscale(mut self, rules: Autoscale) -> Self {
        self.spec.autoscale = Some(rules);
        self
    }

    /// Has a route for `host` and `path` to its port 80.
    pub fn route(mut self, host: &str, path: &str) -> Self {
        self.spec.routes.push(Route { host: host.into(), path: path.into(), target: 80, ..Route::default() });
        self
    }

    /// Mounts the stack's volume `key`.
    pub fn volume(mut self, key: &str) -> Self {
        self.spec.container.mounts.push(Mount {
            target: format!("/{key}"),
            source: MountSource::Volume { name: Some(key.into()), no_copy: false },
            read_only: false,
        });
        self
    }

    /// Its name stands for that.
    pub fn endpoint_mode(mut self, mode: EndpointMode) -> Self {
        self.spec.endpoint_mode = Some(mode);
        self
    }

    /// Runs only on nodes of which that holds, such as `node.labels.zone == a`.
    pub fn constraint(mut self, constraint: &str) -> Self {
        self.spec.placement.constraints.push(constraint.parse().unwrap());
        self
    }

    /// Is spread over that, such as `node.labels.zone`.
    pub fn spread(mut self, attribute: &str) -> Self {
        self.spec.placement.spread.push(attribute.parse().unwrap());
        self
    }

    /// Has at most that many on one node.
    pub fn max_per_node(mut self, most: u32) -> Self {
        self.spec.placement.max_replicas_per_node = Some(most);
        self
    }

    /// Has one replica on every node.
    pub fn global(mut self) -> Self {
        self.spec.mode = Mode::Global;
        self
    }

    /// Never runs twice.
    pub fn exclusive(mut self) -> Self {
        self.spec.exclusive = true;
        self
    }

    /// Has the network of its host, and no other.
    pub fn host_network(self) -> Self {
        self.container(|container| container.network_mode = NetworkMode::Host)
    }

    /// Reserves that many billionths of cores.
    pub fn reserve(self, nano_cpus: i64) -> Self {
        self.container(|container| container.resources.reserved_nano_cpus = Some(nano_cpus))
    }

    /// Waits for `service`.
    pub fn depends_on(mut self, service: &str, condition: Condition) -> Self {
        self.spec.depends_on.insert(service.into(), Dependency { condition, required: true });
        self
    }

    /// Has that restart policy.
    pub fn restart(mut self, policy: RestartPolicy) -> Self {
        self.spec.container.restart = Some(policy);
        self
    }

    /// Is updated in that order.
    pub fn order(mut self, order: UpdateOrder) -> Self {
        self.spec.update.order = Some(order);
        self
    }

    /// Is also known as `alias` on the default network.
    pub fn alias(mut self, alias: &str) -> Self {
        self.spec.networks.push(ServiceNetwork { network: "default".into(), aliases: vec![alias.into()] });
        self
    }

    /// Changes anything else of its container.
    pub fn container(mut self, change: impl FnOnce(&mut Container)) -> Self {
        change(&mut self.spec.container);
        self
    }
}
