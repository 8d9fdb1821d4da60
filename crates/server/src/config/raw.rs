//! The first stage: values as they were written, each with its place.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::keys::SECTIONS;
use super::problem::{Place, Problem};
use super::section::{Literal, Preset, Section, full_name};
use super::value::Setting;

/// What stands for a secret wherever values are shown.
const MASKED: &str = "(hidden)";

/// The values that were set, by full name, and what came up while they were read and checked.
#[derive(Debug, Default)]
pub(super) struct Raw {
    values: BTreeMap<String, Written>,
    problems: Vec<Problem>,
    effective: Vec<Effective>,
    /// The titles of the sections that can be there several times, `upstream[1]` say, with their places.
    entries: Vec<(String, Place)>,
}

#[derive(Debug, Clone)]
struct Written {
    value: toml::Value,
    place: Place,
}

/// One key with the value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effective {
    /// The full name, such as `gateway.listen`.
    pub(crate) key: String,
    /// The value as it would stand in the file; none if the key is unset.
    pub(crate) value: Option<String>,
    /// Who set it.
    pub(crate) place: Place,
}

/// A file's text while its values are taken in.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Raw {
    /// Takes in a file.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) {
        let source = Source { path, text };
        match DeTable::parse(text) {
            Ok(table) => self.add_top(&source, table.into_inner()),
            Err(error) => {
                let place = source.place(error.span().map_or(0, |span| span.start));
                let what = format!("this is not TOML: {}", error.message().trim_end());
                self.problem(Some(place), what, "`onrecord config example` prints a complete file");
            }
        }
    }

    /// Sets a value from a flag or the environment.
    pub(super) fn set(&mut self, name: &str, value: &str, place: Place) {
        self.values.insert(name.to_owned(), Written { value: value.into(), place });
    }

    /// Begins another section of this name, one of those that can be there several times, and gives its title.
    pub(super) fn add_entry(&mut self, section: &str, place: Place) -> String {
        let title = format!("{section}[{}]", self.entries(section).len() + 1);
        self.entries.push((title.clone(), place));
        title
    }

    /// The titles of the sections of this name in the order in which they came.
    pub(super) fn entries(&self, section: &str) -> Vec<String> {
        let of = |title: &&String| title.strip_prefix(section).is_some_and(|rest| rest.starts_with('['));
        self.entries.iter().map(|(title, _)| title).filter(of).cloned().collect()
    }

    /// The title of the section of this kind whose `name` this is.
    pub(super) fn entry_named(&self, section: &str, name: &str) -> Option<String> {
        let named = |title: &String| self.values.get(&full_name(title, "name")).and_then(|it| it.value.as_str());
        self.entries(section).into_iter().find(|title| named(title) == Some(name))
    }

    /// Reports that the section of this title has no such key.
    pub(super) fn missing(&mut self, title: &str, key: &str, example: &str) {
        let place = self.entries.iter().find(|(have, _)| have == title).map(|(_, place)| place.clone());
        self.problem(place, format!("`{title}` has no `{key}`"), format!("write for example `{example}`"));
    }

    /// The path that the file gives for `name`, unless something outranks the file.
    pub(super) fn path_in_file(&self, name: &str) -> Option<PathBuf> {
        self.values.get(name)?.value.as_str().map(PathBuf::from)
    }

    /// True if somebody has set `name`.
    pub(super) fn is_written(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| !matches!(value.place, Place::Default))
    }

    /// Reports that the value of `name` does not go with the others.
    pub(super) fn conflict(&mut self, name: &str, reason: &str, remedy: &str) {
        let place = self.values.get(name).map(|written| written.place.clone());
        self.problem(place, format!("`{name}` cannot be set: {reason}"), remedy);
    }

    /// Reports each of these titles, with the names below them, whose name an earlier one has. False if there are such.
    pub(super) fn own_names<'a, N: Eq + Hash + 'a>(
        &mut self,
        what: &str,
        named: impl Iterator<Item = (&'a String, &'a N)>,
    ) -> bool {
        let (mut taken, mut good) = (HashSet::new(), true);
        for (title, name) in named {
            if !taken.insert(name) {
                let reason = format!("another {what} has this name");
                self.conflict(&format!("{title}.name"), &reason, "give each a name of its own");
                good = false;
            }
        }
        good
    }

    pub(super) fn problem(&mut self, place: Option<Place>, what: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::new(place, what, remedy));
    }

    pub(super) fn add_problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(super) fn finish(self) -> (Vec<Effective>, Vec<Problem>) {
        (self.effective, self.problems)
    }

    /// Checks one value; none if it is wrong.
    pub(super) fn read<T: Setting>(&mut self, section: &str, key: &str, preset: &Preset) -> Option<T> {
        let name = full_name(section, key);
        let written = self.values.remove(&name).or_else(|| default(preset));
        self.effective.push(Effective::of::<T>(&name, written.as_ref()));
        let Some(written) = written else { return T::absent() };
        let read = T::read(&written.value).and_then(|value| in_range(value, preset));
        let result = read.map(|value| match &written.place {
            Place::File { path, .. } => value.relative_to(path.parent().unwrap_or(Path::new(""))),
            _ => value,
        });
        let problem = result.as_ref().err().map(|reason| {
            let what = format!("`{name} = {}` {reason}", shown::<T>(&written.value));
            Problem::new(Some(written.place.clone()), what, format!("write for example `{key} = {}`", preset.value))
        });
        self.problems.extend(problem);
        // Kept for the checks that look at several keys.
        self.values.insert(name, written);
        result.ok()
    }

    fn add_top(&mut self, source: &Source<'_>, table: DeTable<'_>) {
        for (name, value) in table {
            let section = SECTIONS.iter().find(|section| !section.name.is_empty() && section.name == *name.get_ref());
            let start = name.span().start;
            match (section, value.get_ref()) {
                (Some(section), DeValue::Table(_)) if !section.repeated => {
                    self.add_section(source, section, section.name, value.into_inner());
                }
                (Some(section), DeValue::Array(items)) if section.repeated && items.iter().all(is_table) => {
                    self.add_entries(source, section, value.into_inner());
                }
                (Some(section), _) => self.not_a_value(source.place(start), section),
                (None, DeValue::Table(_)) => self.unknown_section(source.place(start), name.get_ref()),
                (None, _) => self.add_value(source, SECTIONS[0], "", &name, value),
            }
        }
    }

    fn not_a_value(&mut self, place: Place, section: &Section) {
        let (name, title) = (section.name, section.title());
        let what =
            if section.repeated { "is a section that can be there several times" } else { "is a section, not a value" };
        let elsewhere = SECTIONS.iter().find(|section| section.keys.iter().any(|key| key.name == name));
        let remedy = match elsewhere {
            Some(section) => format!("write {title}, or `{name}` {}", within(section)),
            None => format!("write {title}"),
        };
        self.problem(Some(place), format!("`{name}` {what}"), remedy);
    }

    fn add_entries(&mut self, source: &Source<'_>, section: &Section, items: DeValue<'_>) {
        if let DeValue::Array(items) = items {
            for item in items {
                let title = self.add_entry(section.name, source.place(item.span().start));
                self.add_section(source, section, &title, item.into_inner());
            }
        }
    }

    fn add_section(&mut self, source: &Source<'_>, section: &Section, title: &str, table: DeValue<'_>) {
        if let DeValue::Table(table) = table {
            for (name, value) in table {
                self.add_value(source, section, title, &name, value);
            }
        }
    }

    fn add_value(
        &mut self,
        source: &Source<'_>,
        section: &Section,
        title: &str,
        name: &Spanned<Cow<'_, str>>,
        value: Spanned<DeValue<'_>>,
    ) {
        let place = source.place(name.span().start);
        if !section.keys.iter().any(|key| key.name == name.get_ref()) {
            return self.unknown_key(place, section, name.get_ref());
        }
        match toml::Value::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => {
                self.values.insert(full_name(title, name.get_ref()), Written { value, place });
            }
            Err(error) => {
                let what = format!("`{}` cannot be read: {}", name.get_ref(), error.message());
                self.problem(Some(place), what, "`onrecord config example` shows how it is written");
            }
        }
    }

    fn unknown_section(&mut self, place: Place, name: &str) {
        let names = || SECTIONS.iter().map(|section| section.name).filter(|name| !name.is_empty());
        let remedy = match closest(name, names()) {
            Some(close) => format!("did you mean {}?", title_of(close)),
            None => format!("the sections are {}", names().map(title_of).collect::<Vec<_>>().join(", ")),
        };
        self.problem(Some(place), format!("unknown section [{name}]"), remedy);
    }

    fn unknown_key(&mut self, place: Place, section: &Section, name: &str) {
        let what = format!("unknown key `{name}` {}", within(section));
        let names = || section.keys.iter().map(|key| key.name);
        let elsewhere = SECTIONS.iter().find(|section| section.keys.iter().any(|key| key.name == name));
        let remedy = match (elsewhere, closest(name, names())) {
            (Some(section), _) => format!("it belongs {}", within(section)),
            (None, Some(close)) => format!("did you mean `{close}`?"),
            (None, None) => format!("the keys here are `{}`", names().collect::<Vec<_>>().join("`, `")),
        };
        self.problem(Some(place), what, remedy);
    }
}

impl Effective {
    fn of<T: Setting>(key: &str, written: Option<&Written>) -> Self {
        Self {
            key: key.to_owned(),
            value: written.map(|written| shown::<T>(&written.value)),
            place: written.map_or(Place::Default, |written| written.place.clone()),
        }
    }
}

impl Source<'_> {
    fn place(&self, offset: usize) -> Place {
        let line = self.text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
        Place::File { path: self.path.to_owned(), line: Some(line) }
    }
}

fn default(preset: &Preset) -> Option<Written> {
    preset.is_default.then(|| Written { value: preset.value.into(), place: Place::Default })
}

fn shown<T: Setting>(value: &toml::Value) -> String {
    if T::SECRET { MASKED.to_owned() } else { value.to_string() }
}

fn in_range<T: Setting>(value: T, preset: &Preset) -> Result<T, String> {
    let Some((least, most)) = preset.range else { return Ok(value) };
    let rank = |limit: Literal| T::read(&limit.into()).map(|limit| limit.rank());
    let allowed = rank(least)?..=rank(most)?;
    if allowed.contains(&value.rank()) { Ok(value) } else { Err(format!("must be from {least} to {most}")) }
}

fn within(section: &Section) -> String {
    if section.name.is_empty() { "before the first section".to_owned() } else { format!("in {}", section.title()) }
}

/// How a known section is begun in the file.
fn title_of(name: &str) -> String {
    SECTIONS.iter().find(|section| section.name == name).map_or_else(String::new, |section| section.title())
}

fn is_table(item: &Spanned<DeValue<'_>>) -> bool {
    matches!(item.get_ref(), DeValue::Table(_))
}

/// The known name that was probably meant. The bound is the one clap uses for its suggestions.
pub(super) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}
