//! Images of a registry that wants to know who asks.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use gantry_e2e::{HostCluster, Run, eventually, get};

use crate::world::settles;

const USER: &str = "ada";
const PASSWORD: &str = "correct-horse";

/// A real registry at this machine's address on the hosts' switch.
struct Registry {
    place: String,
    folder: PathBuf,
    process: Child,
}

impl Registry {
    fn start(cluster: &HostCluster) -> Self {
        let [a, b, c, _] = cluster.host(1).address().octets();
        let place = format!("{a}.{b}.{c}.254:5000");
        let file = cluster.file("registry", "");
        let folder = Path::new(&file).parent().unwrap().to_owned();
        let hash = bcrypt::hash(PASSWORD, 4).unwrap();
        std::fs::write(folder.join("users"), format!("{USER}:{hash}\n")).unwrap();
        let shown = folder.display();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '{place}'}}\n\
             storage: {{filesystem: {{rootdirectory: {shown}/images}}}}\n\
             auth: {{htpasswd: {{realm: test, path: {shown}/users}}}}\n"
        );
        std::fs::write(folder.join("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(folder.join("config.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("docker-registry is a Debian package");
        let registry = Self { place, folder, process };
        let url = format!("http://{}/v2/", registry.place);
        eventually("the registry answers", || (get(&url, None).ok()?.status == 401).then_some(()));
        registry
    }

    /// A folder as `docker login` leaves it.
    fn logged_in(&self) -> PathBuf {
        let pair = base64::prelude::BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let folder = self.folder.join("docker");
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!("{{\"auths\": {{\"{}\": {{\"auth\": \"{pair}\"}}}}}}", self.place);
        std::fs::write(folder.join("config.json"), config).unwrap();
        folder
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn nodes_pull_as_the_person_who_deploys(cluster: &HostCluster) {
    let registry = Registry::start(cluster);
    let image = format!("{}/team/probe:1", registry.place);
    let folder = registry.logged_in();
    let folder = folder.to_str().unwrap();
    // An image that no host has, once it is in the registry.
    let host = cluster.host(2);
    let container = host.docker(["create", "gantry-e2e/probe", "serve"]);
    host.docker(["commit", "--change", "LABEL from=registry", &container, &image]);
    host.docker(["rm", &container]);
    host.docker(["--config", folder, "push", "--quiet", &image]);
    host.docker(["rmi", &image]);

    let file = cluster.file(
        "private",
        &format!("services: {{web: {{image: '{image}', deploy: {{replicas: 3, placement: {{max_replicas_per_node: 1}}}}}}}}"),
    );
    let up = |config: &str| {
        let mut command = cluster.command();
        Run::of(command.env("DOCKER_CONFIG", config).args(["up", "-p", "private", "-f", &file]))
    };
    let said = up("/nonexistent").fails_with(1);
    assert!(said.contains(&image) && said.contains("docker login"), "what to do is said: {said}");
    assert!(cluster.places("private/web").is_empty(), "nothing was changed");

    up(folder).ok();
    settles(cluster, "private", 3);
    let events = cluster.ok(["events", "private"]);
    assert!(!events.contains(PASSWORD), "{events}");
    for number in 1..=3 {
        for part in ["scheduler", "agent"] {
            let log = cluster.host(number).docker_may_fail(["logs", &HostCluster::container(part)]);
            assert!(!log.stdout.contains(PASSWORD) && !log.stderr.contains(PASSWORD), "{part} of h{number}");
        }
    }
}
