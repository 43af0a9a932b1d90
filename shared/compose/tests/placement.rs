//! `deploy.placement`, `deploy.mode` and `x-gantry.exclusive`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::fs;

use gantry_compose::{Options, Problems, Project, load};
use gantry_model::{Mode, ServiceSpec};

fn read(service: &str) -> Result<Project, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("compose.yaml");
    fs::write(&file, format!("name: shop\nservices:\n  web:\n    image: web\n{service}")).unwrap();
    load(&file, &Options::default())
}

fn web(service: &str) -> ServiceSpec {
    let mut project = read(service).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    project.stack.services.remove("web").unwrap()
}

fn problems(service: &str) -> String {
    match read(service) {
        Ok(project) => panic!("it is fine: {:?}", project.stack),
        Err(problems) => problems.render(false),
    }
}

#[test]
fn placement_is_read_field_for_field() {
    let web = web("    deploy:
      mode: replicated
      replicas: 4
      placement:
        constraints: [node.labels.zone==a, \"node.ip != 10.0.0.0/24\"]
        preferences: [{spread: node.labels.rack}]
        max_replicas_per_node: 2
");
    let constraints: Vec<_> = web.placement.constraints.iter().map(ToString::to_string).collect();
    assert_eq!(constraints, ["node.labels.zone == a", "node.ip != 10.0.0.0/24"]);
    assert_eq!(web.placement.spread[0].to_string(), "node.labels.rack");
    assert_eq!((web.placement.max_replicas_per_node, web.mode), (Some(2), Mode::Replicated));
}

#[test]
fn where_a_service_may_run_is_not_what_its_containers_see() {
    let placed = web("    deploy: {placement: {constraints: [node.role == worker]}, mode: global}\n");
    assert_eq!(placed.mode, Mode::Global);
    assert_eq!(placed.template(None).hash(), web("").template(None).hash());
}

#[test]
fn a_bad_constraint_is_shown_where_it_stands() {
    let text = problems(
        "    deploy:
      placement:
        constraints:
          - node.labels.zone == a
          - node.labels.zone = b
",
    );
    assert!(text.contains("compose.yaml:9:13") && text.contains("compares nothing"), "{text}");
    let text = problems("    deploy: {placement: {constraints: [node.colour == red]}}\n");
    assert!(text.contains("nothing is known as \"node.colour\""), "{text}");
    let text = problems("    deploy: {placement: {preferences: [{spred: node.labels.zone}]}}\n");
    assert!(text.contains("must say spread") && text.contains("did you mean spread?"), "{text}");
}

#[test]
fn a_mode_that_is_not_there_and_a_number_that_contradicts_it_are_refused() {
    assert!(
        problems("    deploy: {mode: replicated-job}\n").contains("mode replicated-job is not supported")
    );
    assert!(problems("    deploy: {mode: everywhere}\n").contains("there is no mode \"everywhere\""));
    let text = problems("    deploy: {mode: global, replicas: 3}\n");
    assert!(text.contains("one replica on every node"), "{text}");
    assert!(problems("    scale: 2\n    deploy: {mode: global}\n").contains("leave the number out"));
}

#[test]
fn an_exclusive_service_has_one_replica() {
    assert!(web("    x-gantry: {exclusive: true}\n").exclusive);
    let text = problems("    deploy: {replicas: 2}\n    x-gantry: {exclusive: true}\n");
    assert!(text.contains("an exclusive service has one replica"), "{text}");
}
