//! Which file is read, and what the environment and the flags put on top of it.

use std::io;
use std::path::{Path, PathBuf};

use super::problem::{Place, Problem};
use super::raw::Raw;
use super::section::Literal;
use super::{Environment, FILE_NAME, Overrides, keys, upstream};

/// The keys that the environment may set.
const VARIABLES: [(&str, &str); 5] = [
    ("ONRECORD_DATA", "data"),
    ("ONRECORD_LISTEN", "gateway.listen"),
    ("ONRECORD_UPSTREAM", "gateway.upstream"),
    ("ONRECORD_API", "api.listen"),
    ("ONRECORD_STORE", "lake.store"),
];

/// Takes in the file that `--config` names, else the one in the working folder, else the one in the data folder.
pub(super) fn read_file(
    raw: &mut Raw,
    flags: &Overrides,
    folder: &Path,
    environment: Environment<'_>,
) -> Result<Option<PathBuf>, Problem> {
    if let Some(path) = &flags.config {
        let text = read(path)?.ok_or_else(|| missing(path))?;
        raw.add_file(path, &text);
        return Ok(Some(path.clone()));
    }
    let path = folder.join(FILE_NAME);
    if let Some(text) = read(&path)? {
        raw.add_file(&path, &text);
        return Ok(Some(path));
    }
    let data = folder.join(data_folder(flags, environment));
    let path = data.join(FILE_NAME);
    let Some(text) = read(&path)? else { return Ok(None) };
    raw.add_file(&path, &text);
    stay_in(raw, &data, &path);
    Ok(Some(path))
}

/// The data folder as far as it is known before a file is read.
fn data_folder(flags: &Overrides, environment: Environment<'_>) -> PathBuf {
    let from_environment = || environment("ONRECORD_DATA").filter(|value| !value.is_empty()).map(PathBuf::from);
    flags.data.clone().or_else(from_environment).unwrap_or_else(|| match keys::Top::SECTION.keys[0].preset.value {
        Literal::Text(path) => PathBuf::from(path),
        Literal::Number(_) | Literal::Flag(_) | Literal::Texts(_) => PathBuf::new(),
    })
}

/// A file that was found through the data folder cannot move that folder: other commands would look elsewhere.
fn stay_in(raw: &mut Raw, data: &Path, path: &Path) {
    let Some(named) = raw.path_in_file("data") else { return };
    if !is_same(&data.join(named), data) {
        let reason = format!("{} lies in the data folder and cannot name another", path.display());
        raw.conflict("data", &reason, "remove the line, or name the file with `--config`");
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Sets the keys for which there is a variable; an empty one counts as unset.
pub(super) fn add_environment(raw: &mut Raw, environment: Environment<'_>) {
    for (variable, name) in VARIABLES {
        if let Some(value) = environment(variable).filter(|value| !value.is_empty()) {
            add(raw, name, value.to_str(), Place::Environment(variable.to_owned()));
        }
    }
}

/// Sets the keys for which there is a flag.
pub(super) fn add_flags(raw: &mut Raw, flags: &Overrides) {
    if let Some(data) = &flags.data {
        add(raw, "data", data.to_str(), Place::Flag("--data"));
    }
    for (flag, name, value) in [("--listen", "gateway.listen", &flags.listen), ("--api", "api.listen", &flags.api)] {
        if let Some(value) = value {
            raw.set(name, value, Place::Flag(flag));
        }
    }
    for text in &flags.upstreams {
        upstream::add_flag(raw, text);
    }
}

fn add(raw: &mut Raw, name: &str, value: Option<&str>, place: Place) {
    match value {
        Some(value) => raw.set(name, value, place),
        None => raw.problem(Some(place), format!("the value for `{name}` is not UTF-8"), "use a name in UTF-8"),
    }
}

/// The file's text; none if there is no such file. A file that is there but cannot be read is never passed over.
fn read(path: &Path) -> Result<Option<String>, Problem> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let remedy = "check that it is a UTF-8 file and that its permissions let this user read it";
            Err(Problem::new(Some(whole(path)), format!("cannot read the configuration: {error}"), remedy))
        }
    }
}

fn missing(path: &Path) -> Problem {
    let remedy = format!("create it with `onrecord config example > {}`", path.display());
    Problem::new(Some(whole(path)), "there is no such configuration file", remedy)
}

fn whole(path: &Path) -> Place {
    Place::File { path: path.to_owned(), line: None }
}
