//! Files, flags and environments in, values or problems out.

use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::keys::SECTIONS;
use super::size::ByteSize;
use super::*;

fn load_with(flags: &Overrides, folder: &TempDir, variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    load_from(flags, folder.path(), &lookup)
}

/// What loading `text` from `onrecord.toml` in the working folder gives.
fn load_text(text: &str) -> Result<Loaded, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE_NAME), text).unwrap();
    load_with(&Overrides::default(), &folder, &[])
}

/// Asserts the problems of `text`, with the file's folder left out.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE_NAME), text).unwrap();
    let error = load_with(&Overrides::default(), &folder, &[]).unwrap_err().to_string();
    let shown = error.replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn the_example_is_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let without = load_with(&Overrides::default(), &folder, &[]).unwrap();
    fs::write(folder.path().join(FILE_NAME), example()).unwrap();
    let mut with = load_with(&Overrides::default(), &folder, &[]).unwrap();
    assert_eq!(with.config.data, folder.path().join("./onrecord-data"));
    with.config.data = without.config.data.clone();
    assert_eq!(with.config, without.config);
    assert_eq!(without.config.gateway.response_timeout, Duration::from_mins(10));
    assert_eq!(without.config.gateway.max_captured_body.bytes(), 16 << 20);
}

#[test]
fn the_example_has_every_key_and_each_can_be_set() {
    let example = example();
    for section in SECTIONS {
        assert!(section.name.is_empty() || example.contains(&format!("{}\n", section.title())));
        for key in section.keys {
            let line = format!("{} = {}\n", key.name, key.preset.value);
            assert!(example.contains(&format!("\n{line}")) || example.contains(&format!("\n# {line}")), "{line}");
            assert!(key.doc.trim().ends_with('.'), "{} is not documented", key.name);
            let header = if section.name.is_empty() { String::new() } else { format!("{}\n", section.title()) };
            let needed = if section.repeated {
                let count = if section.name == "forward" { 3 } else { 2 };
                let needed = section.keys[..count].iter().filter(|other| other.name != key.name);
                needed.map(|key| format!("{} = {}", key.name, key.preset.value)).collect::<Vec<_>>().join("\n")
            } else {
                String::new()
            };
            match load_text(&format!("{header}{line}{needed}")) {
                Ok(_) => {}
                Err(error) => {
                    // The example is one of syslog, to which what is OTLP's does not belong.
                    let alien = section.name == "forward" && (key.name == "url" || key.name.starts_with("headers"));
                    assert!(
                        alien
                            || matches!(
                                key.name,
                                "cert" | "key" | "command" | "public" | "upstream_key" | "policy" | "every"
                            ),
                        "{error}"
                    );
                }
            }
        }
    }
}

#[test]
fn where_records_are_forwarded_to() {
    let otlp = "[[forward]]\nname = \"a\"\nto = \"otlp\"\nurl = \"http://collector:4318\"\n";
    let syslog = "[[forward]]\nname = \"b\"\nto = \"syslog\"\naddress = \"udp://[::1]:514\"\nfacility = \"audit\"\n";
    let secret = "headers = [\"authorization: Bearer s3cret\"]\n";
    let loaded = load_text(&format!("{otlp}{secret}{syslog}")).unwrap();
    let shown: Vec<_> = loaded.config.forward.iter().map(|one| one.to.to_string()).collect();
    assert_eq!(shown, ["http://collector:4318/v1/logs", "udp://[::1]:514"]);
    assert!(!format!("{loaded:?}").contains("s3cret"));
    let problem = |text: String| load_text(&text).unwrap_err().to_string();
    for (text, expect) in [
        (format!("{otlp}{otlp}"), "`forward[2].name` cannot be set: another destination has this name"),
        (format!("{syslog}{secret}"), "`forward[1].headers` cannot be set: it is for `to = \"otlp\"`"),
        (format!("{otlp}address = \"tcp://h:1\"\n"), "`forward[1].address` cannot be set: it is for `to = \"syslog\"`"),
        (format!("{otlp}where = \"kind =\"\n"), "`forward[1].where = \"kind =\"` cannot be used"),
        (format!("{otlp}where = \"true) OR (true\"\n"), "it ends before )"),
        (format!("{syslog}max_record = \"1 MiB\"\n"), "a datagram has at most 65000 bytes"),
        (format!("{syslog}cert = \"c.pem\"\n"), "it has no `key` beside it"),
        ("[[forward]]\nname = \"a\"\n".to_owned(), "`forward[1]` has no `to`"),
        (syslog.replace("udp://[::1]:514", "udp://host"), "must be tcp://host:port, tls://host:port"),
        (syslog.replace("audit", "local8"), "(did you mean \"local7\"?)"),
    ] {
        let problem = problem(text);
        assert!(problem.contains(expect), "{problem}");
    }
}

#[test]
fn unknown_names_get_guidance() {
    check(
        "[gateway]\nlisten = \"127.0.0.1:1\"\nupsteam = \"http://x\"\n",
        &["onrecord.toml:3: unknown key `upsteam` in [gateway], did you mean `upstream`?"],
    );
    check(
        "upstream = \"http://x\"\n",
        &[
            "onrecord.toml:1: `upstream` is a section that can be there several times; write [[upstream]], or `upstream` in [gateway]",
        ],
    );
    check(
        "[tls]\ndata = \"x\"\n",
        &["onrecord.toml:2: unknown key `data` in [tls]; it belongs before the first section"],
    );
    check("\n[gatway]\n", &["onrecord.toml:2: unknown section [gatway], did you mean [gateway]?"]);
    check(
        "[zz]\n",
        &[
            "onrecord.toml:1: unknown section [zz]; the sections are [gateway], [[upstream]], [probe], [api], [postgres], [ingest], [log], [key], [[witness]], [witnesses], [anchor], [timestamp], [lake], [retention], [[forward]], [[alert]], [tls], [telemetry]",
        ],
    );
    check("[tls]\nzz = 1\n", &["onrecord.toml:2: unknown key `zz` in [tls]; the keys here are `cert`, `key`"]);
    check("log = 3\n", &["onrecord.toml:1: `log` is a section, not a value; write [log]"]);
}

#[test]
fn every_problem_is_reported_with_its_place() {
    check(
        "[gateway]\nmax_in_flight = 0\nlisten = \"localhost\"\n[lake]\nquery_time = 30\nseal_bytes = \"32\"\n",
        &[
            "onrecord.toml:3: `gateway.listen = \"localhost\"` must be an IP address and a port, an IPv6 address in \
             brackets; write for example `listen = \"127.0.0.1:4100\"`",
            "onrecord.toml:2: `gateway.max_in_flight = 0` must be from 1 to 65536; write for example \
             `max_in_flight = 1024`",
            "onrecord.toml:6: `lake.seal_bytes = \"32\"` must be a whole number with a unit: B, KiB, MiB, GiB, TiB, \
             kB, MB, GB or TB; write for example `seal_bytes = \"32 MiB\"`",
            "onrecord.toml:5: `lake.query_time = 30` must be a number with a unit: ms, s, m or h; write for example \
             `query_time = \"30s\"`",
        ],
    );
}

#[test]
fn a_bucket_is_no_data_folder() {
    let error = load_text("data = \"s3://audit/support\"\n").unwrap_err().to_string();
    assert!(error.contains("a folder on a local disk") && error.contains("set `store` in [lake]"), "{error}");
}

#[test]
fn each_type_says_what_it_wants() {
    let reasons = [
        ("gateway", "listen = 4100", "must be a text in quotes"),
        ("gateway", "upstream = \"\"", "is empty"),
        ("gateway", "upstream = \"localhost:11434\"", "must start with http:// or https://"),
        ("gateway", "upstream = \"ftp://x\"", "must start with http:// or https://"),
        ("gateway", "upstream = \"http://a:b@x\"", "must not hold a user name or password"),
        ("gateway", "upstream = \"http://x/?a=1\"", "must end with its path"),
        (
            "lake",
            "store = \"http://x/y\"",
            "must be s3://, gs:// or az:// with the name of a bucket, and a prefix in it",
        ),
        ("lake", "store = \"s3:///x\"", "must be s3://, gs:// or az:// with the name of a bucket, and a prefix in it"),
        ("lake", "store = \"s3://audit/\"", "must have a prefix behind the bucket"),
        ("lake", "store = \"s3://me:secret@audit/x\"", "must hold neither keys nor options"),
        ("gateway", "keep_raw_stream = \"yes\"", "must be true or false"),
        ("gateway", "max_in_flight = \"9\"", "must be a whole number from 0, without quotes"),
        ("gateway", "max_in_flight = -9", "must be a whole number from 0, without quotes"),
        ("gateway", "client_timeout = \"2h\"", "must be from \"1ms\" to \"1h\""),
        ("gateway", "client_timeout = \"-2s\"", "must not be negative"),
        ("gateway", "max_header_size = \"1 KiB\"", "must be from \"8 KiB\" to \"1 MiB\""),
        ("log", "release = \"aftercommit\"", "(did you mean \"after-commit\"?)"),
        ("log", "segment_size = \"99999999 TiB\"", "must be a whole number with a unit"),
        ("telemetry", "level = \"loud\"", "must be one of \"off\", \"error\""),
        ("tls", "cert = [\"a\"]", "must be a text in quotes"),
    ];
    for (section, line, reason) in reasons {
        let error = load_text(&format!("[{section}]\n{line}\n")).unwrap_err().to_string();
        assert!(error.contains(":2: ") && error.contains(line) && error.contains(reason), "{line}: {error}");
    }
    let error = load_text("origin = \"a b\"\n").unwrap_err().to_string();
    assert!(error.contains("must not contain white space"), "{error}");
}

#[test]
fn malformed_toml_is_located() {
    let error = load_text("[gateway]\n\nlisten = \n").unwrap_err().to_string();
    assert!(error.contains("onrecord.toml:3: this is not TOML: "), "{error}");
    let error = load_text("[gateway]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:1\"\n").unwrap_err().to_string();
    assert!(error.contains("onrecord.toml:3: "), "{error}");
}

#[test]
fn keys_that_exclude_or_need_each_other() {
    check(
        "[gateway]\nupstream_key = \"k\"\nupstream_key_env = \"K\"\n[tls]\ncert = \"c\"\n",
        &[
            "onrecord.toml:5: `tls.cert` cannot be set: it has no `key` beside it; set `key` too, or neither",
            "onrecord.toml:3: `gateway.upstream_key_env` cannot be set: `upstream_key` is set too; keep one of the two",
        ],
    );
    let tls = load_text("[tls]\ncert = \"c.pem\"\nkey = \"/k.pem\"\n").unwrap();
    let files = tls.config.tls.unwrap();
    assert_eq!(files.cert, tls.file.unwrap().with_file_name("c.pem"));
    assert_eq!(files.key, Path::new("/k.pem"));
}

#[test]
fn flags_outrank_environment_outranks_file_outranks_default() {
    let folder = tempfile::tempdir().unwrap();
    let text = "data = \"file\"\n[gateway]\nlisten = \"127.0.0.1:1\"\nupstream = \"http://file\"\n";
    fs::write(folder.path().join(FILE_NAME), text).unwrap();
    let flags = Overrides { listen: Some("127.0.0.1:3".into()), ..Overrides::default() };
    let variables = [("ONRECORD_LISTEN", "127.0.0.1:2"), ("ONRECORD_UPSTREAM", "http://env"), ("ONRECORD_DATA", "")];
    let loaded = load_with(&flags, &folder, &variables).unwrap();
    assert_eq!(loaded.config.gateway.listen.port(), 3);
    assert_eq!(loaded.config.upstreams().unwrap()[0].url.as_str(), "http://env/");
    assert_eq!(loaded.config.data, folder.path().join("file"));
    let place = |key: &str| loaded.effective.iter().find(|entry| entry.key == key).unwrap().place.to_string();
    assert_eq!(place("gateway.listen"), "--listen");
    assert_eq!(place("gateway.upstream"), "environment variable ONRECORD_UPSTREAM");
    assert!(place("data").ends_with("onrecord.toml:1"));
    assert_eq!(place("lake.query_rows"), "default");
    let error = load_with(&flags, &folder, &[("ONRECORD_UPSTREAM", "x y")]).unwrap_err().to_string();
    assert!(error.starts_with("environment variable ONRECORD_UPSTREAM: `gateway.upstream = \"x y\"`"), "{error}");
}

#[test]
fn the_file_is_looked_for_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, rows: u32| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("[lake]\nquery_rows = {rows}\n")).unwrap();
    };
    let rows = |flags: &Overrides| load_with(flags, &folder, &[]).unwrap().config.lake.query_rows;
    let mut flags = Overrides::default();
    assert_eq!(rows(&flags), 100_000);
    write("onrecord-data/onrecord.toml", 1);
    write("other/onrecord.toml", 2);
    assert_eq!(rows(&flags), 1);
    flags.data = Some(folder.path().join("other"));
    assert_eq!(rows(&flags), 2);
    write("onrecord.toml", 3);
    assert_eq!(rows(&flags), 3);
    flags.config = Some(folder.path().join("other/onrecord.toml"));
    assert_eq!(rows(&flags), 2);
    flags.config = Some(folder.path().join("none.toml"));
    let error = load_with(&flags, &folder, &[]).unwrap_err().to_string();
    assert!(error.contains("none.toml: there is no such configuration file; create it with"), "{error}");
}

#[test]
fn a_file_in_the_data_folder_cannot_move_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("onrecord-data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join(FILE_NAME), example()).unwrap();
    let error = load_with(&Overrides::default(), &folder, &[]).unwrap_err().to_string();
    assert!(error.contains("lies in the data folder and cannot name another; remove the line"), "{error}");
    fs::write(data.join(FILE_NAME), "data = \".\"\n").unwrap();
    load_with(&Overrides::default(), &folder, &[]).unwrap();
}

#[test]
fn secrets_are_never_shown() {
    let loaded = load_text("[gateway]\nupstream = \"http://x\"\nupstream_key = \"sk-123\"\n").unwrap();
    assert_eq!(loaded.config.upstreams().unwrap()[0].key.as_ref().unwrap().reveal(), "sk-123");
    assert!(!format!("{loaded:?}").contains("sk-123"));
    let error = load_text("[gateway]\nupstream_key = \"sk 123\"\n").unwrap_err().to_string();
    assert!(error.contains("`gateway.upstream_key = (hidden)` cannot be sent in a header"), "{error}");
    let error = load_text("[gateway]\nupstream_key = \"sk-123\n").unwrap_err().to_string();
    assert!(!error.contains("123"), "{error}");
}

#[test]
fn the_upstream_and_its_key_are_asked_for_when_serving() {
    let none = load_text("").unwrap().config.upstreams().unwrap_err().to_string();
    assert!(none.starts_with("`gateway.upstream` is not set") && none.contains("--upstream"), "{none}");
    let text = "[gateway]\nupstream = \"https://x/v1\"\nupstream_key_env = \"MODEL_KEY\"\n";
    let config = load_text(text).unwrap().config;
    let key = config.upstreams_from(&|name| (name == "MODEL_KEY").then(|| "k".into())).unwrap().remove(0).key;
    assert_eq!(key.unwrap().reveal(), "k");
    let unset = config.upstreams_from(&|_| None).unwrap_err().to_string();
    assert!(unset.contains("`MODEL_KEY`, which `gateway.upstream_key_env` names, is not set"), "{unset}");
}

#[test]
fn several_upstreams() {
    let text = "[gateway]\nupstream = \"http://default\"\n[[upstream]]\nname = \"small\"\nurl = \"http://s\"\n\
                models = [\"qwen3*\"]\nkind = \"llama.cpp\"\ndecisions = 5\n[[upstream]]\nname = \"gpu\"\nurl = \"http://g\"\n\
                path_prefix = \"/gpu/\"\nkey_env = \"GPU_KEY\"\n";
    let loaded = load_text(text).unwrap();
    let all = loaded.config.upstreams_from(&|name| (name == "GPU_KEY").then(|| "k".into())).unwrap();
    assert_eq!(all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["default", "small", "gpu"]);
    assert_eq!((all[1].kind, all[1].decisions, all[1].models[0].as_str()), (ServerKind::LlamaCpp, 5, "qwen3*"));
    assert_eq!(all[2].path_prefix.as_ref().unwrap().0, "/gpu");
    assert_eq!(all[2].key.as_ref().unwrap().reveal(), "k");
    let shown = loaded.effective.iter().find(|entry| entry.key == "upstream[1].decisions").unwrap();
    assert!(shown.value.as_deref() == Some("5") && shown.place.to_string().ends_with("onrecord.toml:8"), "{shown:?}");
    let unset = loaded.config.upstreams_from(&|_| None).unwrap_err().to_string();
    assert!(unset.contains("`GPU_KEY`, which `upstream[2].key_env` names, is not set"), "{unset}");
}

#[test]
fn mistakes_in_upstreams() {
    check(
        "[[upstream]]\nname = \"a b\"\nurl = \"http://x\"\nmodel = \"m\"\n[[upstream]]\nkind = \"lama.cpp\"\ndecisions = 21\nmodels = \"x\"\n",
        &[
            "onrecord.toml:4: unknown key `model` in [[upstream]], did you mean `models`?",
            "onrecord.toml:2: `upstream[1].name = \"a b\"` must consist of letters, digits, `.`, `_` and `-`; write for \
             example `name = \"small\"`",
            "onrecord.toml:6: `upstream[2].kind = \"lama.cpp\"` must be one of \"auto\", \"openai\", \"llama.cpp\", \"ollama\", \
             \"vllm\", \"tgi\", \"sglang\", \"lmstudio\" (did you mean \"llama.cpp\"?); write for example `kind = \"auto\"`",
            "onrecord.toml:8: `upstream[2].models = \"x\"` must be a list of texts, none of them empty; write for example \
             `models = [\"qwen3*\", \"*/SmolLM2-*\"]`",
            "onrecord.toml:7: `upstream[2].decisions = 21` must be from 0 to 20; write for example `decisions = 0`",
        ],
    );
    check(
        "[[upstream]]\nname = \"a\"\n[[upstream]]\nurl = \"http://x\"\nkey = \"k\"\nkey_env = \"K\"\n",
        &[
            "onrecord.toml:1: `upstream[1]` has no `url`; write for example `url = \"http://127.0.0.1:8080\"`",
            "onrecord.toml:3: `upstream[2]` has no `name`; write for example `name = \"small\"`",
            "onrecord.toml:6: `upstream[2].key_env` cannot be set: `key` is set too; keep one of the two",
        ],
    );
    let one = "[[upstream]]\nname = \"a\"\nurl = \"http://x\"\npath_prefix = \"/p\"\n";
    check(
        &format!("{one}{one}"),
        &[
            "onrecord.toml:6: `upstream[2].name` cannot be set: another upstream has this name; give each a name of its own",
            "onrecord.toml:8: `upstream[2].path_prefix` cannot be set: another upstream has this prefix; give each a \
             prefix of its own",
        ],
    );
    check(
        "[gateway]\nupstream = \"http://10.0.0.1:8000/v1\"\n[[upstream]]\nname = \"10.0.0.1\"\nurl = \"http://x\"\n",
        &[
            "onrecord.toml:4: `upstream[1].name` cannot be set: it is the host of `gateway.upstream`, which has that name in \
             the records; give this one another name",
        ],
    );
    check(
        "[upstream]\nurl = \"http://x\"\n",
        &[
            "onrecord.toml:1: `upstream` is a section that can be there several times; write [[upstream]], or `upstream` in [gateway]",
        ],
    );
}

#[test]
fn upstreams_from_flags() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[upstream]]\nname = \"small\"\nurl = \"http://file\"\nmodels = [\"m\"]\n";
    fs::write(folder.path().join(FILE_NAME), text).unwrap();
    let upstreams = ["http://x/a=b", "small=http://flag", "embed=http://e"].map(str::to_owned).into();
    let flags = Overrides { upstreams, ..Overrides::default() };
    let all = load_with(&flags, &folder, &[]).unwrap().config.upstreams_from(&|_| None).unwrap();
    let shown = |one: &Upstream| format!("{} {} {:?}", one.name, one.url, one.path_prefix.as_ref().map(|p| &*p.0));
    assert_eq!(
        all.iter().map(shown).collect::<Vec<_>>(),
        ["x http://x/a=b None", "small http://flag/ None", "embed http://e/ Some(\"/embed\")"]
    );
}

#[test]
fn sizes_read_and_print() {
    for (text, bytes, shown) in [
        ("64 MiB", 64 << 20, "64 MiB"),
        ("512KiB", 512 << 10, "512 KiB"),
        ("1 GB", 1_000_000_000, "1 GB"),
        ("0 B", 0, "0 B"),
        ("1025 B", 1025, "1025 B"),
    ] {
        let size: ByteSize = text.parse().unwrap();
        assert_eq!(size.bytes(), bytes);
        let again: ByteSize = size.to_string().parse().unwrap();
        assert_eq!(again, size);
        assert_eq!(size.to_string(), shown);
    }
    for text in ["", "64", "MiB", "1.5 MiB", "-1 MiB", "1 mib", "1 MiB ", "99999999999 TiB"] {
        assert_eq!(text.parse::<ByteSize>().is_ok(), text == "1 MiB ", "{text:?}");
    }
}

#[test]
fn only_loopback_is_open_without_tokens() {
    for (listen, open) in [
        ("127.0.0.1:4100", true),
        ("127.9.9.9:1", true),
        ("[::1]:4100", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("0.0.0.0:4100", false),
        ("[::]:4100", false),
        ("192.168.1.2:1", false),
    ] {
        let listen = listen.parse().unwrap();
        assert_eq!(check_exposure(listen, false).is_ok(), open, "{listen}");
        assert!(check_exposure(listen, true).is_ok());
    }
    let refused = check_exposure("0.0.0.0:4100".parse().unwrap(), false).unwrap_err().to_string();
    assert!(refused.contains("0.0.0.0:4100") && refused.contains("onrecord token create --role call"));
}
