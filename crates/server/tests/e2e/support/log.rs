//! A log in a temporary folder, and the command line on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{Server, wait_for};

/// A working folder with an `onrecord.toml` and the data folder `data`.
pub(crate) struct Log {
    folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Its standard output, if it succeeded.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Both of its outputs.
    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// The file in the working folder with more variables for the program.
const ENVIRONMENT: &str = "environment";

/// The program, in `folder`, without what the environment may say about another log.
pub(crate) fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onrecord"));
    command.current_dir(folder).stdin(Stdio::null());
    for name in ["SERVER", "TOKEN", "PURPOSE", "DATA", "CONFIG", "LISTEN", "API", "UPSTREAM", "STORE"] {
        command.env_remove(format!("ONRECORD_{name}"));
    }
    command.env("NO_COLOR", "1").env("COLUMNS", "140");
    let more = std::fs::read_to_string(folder.join(ENVIRONMENT)).unwrap_or_default();
    command.envs(more.lines().filter_map(|line| line.split_once('=')));
    command
}

impl Log {
    pub(crate) fn new() -> Self {
        Self::with_config("")
    }

    /// With this text as `onrecord.toml`.
    pub(crate) fn with_config(toml: &str) -> Self {
        let log = Self { folder: TempDir::new().unwrap() };
        // A scripted model server expects the calls of the test and nothing else.
        let quiet = if toml.contains("[probe]") { "" } else { "\n[probe]\nenabled = false\n" };
        std::fs::write(log.folder().join("onrecord.toml"), format!("data = \"data\"\n{toml}{quiet}")).unwrap();
        log
    }

    /// Where the program has these variables too.
    pub(crate) fn and_environment(self, variables: &[(String, String)]) -> Self {
        let lines: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        std::fs::write(self.folder().join(ENVIRONMENT), lines.concat()).unwrap();
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// Starts a server on it, in front of the model server at `upstream`.
    pub(crate) fn serve(&self, upstream: impl std::fmt::Display) -> Server {
        Server::start(self.folder(), &upstream.to_string(), &[])
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(program(self.folder()).args(arguments))
    }

    /// What a command prints as JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(arguments).good();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?} printed {text:?}: {error}"))
    }

    /// The record with this id or at this leaf.
    #[track_caller]
    pub(crate) fn show(&self, record: &str) -> Value {
        self.json(&["show", record, "--json"])
    }

    /// The rows that a statement gives.
    #[track_caller]
    pub(crate) fn query(&self, sql: &str) -> Vec<Value> {
        match self.json(&["query", sql, "--format", "json"]) {
            Value::Array(rows) => rows,
            other => panic!("{sql}: {other}"),
        }
    }

    /// Fails unless every record is what it was.
    #[track_caller]
    pub(crate) fn verify(&self) -> Value {
        let report = self.json(&["verify", "--json"]);
        assert_eq!((&report["ok"], &report["leaves"]), (&Value::from(true), &report["verified"]), "{report:#}");
        report
    }

    /// The only record for which `sql`, the end of a statement, holds; waits until it is there.
    pub(crate) fn only(&self, condition: &str) -> Value {
        self.only_of("interactions", condition)
    }

    /// The same for a view.
    pub(crate) fn only_of(&self, view: &str, condition: &str) -> Value {
        let sql = format!("SELECT id FROM {view} WHERE {condition}");
        let rows = wait_for(condition, || Some(self.query(&sql)).filter(|rows| !rows.is_empty()));
        assert_eq!(rows.len(), 1, "{condition}: {rows:?}");
        self.show(rows[0]["id"].as_str().unwrap())
    }
}

pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A field of a record as `show --json` prints it.
#[track_caller]
pub(crate) fn field<'r>(record: &'r Value, group: &str, name: &str) -> &'r Value {
    &record["groups"][group][name]
}
