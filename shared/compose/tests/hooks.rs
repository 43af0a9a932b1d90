//! `post_start`, `pre_stop` and what else has to do with the end of a process.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use gantry_compose::{Options, Problems, Project, load};
use gantry_model::Hook;

fn read(service: &str) -> Result<Project, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("compose.yaml");
    fs::write(&file, format!("name: shop\nservices:\n  web:\n    image: web\n{service}")).unwrap();
    load(&file, &Options::default())
}

fn problems(service: &str) -> String {
    match read(service) {
        Ok(project) => panic!("it is fine: {:?}", project.stack),
        Err(problems) => problems.render(false),
    }
}

#[test]
fn hooks_are_read_in_their_order() {
    let project = read(
        "    stop_signal: SIGINT
    stop_grace_period: 1m30s
    init: true
    post_start:
      - command: ./warm-up --all
        user: root
        privileged: true
      - command: [\"chown\", \"-R\", \"app\", \"/data\"]
    pre_stop:
      - command: [\"./drain\"]
        working_dir: /app
        environment: [\"WAIT=5\", \"MODE=fast\"]
",
    )
    .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    assert_eq!(project.remarks.render(false), "");
    let web = &project.stack.services["web"].container;
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let warm_up = Hook {
        command: words(&["./warm-up", "--all"]),
        user: Some("root".into()),
        privileged: true,
        ..Hook::default()
    };
    let own = Hook { command: words(&["chown", "-R", "app", "/data"]), ..Hook::default() };
    assert_eq!(web.post_start, [warm_up, own]);
    let drain = Hook {
        command: words(&["./drain"]),
        working_dir: Some("/app".into()),
        environment: BTreeMap::from([("WAIT".into(), "5".into()), ("MODE".into(), "fast".into())]),
        ..Hook::default()
    };
    assert_eq!(web.pre_stop, [drain]);
    assert_eq!(web.host_powers(), ["privileged in post_start"]);
    assert_eq!((web.stop_grace, web.init), (Some(Duration::from_secs(90)), Some(true)));
    assert_eq!(web.stop_signal.as_deref(), Some("SIGINT"));
}

#[test]
fn a_hook_that_cannot_be_is_refused() {
    assert!(problems("    pre_stop: ./drain\n").contains("pre_stop must be a list"));
    assert!(problems("    pre_stop: [{user: root}]\n").contains("each of pre_stop needs a command"));
    assert!(problems("    post_start: [{command: []}]\n").contains("each of post_start needs a command"));
    let text = problems("    post_start: [{command: x, enviroment: {}}]\n");
    assert!(text.contains("did you mean environment?"), "{text}");
}
