//! The harness of several hosts itself: they reach each other, faults are what they say, and nothing of
//! them is left.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use gantry_e2e::{Host, Hosts, Run, Site, eventually, get};

const PORT: u16 = 8080;

fn serve(host: &Host) {
    host.docker(["run", "-d", "--name", "web", "-p", "8080:8080", "--restart", "always", "gantry-e2e/probe"]);
    eventually("it serves", || answers(host).then_some(()));
}

/// Whether this machine reaches what a host serves.
fn answers(host: &Host) -> bool {
    get(&host.url(PORT, "/"), None).is_ok_and(|page| page.status == 200)
}

/// Whether a container on one host reaches what another serves.
fn reaches(from: &Host, to: &Host) -> bool {
    let address = format!("{}:{PORT}", to.address());
    from.docker_may_fail(["exec", "web", "/probe", "check", &address]).code == Some(0)
}

#[test]
fn hosts_reach_each_other_and_faults_are_what_they_say() {
    let hosts = Hosts::start(3);
    let [one, two, three] = [1, 2, 3].map(|number| hosts.host(number));
    for host in hosts.all() {
        assert_eq!(host.docker(["info", "-f", "{{.Name}}"]), host.name());
        serve(host);
    }
    assert!(reaches(one, two) && reaches(two, one));

    // A cable that is pulled.
    two.cut();
    assert!(!answers(two) && !reaches(one, two) && !reaches(two, one) && reaches(one, three));
    two.heal();
    eventually("two is back", || (answers(two) && reaches(one, two)).then_some(()));

    // Two that do not hear each other.
    hosts.part(1, 2);
    assert!(!reaches(one, two) && !reaches(two, one));
    assert!(reaches(three, one) && reaches(three, two) && reaches(one, three) && answers(two));
    hosts.mend();
    assert!(reaches(one, two) && reaches(two, one));

    // One way only: nothing can be asked of it or by it, but what it sends arrives.
    let heard = |counter: &str| {
        let rules = Run::of(two.command("nft").args(["list", "chain", "inet", "heard", counter])).ok();
        let packets = rules.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
        packets.unwrap().parse::<u64>().unwrap()
    };
    let table = "add table inet heard; \
        add chain inet heard one { type filter hook input priority 0; }; \
        add rule inet heard one udp dport 9 counter";
    Run::of(two.command("nft").arg(table)).ok();
    let send = |host: &Host| {
        let line = format!("echo hello >/dev/udp/{}/9", two.address());
        Run::of(host.command("bash").args(["-c", &line])).ok();
    };
    one.deafen();
    send(one);
    eventually("a deaf host is heard", || (heard("one") == 1).then_some(()));
    assert!(!answers(one));
    hosts.mend();
    one.mute();
    send(one);
    assert!(!answers(one));
    hosts.mend();
    assert_eq!(heard("one"), 1, "a mute host is not heard");
    send(one);
    eventually("it has its voice again", || (heard("one") == 2).then_some(()));

    // A slow cable: 300 kB take seconds at 400 kbit/s, and a cable that was made fast again does not notice.
    three.slow(400);
    let queue = |host: &Host| Run::of(host.command("tc").args(["qdisc", "show", "dev", "eth0"])).ok();
    assert!(queue(three).contains("tbf") && reaches(one, three));
    three.heal();
    assert!(!queue(three).contains("tbf"));
}

#[test]
fn a_host_is_frozen_and_thawed_switched_off_and_on_and_its_engine_restarted() {
    let hosts = Hosts::start(2);
    let [one, two] = [1, 2].map(|number| hosts.host(number));
    serve(one);
    serve(two);
    let started = |host: &Host| host.docker(["inspect", "-f", "{{.State.StartedAt}}", "web"]);
    let before = started(two);

    two.freeze();
    assert!(!answers(two) && !reaches(one, two));
    assert!(answers(one), "the other is not frozen");
    two.thaw();
    eventually("two goes on", || (answers(two) && reaches(one, two)).then_some(()));
    assert_eq!(started(two), before, "it was never ended");

    // A daemon that is killed leaves its containers, until the next one takes over.
    two.kill_engine();
    assert!(answers(two) && two.docker_may_fail(["version"]).code != Some(0));
    two.start_engine();
    eventually("it serves again", || answers(two).then_some(()));
    two.restart_engine();
    eventually("it serves again", || answers(two).then_some(()));

    two.power_off();
    assert!(!two.is_on() && !answers(two) && answers(one));
    hosts.mend();
    eventually("it serves again", || answers(two).then_some(()));
    assert!(reaches(one, two) && reaches(two, one));
}

/// Everything of this machine that hosts could leave behind, as lines in which their name occurs.
fn traces() -> Vec<String> {
    let said = |program: &str, args: &[&str]| Run::of(std::process::Command::new(program).args(args)).ok();
    let mut all = [
        said("ip", &["netns", "list"]),
        said("ip", &["-o", "link", "show"]),
        said("iptables-save", &[]),
        said("ps", &["-e", "-o", "args"]),
        std::fs::read_to_string("/proc/mounts").unwrap(),
        said("find", &["/sys/fs/cgroup", "-maxdepth", "2", "-type", "d"]),
        said("find", &["/var/tmp", "-maxdepth", "1", "-type", "d"]),
    ]
    .concat();
    all = all.replace(&format!("{}.lock", Site::tests().folder().display()), "");
    // Not `gantry-testkit`, which somebody may be compiling.
    let named =
        |line: &&str| line.split("gantry-t").skip(1).any(|rest| !rest.starts_with(char::is_alphabetic));
    all.lines().filter(named).map(str::to_owned).collect()
}

#[test]
fn nothing_of_them_is_left_also_when_they_are_frozen_or_their_maker_was_killed() {
    let hosts = Hosts::start(2);
    serve(hosts.host(1));
    hosts.host(2).freeze();
    assert!(traces().len() > 10, "{:#?}", traces());
    drop(hosts);
    assert_eq!(traces(), Vec::<String>::new());

    // As after a SIGKILL: nobody drops anything. The next one removes them, with some of it gone already.
    let mut hosts = Hosts::start(2);
    serve(hosts.host(1));
    hosts.keep();
    drop(hosts);
    assert!(traces().len() > 10);
    let other = Hosts::at(Site::tests()).expect("they are known");
    assert!(answers(other.host(1)));
    other.host(2).power_off();
    drop(other);
    let hosts = Hosts::start(1);
    assert!(!answers(hosts.host(1)));
    drop(hosts);
    assert_eq!(traces(), Vec::<String>::new());
    assert!(Hosts::at(Site::tests()).is_none());
    assert_eq!(traces(), Vec::<String>::new());
}
