//! A part is replaced by a newer one.

use gantry_e2e::{Host, HostCluster, Load};
use serde_json::Value;

use crate::world::{PORT, deploy, settles, untouched, web, while_the_scheduler_is_killed};

pub fn an_agent_is_replaced(cluster: &HostCluster) {
    deploy(cluster, "shop", &web(3));
    settles(cluster, "shop", 3);
    let before = untouched(cluster, "shop");
    let load = Load::to((cluster.host(2).address(), PORT)).start();
    load.pass(500);

    replace(cluster.host(2), "agent", "1");
    cluster.ready(&[1, 2, 3]);
    while_the_scheduler_is_killed(cluster, || replace(cluster.host(2), "agent", "2"));
    cluster.ready(&[1, 2, 3]);
    settles(cluster, "shop", 3);
    load.pass(500);
    load.stop().none_failed(1000);
    assert_eq!(untouched(cluster, "shop"), before);

    // The new one works.
    cluster.ok(["scale", "shop/web=6"]);
    settles(cluster, "shop", 6);
    assert_eq!(cluster.places("shop/web"), ["h1", "h1", "h2", "h2", "h3", "h3"]);
    assert!(untouched(cluster, "shop").is_superset(&before));
}

/// Replaces the container of a part by one of another image with the same settings.
fn replace(host: &Host, part: &str, release: &str) {
    let name = HostCluster::container(part);
    let said = host.docker(["inspect", &name]);
    let old: Value = serde_json::from_str(&said).unwrap();
    let old = &old[0];
    let image = old["Config"]["Image"].as_str().unwrap();
    let newer = format!("{}:next", image.split(':').next().unwrap());
    let folder = host.folder().join("next");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("Dockerfile"), format!("FROM {image}\nLABEL release={release}\n")).unwrap();
    host.docker(["build", "--quiet", "--tag", &newer, &folder.to_string_lossy()]);

    let mut args: Vec<String> = ["create", "--name", &name].map(str::to_owned).into();
    let mut option = |name: &str, value: &str| args.extend([name.to_owned(), value.to_owned()]);
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        all.map(str::to_owned).collect()
    };
    for line in texts(&old["Config"]["Env"]) {
        option("--env", &line);
    }
    for (label, value) in old["Config"]["Labels"].as_object().into_iter().flatten() {
        option("--label", &format!("{label}={}", value.as_str().unwrap_or_default()));
    }
    let settings = &old["HostConfig"];
    for word in texts(&settings["CapAdd"]) {
        option("--cap-add", &word);
    }
    for word in texts(&settings["CapDrop"]) {
        option("--cap-drop", &word);
    }
    for word in texts(&settings["SecurityOpt"]) {
        option("--security-opt", &word);
    }
    option("--network", settings["NetworkMode"].as_str().unwrap());
    option("--restart", settings["RestartPolicy"]["Name"].as_str().unwrap());
    for mount in old["Mounts"].as_array().into_iter().flatten() {
        let source = mount["Name"].as_str().or(mount["Source"].as_str()).unwrap();
        option("--volume", &format!("{source}:{}", mount["Destination"].as_str().unwrap()));
    }
    if settings["ReadonlyRootfs"] == true {
        args.push("--read-only".to_owned());
    }
    args.push(newer);
    args.extend(texts(&old["Config"]["Cmd"]));
    host.docker(["rm", "--force", &name]);
    host.docker(args);
    host.docker(["start", &name]);
}
