//! The answer on its way back: cut into lines or taken whole, and given on without the decisions.

use super::Undo;
use super::edit::edit;
use crate::stream::Framing;

/// Takes decisions out of an answer's body as it comes.
pub(crate) struct Strip {
    undo: Undo,
    /// How the body is cut; `None` for one value.
    framing: Option<Framing>,
    /// What has come of a line, or of the whole.
    open: Vec<u8>,
    limit: usize,
    /// An event was left out, and the blank line behind it goes with it.
    drops_blank: bool,
    /// Something was too long to be read: it passes as it comes from here on.
    gave_up: bool,
}

impl Strip {
    /// Holds back no more than `limit` bytes.
    pub(crate) const fn new(undo: Undo, framing: Option<Framing>, limit: usize) -> Self {
        Self { undo, framing, open: Vec::new(), limit, drops_blank: false, gave_up: false }
    }

    /// Takes the next bytes, appends what goes on to `out`, and reports the decisions of each answer by its number.
    pub(crate) fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>, mut taken: impl FnMut(i64, &str)) {
        if self.gave_up {
            return out.extend_from_slice(piece);
        }
        while let (Some(_), Some(end)) = (self.framing, memchr::memchr(b'\n', piece)) {
            self.open.extend_from_slice(&piece[..=end]);
            piece = &piece[end + 1..];
            let line = std::mem::take(&mut self.open);
            self.line(&line, out, &mut taken);
            self.open = line;
            self.open.clear();
        }
        self.open.extend_from_slice(piece);
        if self.open.len() > self.limit {
            self.gave_up = true;
            out.append(&mut self.open);
        }
    }

    /// The body has ended: what was held goes on.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, mut taken: impl FnMut(i64, &str)) {
        let open = std::mem::take(&mut self.open);
        match self.framing {
            Some(_) => self.line(&open, out, &mut taken),
            None => drop(self.text(&open, out, &mut taken)),
        }
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>, taken: &mut impl FnMut(i64, &str)) {
        let is_blank = line.trim_ascii().is_empty();
        if std::mem::take(&mut self.drops_blank) && is_blank {
            return;
        }
        let prefix = match self.framing {
            Some(Framing::Events) if line.starts_with(b"data: ") => 6,
            Some(Framing::Events) if line.starts_with(b"data:") => 5,
            Some(Framing::Events) => return out.extend_from_slice(line),
            _ => 0,
        };
        let start = out.len();
        out.extend_from_slice(&line[..prefix]);
        if self.text(&line[prefix..], out, taken) {
            out.truncate(start);
            self.drops_blank = self.framing == Some(Framing::Events);
        }
    }

    /// Appends a text without its decisions; true if nothing is left that would be there without them.
    fn text(&self, text: &[u8], out: &mut Vec<u8>, taken: &mut impl FnMut(i64, &str)) -> bool {
        let edited = std::str::from_utf8(text).ok().and_then(|json| edit(json, &self.undo));
        let Some(edited) = edited else {
            out.extend_from_slice(text);
            return false;
        };
        out.extend_from_slice(edited.json.as_bytes());
        edited.taken.iter().for_each(|(index, items)| taken(*index, items));
        edited.vanishes
    }
}
