//! What a process writes to standard error, while it runs.

use std::io::{BufRead, BufReader};
use std::process::ChildStderr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The messages of a process so far, copied by a thread so that a pipe never fills.
pub(crate) struct Messages {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Messages {
    pub(crate) fn of(stderr: ChildStderr) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let copy = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *copy.lock().unwrap() += &(line + "\n");
            }
        });
        Self { text, reader: Some(reader) }
    }

    pub(crate) fn so_far(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// All of them, once the process has ended.
    pub(crate) fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.so_far()
    }
}
