//! A cursor over JSON that somebody else wrote: finds values where they stand, in one pass and without copying.
//!
//! It checks no more than it needs to find its way, so it may pass over text that is no JSON; it never goes beyond the
//! end, and never deeper than its caller does.

/// A place in a text.
pub(crate) struct Cursor<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(json: &'a str) -> Self {
        Self { json, at: 0 }
    }

    /// At a place in a text.
    pub(crate) const fn from(json: &'a str, at: usize) -> Self {
        Self { json, at }
    }

    /// Where it stands, in bytes.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is no white space.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let rest = &self.json.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.json.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Calls `each` at the value of every member, with its name as it is written; `each` has to pass the value.
    pub(crate) fn object(&mut self, mut each: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.inside(b'{', b'}', |cursor| {
            let name = cursor.string()?;
            cursor.eat(b':').then_some(())?;
            each(cursor, name)
        })
    }

    /// Calls `each` at every item; `each` has to pass it.
    pub(crate) fn list(&mut self, each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.inside(b'[', b']', each)
    }

    fn inside(&mut self, open: u8, close: u8, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.eat(open).then_some(())?;
        if self.eat(close) {
            return Some(());
        }
        loop {
            self.peek()?;
            each(self)?;
            if !self.eat(b',') {
                return self.eat(close).then_some(());
            }
        }
    }

    /// What is between the quotes of a string, as it is written.
    fn string(&mut self) -> Option<&'a str> {
        self.eat(b'"').then_some(())?;
        let start = self.at;
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.json.as_bytes().get(self.at..)?)?;
            if self.json.as_bytes()[self.at] == b'"' {
                self.at += 1;
                return self.json.get(start..self.at - 1);
            }
            self.at += 2;
        }
    }

    /// Passes a value and gives it as it is written.
    pub(crate) fn skip(&mut self) -> Option<&'a str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => drop(self.string()?),
            b'{' | b'[' => self.pass_nested()?,
            _ => {
                let rest = &self.json.as_bytes()[start..];
                let end = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace());
                self.at += end.unwrap_or(rest.len()).max(1);
            }
        }
        self.json.get(start..self.at)
    }

    fn pass_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match *self.json.as_bytes().get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_as_they_are_written() {
        let json = r#" { "a" : [1, {"x":"}]\""}] ,"b":"q\"", "c": -1.5e3 , "d":{} } "#;
        let mut seen = Vec::new();
        let mut cursor = Cursor::new(json);
        let read = cursor.object(|cursor, name| {
            seen.push((name, cursor.skip()?));
            Some(())
        });
        assert!(read.is_some());
        assert_eq!(seen, [("a", r#"[1, {"x":"}]\""}]"#), ("b", r#""q\"""#), ("c", "-1.5e3"), ("d", "{}")]);
        assert_eq!(&json[cursor.at()..], " ");
    }

    proptest! {
        #[test]
        fn it_stays_within_any_text(json in r#"[{}\[\]",:\\a1ü ]{0,40}"#) {
            let _ = Cursor::new(&json).skip();
            let _ = Cursor::new(&json).object(|cursor, _| cursor.skip().map(drop));
            let _ = Cursor::new(&json).list(|cursor| cursor.skip().map(drop));
        }
    }
}
