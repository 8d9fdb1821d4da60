//! How the command line looks, with ids, times and sizes replaced.

use serde_json::json;

use crate::support::upstream::{answer, completion, script};
use crate::support::{Log, chat, post};

/// Compares a text with its snapshot.
macro_rules! looks {
    ($name:literal, $text:expr) => {
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        for (pattern, shown) in FILTERS {
            settings.add_filter(pattern, *shown);
        }
        settings.bind(|| insta::assert_snapshot!($name, $text));
    };
}

const FILTERS: &[(&str, &str)] = &[
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[id]                                "),
    (r"\b[0-9a-f]{64}\b", "[hash]"),
    (r"\b[0-9a-f]{32}\b", "[request id]"),
    (r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?Z?", "[time]"),
    (r"(server.port\s+)\d+", "${1}[port]"),
    (r"(_us\s+)\d+", "${1}[µs]"),
    (r" +\d+(\.\d+)? (µs|ms|s)  ", "  [duration]  "),
    (r"in \d+\.\d+ s \(\d+ records/s\)", "in [duration] ([rate])"),
    (r"\d+ checkpoints", "[some] checkpoints"),
    (r"onrecord [0-9]+\.[0-9]+\.[0-9]+", "onrecord [version]"),
];

#[test]
fn help() {
    let log = Log::new();
    looks!("help", log.run(&["--help"]).good());
    let commands =
        ["demo", "serve", "tail", "list", "show", "query", "verify", "prove", "check", "stats", "token", "config"];
    let helps =
        commands.map(|command| format!("$ onrecord {command} --help\n{}", log.run(&[command, "--help"]).good()));
    looks!("help_of_commands", helps.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn list_show_and_verify() {
    let log = Log::new();
    let server = log.serve(script([answer("200 OK", "content-type: application/json\r\n", completion("Yes."))]).await);
    let headers = [("x-onrecord-session", "support-1"), ("x-onrecord-tags", "team=blue"), ("user-agent", "test")];
    post(server.gateway, &headers, chat("Is it?", json!({}))).await;
    server.stop();
    looks!("list", log.run(&["list"]).good());
    looks!("show", log.run(&["show", "1"]).good());
    looks!("verify", log.run(&["verify"]).good());
    looks!("show_of_nothing", log.run(&["show", "999"]).stderr);
}
