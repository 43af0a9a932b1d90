//! One cluster of three real hosts, and a spare one, through everything that can happen to it.
//!
//! Starting it takes longer than most of what is tried, so the scenarios share it, one after the other,
//! in this order: `cargo test --test many -- [WORD…]` runs those whose name has one of the words. Each
//! leaves it without stacks and faults; after one that failed the next gets a new one.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

mod drain;
mod engine;
mod exclusive;
mod failover;
mod illness;
mod images;
mod isolation;
mod join;
mod partition;
mod registry;
mod restore;
mod spread;
mod upgrade;
mod volumes;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use gantry_e2e::HostCluster;

/// What is tried, with a sentence that says what is to be seen.
type Scenario = (&'static str, fn(&HostCluster));

const SCENARIOS: [Scenario; 21] = [
    ("nodes_join_by_token", join::nodes_join_by_token),
    ("a_node_that_must_not_join_is_told_why", join::a_node_that_must_not_join_is_told_why),
    ("services_on_three_hosts_find_each_other_by_name", spread::services_find_each_other),
    ("a_deployment_goes_on_when_the_scheduler_is_killed", spread::a_deployment_survives_the_scheduler),
    ("an_image_built_on_one_host_reaches_the_others", images::an_image_reaches_the_others),
    ("nodes_pull_as_the_person_who_deploys", registry::nodes_pull_as_the_person_who_deploys),
    ("who_is_not_on_a_network_neither_resolves_nor_reaches_nor_forges", isolation::networks_are_apart),
    ("a_node_is_drained_under_load_and_no_request_fails", drain::no_request_fails),
    ("what_a_host_ran_runs_elsewhere_when_it_is_cut_off", failover::a_host_is_cut_off),
    ("the_same_when_the_scheduler_is_killed_meanwhile", failover::a_host_and_the_scheduler),
    ("the_same_when_the_watchdog_is_killed_meanwhile", failover::a_host_and_the_watchdog),
    ("what_a_frozen_host_ran_runs_elsewhere_though_its_links_are_up", failover::a_host_freezes),
    (
        "a_host_freezes_and_the_watchdog_is_killed_meanwhile",
        failover::a_host_freezes_and_the_watchdog_is_killed,
    ),
    ("a_replica_that_fails_its_check_on_one_node_only_moves", illness::a_replica_moves),
    ("the_same_when_the_watchdog_is_killed_again_and_again", illness::a_replica_moves_all_the_same),
    ("an_exclusive_service_never_runs_twice_though_its_host_is_cut_off", exclusive::never_twice),
    ("two_nodes_that_do_not_hear_each_other_lose_nothing", partition::two_nodes_are_parted),
    ("an_engine_restarts_and_nothing_is_twice", engine::an_engine_restarts),
    ("a_host_is_switched_off_and_on", engine::a_host_restarts),
    ("a_volume_moves_with_what_is_in_it", volumes::a_volume_moves),
    ("an_agent_is_replaced_and_its_containers_stay", upgrade::an_agent_is_replaced),
];

/// The first host is gone after this one.
const LAST: Scenario = ("a_scheduler_is_restored_on_another_host", restore::on_another_host);

fn main() -> ExitCode {
    let words = filters(std::env::args().skip(1));
    let chosen: Vec<_> = SCENARIOS
        .iter()
        .chain([&LAST])
        .filter(|(name, _)| words.is_empty() || words.iter().any(|word| name.contains(word.as_str())))
        .collect();
    if std::env::args().any(|arg| arg == "--list") {
        for (name, _) in chosen {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} scenarios on three hosts", chosen.len());
    let (began, mut failed, mut cluster) = (Instant::now(), Vec::new(), None);
    for (name, run) in &chosen {
        let start = Instant::now();
        let tried = catch_unwind(AssertUnwindSafe(|| {
            let cluster = cluster.get_or_insert_with(|| HostCluster::start_with_spares(3, 1));
            run(cluster);
            if *name != LAST.0 {
                world::tidy(cluster);
            }
        }));
        let verdict = if tried.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {verdict} ({:.1} s)", start.elapsed().as_secs_f64());
        if tried.is_err() {
            failed.push(*name);
            let Some(broken) = cluster.take() else {
                println!("no cluster could be started: the others were not tried");
                break;
            };
            broken.tell();
        }
    }
    // Before the verdict, which is the last that is read.
    drop(cluster);
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    let (passed, took) = (chosen.len() - failed.len(), began.elapsed().as_secs());
    println!("\ntest result: {verdict}. {} failed of {}; in {took} s", failed.len(), passed + failed.len());
    for name in &failed {
        println!("    {name}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The words among the arguments that are options of the usual test runner otherwise.
fn filters(args: impl Iterator<Item = String>) -> Vec<String> {
    let mut words = Vec::new();
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--test-threads" | "--skip" | "--format" | "--color" | "--logfile" => drop(args.next()),
            _ if arg.starts_with('-') => {}
            _ => words.push(arg),
        }
    }
    words
}
