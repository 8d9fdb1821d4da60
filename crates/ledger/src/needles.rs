//! What a record must hold to be worth reading.

use memchr::memmem::Finder;

/// Strings of bytes, in groups: a record that is wanted holds one of each group somewhere, as text fields hold their text.
/// Of others it is known without decoding them that they are not wanted.
#[derive(Debug, Clone, Default)]
pub struct Needles(Vec<Vec<Finder<'static>>>);

impl Needles {
    /// Of each of `groups` one. An empty string is in every record.
    pub fn new(groups: impl IntoIterator<Item = Vec<Vec<u8>>>) -> Self {
        let finders = |group: Vec<Vec<u8>>| group.iter().map(|needle| Finder::new(needle).into_owned()).collect();
        Self(groups.into_iter().map(finders).collect())
    }

    /// True if a record may be wanted that is in these parts.
    pub fn are_in<'p>(&self, parts: &(impl Iterator<Item = &'p [u8]> + Clone)) -> bool {
        self.0.iter().all(|group| group.iter().any(|needle| parts.clone().any(|part| needle.find(part).is_some())))
    }
}
