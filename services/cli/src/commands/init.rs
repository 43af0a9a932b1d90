//! `gantry init`

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use gantry_api::cluster::v1::ListNodesRequest;
use gantry_boot::random_id;
use gantry_identity::{Authority, Bundle, Grant, Identity, Role};
use gantry_model::{ClusterId, HostFacts, StackName};
use tokio::time::{Instant, sleep};

use crate::args::Init;
use crate::bootstrap::{Host, Layout, Part, Standing, advertised_in, mtu_in};
use crate::client::Cluster;
use crate::context::{Context, Contexts};
use crate::failure::{Failure, Result};
use crate::output;

/// A person's certificate; `gantry init` again makes a new one.
pub const LIFETIME: Duration = Duration::from_hours(8760);
/// A service's certificate, which renews itself.
pub const SERVICE_LIFETIME: Duration = Duration::from_hours(90 * 24);
/// What fits almost everywhere.
const DEFAULT_MTU: u32 = 1450;
/// What the networks add to each packet: VXLAN over IPv4, and over IPv6.
const OVERHEAD: u32 = 50;
const OVERHEAD_IPV6: u32 = 70;
const READY_WITHIN: Duration = Duration::from_mins(1);

/// What a cluster is known by, kept with the scheduler's state.
struct Roots {
    id: ClusterId,
    node: String,
    authority: Authority,
    /// They were there already.
    known: bool,
}

/// Starts a cluster on this Docker host, or brings one that is there up to date.
pub async fn run(init: Init) -> Result<()> {
    check(&init)?;
    let contexts = Contexts::open()?;
    let host = Host::connect(init.docker.docker_host.as_deref()).await?;
    host.provide_images(&Part::ALL, |line| eprintln!("{line}")).await?;
    let layout = lay_out(&host, &init).await?;

    let scheduler = host.standing(&layout, Part::Scheduler).await?;
    if scheduler == Standing::Absent {
        // Its folder may hold a cluster from before; only a container can look into it.
        host.create(&layout, Part::Scheduler, "new").await?;
    }
    let roots = roots(&host, &layout).await?;
    let mut changed = false;
    for part in Part::ALL {
        let standing = if part == Part::Scheduler && scheduler == Standing::Absent {
            // Made anew, now that the cluster's id is known.
            Standing::Outdated
        } else {
            host.standing(&layout, part).await?
        };
        changed |= ensure(&host, &layout, part, standing, &roots).await?;
    }
    let admin = issue(&roots, Role::Admin, "admin", Vec::new())?;
    // From the same machine it is reached whatever becomes of its addresses.
    let at_home = host.is_default() && init.advertise_addr.is_empty();
    let address = if at_home { layout.local_scheduler() } else { layout.scheduler() };
    let context = Context::new(layout.cluster.clone(), address, host.is_local(), admin);
    wait_until_ready(&host, &layout, &context).await?;
    contexts.save(&context)?;
    let what = match (roots.known, changed) {
        (false, _) => "is ready",
        (true, true) => "was there already, and is up to date now",
        (true, false) => "is there already, and up to date",
    };
    output::print(&format!("cluster {} {what} (scheduler at {})\n", layout.cluster, layout.scheduler()))
}

fn check(init: &Init) -> Result<()> {
    StackName::new(&init.name).map_err(|_| {
        Failure::bad_input(format!(
            "{:?} is no name for a cluster: use lower-case letters, digits and '-'",
            init.name
        ))
    })?;
    let pool: std::result::Result<gantry_model::Ipv4Net, _> = init.pool.parse();
    match pool {
        Ok(pool) if pool.prefix_len() <= 19 => {}
        Ok(_) => {
            return Err(Failure::bad_input(format!(
                "the pool {} is too small: give a /19 or larger",
                init.pool
            )));
        }
        Err(_) => {
            return Err(Failure::bad_input(format!(
                "{:?} is no address range such as 10.192.0.0/11",
                init.pool
            )));
        }
    }
    if let Some(mtu) = init.mtu
        && !(1280..=65_535).contains(&mtu)
    {
        return Err(Failure::bad_input(format!("an MTU of {mtu} cannot work: give 1280 to 65535")));
    }
    if init.port_base > 65_000 || init.port_base == 0 {
        return Err(Failure::bad_input(format!("{} is no first port: give 1 to 65000", init.port_base)));
    }
    Ok(())
}

/// What the host's part of the cluster is to be. What is there already keeps its addresses and MTU; a new
/// one gets them from the host's network, which must not be in the way of the cluster's.
async fn lay_out(host: &Host, init: &Init) -> Result<Layout> {
    let known = host.environment(&init.name, Part::Agent).await?;
    if let Some(known) = known {
        let scheduler = host.environment(&init.name, Part::Scheduler).await?.unwrap_or_default();
        let advertise = match init.advertise_addr.as_slice() {
            [] => advertised_in(&known),
            given => given.to_vec(),
        };
        return Ok(Layout::of(init, advertise, init.mtu.or(mtu_in(&scheduler)).unwrap_or(DEFAULT_MTU)));
    }
    let facts = host.facts().await?;
    let advertise = choose_addresses(&facts, &init.advertise_addr)?;
    refuse_overlap(&facts, &init.pool)?;
    let interface = advertise.first().and_then(|address| facts.interface_of(*address));
    let overhead = if advertise.first().is_some_and(IpAddr::is_ipv6) { OVERHEAD_IPV6 } else { OVERHEAD };
    let largest = interface.map(|interface| interface.mtu.saturating_sub(overhead).clamp(1280, 65_535));
    if let (Some(wanted), Some(largest), Some(interface)) = (init.mtu, largest, interface)
        && wanted > largest
    {
        return Err(Failure::bad_input(format!(
            "an MTU of {wanted} cannot work: {} takes packets of {} bytes, of which the networks need {overhead}; give {largest} at most",
            interface.name, interface.mtu
        )));
    }
    Ok(Layout::of(init, advertise, init.mtu.or(largest).unwrap_or(DEFAULT_MTU)))
}

/// The addresses that were given, else the host's one; none, if it has no way out.
pub fn choose_addresses(facts: &HostFacts, given: &[IpAddr]) -> Result<Vec<IpAddr>> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    match facts.advertised() {
        Ok(address) => Ok(address.into_iter().collect()),
        Err(ambiguous) => Err(Failure::bad_input(ambiguous.to_string()).hint("choose with --advertise-addr")),
    }
}

fn refuse_overlap(facts: &HostFacts, pool: &str) -> Result<()> {
    let Some(route) = pool.parse().ok().and_then(|pool| facts.in_the_way(pool)) else { return Ok(()) };
    Err(Failure::bad_input(format!(
        "the cluster would make its networks from {pool}, and this host reaches {} through {}",
        route.range, route.interface
    ))
    .hint("choose another range with --pool"))
}

/// The cluster's CA and ids: those that are kept with the scheduler's state, else new ones.
async fn roots(host: &Host, layout: &Layout) -> Result<Roots> {
    let read = |path: &'static str| host.read(layout, Part::Scheduler, path);
    let kept = (
        read("ca/cluster").await?,
        read("ca/node").await?,
        read("ca/ca.pem").await?,
        read("ca/ca.key").await?,
    );
    if let (Some(id), Some(node), Some(certificate), Some(key)) = kept {
        let id = ClusterId::new(id.trim()).map_err(|bad| Failure::error(bad.to_string()))?;
        let authority = Authority::load(&certificate, &key)
            .map_err(|error| Failure::error(gantry_boot::chain(&error)))?;
        return Ok(Roots { id, node: node.trim().to_owned(), authority, known: true });
    }
    let id = ClusterId::new(random_id(12)).map_err(|bad| Failure::error(bad.to_string()))?;
    let node = random_id(12);
    let authority = Authority::create(&id, SystemTime::now())
        .map_err(|error| Failure::error(gantry_boot::chain(&error)))?;
    let files = [
        ("ca/cluster", id.as_str()),
        ("ca/node", node.as_str()),
        ("ca/ca.pem", authority.certificate()),
        ("ca/ca.key", authority.key()),
    ];
    host.write(layout, Part::Scheduler, &files).await?;
    Ok(Roots { id, node, authority, known: false })
}

/// Makes a part what it is to be. Answers whether anything had to be done.
async fn ensure(host: &Host, layout: &Layout, part: Part, standing: Standing, roots: &Roots) -> Result<bool> {
    let mut relieved = false;
    match standing {
        Standing::Running => return Ok(false),
        Standing::Stopped => {}
        Standing::Absent | Standing::Outdated => {
            match (standing, part) {
                // Traffic goes on while a proxy is replaced.
                (Standing::Outdated, Part::Proxy) => relieved = host.step_aside(layout, part).await?,
                (Standing::Outdated, _) => host.remove(&layout.cluster, part).await?,
                _ => {}
            }
            host.create(layout, part, roots.id.as_str()).await?;
            let (role, name) = match part {
                Part::Scheduler => (Role::Scheduler, "scheduler"),
                Part::Watchdog => (Role::Watchdog, roots.node.as_str()),
                Part::Agent => (Role::Node, roots.node.as_str()),
                Part::Proxy => (Role::Proxy, roots.node.as_str()),
            };
            let own = issue(roots, role, name, layout.hosts())?;
            let paths = Bundle::FILES.map(|file| format!("identity/{file}"));
            let files =
                [(paths[0].as_str(), own.ca.as_str()), (&paths[1], &own.certificate), (&paths[2], &own.key)];
            host.write(layout, part, &files).await?;
        }
    }
    host.start(layout, part).await?;
    if relieved {
        host.see_off(layout, part).await?;
    }
    Ok(true)
}

fn issue(roots: &Roots, role: Role, name: &str, hosts: Vec<String>) -> Result<Bundle> {
    let identity = Identity { cluster: roots.id.clone(), role, name: name.to_owned() };
    let lifetime = if role.serves() { SERVICE_LIFETIME } else { LIFETIME };
    let grant = Grant { identity, hosts, from: SystemTime::now(), lifetime };
    roots.authority.issue(&grant).map_err(|error| Failure::error(gantry_boot::chain(&error)))
}

async fn wait_until_ready(host: &Host, layout: &Layout, context: &Context) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let asked = async {
            let cluster = Cluster::with(context.clone()).await?;
            let nodes = cluster.nodes().list_nodes(ListNodesRequest {}).await?.into_inner().nodes;
            Ok::<_, Failure>(nodes)
        };
        let state = match asked.await {
            Ok(nodes) if nodes.iter().any(|node| node.ready) => return Ok(()),
            Ok(nodes) => {
                nodes.first().map_or_else(|| "no node has joined yet".to_owned(), |node| node.message.clone())
            }
            Err(failure) => failure.to_string(),
        };
        if Instant::now() >= deadline {
            let mut words = Vec::new();
            for part in Part::ALL {
                words.extend(host.last_words(layout, part).await);
            }
            return Err(Failure::timed_out(format!(
                "the cluster is not ready after {} s: {state}",
                READY_WITHIN.as_secs()
            ))
            .details(words.join("\n"))
            .hint(format!("`docker logs {}` says more", layout.container(Part::Agent))));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
