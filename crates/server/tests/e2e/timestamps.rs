//! Timestamps over checkpoints, by OpenSSL as the authority.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::upstream::{answer, completion, script};
use crate::support::{Log, chat, post, wait_for};

/// A running authority. Killed when it is dropped.
struct Authority {
    child: Child,
    port: String,
}

impl Authority {
    fn start(folder: &Path, key: &str) -> Self {
        let mut command = Command::new("python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tsa/authority.py")).arg(folder).arg(key);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, port: port.trim().to_owned() }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `verify` and `fsck` name a stamp that was changed, and one of another tree.
fn stamps_are_verified(log: &Log, folder: &Path) {
    log.verify();
    let stamps: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let (stamp, good) = (&stamps[0], std::fs::read(&stamps[0]).unwrap());
    let named = |path: &Path, why: &str| {
        for command in ["verify", "fsck"] {
            let ran = log.run(&[command]);
            let name = path.file_name().unwrap().to_str().unwrap();
            let told = ran.stdout.lines().find(|line| line.contains("timestamps/") && line.contains(name));
            assert!(ran.code == Some(1) && told.is_some_and(|told| told.contains(why)), "{ran:?}");
        }
    };
    let mut changed = good.clone();
    let last = changed.len() - 200;
    changed[last] ^= 1;
    std::fs::write(stamp, changed).unwrap();
    named(stamp, "its bytes are not those that were written");
    std::fs::write(stamp, &good).unwrap();
    let other = folder.join("00000000000000099999");
    assert!(!other.exists());
    std::fs::copy(stamp, &other).unwrap();
    named(&other, "it is of a checkpoint over");
    std::fs::remove_file(other).unwrap();
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_stamped_and_the_stamp_is_checked_offline() {
    for key in ["rsa", "ec"] {
        let model = script([answer("200 OK", "content-type: application/json\r\n", completion("Yes."))]).await;
        let other = Log::new();
        let stranger = Authority::start(&other.folder().join("tsa"), key);
        let log = Log::new();
        let authority = Authority::start(&log.folder().join("tsa"), key);
        let config = format!(
            "data = \"data\"\n[probe]\nenabled = false\n[log]\ncheckpoint_interval = \"100ms\"\n[timestamp]\nurl = \"http://127.0.0.1:{}\"\ninterval = \"200ms\"\n",
            authority.port
        );
        std::fs::write(log.folder().join("onrecord.toml"), config).unwrap();
        let server = log.serve(&model);
        let id = post(server.gateway, &[], chat("?", json!({}))).await.id();
        let leaf = log.show(&id)["leaf_index"].as_u64().unwrap();
        let folder = log.data().join("timestamps");
        wait_for("a timestamp", || {
            let names = std::fs::read_dir(&folder).ok()?.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter_map(|name| name.parse::<u64>().ok()).any(|size| size > leaf).then_some(())
        });
        log.run(&["prove", &id, "-o", "e.json"]).good();
        server.stop();
        drop((authority, stranger));
        stamps_are_verified(&log, &folder);

        let key = log.run(&["key"]).good();
        let check = |more: &[&str]| log.run(&[&["check", "e.json", "--key", key.trim()], more].concat());
        let good = check(&["--tsa", "tsa/ca.pem"]).good();
        assert!(good.contains("TIMESTAMPED  20"), "{good}");
        let unchecked = check(&[]).good();
        assert!(unchecked.contains("is not checked without certificates"), "{unchecked}");
        let missing = check(&["--tsa", "tsa/nothing.pem"]);
        assert!(missing.code == Some(2) && missing.output().contains("tsa/nothing.pem"), "{missing:?}");
        let wrong = other.folder().join("tsa/ca.pem");
        let refused = check(&["--tsa", wrong.to_str().unwrap()]);
        assert!(refused.code == Some(1) && refused.output().contains("does not lead to the authority"), "{refused:?}");

        // The second checker asks OpenSSL.
        let second = |authority: &Path| {
            let mut command = Command::new("python3");
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/onrecord_check.py"));
            command.arg(log.folder().join("e.json")).args(["--key", key.trim(), "--tsa"]).arg(authority);
            command.output().unwrap()
        };
        let output = second(&log.folder().join("tsa/ca.pem"));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(second(&wrong).status.code(), Some(1));

        // A stamp of another checkpoint, and one with a changed byte.
        let path = log.folder().join("e.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let evidence: serde_json::Value = serde_json::from_str(&text).unwrap();
        let token = evidence["timestamp"].as_str().unwrap();
        for at in (8..token.len() - 8).step_by(97) {
            let mut changed = token.to_owned().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            std::fs::write(&path, text.replace(token, &changed)).unwrap();
            let ran = check(&["--tsa", "tsa/ca.pem"]);
            assert!(!ran.output().contains("panicked"), "{ran:?}");
            assert!(ran.code == Some(1) || ran.output().contains("TIMESTAMPED"), "byte {at}: {ran:?}");
        }
    }
}
