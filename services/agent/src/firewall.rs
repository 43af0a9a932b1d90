//! The node's rules: service addresses lead to its own proxy, networks are kept apart, and frames of the
//! overlay are taken from the cluster's nodes only.
//!
//! One nftables table per cluster, made whole in one transaction and looked at again now and then:
//! somebody who flushes all rules of the host takes the addresses away for seconds only. The table stays
//! when the agent ends, so that addresses work without it; `gantry leave` takes it away.

mod rules;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use gantry_model::ClusterId;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::managed::Networks;
use rules::{gone, rules};

/// How often the rules are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// `nft` is done in milliseconds, unless the kernel hangs.
const HANGS: Duration = Duration::from_secs(5);

/// The table of one cluster.
pub struct Table {
    nft: String,
    name: String,
    /// What was applied last, and how the kernel shows it.
    applied: Option<(String, String)>,
}

impl Table {
    /// The table of `cluster`, made with the binary `nft`.
    pub fn new(nft: &str, cluster: &ClusterId) -> Self {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let id: String = cluster.as_str().chars().map(letter).collect();
        Self { nft: nft.to_owned(), name: format!("gantry_{id}"), applied: None }
    }

    /// Makes the rules what they are to be, until `stop`. `problem` says why they are not; nothing
    /// while they are.
    pub async fn keep(
        mut self,
        mut wanted: watch::Receiver<Arc<Networks>>,
        mut engine: watch::Receiver<Option<String>>,
        problem: watch::Sender<Option<String>>,
        stop: CancellationToken,
    ) {
        loop {
            let networks = wanted.borrow_and_update().clone();
            // Before anything was assigned there is nothing to rule.
            let nothing = *networks == Networks::default();
            let outcome = if nothing { None } else { self.ensure(&networks).await.err() };
            problem.send_if_modified(|known| {
                if *known == outcome {
                    return false;
                }
                match &outcome {
                    Some(error) => tracing::error!(error, "service addresses do not work on this node"),
                    None => tracing::info!("service addresses work on this node"),
                }
                *known = outcome;
                true
            });
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = wanted.changed() => {}
                // An engine that starts makes rules of its own, and some hosts flush all at that time.
                Ok(()) = engine.changed() => {}
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    }

    async fn ensure(&mut self, networks: &Networks) -> Result<(), String> {
        let rules = rules(&self.name, networks);
        if let Some((applied, shown)) = &self.applied
            && *applied == rules
            && self.show().await.is_ok_and(|now| now == *shown)
        {
            return Ok(());
        }
        self.applied = None;
        run(&self.nft, &["-f", "-"], &rules).await?;
        self.applied = Some((rules, self.show().await?));
        Ok(())
    }

    async fn show(&self) -> Result<String, String> {
        run(&self.nft, &["list", "table", "inet", &self.name], "").await
    }

    /// Takes the table away; one that is not there is left alone.
    pub async fn remove(&self) -> Result<(), String> {
        run(&self.nft, &["-f", "-"], &gone(&self.name)).await.map(drop)
    }
}

async fn run(nft: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let running = async {
        let mut child = Command::new(nft)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends early says why in its output.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = timeout(HANGS, running)
        .await
        .map_err(|_| format!("{nft} did not end within {} s", HANGS.as_secs()))?
        .map_err(|error| format!("cannot run {nft}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("it did not say why");
    Err(format!("{nft} failed: {first}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::managed::Redirect;

    fn networks(port: u16) -> Networks {
        let redirect = Some(Redirect { range: "10.223.0.0/16".parse().unwrap(), port });
        Networks { redirect, ..Networks::default() }
    }

    /// A program that stands for `nft`: keeps what it is given in a file, shows it, and can be broken.
    fn fake(folder: &std::path::Path) -> String {
        let path = folder.join("nft");
        let kept = folder.join("rules");
        let script = format!(
            "#!/bin/sh\nif [ -e {0}.broken ]; then echo 'no permission' >&2; exit 1; fi\nif [ \"$1\" = -f ]; then cat > {0}; echo x >> {0}.times; else cat {0}; fi\n",
            kept.display()
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    #[tokio::test]
    async fn rules_are_made_once_and_again_when_somebody_took_them_away() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = Table::new(&fake(folder.path()), &ClusterId::new("c1").unwrap());
        let times = || std::fs::read_to_string(folder.path().join("rules.times")).unwrap().lines().count();
        table.ensure(&networks(7075)).await.unwrap();
        table.ensure(&networks(7075)).await.unwrap();
        assert_eq!(times(), 1);
        std::fs::write(folder.path().join("rules"), "").unwrap();
        table.ensure(&networks(7075)).await.unwrap();
        assert_eq!(times(), 2);
        table.ensure(&networks(8075)).await.unwrap();
        assert_eq!(times(), 3);
    }

    #[tokio::test]
    async fn what_fails_is_said_in_the_words_of_nft() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = Table::new(&fake(folder.path()), &ClusterId::new("c1").unwrap());
        std::fs::write(folder.path().join("rules.broken"), "").unwrap();
        let error = table.ensure(&networks(7075)).await.unwrap_err();
        assert!(error.ends_with("failed: no permission"), "{error}");
        let nowhere = Table::new("/nowhere/nft", &ClusterId::new("c1").unwrap());
        assert!(nowhere.remove().await.unwrap_err().contains("cannot run /nowhere/nft"));
    }
}
