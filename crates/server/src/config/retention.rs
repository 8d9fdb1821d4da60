//! The retention policy: a file of its own, since it is a list, and since its digest goes on record with what it leads to.

use std::path::Path;

use onrecord_proof::Kind;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::Spanned;

use super::problem::{Place, Problem};
use super::raw::Raw;
use crate::engine::{Retention, Rule};

/// The rules of a preset. The periods are engineering notes on the sources named, not legal advice.
struct Preset {
    name: &'static str,
    payload_days: u32,
    metadata_days: u32,
}

/// - `eu-ai-act`: Regulation (EU) 2024/1689, articles 19(1) and 26(6): logs are kept for at least six months.
/// - `hipaa`: 45 CFR 164.316(b)(2)(i): documentation is kept for six years.
/// - `pci-dss`: PCI DSS 4.0.1, requirement 10.5.1: audit logs are kept for at least twelve months.
/// - `gdpr-minimal`: Regulation (EU) 2016/679, article 5(1)(c) and (e): no longer than necessary. It names no period; these
///   are short ones.
const PRESETS: [Preset; 4] = [
    Preset { name: "eu-ai-act", payload_days: 184, metadata_days: 184 },
    Preset { name: "hipaa", payload_days: 2_192, metadata_days: 2_192 },
    Preset { name: "pci-dss", payload_days: 366, metadata_days: 366 },
    Preset { name: "gdpr-minimal", payload_days: 30, metadata_days: 90 },
];

/// The kinds that are never disposed of: they say what became of the others.
const KEPT: [Kind; 4] = [Kind::Disposal, Kind::System, Kind::Gap, Kind::Heartbeat];

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    presets: Vec<Spanned<String>>,
    #[serde(default)]
    floor: Floor,
    #[serde(default)]
    rule: Vec<Spanned<Written>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Floor {
    payload_days: u32,
    metadata_days: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    kind: Option<String>,
    model: Option<String>,
    tag: Option<String>,
    outcome: Option<String>,
    payload_days: Option<u32>,
    metadata_days: Option<u32>,
}

/// Reads and checks the policy; `None` if something is wrong with it, which `raw` then knows.
pub(super) fn read(path: &Path, raw: &mut Raw) -> Option<Retention> {
    let file = |line| Some(Place::File { path: path.to_owned(), line });
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let remedy = "`policy` in [retention] names the file with the rules";
            raw.problem(file(None), format!("the retention policy cannot be read: {error}"), remedy);
            return None;
        }
    };
    let line = |at: usize| text.get(..at).map_or(1, |before| 1 + before.matches('\n').count());
    match toml::from_str::<File>(&text) {
        Ok(written) => {
            let mut problems = Vec::new();
            let mut policy = written.checked(|at, what, remedy| {
                problems.push(Problem::new(file(Some(line(at))), what, remedy));
            });
            policy.source = path.display().to_string();
            policy.digest = Sha256::digest(&text).into();
            let good = problems.is_empty();
            for problem in problems {
                raw.add_problem(problem);
            }
            good.then_some(policy)
        }
        Err(error) => {
            let place = file(Some(line(error.span().map_or(0, |span| span.start))));
            let remedy = "a rule is a [[rule]] with `name` and `payload_days` or `metadata_days`";
            raw.problem(place, format!("the retention policy: {}", error.message().trim_end()), remedy);
            None
        }
    }
}

impl File {
    /// The policy. What is wrong is told with where it is in the text, and what to do about it.
    fn checked(self, mut wrong: impl FnMut(usize, String, String)) -> Retention {
        let mut rules = Vec::new();
        for name in &self.presets {
            let Some(preset) = PRESETS.iter().find(|preset| preset.name == name.get_ref()) else {
                let names = PRESETS.map(|preset| preset.name).join(", ");
                wrong(
                    name.span().start,
                    format!("there is no preset {:?}", name.get_ref()),
                    format!("there are {names}"),
                );
                continue;
            };
            rules.push((name.span().start, preset.rule()));
        }
        rules.extend(self.rule.into_iter().map(|rule| (rule.span().start, rule.into_inner().into_rule())));
        for (at, rule) in &rules {
            for (what, remedy) in rule_problems(rule, &self.floor) {
                wrong(*at, format!("the rule {:?} {what}", rule.name), remedy);
            }
        }
        let rules = rules.into_iter().map(|(_, rule)| rule).collect();
        let Floor { payload_days, metadata_days } = self.floor;
        Retention { rules, floor_payload: payload_days, floor_metadata: metadata_days, ..Retention::default() }
    }
}

fn rule_problems(rule: &Rule, floor: &Floor) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    if let Some(kind) = &rule.kind {
        let kept = |kind: &Kind| KEPT.contains(kind);
        match Kind::from_name(kind) {
            None => problems.push((
                format!("is about the kind {kind:?}, which there is not"),
                format!("there are {}", Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")),
            )),
            Some(kind) if kept(&kind) => {
                problems.push((format!("is about the kind {kind}, which is never disposed of"), "leave it out".into()));
            }
            Some(_) => {}
        }
    }
    if rule.payload_days.is_none() && rule.metadata_days.is_none() {
        problems.push(("keeps nothing".into(), "set `payload_days`, `metadata_days` or both".into()));
    }
    if let (Some(payload), Some(metadata)) = (rule.payload_days, rule.metadata_days)
        && metadata < payload
    {
        problems.push((
            format!("keeps payload for {payload} days and the rest for {metadata}"),
            "let `metadata_days` be at least `payload_days`".into(),
        ));
    }
    let floors = [
        ("payload_days", rule.payload_days, floor.payload_days),
        // Metadata goes together with what is left of the payload.
        ("metadata_days", rule.metadata_days, floor.metadata_days.max(floor.payload_days)),
    ];
    for (key, days, floor) in floors {
        if let Some(days) = days.filter(|days| *days < floor) {
            problems.push((
                format!("has `{key} = {days}`, and the floor is {floor} days"),
                "keep it longer, or lower the floor".into(),
            ));
        }
    }
    problems
}

impl Preset {
    fn rule(&self) -> Rule {
        Rule {
            name: self.name.to_owned(),
            payload_days: Some(self.payload_days),
            metadata_days: Some(self.metadata_days),
            ..Rule::default()
        }
    }
}

impl Written {
    fn into_rule(self) -> Rule {
        let Self { name, kind, model, tag, outcome, payload_days, metadata_days } = self;
        Rule { name, kind, model, tag, outcome, payload_days, metadata_days }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> (Retention, Vec<String>) {
        let mut found = Vec::new();
        let file: File = toml::from_str(text).unwrap();
        let policy = file.checked(|at, what, remedy| {
            found.push(format!("{}: {what}; {remedy}", text[..at].matches('\n').count() + 1));
        });
        (policy, found)
    }

    #[test]
    fn presets_and_rules_stand_side_by_side() {
        let (policy, found) = problems(
            "presets = [\"eu-ai-act\"]\n[floor]\nmetadata_days = 184\n[[rule]]\nname = \"support\"\ntag = \"team=support\"\npayload_days = 30\n",
        );
        assert_eq!(found, Vec::<String>::new());
        let names: Vec<_> = policy.rules.iter().map(|rule| (rule.name.as_str(), rule.payload_days)).collect();
        assert_eq!(names, [("eu-ai-act", Some(184)), ("support", Some(30))]);
        assert_eq!((policy.floor_payload, policy.floor_metadata), (0, 184));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        let (_, found) = problems(
            "presets = [\"gdpr-minimal\", \"sox\"]\n[floor]\npayload_days = 60\n[[rule]]\nname = \"a\"\nkind = \"disposal\"\n[[rule]]\nname = \"b\"\nkind = \"calls\"\npayload_days = 90\nmetadata_days = 80\n",
        );
        insta::assert_snapshot!(found.join("\n"));
    }
}
