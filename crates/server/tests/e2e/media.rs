//! Media in requests: named where a record is shown, whole where it is exact, and written as the bytes that it was.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::log::field;
use crate::support::upstream::{answer, completion, script};
use crate::support::{Log, post, wait_for};

/// Something that begins as a PNG does, of so many bytes.
fn image(bytes: usize) -> Vec<u8> {
    let noise = (0_u32..).flat_map(|n| Sha256::digest(n.to_le_bytes()).to_vec());
    b"\x89PNG\r\n\x1a\n".iter().copied().chain(noise).take(bytes).collect()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_named_where_it_is_shown_and_comes_back_as_it_was() {
    let log = Log::with_config("[lake]\nseal_after = \"1s\"\n");
    let server =
        log.serve(script([answer("200 OK", "content-type: application/json\r\n", completion("A cat."))]).await);
    let (image, sound) = (image(156_000), b"RIFF\x24\0\0\0WAVEfmt ".to_vec());
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": [
        { "type": "text", "text": "What is it?" },
        { "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{}", BASE64.encode(&image)) } },
        { "type": "input_audio", "input_audio": { "data": BASE64.encode(&sound), "format": "wav" } },
    ] }] })
    .to_string();
    let id = post(server.gateway, &[], body.clone()).await.id();
    for is_sealed in [false, true] {
        if is_sealed {
            wait_for("sealing", || (log.json(&["stats", "--json"])["sealed_records"] != 0).then_some(()));
        }
        let shown = log.run(&["show", &id]).good();
        let mark = format!("<media 1: image/png, 152 KiB, sha256:{}…>", &digest(&image)[..16]);
        assert!(shown.contains(&mark) && shown.contains("<media 2: audio/wav, 16 B, "), "{shown}");
        assert!(shown.len() < 8000 && shown.contains("What is it?"), "{} bytes", shown.len());
        assert_eq!(field(&log.show(&id), "input", "onrecord.input.body"), &body, "--json is exact");
        for (number, bytes) in [("1", &image), ("2", &sound)] {
            let file = log.folder().join(number);
            log.run(&["show", &id, &format!("--media={number}"), "-o", file.to_str().unwrap()]).good();
            assert!(std::fs::read(&file).unwrap() == *bytes, "media {number}");
        }
    }
    let several = log.run(&["show", &id, "--media", "-o", "x"]);
    assert!(several.code == Some(2) && several.stderr.contains("choose with --media=N"), "{several:?}");
    let none = log.run(&["show", "0", "--media", "-o", "x"]);
    assert!(none.code == Some(2) && none.stderr.contains("no media"), "{none:?}");
    log.verify();
}
