//! Retention: what the policy says goes, and when. The policy itself is read by the configuration.

use std::sync::Arc;

use onrecord_lake::LeafSet;
use onrecord_proof::Group;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Access, Engine, Reading};
use super::carry_out::Rest;
use super::disposal::Cause;
use super::{Outcome, PAYLOAD};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// How long records are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Retention {
    /// The file.
    pub source: String,
    /// Its SHA-256.
    pub digest: [u8; 32],
    pub rules: Vec<Rule>,
    /// Nothing younger than this, in days, loses its payload, whoever asks.
    pub floor_payload: u32,
    /// The same for everything else of a record.
    pub floor_metadata: u32,
}

/// How long the records that match are kept. Of several rules that match, the one that keeps longest counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rule {
    pub name: String,
    pub kind: Option<String>,
    pub model: Option<String>,
    /// `key` or `key=value`.
    pub tag: Option<String>,
    pub outcome: Option<String>,
    /// After so many days input, output and decisions go.
    pub payload_days: Option<u32>,
    /// After so many days everything goes that is not in the leaf.
    pub metadata_days: Option<u32>,
}

/// What one rule disposes of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PlanLine {
    pub rule: String,
    /// `payload` or `metadata`, which includes what is left of the payload.
    pub what: String,
    pub after_days: u32,
    /// Records that are due.
    pub records: u64,
    /// Records that would be due and are under a legal hold.
    pub held: u64,
    /// Bytes of the bodies of those that are due, as they went over the wire.
    pub payload_bytes: u64,
    /// Leaves of the disposal records, after a run.
    pub disposals: Vec<u64>,
}

impl Rule {
    /// Which records it is about, in SQL.
    fn condition(&self) -> String {
        let mut all = Vec::new();
        if let Some(kind) = &self.kind {
            all.push(format!("kind = {}", quoted(kind)));
        }
        if let Some(model) = &self.model {
            let model = quoted(model);
            all.push(format!("(gen_ai_request_model = {model} OR gen_ai_response_model = {model})"));
        }
        if let Some(outcome) = &self.outcome {
            all.push(format!("onrecord_outcome = {}", quoted(outcome)));
        }
        match self.tag.as_deref().map(|tag| tag.split_once('=').ok_or(tag)) {
            Some(Ok((key, value))) => {
                all.push(format!("has_tag(onrecord_tags, {}, {})", quoted(key), quoted(value)));
            }
            Some(Err(key)) => all.push(format!("has_tag(onrecord_tags, {})", quoted(key))),
            None => {}
        }
        if all.is_empty() { "true".to_owned() } else { all.join(" AND ") }
    }

    fn days(&self, what: What) -> Option<u32> {
        match what {
            What::Payload => self.payload_days,
            What::Metadata => self.metadata_days,
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What a rule disposes of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Payload,
    Metadata,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Metadata => "metadata",
        }
    }

    fn groups(self) -> &'static [Group] {
        match self {
            Self::Payload => &PAYLOAD,
            Self::Metadata => &Group::ALL,
        }
    }
}

/// The records that were committed less than so many days before `now` (microseconds since 1970-01-01 UTC), in SQL.
pub(super) fn younger_than(days: u32, now: i64) -> String {
    format!("committed_at > {}", before(now, days))
}

/// The time so many days before `now`, in SQL. So many days that there is no such time are for ever.
fn before(now: i64, days: u32) -> String {
    time(now.saturating_sub(i64::from(days).saturating_mul(DAY)))
}

impl Retention {
    /// What is due at `now` by rule `at` and by no rule that keeps longer, in SQL over `records`. With the metadata of a
    /// record its payload goes too, so it stays as long as any rule keeps either.
    fn due(&self, at: usize, what: What, now: i64) -> Option<(u32, String)> {
        let rule = &self.rules[at];
        let keeps = |rule: &Rule| match what {
            What::Payload => rule.days(What::Payload),
            What::Metadata => rule.days(What::Metadata).max(rule.days(What::Payload)),
        };
        rule.days(what)?;
        let days = keeps(rule)?;
        let mut condition = format!("({}) AND committed_at <= {}", rule.condition(), before(now, days));
        for (other_at, other) in self.rules.iter().enumerate() {
            let Some(others) = keeps(other) else { continue };
            let has_line = other.days(what).is_some();
            // Of rules that keep as long, the first one counts, so that a record is in one line of the plan.
            if others > days || (others == days && has_line && other_at < at) {
                let (not_its, its_time) = (format!("({}) IS NOT TRUE", other.condition()), before(now, others));
                condition += &if has_line {
                    format!(" AND {not_its}")
                } else {
                    format!(" AND ({not_its} OR committed_at <= {its_time})")
                };
            }
        }
        Some((days, condition))
    }
}

fn time(at: i64) -> String {
    format!("arrow_cast({at}, 'Timestamp(Microsecond, Some(\"UTC\"))')")
}

impl Engine {
    /// What is due in `ahead` days by the policy; nothing goes.
    pub(crate) async fn plan_retention(
        self: &Arc<Self>,
        reading: &Reading,
        ahead: u32,
    ) -> anyhow::Result<Vec<PlanLine>> {
        let statement = format!("ahead_days={ahead}");
        self.accessed(reading, Access { event: "retention_plan", statement: &statement }, None).await?;
        let _one = self.disposing.lock().await;
        let (lines, _) = self
            .retain(reading, onrecord_ledger::now().saturating_add(i64::from(ahead).saturating_mul(DAY)), true)
            .await?;
        Ok(lines)
    }

    /// Disposes of what is due, and waits until nothing is left of it.
    pub(crate) async fn run_retention(self: &Arc<Self>, reading: &Reading) -> anyhow::Result<Vec<PlanLine>> {
        let (lines, rest) = self.begin_retention(reading).await?;
        rest.done().await?;
        Ok(lines)
    }

    /// Disposes of what is due; the log lets go of it when calls under way allow it.
    pub(crate) async fn follow_retention(self: &Arc<Self>, reading: &Reading) -> anyhow::Result<Vec<PlanLine>> {
        let (lines, _) = self.begin_retention(reading).await?;
        Ok(lines)
    }

    async fn begin_retention(self: &Arc<Self>, reading: &Reading) -> anyhow::Result<(Vec<PlanLine>, Rest)> {
        let _one = self.disposing.lock().await;
        self.retain(reading, onrecord_ledger::now(), false).await
    }

    async fn retain(
        self: &Arc<Self>,
        reading: &Reading,
        now: i64,
        dry_run: bool,
    ) -> anyhow::Result<(Vec<PlanLine>, Rest)> {
        let Some(policy) = self.retention.clone() else {
            return Err(super::Refused::Wrong(
                "there is no retention policy; set `policy` in [retention] of the configuration".into(),
            )
            .into());
        };
        let mut held = LeafSet::default();
        for (_, covered) in self.covered().await? {
            held.add(covered);
        }
        let (mut lines, mut rest) = (Vec::new(), Rest::default());
        // What loses everything loses its payload with it.
        for what in [What::Metadata, What::Payload] {
            for at in 0..policy.rules.len() {
                let Some((after_days, condition)) = policy.due(at, what, now) else { continue };
                let groups = what.groups();
                let selection =
                    self.lake.select("records", &condition, groups.iter().copied().collect(), &held).await?;
                let rule = policy.rules[at].name.as_str();
                let mut outcome = Outcome::of(&selection, groups, dry_run);
                if !dry_run && !selection.leaves.is_empty() {
                    let reason = format!("{} is kept for {after_days} days", what.name());
                    let cause = Cause {
                        event: "retention",
                        table: "records",
                        condition: &condition,
                        reason: &reason,
                        requested_by: None,
                        rule: Some((rule, &policy.digest)),
                    };
                    rest.add(self.erase_in_parts(reading, cause, &selection, groups, &mut outcome).await?);
                }
                lines.push(PlanLine {
                    rule: rule.to_owned(),
                    what: what.name().to_owned(),
                    after_days,
                    records: outcome.records,
                    held: selection.excepted,
                    payload_bytes: outcome.payload_bytes,
                    disposals: outcome.disposals,
                });
            }
        }
        Ok((lines, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, tag: Option<&str>, days: Option<u32>) -> Rule {
        Rule { name: name.into(), tag: tag.map(Into::into), payload_days: days, ..Rule::default() }
    }

    #[test]
    fn the_longest_rule_that_matches_counts() {
        let rules = vec![
            rule("all", None, Some(30)),
            rule("team", Some("team=it's"), Some(90)),
            rule("silent", Some("x"), None),
            rule("twin", None, Some(30)),
        ];
        let policy = Retention { rules, ..Retention::default() };
        let team = "has_tag(onrecord_tags, 'team', 'it''s')";
        let (days, all) = policy.due(0, What::Payload, 100 * DAY).unwrap();
        assert_eq!(days, 30);
        assert_eq!(all, format!("(true) AND committed_at <= {} AND ({team}) IS NOT TRUE", time(70 * DAY)));
        let (_, longest) = policy.due(1, What::Payload, 100 * DAY).unwrap();
        assert_eq!(longest, format!("({team}) AND committed_at <= {}", time(10 * DAY)));
        assert_eq!(policy.due(2, What::Payload, 0), None);
        assert!(policy.due(3, What::Payload, 0).unwrap().1.contains(" AND (true) IS NOT TRUE"));
        assert_eq!(policy.due(0, What::Metadata, 0), None);
    }

    #[test]
    fn a_record_whose_payload_is_kept_does_not_lose_its_metadata() {
        let kept = rule("legal", Some("case=1"), Some(3650));
        let all = Rule { metadata_days: Some(184), ..rule("all", None, Some(184)) };
        let own = Rule { metadata_days: Some(10), ..rule("own", None, Some(20)) };
        let policy = Retention { rules: vec![all, kept, own], ..Retention::default() };
        let (days, condition) = policy.due(0, What::Metadata, 5000 * DAY).unwrap();
        assert_eq!(days, 184);
        let legal =
            format!("((has_tag(onrecord_tags, 'case', '1')) IS NOT TRUE OR committed_at <= {})", time(1350 * DAY));
        assert!(condition.contains(&legal) && !condition.contains("(true) IS NOT TRUE"), "{condition}");
        assert_eq!(policy.due(1, What::Metadata, 0), None);
        assert_eq!(policy.due(2, What::Metadata, 0).unwrap().0, 20, "its payload is not due before");
    }

    #[test]
    fn what_is_kept_for_ever_is_never_due() {
        let policy = Retention { rules: vec![rule("all", None, Some(u32::MAX))], ..Retention::default() };
        let (_, condition) = policy.due(0, What::Payload, 20_000 * DAY).unwrap();
        assert_eq!(condition, format!("(true) AND committed_at <= {}", time(20_000 * DAY - i64::MAX)));
        assert_eq!(younger_than(u32::MAX, 0), format!("committed_at > {}", time(-i64::MAX)));
    }
}
