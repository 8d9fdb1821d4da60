//! What takes the records.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::clients::cache;
use crate::support::{Log, wait_for};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/otlp_logs.py");

/// Says that something is not installed, which the continuous integration must have.
fn missing(what: &str, remedy: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no {what}: {remedy}");
    eprintln!("SKIPPED: {what} is not installed: {remedy}");
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last line may be about to be written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A running `otlp_logs.py`.
pub(super) struct Collector {
    child: Child,
    out: PathBuf,
    plan: PathBuf,
}

impl Collector {
    pub(super) fn start(log: &Log, port: u16) -> Option<Self> {
        let python = std::env::var_os("ONRECORD_TEST_PYTHON").map_or_else(|| cache("venv/bin/python"), Some)?;
        let there = Command::new(&python).args(["-c", "import opentelemetry.proto"]).output();
        if !there.is_ok_and(|there| there.status.success()) {
            missing("opentelemetry-proto", "run .ci/clients.sh");
            return None;
        }
        let (out, plan) = (log.folder().join("otlp.jsonl"), log.folder().join("plan.json"));
        std::fs::write(&plan, "{}").unwrap();
        let mut command = Command::new(python);
        command.arg(SCRIPT).arg(port.to_string()).args([&out, &plan]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        Some(Self { child, out, plan })
    }

    /// How to answer from now on.
    pub(super) fn plan(&self, plan: &Value) {
        let new = self.plan.with_extension("new");
        std::fs::write(&new, plan.to_string()).unwrap();
        std::fs::rename(new, &self.plan).unwrap();
    }

    pub(super) fn records(&self) -> Vec<Value> {
        lines(&self.out)
    }

    /// The leaves of the records in the order in which they came.
    pub(super) fn leaves(&self) -> Vec<u64> {
        self.records().iter().map(|record| record["attributes"]["onrecord.leaf_index"].as_u64().unwrap()).collect()
    }

    pub(super) fn text(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A running rsyslog with one input, which writes what comes to a file.
pub(super) struct Rsyslog {
    child: Child,
    out: PathBuf,
}

impl Rsyslog {
    /// `input` is `tcp`, `tls`, `udp` or `local`.
    pub(super) fn start(log: &Log, port: u16, input: &str) -> Option<Self> {
        if Command::new("rsyslogd").arg("-v").output().is_err() {
            missing("rsyslog", "apt-get install rsyslog rsyslog-gnutls");
            return None;
        }
        let folder = log.folder();
        let out = folder.join(format!("{input}.jsonl"));
        let file = folder.join(format!("{input}.conf"));
        std::fs::write(&file, config(folder, port, input, &out)).unwrap();
        let mut command = Command::new("rsyslogd");
        command.args(["-n", "-f"]).arg(&file).arg("-i").arg(folder.join(format!("{input}.pid")));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("rsyslog", || {
            assert!(child.try_wait().unwrap().is_none(), "rsyslog ended");
            let listens = match input {
                "local" => folder.join("local.sock").exists(),
                "udp" => std::net::UdpSocket::bind(("127.0.0.1", port)).is_err(),
                _ => std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(),
            };
            listens.then_some(())
        });
        Some(Self { child, out })
    }

    /// `kill -9`.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) fn messages(&self) -> Vec<Value> {
        lines(&self.out)
    }

    /// The leaves in the order in which they came.
    pub(super) fn leaves(&self) -> Vec<u64> {
        let leaf = |message: &Value| {
            let data = message["data"].as_str().unwrap();
            let after = data.split("leaf_index=\"").nth(1).unwrap_or_else(|| panic!("no leaf in {message}"));
            after.split('"').next().unwrap().parse().unwrap()
        };
        self.messages().iter().map(leaf).collect()
    }

    pub(super) fn text(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let _ = kill_process(pid, Signal::TERM);
        drop(self.child.wait());
    }
}

fn config(folder: &Path, port: u16, input: &str, out: &Path) -> String {
    let (here, out) = (folder.display(), out.display());
    let input = match input {
        "tcp" => format!("module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")"),
        "udp" => format!("module(load=\"imudp\")\ninput(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")"),
        "tls" => {
            let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            std::fs::write(folder.join("cert.pem"), issued.cert.pem()).unwrap();
            std::fs::write(folder.join("key.pem"), issued.signing_key.serialize_pem()).unwrap();
            format!(
                "global(defaultNetstreamDriver=\"gtls\" defaultNetstreamDriverCAFile=\"{here}/cert.pem\" \
                 defaultNetstreamDriverCertFile=\"{here}/cert.pem\" defaultNetstreamDriverKeyFile=\"{here}/key.pem\")\n\
                 module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")\n\
                 input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")"
            )
        }
        _ => format!(
            "module(load=\"imuxsock\" sysSock.use=\"off\")\n\
             input(type=\"imuxsock\" socket=\"{here}/local.sock\" useSpecialParser=\"off\" parseHostname=\"on\")"
        ),
    };
    let properties = [
        ("raw", "rawmsg"),
        ("pri", "pri"),
        ("msgid", "msgid"),
        ("app", "app-name"),
        ("host", "hostname"),
        ("data", "structured-data"),
        ("msg", "msg"),
    ];
    let properties =
        properties.map(|(to, of)| format!("property(outname=\"{to}\" name=\"{of}\" format=\"jsonf\")")).join("\n");
    format!(
        "global(workDirectory=\"{here}\" maxMessageSize=\"64k\")\n{input}\n\
         template(name=\"json\" type=\"list\" option.jsonf=\"on\") {{\n{properties}\n\
         property(outname=\"time\" name=\"timestamp\" dateFormat=\"rfc3339\" format=\"jsonf\")\n}}\n\
         action(type=\"omfile\" file=\"{out}\" template=\"json\")\n"
    )
}
