//! Access to the fields of a JSON body one by one, so that an error can name the field.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::ApiError;

/// A JSON object whose values are not parsed yet.
pub(super) struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(body).map(Self).map_err(|error| ApiError::not_json(&error))
    }

    /// A field that may be left out; null counts as left out.
    pub(super) fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(raw) = self.0.get(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|error| ApiError::wrong_type(name, &error))
    }

    pub(super) fn required<T: DeserializeOwned>(&self, name: &str) -> Result<T, ApiError> {
        self.optional(name)?.ok_or_else(|| ApiError::missing(name))
    }

    /// An optional number within limits.
    pub(super) fn within<T>(&self, name: &str, range: RangeInclusive<T>) -> Result<Option<T>, ApiError>
    where
        T: DeserializeOwned + PartialOrd + Display,
    {
        let value = self.optional(name)?;
        match value {
            Some(value) if !range.contains(&value) => {
                let (low, high) = range.into_inner();
                Err(ApiError::wrong_value(name, format!("'{name}' must be between {low} and {high}, not {value}.")))
            }
            value => Ok(value),
        }
    }

    /// An optional count of at least one.
    pub(super) fn count(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let value: Option<i64> = self.optional(name)?;
        match value {
            Some(value) if value < 1 => Err(ApiError::wrong_value(name, format!("'{name}' must be at least 1."))),
            value => Ok(value.map(|value| usize::try_from(value).unwrap_or(usize::MAX))),
        }
    }
}
