//! What a dialect is to the rest of the crate: a reader of whole answers and of the events of a stream.
//!
//! A dialect says what the members of its objects mean; what they add up to is kept by [`Answer`], for all alike.

use std::borrow::Cow;

use serde_json::Result;

use crate::answer::Answer;
use crate::json::{self, RawValue};

/// Reads answers in one dialect.
pub(crate) trait Wire: Send {
    /// Takes one event of a stream.
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last>;

    /// Takes a whole answer, which in most dialects looks like the one event of a short stream.
    fn whole(&mut self, json: &str, answer: &mut Answer) -> Result<()> {
        self.event(Text { name: "", json, at_us: 0 }, answer).map(drop)
    }

    /// False if an event that begins like this is not the last one for certain, so that its bytes may flow before all of
    /// it is there. Its name is empty as long as it is not known.
    fn may_be_last(&self, name: &[u8], data: &[u8]) -> bool {
        let _ = (name, data);
        true
    }
}

/// Reads a whole answer that may be a list, with one for each prompt. Gives each with its place, and the last error.
pub(crate) fn each_of(json: &str, mut read: impl FnMut(&str, i64) -> Result<()>) -> Result<()> {
    let all = json::parse(json)?;
    if !all.get().starts_with('[') {
        return read(all.get(), 0);
    }
    let (mut result, mut place) = (Ok(()), 0);
    json::items(all, |one| {
        if let Err(error) = read(one.get(), place) {
            result = Err(error);
        }
        place += 1;
    });
    result
}

/// One event, as text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    /// Its name, empty without one.
    pub(crate) name: &'a str,
    /// Its data.
    pub(crate) json: &'a str,
    /// When it came, in microseconds after the request's head.
    pub(crate) at_us: i64,
}

/// If an event is the one that ends the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// More must follow.
    No,
    /// It is, unless another one follows.
    Perhaps,
    /// It is.
    Yes,
}

/// Members of one object that are kept though they have no meaning to us. It bounds what an object of many small ones
/// costs beside its text.
pub(crate) const REST_MAX: usize = 256;

/// Members that have no meaning to us.
pub(crate) type Rest<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// The name of a member on the wire: its own, unless it is another one.
macro_rules! member {
    ($member:ident) => {
        stringify!($member)
    };
    ($member:ident $name:literal) => {
        $name
    };
}

/// Defines an object on the wire: its members as raw JSON, the ones that are known by name and the rest of them.
macro_rules! object {
    ($(#[doc = $doc:literal])* $type:ident { $($member:ident $(as $name:literal)?),* $(,)? } without { $($without:literal),* }) => {
        $(#[doc = $doc])*
        #[derive(Default)]
        pub(crate) struct $type<'a> {
            $(pub(crate) $member: Option<&'a $crate::json::RawValue>,)*
            pub(crate) rest: $crate::wire::Rest<'a>,
        }

        impl<'a> $type<'a> {
            /// The members that are not null; the last of equal names wins.
            pub(crate) fn read(json: &'a str) -> serde_json::Result<Self> {
                let mut object = Self::default();
                $crate::json::members(json, |name, value| match &*name {
                    $($crate::wire::member!($member $($name)?) => object.$member = $crate::json::present(value),)*
                    $($without => {})*
                    _ if object.rest.len() >= $crate::wire::REST_MAX => {}
                    _ => object.rest.extend($crate::json::present(value).map(|value| (name, value))),
                })?;
                Ok(object)
            }
        }
    };
}

pub(crate) use {member, object};
