use gantry_model::{
    Condition, Container, Dependency, EndpointMode, Mount, MountSource, Port, PublishMode, RestartPolicy,
    Route, ServiceNetwork, ServiceSpec, UpdateOrder,
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
