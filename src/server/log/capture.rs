//! The process's logger in tests: gives each thread that asks for it the lines it logs itself.

use std::cell::RefCell;
use std::sync::Once;

use log::{LevelFilter, Log, Metadata, Record};

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

struct Capture;

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        LINES.with_borrow(Option::is_some)
    }

    fn log(&self, record: &Record<'_>) {
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                let mut line = String::new();
                super::write_line(&mut line, record, true, 0);
                lines.push(line);
            }
        });
    }

    fn flush(&self) {}
}

/// From here on lines of this thread are kept.
pub(crate) fn start() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| log::set_logger(&Capture).expect("the only logger of tests"));
    log::set_max_level(LevelFilter::Trace);
    LINES.set(Some(Vec::new()));
}

/// The lines of this thread since this was last asked, as JSON.
pub(crate) fn take() -> Vec<String> {
    LINES.replace(Some(Vec::new())).expect("lines are kept")
}
