//! Keys, signed notes and checkpoints.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use onrecord_proof::note::{Note, Signer, Verifier};
use onrecord_proof::{Checkpoint, Malformed};
use serde_json::json;

use crate::{check, hex};

pub(crate) const ORIGIN: &str = "example.org/log";
const SEED: [u8; 32] = [7; 32];

pub(crate) fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &SEED).unwrap()
}

/// Another key of the same name.
pub(crate) fn stranger() -> Signer {
    Signer::from_seed(ORIGIN, &[8; 32]).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size: 257, root: [0x5a; 32] }
}

fn open(note: &str, key: &Verifier) -> Result<Checkpoint, Malformed> {
    Checkpoint::open(&note.parse()?, key)
}

/// The text with a signature of the log, whatever it says.
fn signed(text: &str) -> String {
    signer().sign(text.to_owned()).to_string()
}

fn refused(note: &str) -> Vec<(&'static str, String)> {
    let root = BASE64.encode([0x5a; 32]);
    let (text, line) = note.split_once("\n\n").unwrap();
    let wrong_signature = format!("{}\n", stranger().sign(format!("{text}\n")).to_string().trim_end());
    let mut both: Note = note.parse().unwrap();
    both.signatures.extend(both.signatures.clone());
    both.signatures[1].signature[0] ^= 1;
    vec![
        ("signed by another key of the same name", wrong_signature),
        ("a signature of the key that is right and one that is not", both.to_string()),
        ("another size than was signed", note.replace("\n257\n", "\n258\n")),
        ("no blank line", format!("{text}\n{line}")),
        ("no final newline", note.trim_end().to_owned()),
        ("text behind the signatures", format!("{note}x\n")),
        ("no signature", format!("{text}\n\n")),
        ("a carriage return", note.replace("\n257\n", "\r\n257\r\n")),
        ("a hyphen in the place of the dash", note.replace('\u{2014}', "-")),
        ("Base64 without padding", format!("{}\n", note.trim_end().trim_end_matches('='))),
        ("Base64 with unused bits that are set", unused_bits(note)),
        ("a size with a leading zero", signed(&format!("{ORIGIN}\n0257\n{root}\n"))),
        ("a size with a sign", signed(&format!("{ORIGIN}\n+257\n{root}\n"))),
        ("a size of 2^64", signed(&format!("{ORIGIN}\n18446744073709551616\n{root}\n"))),
        ("a root of 31 bytes", signed(&format!("{ORIGIN}\n257\n{}\n", BASE64.encode([0; 31])))),
        ("two lines", signed(&format!("{ORIGIN}\n257\n"))),
        ("another origin", signed(&format!("example.org/other\n257\n{root}\n"))),
        ("no origin", signed(&format!("\n257\n{root}\n"))),
    ]
}

/// The last digit before the padding of the root carries two bits that mean nothing.
fn unused_bits(note: &str) -> String {
    let root = BASE64.encode([0x5a; 32]);
    assert!(root.ends_with("lo="));
    signed(&note.split_once("\n\n").map(|(text, _)| format!("{text}\n")).unwrap().replace("lo=\n", "lp=\n"))
}

#[test]
fn keys_notes_and_checkpoints() {
    let (key, note) = (signer().verifier(), checkpoint().sign(&signer()).to_string());
    let foreign = Signer::from_seed("witness.example", &[9; 32]).unwrap().sign(checkpoint().to_text());
    let mut cosigned: Note = note.parse().unwrap();
    cosigned.signatures.splice(0..0, foreign.signatures);
    let extended = signed(&format!("{}more\n", checkpoint().to_text()));
    let valid = [("signed", note.clone()), ("cosigned", cosigned.to_string()), ("with an extension line", extended)];
    let refused = refused(&note);
    for (what, note) in &valid {
        assert_eq!(open(note, &key), Ok(checkpoint()), "{what}");
    }
    for (why, note) in &refused {
        assert!(open(note, &key).is_err(), "{why}");
    }
    let valid = valid.map(|(what, note)| json!({"what": what, "note": note}));
    let refused: Vec<_> = refused.iter().map(|(why, note)| json!({"why": why, "note": note})).collect();
    check(
        "notes.json",
        &json!({
            "name": ORIGIN, "seed": hex(SEED), "public_key": key.to_string(), "secret_key": signer().to_secret_text(),
            "size": 257, "root": hex([0x5a; 32]), "valid": valid, "refused": refused,
        }),
    );
}
