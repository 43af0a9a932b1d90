//! Containers outside of any stack that ask for it are restarted when they are unhealthy.

use std::time::Duration;

use gantry_e2e::{Cluster, Dice, Lives, comes_true, post};

/// The tests' image with a health check of the engine's own, as many images have one.
const IMAGE: &str = "gantry-e2e/checked";

#[test]
fn an_unhealthy_container_with_the_autoheal_label_is_restarted_and_no_other() {
    let cluster = Cluster::start();
    let mut dice = Dice::new();
    let folder = cluster.folder().join("checked");
    std::fs::create_dir_all(&folder).unwrap();
    let check = r#"CMD ["/probe", "check", "http://127.0.0.1:8080/health"]"#;
    let text =
        format!("FROM gantry-e2e/probe\nHEALTHCHECK --interval=500ms --timeout=1s --retries=2 {check}\n");
    std::fs::write(folder.join("Dockerfile"), text).unwrap();
    cluster.docker(["build", "--quiet", "--tag", IMAGE, &folder.to_string_lossy()]);

    let plain = Plain::run(&cluster, "gantry-e2e-plain", &[]);
    // It does not hear SIGTERM: the label says how long that is waited for.
    let marked = Plain::run(
        &cluster,
        "gantry-e2e-autoheal",
        &["--label", "autoheal=true", "--label", "autoheal.stop.timeout=1", "--env", "PROBE_DEAF=yes"],
    );
    for dies in [None, Some(Duration::from_millis(dice.roll(3_000)))] {
        for container in [&plain, &marked] {
            container.is("healthy");
        }
        let lives = Lives::of(&cluster);
        for container in [&plain, &marked] {
            container.falls_ill();
        }
        let healed = || {
            comes_true(Duration::from_mins(2), "it is restarted", || {
                let all = lives.all();
                let started = |it: &gantry_e2e::Moment| it.what == "start" && it.container == marked.name;
                if all.iter().any(started) { Ok(()) } else { Err(format!("{all:#?}; {}", marked.state())) }
            });
            marked.is("healthy");
        };
        match dies {
            None => healed(),
            Some(moment) => cluster.while_killed("watchdog", moment, healed),
        }
        let all = lives.all();
        let signals: Vec<_> =
            all.iter().filter(|it| it.what == "kill" && it.container == marked.name).collect();
        let grace = signals[1].at.checked_sub(signals[0].at).unwrap();
        assert!(grace < Duration::from_secs(5), "the label's second, not the engine's ten: {signals:#?}");
        plain.is("unhealthy");
        let touched = |it: &&gantry_e2e::Moment| it.container == plain.name;
        assert_eq!(all.iter().filter(touched).count(), 0, "it did not ask for anything: {all:#?}");
        plain.recovers();
    }
}

/// A container that a person started.
struct Plain<'a> {
    cluster: &'a Cluster,
    name: &'static str,
}

impl<'a> Plain<'a> {
    fn run(cluster: &'a Cluster, name: &'static str, more: &[&str]) -> Self {
        cluster.docker_may_fail(["rm", "-f", name]);
        cluster.docker([&["run", "-d", "--name", name], more, &[IMAGE]].concat());
        Self { cluster, name }
    }

    fn state(&self) -> String {
        let format = "{{.State.Status}} {{.State.Health.Status}} {{json .State.Health.Log}}";
        self.cluster.docker(["inspect", "-f", format, self.name])
    }

    fn is(&self, health: &str) {
        comes_true(Duration::from_secs(30), &format!("{} is {health}", self.name), || {
            let state = self.state();
            if state.split(' ').nth(1) == Some(health) { Ok(()) } else { Err(state) }
        });
    }

    fn falls_ill(&self) {
        self.say(503);
    }

    fn recovers(&self) {
        self.say(200);
    }

    fn say(&self, code: u16) {
        let address = self.cluster.docker([
            "inspect",
            "-f",
            "{{.NetworkSettings.Networks.bridge.IPAddress}}",
            self.name,
        ]);
        let page = post(&format!("http://{address}:8080/health?status={code}"), &[], None).unwrap();
        assert_eq!(page.status, 200, "{page:?}");
    }
}

impl Drop for Plain<'_> {
    fn drop(&mut self) {
        self.cluster.docker_may_fail(["rm", "-f", self.name]);
    }
}
