//! What lies in a volume moves with it, and files go in and out from anywhere.

use std::path::Path;

use gantry_e2e::{HostCluster, eventually_within};

use crate::world::{PATIENCE, PORT, deploy, page, settles, while_the_scheduler_is_killed};

/// Larger than one message, so that it is copied in pieces.
const SIZE: usize = 24 << 20;

pub fn a_volume_moves(cluster: &HostCluster) {
    let file = deploy(
        cluster,
        "keep",
        &format!(
            "services: {{db: {{image: gantry-e2e/probe, ports: ['{PORT}:8080'], volumes: ['data:/data'], stop_grace_period: 2s}}}}\nvolumes: {{data: }}"
        ),
    );
    settles(cluster, "keep", 1);
    let folder = Path::new(&file).parent().unwrap();
    let large: Vec<u8> = (0..SIZE).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
    std::fs::write(folder.join("large"), &large).unwrap();
    cluster.ok(["cp", "-p", "keep", &text(&folder.join("large")), "db:/data/"]);
    assert!(page(cluster.host(1), "/write/data/note").is_some());

    for round in 0..2 {
        let from = place(cluster);
        let to = (1..=3).find(|number| format!("h{number}") != from).unwrap();
        let target = format!("h{to}");
        if round == 0 {
            cluster.ok(["volume", "move", "keep/data", &target, "--timeout", "60s"]);
        } else {
            // It may end the command, but not what was begun.
            while_the_scheduler_is_killed(cluster, || {
                cluster.run(["volume", "move", "keep/data", &target, "--timeout", "60s"])
            });
            eventually_within(PATIENCE, "the move was taken or can be asked for again", || {
                let run = cluster.run(["volume", "move", "keep/data", &target, "--timeout", "60s"]);
                (run.code == Some(0)).then_some(())
            });
        }
        settles(cluster, "keep", 1);
        assert_eq!(cluster.places("keep/db"), [target]);
        eventually_within(PATIENCE, "what was written before is there", || {
            (page(cluster.host(1), "/file/data/note")? == "written").then_some(())
        });
        let back = folder.join(format!("back{round}"));
        cluster.ok(["cp", "-p", "keep", "db:/data/large", &text(&back)]);
        assert!(std::fs::read(&back).unwrap() == large, "the file came back as it was");
        let origin = from.trim_start_matches('h').parse().unwrap();
        eventually_within(PATIENCE, "the old copy is gone", || {
            let left = cluster.host(origin).docker(["volume", "ls", "-q", "--filter", "name=keep_data"]);
            left.is_empty().then_some(())
        });
    }
    cluster.ok(["down", "-p", "keep", "--volumes"]);
}

fn place(cluster: &HostCluster) -> String {
    cluster.places("keep/db").remove(0)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
