//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::client::Remote;
use super::export::Rows;
use crate::api::Format;
use crate::auth::Role;
use crate::engine::{By, Measure, Slow};

/// The audit log for small language models: every call of your model server on record, durable, provable, queryable.
#[derive(Debug, Parser)]
#[command(name = "onrecord", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Folder of the log [default: ./onrecord-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration file [default: ./onrecord.toml or the one in the data folder, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Ask the server whose API is at this address, instead of the one that has the data folder open
    #[arg(long, global = true, value_name = "URL", env = "ONRECORD_SERVER", value_parser = server_url)]
    pub server: Option<String>,
    /// Access token for --server
    #[arg(long, global = true, value_name = "TOKEN", env = "ONRECORD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Why you read; goes on record with each access
    #[arg(long, global = true, value_name = "TEXT", env = "ONRECORD_PURPOSE")]
    pub purpose: Option<String>,
}

/// The address of a server's API.
fn server_url(text: &str) -> Result<String, String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(text.to_owned()),
        _ => Err("it must be a URL, as http://127.0.0.1:4180".to_owned()),
    }
}

impl Global {
    pub(crate) fn remote(&self) -> Remote {
        Remote { url: self.server.clone(), token: self.token.clone(), purpose: self.purpose.clone() }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See it work: a small real model, a few conversations, the log that they leave
    #[cfg(feature = "demo")]
    Demo(DemoArgs),
    /// Stand in front of a model server and put every call on record
    Serve(ServeArgs),
    /// Show the newest calls, and with -f each new one as it comes
    Tail(TailArgs),
    /// List calls by time, model, session, request id, outcome or tag
    List(ListArgs),
    /// Show everything about one call
    Show(ShowArgs),
    /// Say what changed between two calls, two configurations or two times
    ConfigDiff(ConfigDiffArgs),
    /// Announce a deployment, so that the change of configuration that follows is no drift
    Deploy(DeployArgs),
    /// List the prompt templates that calls have named
    Templates {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a conversation as it went, or list the sessions that were used last
    Session {
        /// The session; without it, a list
        session: Option<String>,
        /// Sessions of the list at most
        #[arg(short = 'n', long, default_value_t = 50, conflicts_with = "session")]
        limit: usize,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Draw everything that belongs to one trace as a tree with times
    Trace {
        /// The trace id, or the id of any record in it
        #[arg(value_name = "ID")]
        wanted: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Put the text of a prompt template on record
    Template {
        #[command(subcommand)]
        command: TemplateCommand,
    },
    /// Put on record what somebody thinks of an answer
    Feedback(FeedbackArgs),
    /// Find the outliers: calls that took far longer than is usual among their like
    Slow(SlowArgs),
    /// Find records by the words in them, by session, model, tag and more
    Search(SearchArgs),
    /// Ask in SQL; the tables are `interactions`, `steps`, `tokens`, `sessions`, `feedback`, `configs`, `alerts`, `accesses`,
    /// `disposals`, `events` and `records`
    Query(QueryArgs),
    /// Write records to files, with a manifest that ties each row to the log
    Export(ExportArgs),
    /// Verify that nothing in the log was changed, lost or added; exit code 1 if it was
    Verify {
        /// The report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a data folder that no server has open, or a copy of one, from its rows up; and repair what is derived from them
    Fsck(FsckArgs),
    /// Write evidence about one record or many that others can check offline
    Prove(ProveArgs),
    /// Check evidence with nothing but the file and the log's public key; exit code 1 if it does not hold
    Check(CheckArgs),
    /// Follow a log from outside, and shout when its history changes, it falls silent, or witnesses are missing
    Monitor(MonitorArgs),
    /// Run a witness: it cosigns the checkpoints of other logs, each only if nothing in it has changed
    Witness(WitnessArgs),
    /// Count records, files and bytes
    Stats {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Erase parts of records for good; the log still verifies, and says what was erased, why and by whom
    Erase(EraseArgs),
    /// Keep records from being erased, by whomever and whatever
    Hold {
        #[command(subcommand)]
        command: HoldCommand,
    },
    /// Dispose of what the retention policy says
    Retention {
        #[command(subcommand)]
        command: RetentionCommand,
    },
    /// Show how far records were forwarded to log aggregation
    Forward {
        #[command(subcommand)]
        command: ForwardCommand,
    },
    /// Manage access tokens
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Print the log's public key, which evidence is checked with; show, change or export its keys
    Key {
        #[command(subcommand)]
        command: Option<KeyCommand>,
    },
    /// Check the configuration, or print an example of all of it
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a completion script for your shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Exit after the tour
    #[arg(long)]
    pub once: bool,
    /// Begin with an empty folder
    #[arg(long)]
    pub fresh: bool,
    /// Folder for the demo's log
    #[arg(long, value_name = "DIR", default_value = "./onrecord-demo")]
    pub data: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Base URL of the model server, e.g. http://127.0.0.1:11434. Further ones as NAME=URL, each reached below /NAME
    #[arg(long, value_name = "[NAME=]URL")]
    pub upstream: Vec<String>,
    /// Address of the gateway [default: 127.0.0.1:4100]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Address of the API [default: 127.0.0.1:4180]
    #[arg(long, value_name = "ADDR")]
    pub api: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// Go on showing calls as they come
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the newest calls to begin with
    #[arg(short = 'n', long, default_value_t = 10)]
    pub lines: usize,
    /// A JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    /// From this time on: RFC 3339, a date, or how long ago (90m, 2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Model that was asked for or that answered
    #[arg(long)]
    pub model: Option<String>,
    /// Session
    #[arg(long)]
    pub session: Option<String>,
    /// Request id
    #[arg(long)]
    pub request_id: Option<String>,
    /// How it ended: completed, upstream_error, client_disconnected, interrupted, rejected
    #[arg(long)]
    pub outcome: Option<String>,
    /// Tag, as KEY or KEY=VALUE
    #[arg(long)]
    pub tag: Option<String>,
    /// Leave out requests that are no model calls, such as lists of models
    #[arg(long)]
    pub calls_only: bool,
    /// How many
    #[arg(short = 'n', long, default_value_t = 50)]
    pub limit: usize,
    /// As a JSON array
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Its id (the header x-onrecord-id of the answer) or its leaf index
    pub record: String,
    /// Show the tokens of its answer instead, with what else they could have been
    #[arg(long, conflicts_with = "media")]
    pub tokens: bool,
    /// Write an image, audio or file of its request instead, as the bytes that its base64 stands for: the one of that number
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "0", conflicts_with = "json", hide_default_value = true)]
    pub media: Option<usize>,
    /// To a file instead of standard output
    #[arg(short, long, value_name = "FILE", requires = "media")]
    pub output: Option<PathBuf>,
    /// As JSON, with every body as it was
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SearchArgs {
    /// What to find: words, "phrases", begin*, AND, OR, -not, (…), and values as name:value
    ///
    /// All words must be in one record, unless OR stands between them. A value is compared as a whole: id, kind,
    /// session, request, trace, model, user, principal, operation, outcome, status, error, tag (tag:key or
    /// tag:key=value). Calls carry the history of their conversation, so a word is found in every call that it was sent
    /// with. Quotes that the search itself shall see stand in others: '"exact phrase" -word'.
    #[arg(required = true)]
    pub query: Vec<String>,
    /// From this time on: RFC 3339, a date, or how long ago (90m, 2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// The newest first, instead of the best
    #[arg(long)]
    pub newest: bool,
    /// How many
    #[arg(short = 'n', long, default_value_t = 20)]
    pub limit: usize,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigDiffArgs {
    /// Id or leaf index of a call or configuration, or a time: RFC 3339, a date, or how long ago (90m, 2h, 7d)
    pub a: String,
    /// The same
    pub b: String,
    /// Where times are compared: only of this model server
    #[arg(long)]
    pub upstream: Option<String>,
    /// Where times are compared: only of this model
    #[arg(long)]
    pub model: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SlowArgs {
    /// From this time on: RFC 3339, a date, or how long ago (90m, 2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// What is compared
    #[arg(long, value_enum, default_value_t)]
    pub measure: Measure,
    /// Which calls it is compared among
    #[arg(long, value_enum, default_value_t)]
    pub by: By,
    /// How many times the median a call must take; of 100 calls and more, one beyond the 99th percentile is shown too
    #[arg(long, value_name = "NUMBER", default_value_t = Slow::usual_factor())]
    pub factor: f64,
    /// How many
    #[arg(short = 'n', long, default_value_t = Slow::usual_limit())]
    pub limit: usize,
    /// As a JSON array
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// What is deployed, and why
    pub note: String,
    /// The model server that it concerns
    #[arg(long)]
    pub upstream: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// Register a text, so that its digest stands for the name
    Add {
        /// NAME or NAME@VERSION, as calls name it in the header x-onrecord-template
        name: String,
        /// The file with the text
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FeedbackArgs {
    /// Id or leaf index of the record that it is about, or with --session a session
    #[arg(value_name = "ID")]
    pub about: String,
    /// It is about a whole session
    #[arg(long)]
    pub session: bool,
    /// What was judged, e.g. helpfulness
    #[arg(long)]
    pub name: Option<String>,
    /// As a number
    #[arg(long, allow_negative_numbers = true, required_unless_present_any = ["label", "comment"])]
    pub score: Option<f64>,
    /// In a word, e.g. good
    #[arg(long)]
    pub label: Option<String>,
    /// In words
    #[arg(long)]
    pub comment: Option<String>,
    /// Who judges
    #[arg(long)]
    pub user: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The statement; `-` reads it from standard input
    pub sql: Option<String>,
    /// A value for `$1`, the next one for `$2`, and so on: a number, true, false, null, or else a text; in double quotes always a text
    #[arg(long = "param", value_name = "VALUE", allow_hyphen_values = true)]
    pub params: Vec<String>,
    /// Instead of a table
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// To a file instead of standard output; without --format its name says which: .json, .jsonl, .csv, .parquet, .arrow
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// List the tables and columns that there are
    #[arg(long)]
    pub columns: bool,
}

/// Every leaf, tile and root is computed again from the stored records, every file compared with its digest, every signature
/// checked. Nothing is changed without --repair. Exit code 0: all is as it was written, or is now. 1: something was changed or
/// is gone. 2: the check could not be made, e.g. because a server has the folder open.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct FsckArgs {
    /// Make again what is derived from the records, if these are whole: tiles, search indexes, what a crash left unfinished
    #[arg(long)]
    pub repair: bool,
    /// The report as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The folder for the files; a new one, unless an export goes on
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Of the rows
    #[arg(long, value_enum, default_value_t = Rows::Jsonl)]
    pub format: Rows,
    /// What the rows are of; `onrecord query --columns` lists the views
    #[arg(long, default_value = "interactions")]
    pub view: String,
    /// Which rows, as SQL, e.g. "model = 'qwen' AND time > now() - INTERVAL '1 day'"
    #[arg(long = "where", value_name = "SQL")]
    pub condition: Option<String>,
    /// Which columns, as SQL, separated by commas; all without it
    #[arg(long, value_name = "SQL")]
    pub columns: Option<String>,
    /// A new file begins after so many rows, or some more
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rows_per_file: u64,
    /// Go on with the export that broke off in this folder
    #[arg(long, conflicts_with_all = ["format", "view", "condition", "columns", "rows_per_file"])]
    pub resume: bool,
    /// The result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    /// Ids or leaf indexes
    #[arg(value_name = "RECORD", required_unless_present = "condition")]
    pub records: Vec<String>,
    /// And of which records: an SQL condition, e.g. "session = 's-1'"
    #[arg(long = "where", value_name = "SQL")]
    pub condition: Option<String>,
    /// The view or table that the condition is about
    #[arg(long, default_value = "interactions")]
    pub table: String,
    /// Groups to show: who, context, config, input, output, decisions, performance, outcome. The rest stays hidden
    #[arg(long, value_delimiter = ',', value_name = "GROUPS")]
    pub reveal: Vec<String>,
    /// To a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The evidence, or the manifest of an export
    pub evidence: PathBuf,
    /// The log's public key, or a file that holds it (`onrecord key` prints it)
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Public key of a witness, or a file that holds it; for each witness one
    #[arg(long, value_name = "KEY")]
    pub witness: Vec<String>,
    /// How many of them must have cosigned the checkpoint [default: all]
    #[arg(long, value_name = "NUMBER", requires = "witness")]
    pub quorum: Option<usize>,
    /// Certificates (PEM) of the authority that the timestamp must lead to
    #[arg(long, value_name = "FILE")]
    pub tsa: Option<PathBuf>,
    /// What it proves as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MonitorArgs {
    /// The log's address: that of its API, or of any log with C2SP tiles, which ends in /log. --token goes with it
    pub url: String,
    /// The log's public key or key history, or a file that holds it
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// File that remembers what was seen; for each log one
    #[arg(long, value_name = "FILE", default_value = "onrecord-monitor.json")]
    pub state: PathBuf,
    /// Public key of a witness that must have cosigned, or a file that holds it; for each witness one
    #[arg(long, value_name = "KEY")]
    pub witness: Vec<String>,
    /// How many of them must have cosigned the checkpoint [default: all]
    #[arg(long, value_name = "NUMBER", requires = "witness")]
    pub quorum: Option<usize>,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub interval: String,
    /// How long the log may be silent; it has a heartbeat every 5 minutes, unless it is configured otherwise
    #[arg(long, value_name = "TIME", default_value = "15m")]
    pub stall: String,
    /// Shell command to run for each finding, which is in its environment as ONRECORD_FINDING
    #[arg(long)]
    pub command: Option<String>,
    /// Look once; exit code 1 if something was found, 2 if the log could not be asked
    #[arg(long)]
    pub once: bool,
    /// Compare the trees alone, without reading the leaves of new records
    #[arg(long)]
    pub tiles_only: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WitnessArgs {
    /// Public key of a log that it cosigns for, or a file that holds it (`onrecord key` prints it); for each log one
    #[arg(long, value_name = "KEY", required = true)]
    pub log: Vec<String>,
    /// Address to take checkpoints on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4190")]
    pub listen: String,
    /// Name of its key, when it is created; without it, one is made up. Its folder is --data [default: ./onrecord-witness]
    #[arg(long)]
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EraseArgs {
    /// Of which records: an SQL condition, e.g. "user_id = 'u-17'"
    #[arg(long = "where", value_name = "SQL")]
    pub condition: String,
    /// The view or table that the condition is about
    #[arg(long, default_value = "interactions")]
    pub table: String,
    /// The groups to erase: who, context, config, input, output, decisions, performance, outcome
    #[arg(long, value_delimiter = ',', value_name = "GROUPS", required = true)]
    pub fields: Vec<String>,
    /// Why; goes on record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// On whose behalf; goes on record
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Only say how much it would be
    #[arg(long)]
    pub dry_run: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Put records under a hold, also those that come later
    Add {
        /// Which records: an SQL condition, e.g. "session = 's-1'"
        #[arg(long = "where", value_name = "SQL")]
        condition: String,
        /// The view or table that the condition is about
        #[arg(long, default_value = "interactions")]
        table: String,
        /// Why; every refusal names it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// On whose behalf
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// List the holds that are in force
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End a hold
    Release {
        /// Its id, as the list shows it
        id: uuid::Uuid,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Say what is due, by rule, before anything goes
    Plan {
        /// What is due so many days from now
        #[arg(long = "in", value_name = "DAYS", default_value_t = 0)]
        ahead: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Dispose of what is due
    Run {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ForwardCommand {
    /// For each destination: how many records it has taken, how far it is behind, and why
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token and show it, this once
    Create {
        /// What it may do
        #[arg(long, value_enum)]
        role: Role,
        /// Whose it is; goes on record with what is done with it
        #[arg(long)]
        name: String,
    },
    /// List the tokens, without their secrets
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token
    Revoke {
        /// Its id, as the list shows it
        id: String,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum KeyCommand {
    /// Show the key, who holds it, and those before it
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give the log a new key; a record names it, and the old key signs that
    Rotate {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print all public keys with what makes each follow the one before, for `check --key` and `witness --log`
    Export,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check it, and show every value with where it comes from
    Check,
    /// Print a documented file with every key
    Example,
}
