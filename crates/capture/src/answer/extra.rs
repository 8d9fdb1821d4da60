//! Members that have no meaning to us, as JSON that is kept as it came.

use crate::budget::Budget;
use crate::json::{self, RawValue};
use crate::wire::Rest;

/// Unknown members that are kept of one message; the servers we know send at most forty.
const MAX: usize = 64;
/// Bytes up to which objects that are sent in parts are put together; `usage` has some hundred.
const MERGED_MAX: usize = 4 << 10;

/// Names and values; the last value of a name.
#[derive(Debug, Default)]
pub(crate) struct Extra(Vec<(String, String)>);

impl Extra {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn set_all(&mut self, rest: &Rest<'_>, budget: &mut Budget) {
        for (name, value) in rest {
            self.set(name, value, budget);
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: &RawValue, budget: &mut Budget) {
        self.put(name, value.get(), budget);
    }

    /// Sets members of an object that was sent in parts: those that are new, and those that changed.
    pub(crate) fn merge(&mut self, name: &str, value: &RawValue, budget: &mut Budget) {
        match self.get(name).and_then(|old| merged(old, value.get())) {
            Some(both) => self.put(name, &both, budget),
            None => self.set(name, value, budget),
        }
    }

    /// Adds an item to a list that is sent item by item.
    pub(crate) fn add(&mut self, name: &str, item: &RawValue, budget: &mut Budget) {
        let known = self.0.iter_mut().find(|(have, value)| have == name && value.starts_with('['));
        let Some((_, list)) = known else { return self.put(name, &format!("[{}]", item.get()), budget) };
        if budget.take(item.get().len() + 1) {
            list.pop();
            list.push_str(if list[1..].trim_ascii().is_empty() { "" } else { "," });
            list.push_str(item.get());
            list.push(']');
        }
    }

    fn put(&mut self, name: &str, value: &str, budget: &mut Budget) {
        if let Some((_, old)) = self.0.iter_mut().find(|(have, _)| have == name) {
            if old != value && budget.exchange(old.len(), value.len()) {
                old.clear();
                old.push_str(value);
            }
        } else if self.0.len() < MAX && budget.take(name.len() + value.len()) {
            self.0.push((name.to_owned(), value.to_owned()));
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// Names and values, each value the JSON of one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), json::raw(value)?)))
    }
}

/// The members of two objects, the new one's in the place of the old one's; `None` if they are not both objects, or
/// large ones.
fn merged(old: &str, new: &str) -> Option<String> {
    if old.len() + new.len() > MERGED_MAX {
        return None;
    }
    let mut members: Vec<(_, &RawValue)> = Vec::new();
    for object in [old, new] {
        let put = |name, value| match members.iter_mut().find(|(have, _)| *have == name) {
            Some((_, old)) => *old = value,
            None => members.push((name, value)),
        };
        json::members(object, put).ok()?;
    }
    json::object(members.iter().map(|(name, value)| (name.as_ref(), *value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        json::raw(json).unwrap()
    }

    #[test]
    fn lists_and_objects_grow() {
        let (mut extra, mut budget) = (Extra::default(), Budget::new(100));
        extra.set("list", raw("[ ]"), &mut budget);
        extra.add("list", raw("1"), &mut budget);
        extra.add("list", raw("[2]"), &mut budget);
        extra.merge("object", raw(r#"{"a":1.0,"b":2}"#), &mut budget);
        extra.merge("object", raw(r#"{"b":3,"c\n":null}"#), &mut budget);
        extra.merge("other", raw("1"), &mut budget);
        extra.merge("other", raw("{}"), &mut budget);
        let got: Vec<_> = extra.iter().map(|(name, value)| (name, value.get())).collect();
        assert_eq!(got, [("list", "[ 1,[2]]"), ("object", r#"{"a":1.0,"b":3,"c\n":null}"#), ("other", "{}")]);
    }

    #[test]
    fn no_more_than_the_budget_and_the_number_of_members_allow() {
        let (mut extra, mut budget) = (Extra::default(), Budget::new(1000));
        (0..MAX + 9).for_each(|n| extra.set(&n.to_string(), raw("1"), &mut budget));
        assert_eq!(extra.iter().count(), MAX);
        let (mut extra, mut budget) = (Extra::default(), Budget::new(10));
        (0..9).for_each(|_| extra.add("x", raw("1"), &mut budget));
        assert_eq!((extra.get("x"), budget.is_cut()), (Some("[1,1,1,1]"), true));
        let (mut extra, mut budget) = (Extra::default(), Budget::new(1 << 20));
        for n in 0..2000 {
            extra.merge("x", raw(&format!("{{\"{n}\":1}}")), &mut budget);
        }
        assert!(extra.get("x").unwrap().len() <= MERGED_MAX);
    }
}
