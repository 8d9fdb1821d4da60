//! The sampling parameters that were in force for a call: what the server reports, else what was asked for, else the
//! server's default.

use onrecord_proof::{Field, Record, Value, field};

use crate::json;

/// A parameter: its name in the servers' JSON, the field for the value in force, and the one for what was asked for.
const PARAMETERS: [(&str, &Field, Option<&Field>); 7] = [
    ("temperature", &field::USED_TEMPERATURE, Some(&field::TEMPERATURE)),
    ("top_p", &field::USED_TOP_P, Some(&field::TOP_P)),
    ("top_k", &field::USED_TOP_K, Some(&field::TOP_K)),
    ("min_p", &field::USED_MIN_P, None),
    ("repeat_penalty", &field::USED_REPEAT_PENALTY, None),
    ("frequency_penalty", &field::USED_FREQUENCY_PENALTY, Some(&field::FREQUENCY_PENALTY)),
    ("presence_penalty", &field::USED_PRESENCE_PENALTY, Some(&field::PRESENCE_PENALTY)),
];

/// Values of the parameters that have a column, in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sampling([Option<f64>; PARAMETERS.len()]);

impl Sampling {
    /// The parameters that a JSON object has.
    pub fn of(json: &str) -> Self {
        let mut values = [None; PARAMETERS.len()];
        let _ = json::members(json, |name, value| {
            if let Some(at) = PARAMETERS.iter().position(|(have, ..)| *have == name) {
                values[at] = json::float(value).map(tidy);
            }
        });
        Self(values)
    }
}

/// Records the parameters in force: those that the server has reported with its answer, else what was asked for, else
/// `defaults`. To be called when the answer is known.
pub fn record_effective(record: &mut Record, defaults: &Sampling) {
    let reported = reported(record);
    let in_force = PARAMETERS.iter().zip(reported.0.iter().zip(defaults.0));
    for ((_, used, asked), (reported, default)) in in_force {
        let asked = asked.and_then(|field| record.get(field)?.as_float());
        if let Some(value) = reported.or(asked).or(default) {
            record.set(used, value);
        }
    }
}

fn reported(record: &Record) -> Sampling {
    let Some(body) = record.get(&field::SAMPLING) else { return Sampling::default() };
    let pieces = body.as_array().unwrap_or(std::slice::from_ref(body));
    let bytes: Vec<_> = pieces.iter().filter_map(Value::as_bytes).flatten().copied().collect();
    Sampling::of(&json::utf8(&bytes))
}

/// A number that went through 32 bits on its way, 0.800000011920929, as it was meant: 0.8.
#[expect(clippy::cast_possible_truncation, reason = "whether it fits into 32 bits is the question")]
pub fn tidy(number: f64) -> f64 {
    let short = number as f32;
    // Servers print 15 to 17 digits of it, so the last ones may differ.
    let is_short = (f64::from(short) - number).abs() <= number.abs() * 1e-14;
    if is_short { short.to_string().parse().unwrap_or(number) } else { number }
}
