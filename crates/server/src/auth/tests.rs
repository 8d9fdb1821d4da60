//! Tokens from creation to refusal.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::file::TokenError;
use super::guard::Denied;
use super::header::{TOKEN_HEADER, presented_token};
use super::store::Known;
use super::token::TokenText;
use super::*;
use crate::watch::{Pace, Stamp};

/// Tokens that look at their file on every use.
fn watched(folder: &std::path::Path) -> Tokens {
    Tokens::load_every(folder, Pace::new(Duration::ZERO)).unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

#[test]
fn a_token_is_shown_once_and_kept_as_a_hash() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new/data");
    let tokens = Tokens::load(&data).unwrap();
    assert!(tokens.is_empty());
    let (token, text) = tokens.create("ci", Role::Call).unwrap();
    assert!(!tokens.is_empty());
    let parts: Vec<_> = text.reveal().splitn(3, '_').collect();
    assert_eq!((parts[0], parts[1], parts[2].len()), ("onr", token.id.as_str(), 43));
    let kept = std::fs::read_to_string(data.join("tokens.json")).unwrap();
    assert!(kept.contains(&token.id) && !kept.contains(parts[2]));
    let mode = std::fs::metadata(data.join("tokens.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!format!("{text:?}").contains(parts[2]));
    assert_eq!(*Tokens::load(&data).unwrap().list(), vec![token]);
}

#[test]
fn only_the_exact_text_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = Tokens::load(folder.path()).unwrap();
    let (token, text) = tokens.create("ci", Role::Read).unwrap();
    let (_, other) = tokens.create("other", Role::Admin).unwrap();
    let text = text.reveal();
    let expected =
        Identity { name: "ci".into(), role: Role::Read, token: Some(token.id), token_in_authorization: false };
    assert_eq!(tokens.verify(text), Some(expected));
    let swapped = format!("{}{}", &text[..13], &other.reveal()[13..]);
    let upper = text.to_uppercase();
    for wrong in ["", "onr_", "onr_é234567_", &text[..55], &format!("{text}a"), &swapped, &upper, &text[4..]] {
        assert_eq!(tokens.verify(wrong), None, "{wrong}");
    }
}

#[test]
fn a_running_server_follows_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = watched(folder.path());
    let command = Tokens::load(folder.path()).unwrap();
    let (token, text) = command.create("ci", Role::Call).unwrap();
    assert!(server.verify(text.reveal()).is_some());
    assert!(command.revoke(&token.id).unwrap().revoked.is_some());
    assert!(server.verify(text.reveal()).is_none());
    assert!(!server.is_empty(), "a revoked token still closes the door");
    let again = command.revoke(&token.id).unwrap_err().to_string();
    assert!(again.contains(&token.id) && again.contains("onrecord token list"), "{again}");
}

#[test]
fn a_file_that_could_not_be_read_once_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = Tokens::load(folder.path()).unwrap();
    let (token, _) = tokens.create("ci", Role::Call).unwrap();
    let mut known = Known::read(folder.path()).unwrap();
    tokens.revoke(&token.id).unwrap();
    let stamp = Stamp::of(&folder.path().join("tokens.json"));
    let failed = || Err(TokenError::NoSuchToken("too many open files".into()));
    known.follow(stamp, failed);
    assert_eq!(known.tokens[0].revoked, None);
    known.follow(stamp, || Ok(Tokens::load(folder.path())?.list().to_vec()));
    assert!(known.tokens[0].revoked.is_some(), "the file has not changed since, and was not read");
    known.follow(stamp, || panic!("it was read and has not changed"));
}

#[test]
fn a_damaged_file_is_refused_at_start_and_ignored_later() {
    let folder = tempfile::tempdir().unwrap();
    let server = watched(folder.path());
    let (_, text) = server.create("ci", Role::Call).unwrap();
    let path = folder.path().join("tokens.json");
    for (content, expected) in [
        ("{", "is damaged"),
        (r#"{"version":1,"tokens":[],"more":1}"#, "is damaged"),
        (r#"{"version":2,"keys":[]}"#, "has version 2"),
    ] {
        std::fs::write(&path, content).unwrap();
        assert!(server.verify(text.reveal()).is_some());
        let error = Tokens::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("tokens.json"), "{error}");
        assert!(server.create("x", Role::Call).is_err(), "a file that is not understood is not replaced");
    }
}

#[test]
fn names_that_cannot_stand_in_a_record_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = Tokens::load(folder.path()).unwrap();
    for name in ["", "anonymous", "a\nb", &"x".repeat(65)] {
        assert!(matches!(tokens.create(name, Role::Call), Err(TokenError::BadName { .. })), "{name:?}");
    }
    tokens.create(&"é".repeat(64), Role::Call).unwrap();
}

#[test]
fn creating_at_once_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let folder = folder.path();
            // Each has its own lock file handle, as each process would.
            scope.spawn(move || {
                let tokens = Tokens::load(folder).unwrap();
                for round in 0..5 {
                    tokens.create(&format!("{worker}-{round}"), Role::Call).unwrap();
                }
            });
        }
    });
    let tokens = Tokens::load(folder.path()).unwrap().list();
    let ids: std::collections::HashSet<_> = tokens.iter().map(|token| &token.id).collect();
    assert_eq!((tokens.len(), ids.len()), (40, 40));
}

#[test]
fn where_a_request_carries_its_token() {
    for (pairs, expected) in [
        (&[("x-onrecord-token", "onr_a")][..], Some("onr_a")),
        (&[("x-onrecord-token", "onr_a"), ("authorization", "Bearer onr_b")], Some("onr_a")),
        (&[("authorization", "Bearer onr_b")], Some("onr_b")),
        (&[("authorization", "bearer  onr_b ")], Some("onr_b")),
        (&[("authorization", "Bearer sk-1"), ("authorization", "Bearer onr_b")], Some("onr_b")),
        (&[("authorization", "Bearer sk-1")], None),
        (&[("authorization", "Basic onr_b")], None),
        (&[("authorization", "onr_b")], None),
        (&[("x-onrecord-token", "\u{e9}")], None),
        (&[], None),
    ] {
        assert_eq!(presented_token(&headers(pairs)), expected, "{pairs:?}");
    }
}

#[test]
fn another_secret_is_compared_as_a_whole() {
    for (presented, same) in [("s3cret", true), ("s3cre", false), ("s3crets", false), ("", false)] {
        assert_eq!(is_token(&headers(&[(TOKEN_HEADER, presented)]), "s3cret"), same, "{presented}");
    }
    assert!(!is_token(&headers(&[(TOKEN_HEADER, "")]), ""));
}

#[test]
fn a_request_is_decided_by_token_and_role() {
    let folder = tempfile::tempdir().unwrap();
    let server = watched(folder.path());
    let nothing = HeaderMap::new();
    assert_eq!(server.authorize(&nothing, Role::Admin), Ok(Identity::anonymous()));
    assert!(
        server.authorize(&headers(&[("authorization", "Bearer onr_x")]), Role::Call).unwrap().token_in_authorization
    );

    let tokens = Tokens::load(folder.path()).unwrap();
    let (_, call) = tokens.create("app", Role::Call).unwrap();
    let (_, admin) = tokens.create("ops", Role::Admin).unwrap();
    let bearer = |text: &TokenText| headers(&[(AUTHORIZATION.as_str(), &format!("Bearer {}", text.reveal()))]);
    assert_eq!(server.authorize(&nothing, Role::Call), Err(Denied::Missing));
    assert_eq!(server.authorize(&headers(&[(TOKEN_HEADER, "onr_x")]), Role::Call), Err(Denied::Unknown));
    let app = server.authorize(&bearer(&call), Role::Call).unwrap();
    assert_eq!((app.name.as_str(), app.token_in_authorization), ("app", true));
    let denied = Denied::Role { has: Role::Call, needed: Role::Read };
    assert_eq!(server.authorize(&bearer(&call), Role::Read), Err(denied));
    for role in [Role::Call, Role::Ingest, Role::Read, Role::Admin] {
        let ops = server.authorize(&headers(&[(TOKEN_HEADER, admin.reveal())]), role).unwrap();
        assert_eq!((ops.name.as_str(), ops.token_in_authorization), ("ops", false));
    }
}

#[test]
fn a_deleted_file_does_not_open_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = watched(folder.path());
    let (_, text) = server.create("app", Role::Call).unwrap();
    std::fs::remove_file(folder.path().join("tokens.json")).unwrap();
    assert_eq!(server.authorize(&HeaderMap::new(), Role::Call), Err(Denied::Missing));
    assert!(server.verify(text.reveal()).is_some());
    assert!(Tokens::load(folder.path()).unwrap().is_empty());
}

#[test]
fn a_page_of_the_internet_does_not_name_this_machine() {
    for (host, is_taken) in [
        ("", true),
        ("localhost", true),
        ("LOCALHOST:4100", true),
        ("127.0.0.1:4100", true),
        ("[::1]", true),
        ("[::1]:4100", true),
        ("gateway:4100", true),
        ("host.docker.internal:4100", true),
        ("Box.Local", true),
        ("evil.example", false),
        ("evil.example:4100", false),
        ("127.0.0.1.evil.example", false),
        ("localhost.evil.example", false),
        ("notlocal.example", false),
        (".internal", false),
    ] {
        let named = names_this_machine(&headers(&[("host", host)]));
        assert_eq!(named.is_ok(), is_taken, "{host}");
        assert!(named.err().is_none_or(|problem| problem.contains(host) && problem.contains("onrecord token create")));
    }
    assert!(names_this_machine(&HeaderMap::new()).is_ok(), "HTTP/2 and HTTP/1.0");
}
