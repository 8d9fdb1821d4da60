//! The key of a log: rotated, in an environment variable, and with a command that signs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::log::{program, run};
use crate::support::upstream::{Upstream, answer, completion, script};
use crate::support::{Log, Server, chat, post};

async fn model() -> Upstream {
    script([answer("200 OK", "content-type: application/json\r\n", completion("Yes."))]).await
}

async fn evidence(log: &Log, server: &Server, name: &str) {
    let reply = post(server.gateway, &[], chat("?", json!({}))).await;
    log.run(&["prove", &reply.id(), "--reveal", "output", "-o", name]).good();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_evidence_still_checks_after_a_rotation_and_new_evidence_checks_with_the_old_key() {
    let (log, model) = (Log::new(), model().await);
    let server = log.serve(&model);
    evidence(&log, &server, "old.json").await;
    let old = log.run(&["key"]).good().trim().to_owned();
    let new = log.run(&["key", "rotate"]).good().trim().to_owned();
    assert!(old != new && log.run(&["key"]).good().trim() == new);
    evidence(&log, &server, "new.json").await;
    std::fs::write(log.folder().join("keys"), log.run(&["key", "export"]).good()).unwrap();
    for (file, key) in [("old.json", &old), ("new.json", &old), ("new.json", &new)] {
        log.run(&["check", file, "--key", key]).good();
    }
    for file in ["old.json", "new.json"] {
        log.run(&["check", file, "--key", "keys"]).good();
    }
    assert_eq!(log.run(&["check", "old.json", "--key", &new]).code, Some(1), "it says nothing of the key before");
    let named = log.query("SELECT onrecord_key_next AS next FROM records WHERE onrecord_event = 'key_rotation'");
    assert_eq!(named, [json!({ "next": new })]);
    log.verify();
    server.stop();
    let shown = log.json(&["key", "show", "--json"]);
    assert_eq!((&shown["key"], &shown["before"][0]["key"]), (&json!(new), &json!(old)), "{shown}");
    assert!(log.run(&["key", "show"]).good().contains("before  "));
    log.run(&["key", "rotate"]).good();
    log.serve(&model).stop();
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_the_environment_signs_and_without_it_nothing_starts() {
    let other = Log::new();
    let model = model().await;
    other.serve(&model).stop();
    let secret = std::fs::read_to_string(other.data().join("ledger/key")).unwrap();
    let log = Log::with_config("[key]\nenv = \"THE_KEY\"\n");
    let with = |arguments: &[&str], key: &str| run(program(log.folder()).args(arguments).env("THE_KEY", key));
    std::fs::create_dir_all(log.data().join("ledger")).unwrap();
    with(&["deploy", "a new model"], &secret).good();
    assert!(!log.data().join("ledger/key").exists());
    assert_eq!(log.run(&["key"]).good(), other.run(&["key"]).good());
    with(&["verify"], &secret).good();
    let without = log.run(&["list"]);
    assert!(without.code == Some(2) && without.stderr.contains("the environment variable THE_KEY"), "{without:?}");
    let rotated = with(&["key", "rotate"], &secret);
    assert!(rotated.code == Some(2) && rotated.stderr.contains("yours is held elsewhere"), "{rotated:?}");
}

/// A command with OpenSSL's own Ed25519, and the public key that it signs for.
fn signing_command(log: &Log) -> (String, String) {
    let (key, script) = (log.folder().join("key.pem"), log.folder().join("sign.sh"));
    let openssl = |arguments: &[&str]| {
        let output = std::process::Command::new("openssl").args(arguments).arg(&key).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    openssl(&["genpkey", "-algorithm", "ed25519", "-out"]);
    let public = openssl(&["pkey", "-pubout", "-outform", "DER", "-in"]);
    let public = &public[public.len() - 32..];
    let name = "example.org/kms";
    let hash = Sha256::digest([name.as_bytes(), b"\n\x01", public].concat());
    let hash = u32::from_be_bytes(hash[..4].try_into().unwrap());
    let verifier = format!("{name}+{hash:08x}+{}", BASE64.encode([&[1], public].concat()));
    // OpenSSL 3.0 signs only what is in a file.
    let text = format!(
        "f=$(mktemp) && cat > $f && openssl pkeyutl -sign -rawin -inkey {} -in $f | base64 -w0; rm $f\n",
        key.display()
    );
    std::fs::write(&script, text).unwrap();
    (script.display().to_string(), verifier)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_signs_for_a_log_that_has_no_key_itself() {
    let (log, model) = (Log::new(), model().await);
    let (script, public) = signing_command(&log);
    let config = |public: &str| {
        let text = format!(
            "data = \"data\"\n[probe]\nenabled = false\n[key]\ncommand = [\"sh\", \"{script}\"]\npublic = \"{public}\"\n"
        );
        std::fs::write(log.folder().join("onrecord.toml"), text).unwrap();
    };
    config(&public);
    let server = log.serve(&model);
    evidence(&log, &server, "evidence.json").await;
    log.run(&["check", "evidence.json", "--key", &public]).good();
    server.stop();
    log.verify();
    std::fs::write(&script, "head -c 64 /dev/zero\n").unwrap();
    let refused = log.run(&["prove", "0"]);
    assert!(refused.output().contains("the command that signs"), "{refused:?}");
}
