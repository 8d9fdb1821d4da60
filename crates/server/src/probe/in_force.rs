//! The configurations in force, as the calls see them. Nothing here waits.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use onrecord_capture::serving::{MODELS_MAX, Sampling, Server, Setup, record_effective};
use onrecord_proof::{Record, Ref, Rel, field};
use tokio::sync::Notify;
use uuid::Uuid;

/// The configurations of one model server.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    /// Read at the end of each call, written when one changed.
    entries: RwLock<Arc<[Entry]>>,
    /// Models that were called and whose configuration is not known yet.
    called: Mutex<BTreeSet<String>>,
    /// Which server it is, as far as it is known.
    server: RwLock<Option<Server>>,
    /// Somebody saw something that does not fit.
    pub(super) doubt: Notify,
}

/// One configuration that is on record.
#[derive(Debug)]
pub(super) struct Entry {
    id: Uuid,
    names: Vec<String>,
    is_only: bool,
    defaults: Sampling,
    /// Hash of the `system_fingerprint` of its answers; 0 before the first.
    fingerprint: AtomicU64,
}

impl Entry {
    pub(super) fn new(id: Uuid, setup: &Setup) -> Self {
        let names = std::iter::once(&setup.model).chain(&setup.aliases).cloned().collect();
        let defaults = setup.sampling.as_deref().map(Sampling::of).unwrap_or_default();
        Self { id, names, is_only: setup.is_only, defaults, fingerprint: AtomicU64::new(0) }
    }

    fn is_of(&self, asked: Option<&str>, answered: Option<&str>) -> bool {
        let named = |model: Option<&str>| model.is_some_and(|model| self.names.iter().any(|name| name == model));
        // A server with one model takes any name, and some of them answer with it.
        named(answered.or(asked)) || (self.is_only && (answered.is_none() || answered == asked))
    }

    /// True unless the fingerprint is another one than that of the answers before.
    fn fits(&self, fingerprint: Option<&str>) -> bool {
        let Some(fingerprint) = fingerprint else { return true };
        let seen = BuildHasherDefault::<DefaultHasher>::default().hash_one(fingerprint) | 1;
        let before = self.fingerprint.load(Ordering::Relaxed);
        if before != seen {
            self.fingerprint.store(seen, Ordering::Relaxed);
        }
        before == seen || before == 0
    }
}

impl InForce {
    /// Completes the record of a call whose answer is known: refers to the configuration in force, and says which
    /// sampling parameters were. An answer that does not fit any has no reference, and the server is asked again.
    pub(crate) fn complete(&self, record: &mut Record) {
        if record.get(&field::OPERATION).is_none() {
            return;
        }
        let entries = Arc::clone(&self.entries.read().unwrap_or_else(PoisonError::into_inner));
        let (asked, answered) = (record.text(&field::REQUEST_MODEL), record.text(&field::RESPONSE_MODEL));
        let alone = asked.or(answered).is_none() && entries.len() == 1;
        let entry = entries.iter().find(|entry| alone || entry.is_of(asked, answered));
        let fitting = entry.filter(|entry| entry.fits(record.text(&field::FINGERPRINT)));
        let is_refused = record.int(&field::STATUS).is_some_and(|status| status >= 400);
        match (fitting, asked.or(answered)) {
            (Some(_), _) => {}
            // A model that the server does not have takes no place of one that it has.
            (None, Some(model)) if entry.is_none() && !is_refused => self.called(model),
            _ => self.doubt(),
        }
        if let Some(entry) = fitting {
            record.refs.push(Ref { rel: Rel::Config, id: entry.id });
        }
        record_effective(record, fitting.map_or(&Sampling::default(), |entry| &entry.defaults));
    }

    /// Which server it is.
    pub(crate) fn server(&self) -> Option<Server> {
        *self.server.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_server(&self, server: Option<Server>) {
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// Something has changed, as it seems.
    pub(crate) fn doubt(&self) {
        self.doubt.notify_one();
    }

    fn called(&self, model: &str) {
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        if called.len() < MODELS_MAX && !called.contains(model) {
            called.insert(model.to_owned());
        }
        drop(called);
        self.doubt();
    }

    pub(super) fn models(&self) -> Vec<String> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// This was found when the server was asked, the models `called` among the rest. Those that nothing was found of are
    /// forgotten, so that they do not take the place of others.
    pub(super) fn found(&self, entries: Vec<Entry>, called: &[String]) {
        let is_found = |model: &String| entries.iter().any(|entry| entry.names.contains(model));
        let mut names = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|model| !called.contains(model) || is_found(model));
        drop(names);
        self.set(entries);
    }

    pub(super) fn set(&self, entries: Vec<Entry>) {
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = entries.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::new_record;

    fn call(in_force: &InForce, asked: &str, answered: &str, fingerprint: &str) -> Record {
        let mut record = new_record(onrecord_proof::Kind::Interaction);
        record.set(&field::OPERATION, "chat");
        for (field, text) in
            [(&field::REQUEST_MODEL, asked), (&field::RESPONSE_MODEL, answered), (&field::FINGERPRINT, fingerprint)]
        {
            if !text.is_empty() {
                record.set(field, text);
            }
        }
        in_force.complete(&mut record);
        record
    }

    fn entry(id: Uuid, model: &str, is_only: bool) -> Entry {
        let sampling = Some(r#"{"temperature":0.8}"#.to_owned());
        Entry::new(id, &Setup { is_only, sampling, ..Setup::new(Server::LlamaCpp, model) })
    }

    #[test]
    fn a_call_refers_to_the_configuration_of_its_model() {
        let in_force = InForce::default();
        let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
        in_force.set(vec![entry(ids[0], "a", false), entry(ids[1], "b", false)]);
        let record = call(&in_force, "b", "b", "");
        assert_eq!(record.refs, [Ref { rel: Rel::Config, id: ids[1] }]);
        assert_eq!(record.get(&field::USED_TEMPERATURE), Some(&0.8.into()));
        assert_eq!(call(&in_force, "c", "", "").refs, []);
        assert_eq!(in_force.models(), ["c"]);
    }

    #[test]
    fn names_that_nothing_is_found_of_take_no_place() {
        let in_force = InForce::default();
        let mut refused = new_record(onrecord_proof::Kind::Interaction);
        refused.set(&field::OPERATION, "chat");
        refused.set(&field::REQUEST_MODEL, "misspelt");
        refused.set(&field::STATUS, 404_i64);
        in_force.complete(&mut refused);
        assert_eq!(in_force.models(), [""; 0]);
        for number in 0..MODELS_MAX {
            call(&in_force, &format!("unknown {number}"), "", "");
        }
        call(&in_force, "a", "", "");
        let asked = in_force.models();
        assert!(asked.len() == MODELS_MAX && !asked.contains(&"a".into()));
        in_force.found(vec![entry(Uuid::from_u128(1), "unknown 7", false)], &asked);
        call(&in_force, "a", "", "");
        assert_eq!(in_force.models(), ["a", "unknown 7"]);
    }

    #[test]
    fn the_only_model_answers_for_any_name_until_it_answers_with_another() {
        let in_force = InForce::default();
        in_force.set(vec![entry(Uuid::from_u128(1), "a", true)]);
        assert_eq!(call(&in_force, "gpt", "a", "b1").refs.len(), 1);
        assert_eq!(call(&in_force, "gpt", "gpt", "b1").refs.len(), 1);
        assert_eq!(call(&in_force, "", "", "").refs.len(), 1);
        assert_eq!(call(&in_force, "gpt", "other", "b1").refs.len(), 0);
        assert_eq!(call(&in_force, "gpt", "a", "b2").refs.len(), 0, "another build");
        assert_eq!(call(&in_force, "gpt", "a", "b2").refs.len(), 1, "once the server was asked, or would have been");
    }
}
