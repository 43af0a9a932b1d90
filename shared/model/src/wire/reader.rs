//! A spec for its readers: what may be a secret in it is nobody's business. Pure.

use gantry_api::agent::v1::LifecycleHook;
use gantry_api::cluster::v1 as wire;
use gantry_api::cluster::v1::health_probe::Check;

/// Words of Docker's own checks that say how they are run, not what.
const RUN_BY: [&str; 2] = ["CMD", "CMD-SHELL"];

/// Leaves out what only who runs the containers needs: environments, keys and passwords of routes, headers and
/// queries of checks, queries of metrics, and of commands that run beside the process all but the program.
pub fn without_secrets(mut spec: wire::ServiceSpec) -> wire::ServiceSpec {
    for route in &mut spec.routes {
        route.basic_auth.clear();
        if let Some(certificate) = &mut route.certificate {
            certificate.key_pem.clear();
        }
    }
    if let Some(container) = &mut spec.container {
        container.environment.clear();
        container.post_start.iter_mut().chain(&mut container.pre_stop).for_each(bare_hook);
        if let Some(check) = &mut container.healthcheck {
            bare_test(&mut check.test);
        }
    }
    [&mut spec.readiness, &mut spec.liveness].into_iter().flatten().for_each(bare_probe);
    spec.autoscale = spec.autoscale.map(autoscale_without_secrets);
    spec
}

/// Leaves out what metrics are asked with: a query may have a token.
pub fn autoscale_without_secrets(mut rules: wire::Autoscale) -> wire::Autoscale {
    rules.metrics.iter_mut().for_each(|metric| cut_query(&mut metric.path));
    rules
}

fn cut_query(path: &mut String) {
    path.truncate(path.find('?').unwrap_or(path.len()));
}

fn bare_hook(hook: &mut LifecycleHook) {
    hook.environment.clear();
    hook.command.truncate(1);
}

fn bare_test(test: &mut Vec<String>) {
    let by_shell = test.first().is_some_and(|word| word == "CMD-SHELL");
    test.truncate(if test.first().is_some_and(|word| RUN_BY.contains(&word.as_str())) { 2 } else { 1 });
    // A line for a shell is a program with its arguments, too.
    if by_shell && let Some(line) = test.get_mut(1) {
        *line = line.split_whitespace().next().unwrap_or_default().to_owned();
    }
}

fn bare_probe(probe: &mut wire::HealthProbe) {
    match &mut probe.check {
        Some(Check::Http(http)) => {
            http.headers.values_mut().for_each(String::clear);
            cut_query(&mut http.path);
        }
        Some(Check::Exec(exec)) => exec.command.truncate(1),
        Some(Check::Tcp(_) | Check::Grpc(_)) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use gantry_api::agent::v1::{ContainerSpec, Healthcheck};

    use super::*;

    const SECRET: &str = "hunter2";

    fn command(program: &str) -> Vec<String> {
        vec![program.into(), format!("--password={SECRET}")]
    }

    fn probe(check: Check) -> wire::HealthProbe {
        wire::HealthProbe { check: Some(check), ..wire::HealthProbe::default() }
    }

    #[test]
    fn nothing_that_may_be_a_secret_is_left_and_what_is_done_is_still_told() {
        let hook = |program| LifecycleHook {
            command: command(program),
            environment: [("TOKEN".to_owned(), SECRET.to_owned())].into(),
            ..LifecycleHook::default()
        };
        let http = wire::HttpCheck {
            path: format!("/healthz?token={SECRET}"),
            headers: [("Authorization".to_owned(), SECRET.to_owned())].into(),
            ..wire::HttpCheck::default()
        };
        let test = vec!["CMD".to_owned(), "mysqladmin".to_owned(), format!("-p{SECRET}")];
        let metric = wire::AutoscaleMetric {
            path: format!("/metrics?token={SECRET}"),
            name: "jobs".into(),
            ..wire::AutoscaleMetric::default()
        };
        let spec = wire::ServiceSpec {
            container: Some(ContainerSpec {
                environment: [("PASSWORD".to_owned(), SECRET.to_owned())].into(),
                post_start: vec![hook("warm")],
                pre_stop: vec![hook("drain")],
                healthcheck: Some(Healthcheck { test, ..Healthcheck::default() }),
                ..ContainerSpec::default()
            }),
            readiness: Some(probe(Check::Http(http))),
            liveness: Some(probe(Check::Exec(wire::ExecCheck { command: command("ping-db") }))),
            autoscale: Some(wire::Autoscale { metrics: vec![metric], ..wire::Autoscale::default() }),
            ..wire::ServiceSpec::default()
        };
        let shown = without_secrets(spec);
        assert!(!format!("{shown:?}").contains(SECRET), "{shown:?}");
        let metric = &shown.autoscale.unwrap().metrics[0];
        assert_eq!((&*metric.path, &*metric.name), ("/metrics", "jobs"));
        let container = shown.container.unwrap();
        assert!(container.environment.is_empty());
        let bare =
            |program: &str| LifecycleHook { command: vec![program.into()], ..LifecycleHook::default() };
        assert!(container.post_start == [bare("warm")] && container.pre_stop == [bare("drain")]);
        assert_eq!(container.healthcheck.unwrap().test, ["CMD", "mysqladmin"]);
        let http = wire::HttpCheck {
            path: "/healthz".into(),
            headers: [("Authorization".to_owned(), String::new())].into(),
            ..wire::HttpCheck::default()
        };
        assert_eq!(shown.readiness, Some(probe(Check::Http(http))));
        assert_eq!(
            shown.liveness,
            Some(probe(Check::Exec(wire::ExecCheck { command: vec!["ping-db".into()] })))
        );
    }

    #[test]
    fn a_check_for_a_shell_is_told_by_its_first_word() {
        let bare = |words: &[&str]| {
            let mut test = words.iter().map(|word| (*word).to_owned()).collect();
            bare_test(&mut test);
            test
        };
        assert_eq!(bare(&["CMD-SHELL", "curl -u a:b http://localhost"]), ["CMD-SHELL", "curl"]);
        assert_eq!(bare(&["NONE"]), ["NONE"]);
        assert!(bare(&[]).is_empty());
    }
}
