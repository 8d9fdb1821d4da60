//! Every key of the configuration file. The documentation here is what `onrecord config example` prints.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use url::Url;

use super::alert::{Statement, WebhookUrl};
use super::forward::{Condition, Facility, ForwardTo, From, HeaderLines, SyslogAddress};
use super::raw::Raw;
use super::section::{Key, Section, flag, number, plain, section, text, unset, unset_list, unset_number};
use super::size::ByteSize;
use onrecord_proof::cosignature::Witness as WitnessKey;
use onrecord_proof::note::Verifier;

use crate::shipping::Content;

use super::value::{LogFormat, LogName, OnLogFailure, PathPrefix, Release, Secret, ServerKind, StoreUrl, UpstreamName};

/// All sections in the order of the file.
pub(super) const SECTIONS: [&Section; 19] = [
    &Top::SECTION,
    &Gateway::SECTION,
    &Upstream::SECTION,
    &Probe::SECTION,
    &Api::SECTION,
    &Postgres::SECTION,
    &Ingest::SECTION,
    &Log::SECTION,
    &SigningKey::SECTION,
    &Witness::SECTION,
    &Witnesses::SECTION,
    &Anchor::SECTION,
    &Timestamp::SECTION,
    &Lake::SECTION,
    &Keep::SECTION,
    &Forward::SECTION,
    &Alert::SECTION,
    &Tls::SECTION,
    &Telemetry::SECTION,
];

section! {
    /// Where the log is and what it is called.
    Top = "" {
        /// The data folder: log, keys, tables and access tokens. Created if it is missing.
        /// Also `--data` and ONRECORD_DATA.
        data: PathBuf = text("./onrecord-data");
        /// The name of the log, which its signed checkpoints carry; used when the log is created and fixed from then on.
        /// Without it, a name is made of this host's and a random part.
        origin: Option<LogName> = unset("example.org/onrecord/support");
    }
}

section! {
    /// The gateway between the applications and the model server.
    Gateway = "gateway" {
        /// The address to listen on. Anything but loopback needs an access token (`onrecord token create`).
        /// Also `--listen` and ONRECORD_LISTEN.
        listen: SocketAddr = text("127.0.0.1:4100");
        /// The model server, http:// or https://. A path in it precedes the path of each call. Where there are several,
        /// each is an `[[upstream]]`, and this one takes the calls that none of them is for.
        /// Also `--upstream` and ONRECORD_UPSTREAM.
        upstream: Option<Url> = unset("http://127.0.0.1:11434");
        /// The model server's key. It replaces the `Authorization` of each call.
        upstream_key: Option<Secret> = unset("sk-…");
        /// The environment variable that holds the model server's key, instead of `upstream_key`.
        upstream_key_env: Option<String> = unset("UPSTREAM_KEY");
        /// How long connecting to the model server may take.
        connect_timeout: Duration = text("10s").between("1ms", "10m");
        /// How long the model server may send nothing at all, before its answer starts or within it.
        response_timeout: Duration = text("600s").between("1ms", "24h");
        /// How long a client may pause within its request, and how long it may take nothing of its answer.
        client_timeout: Duration = text("60s").between("1ms", "1h");
        /// The largest request body; a larger one is refused with status 413.
        max_request_body: ByteSize = text("64 MiB").between("1 KiB", "1 GiB");
        /// How much of a request or answer is kept. A longer one still passes in full; its record says that it was cut.
        max_captured_body: ByteSize = text("16 MiB").between("1 KiB", "256 MiB");
        /// The largest header section of a request; a larger one is refused with status 431.
        max_header_size: ByteSize = text("64 KiB").between("8 KiB", "1 MiB");
        /// How many calls may be under way at once; further ones are refused with status 503.
        max_in_flight: usize = number(1024).within(1, 65_536);
        /// Whether to keep a streamed answer's bytes as they came, besides what was understood of them.
        keep_raw_stream: bool = flag(false);
        /// How many alternatives per token the server of `upstream` is asked for although the client did not ask; what it
        /// sends because of it goes on record and not to the client. 0 asks for nothing. An `[[upstream]]` has its own.
        decisions: usize = number(0).within(0, 20);
        /// How long calls under way may take to end when the program is told to stop.
        shutdown_grace: Duration = text("30s").between("0s", "1h");
    }
}

section! {
    /// One of several model servers. A call goes to the one whose `path_prefix` its path begins with, else to the first
    /// one that lists its model, else to `gateway.upstream`, or without that to the first one that lists neither models
    /// nor a prefix. Without such a one too, a model that none lists is answered with status 404.
    Upstream = "upstream" { repeated: true } {
        /// Its name in the records. Also `--upstream NAME=URL`, which changes the URL of the entry of this name or adds
        /// one that is reached below `/NAME`.
        name: Option<UpstreamName> = unset("small");
        /// Its address, http:// or https://. A path in it precedes the path of each call.
        url: Option<Url> = unset("http://127.0.0.1:8080");
        /// Its key. It replaces the `Authorization` of each call.
        key: Option<Secret> = unset("sk-…");
        /// The environment variable that holds its key, instead of `key`.
        key_env: Option<String> = unset("SMALL_KEY");
        /// Which server it is: "auto" finds out; or "openai", "llama.cpp", "ollama", "vllm", "tgi", "sglang", "lmstudio".
        kind: ServerKind = text("auto");
        /// The models that it serves. `*` stands for any characters, `?` for one.
        models: Option<Vec<String>> = unset_list(&["qwen3*", "*/SmolLM2-*"]);
        /// Calls whose path begins with this go to it, without it.
        path_prefix: Option<PathPrefix> = unset("/small");
        /// How many alternatives for each token to record, asking the server for them where the client does not; 0 asks
        /// for nothing.
        decisions: usize = number(0).within(0, 20);
    }
}

section! {
    /// What the model server runs and how busy it is: asked of it, put on record, and referred to by each call.
    Probe = "probe" {
        /// Whether to ask at all.
        enabled: bool = flag(true);
        /// How often to ask. It is also asked at start, and when an answer looks different.
        interval: Duration = text("60s").between("1s", "24h");
        /// For so many calls a minute the model server is asked afterwards what the model read: the chat template filled
        /// in, and its tokens (llama.cpp and vLLM). 0 asks for none.
        prompts_per_minute: usize = number(0).within(0, 100_000);
        /// How long after `onrecord deploy` a change is no drift.
        deployment_window: Duration = text("30m").between("1s", "168h");
    }
}

section! {
    /// The API that the command line, dashboards and scripts ask.
    Api = "api" {
        /// The address to listen on. Anything but loopback needs an access token (`onrecord token create`).
        /// Also `--api` and ONRECORD_API.
        listen: SocketAddr = text("127.0.0.1:4180");
        /// Whether anybody may read checkpoints, tiles and leaves below `/log/` without an access token. Leaves hold ids, kinds,
        /// times and commitments, no payload.
        public_log: bool = flag(false);
    }
}

section! {
    /// The PostgreSQL protocol, over which psql, drivers and dashboards read the tables in SQL; the password is an access
    /// token of the role read. It has the limits of `[lake]`, and with `[tls]` it is encrypted.
    Postgres = "postgres" {
        /// The address to listen on; without it, nothing listens. Anything but loopback needs an access token.
        listen: Option<SocketAddr> = unset("127.0.0.1:5433");
        /// How many connections there can be at a time.
        connections: usize = number(64).within(1, 10_000);
    }
}

section! {
    /// Spans of pipelines that come in over OTLP, the protocol of OpenTelemetry.
    Ingest = "ingest" {
        /// Whether to listen for spans at all.
        otlp: bool = flag(true);
        /// The address for OTLP over gRPC. Anything but loopback needs an access token. Where this default is taken,
        /// by a collector say, the program goes on without it.
        grpc: SocketAddr = text("127.0.0.1:4317");
        /// The address for OTLP over HTTP, path `/v1/traces`. The same holds for it.
        http: SocketAddr = text("127.0.0.1:4318");
        /// The largest request, packed or not; a larger one is refused.
        max_body: ByteSize = text("16 MiB").between("64 KiB", "1 GiB");
    }
}

section! {
    /// The log itself.
    Log = "log" {
        /// What happens to calls while the log cannot be written: "refuse" answers 503 before the model is called,
        /// "forward" lets them pass unrecorded and later logs how many there were.
        on_log_failure: OnLogFailure = text("refuse");
        /// When an answer may end: "after-commit" holds back its last bytes until its record is durable,
        /// "at-once" does not wait, so a crash can lose the record of an answer that was given.
        release: Release = text("after-commit");
        /// The size of one write-ahead file.
        segment_size: ByteSize = text("64 MiB").between("1 MiB", "2 GiB");
        /// How often a checkpoint is signed while records arrive.
        checkpoint_interval: Duration = text("1s").between("100ms", "1h");
        /// While nothing else is recorded, a heartbeat is, so often: whoever follows the log sees that it has not stopped.
        /// "0s" records none.
        heartbeat: Duration = text("5m").between("0s", "24h");
    }
}

section! {
    /// The log's secret key. It is made with the log and kept in the data folder, unless this says otherwise.
    SigningKey = "key" {
        /// The environment variable that holds it, as `PRIVATE+KEY+…`.
        env: Option<String> = unset("ONRECORD_KEY");
        /// The program that signs with it, a key management service say: it gets the bytes to sign on its standard input and
        /// answers the 64 bytes of the Ed25519 signature, as they are or in Base64. Needs `public`.
        command: Option<Vec<String>> = unset_list(&["/usr/local/bin/sign-with-kms", "alias/onrecord"]);
        /// The public key that `command` signs for.
        public: Option<Verifier> = unset("example.org/log+5e2cef00+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs");
    }
}

section! {
    /// Others that cosign the checkpoints of this log (C2SP tlog-witness), each only if it has seen no other history of it:
    /// `onrecord witness` runs one. When the program starts, a log that is behind one of them is refused.
    Witness = "witness" { repeated: true } {
        /// Its public key, as it prints it.
        key: Option<WitnessKey> = unset("example.org/witness+40ada13c+BJY/lr65PvpB4iZUtdxIdtyhNH7V53T5/u1UYMn27iEF");
        /// Where it takes checkpoints: the URL in front of `/add-checkpoint`.
        url: Option<Url> = unset("https://witness.example.org");
        /// Its name in messages, instead of that of its key.
        name: Option<String> = unset("audit");
    }
}

section! {
    /// How the witnesses are asked.
    Witnesses = "witnesses" {
        /// How many of them must cosign a checkpoint for it to count as witnessed; without it, more than half.
        quorum: Option<usize> = unset_number(2).within(1, 64);
        /// How often a new checkpoint is shown to them.
        interval: Duration = text("10s").between("100ms", "24h");
        /// How long one may take to answer.
        timeout: Duration = text("5s").between("100ms", "1m");
    }
}

section! {
    /// A copy of the last checkpoint on other storage. When the program starts, a log that is behind it is refused.
    Anchor = "anchor" {
        /// The file with the copy.
        path: Option<PathBuf> = unset("/mnt/elsewhere/onrecord-checkpoint");
        /// Or a URL that takes it with PUT and gives it back with GET.
        url: Option<Url> = unset("https://example.org/onrecord-checkpoint");
        /// How often it is written at most.
        interval: Duration = text("10s").between("100ms", "24h");
    }
}

section! {
    /// Timestamps over checkpoints (RFC 3161): an authority says by when the log had its records. Evidence carries them.
    Timestamp = "timestamp" {
        /// The authority's address.
        url: Option<Url> = unset("http://timestamp.example.org");
        /// How often the last checkpoint is stamped, if there is a new one.
        interval: Duration = text("1h").between("100ms", "168h");
    }
}

section! {
    /// The tables that records move to, and the queries over them.
    Lake = "lake" {
        /// The bucket, and a prefix in it, that has the tables: `s3://`, `gs://` or `az://`; without it, they are in the data
        /// folder. Fixed once the first records have moved there. Also ONRECORD_STORE. Accounts and addresses come from the
        /// environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_…, AZURE_…).
        store: Option<StoreUrl> = unset("s3://audit/support");
        /// Records move from the log to the tables after this time at the latest.
        seal_after: Duration = text("60s").between("1s", "24h");
        /// They move earlier once there are this many bytes of them.
        seal_bytes: ByteSize = text("32 MiB").between("1 MiB", "1 GiB");
        /// Data files of a day are put together until they are at least this large.
        compact_from: ByteSize = text("128 MiB").between("1 MiB", "64 GiB");
        /// They are put together into files of about this size at most.
        compact_to: ByteSize = text("256 MiB").between("1 MiB", "64 GiB");
        /// How often a look is taken at which data files are due to be put together.
        compact_every: Duration = text("30s").between("10ms", "24h");
        /// The memory that one query may use.
        query_memory: ByteSize = text("256 MiB").between("16 MiB", "1 TiB");
        /// How long one query may run.
        query_time: Duration = text("30s").between("10ms", "24h");
        /// How many rows one query may return.
        query_rows: usize = number(100_000).within(1, 100_000_000);
    }
}

section! {
    /// How long records are kept. Without a policy nothing is disposed of.
    Keep = "retention" {
        /// The file with the rules: `presets = ["eu-ai-act"]` (also hipaa, pci-dss, gdpr-minimal), `[[rule]]` with a `name`,
        /// what it is about (`kind`, `model`, `tag`, `outcome`), `payload_days` and `metadata_days`, and a `[floor]` of both
        /// under which nothing goes. Of several rules that match a record, the longest counts.
        policy: Option<PathBuf> = unset("retention.toml");
        /// How often what is due is disposed of while the server runs; without it, only `onrecord retention run` does.
        every: Option<Duration> = unset("24h").between("1s", "8760h");
    }
}

section! {
    /// Log aggregation that records are forwarded to as they come, at least once and in their order: docs/forwarding.md.
    Forward = "forward" { repeated: true } {
        /// Its name, by which it keeps its place in the log.
        name: Option<UpstreamName> = unset("siem");
        /// How it is spoken to: "otlp" (log records over HTTP, protobuf) or "syslog" (RFC 5424).
        to: Option<ForwardTo> = unset("syslog");
        /// Where syslog is taken: tcp://, tls:// or udp:// with host and port, or the path of a local socket after unix://.
        address: Option<SyslogAddress> = unset("tls://logs.example.org:6514");
        /// Where OTLP is taken, http:// or https://; without a path it is `/v1/logs`.
        url: Option<Url> = unset("http://collector.example.org:4318/v1/logs");
        /// Headers of each request, for a key say.
        headers: Option<HeaderLines> = unset_list(&["authorization: Bearer token"]);
        /// The environment variable that holds headers, one a line, instead of `headers` or beside it.
        headers_env: Option<String> = unset("FORWARD_HEADERS");
        /// The file that does. It is read when the program starts.
        headers_file: Option<PathBuf> = unset("/etc/onrecord/forward-headers");
        /// Whether requests are compressed.
        gzip: bool = flag(true);
        /// The facility of syslog messages.
        facility: Facility = text("local0");
        /// The host's name in them; without it, the system's.
        hostname: Option<String> = unset("gateway-1");
        /// The private enterprise number in the name of their structured data, `onrecord@32473`; this one is for documentation
        /// (RFC 5612), so it is nobody's.
        enterprise: usize = number(32473).within(1, 4_294_967_295);
        /// The certificates of authorities to believe, in PEM form, instead of the system's.
        ca: Option<PathBuf> = unset("/etc/onrecord/ca.pem");
        /// The certificate to show, in PEM form, followed by those of its issuers. Needs `key`.
        cert: Option<PathBuf> = unset("/etc/onrecord/client.pem");
        /// Its private key in PEM form. Needs `cert`.
        key: Option<PathBuf> = unset("/etc/onrecord/client-key.pem");
        /// Which records: an SQL condition over the columns of `records`. Without it, all of every kind.
        r#where: Option<Condition> = unset("kind IN ('interaction', 'access', 'disposal')");
        /// "metadata" leaves inputs, outputs and token decisions where they are; "all" sends them too, and each batch that
        /// holds some is an access on record.
        content: Content = text("metadata");
        /// Where a destination begins that is new: "end" sends what comes from then on, "beginning" all that the log has.
        from: From = text("end");
        /// The largest record; the longest values of a larger one are cut, and it says so. Without it, 8 KiB for syslog and
        /// 1 MiB for OTLP.
        max_record: Option<ByteSize> = unset("8 KiB").between("480 B", "16 MiB");
        /// How many records are sent at once.
        batch: usize = number(500).within(1, 10_000);
        /// How long a record may wait for others.
        interval: Duration = text("1s").between("50ms", "1h");
        /// How long sending a batch may take.
        timeout: Duration = text("10s").between("100ms", "10m");
    }
}

section! {
    /// A rule that is looked at now and then. What it finds is on record, in the view `alerts`: docs/alerts.md.
    Alert = "alert" { repeated: true } {
        /// Its name.
        name: Option<UpstreamName> = unset("failures");
        /// A statement over the views. Each row that it gives is something to be told, once, until it is gone; rows are told
        /// apart by their texts and times, while numbers may change. `note` is what is said of it; `id`, `session`, `model` and
        /// `upstream` what it is about; `score` what raised it.
        query: Option<Statement> = unset("SELECT model, count(*) AS failed FROM interactions WHERE committed_at > now() - INTERVAL '5 minutes' AND error_type IS NOT NULL GROUP BY model HAVING count(*) >= 5");
        /// How often it is looked at.
        interval: Duration = text("1m").between("1s", "24h");
        /// Where it is posted to as JSON, http:// or https://. Its member `text` says it in words, as chat programs want it.
        webhook: Option<WebhookUrl> = unset("https://chat.example.org/hooks/onrecord");
        /// Headers of each such request, for a key say.
        headers: Option<HeaderLines> = unset_list(&["authorization: Bearer token"]);
        /// The environment variable that holds headers, one a line, instead of `headers` or beside it.
        headers_env: Option<String> = unset("ALERT_HEADERS");
        /// The file that does. It is read when the program starts.
        headers_file: Option<PathBuf> = unset("/etc/onrecord/alert-headers");
    }
}

section! {
    /// HTTPS for the clients of the gateway; plain HTTP without it. The files are read again when they change.
    Tls = "tls" {
        /// The certificate in PEM form, followed by those of its issuers. Needs `key`.
        cert: Option<PathBuf> = unset("/etc/onrecord/cert.pem");
        /// The private key of the certificate in PEM form. Needs `cert`.
        key: Option<PathBuf> = unset("/etc/onrecord/key.pem");
    }
}

section! {
    /// The program's own messages, which go to standard error.
    Telemetry = "telemetry" {
        /// The least important messages shown: "off", "error", "warn", "info", "debug" or "trace".
        level: LevelFilter = text("info");
        /// "text" for people, "json" for machines, one object per line.
        format: LogFormat = text("text");
    }
}
