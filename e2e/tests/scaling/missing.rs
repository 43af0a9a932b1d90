//! What replicas use is not known for a while.

use std::time::Duration;

use gantry_e2e::{Cluster, comes_true};

use crate::world::{PATIENCE, WINDOW, busy_web, has, heavy, scaled, settled, stays, steps};

/// As asked for: and longer than it takes until fewer replicas would do, had they nothing to do.
const MISSING: Duration = Duration::from_secs(15);

#[test]
fn while_an_agent_tells_nothing_of_its_replicas_the_count_stays_and_that_is_said() {
    assert!(MISSING > WINDOW);
    let cluster = Cluster::start();
    cluster.ok(["up", "-p", "shop", "-f", &cluster.file("shop", &busy_web())]);
    let load = heavy().start();
    has(&cluster, "shop/web", "at least three replicas", |count| count >= 3);
    let busy = settled(&cluster, "shop/web");
    let before = steps(&cluster, "shop/web", 1, 8);

    cluster.signal(&cluster.container("agent"), "STOP");
    comes_true(PATIENCE, "it is said that nothing is known", || {
        let line = scaled(&cluster, "shop/web")?;
        let is_said = line["held"].as_str().is_some_and(|held| held.contains("sample of cpu"));
        if is_said { Ok(()) } else { Err(line.to_string()) }
    });
    stays(&cluster, "shop/web", busy, MISSING);
    cluster.signal(&cluster.container("agent"), "CONT");

    has(&cluster, "shop/web", "all of them again", |count| count == busy);
    stays(&cluster, "shop/web", busy, MISSING);
    assert_eq!(steps(&cluster, "shop/web", 1, 8), before, "nothing has changed");
    load.stop().none_failed(100);
    has(&cluster, "shop/web", "one replica", |count| count == 1);
}
