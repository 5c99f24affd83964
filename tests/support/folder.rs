//! A folder for the files of one test.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own, removed with all that is in it when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("memocached-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    /// The path of a file in it, there or not.
    pub(crate) fn path(&self, file: &str) -> String {
        self.0.join(file).to_str().expect("a path in Unicode").to_owned()
    }

    /// Writes a file; its path.
    pub(crate) fn write(&self, file: &str, text: &str) -> String {
        let path = self.path(file);
        fs::write(&path, text).expect("a file in a temporary folder");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
