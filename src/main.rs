//! The `lockstep` binary.

use std::process::ExitCode;
use std::time::Duration;

use lockstep::cli::{self, Command, Stop, exit};
use lockstep::server;

// Transparent huge pages are off: with registered buffers they would pin 2 MiB at a time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(unsafe_code, reason = "the name and type are those of mimalloc.h")]
unsafe extern "C" {
    /// mimalloc's, whose crate does not pass it on: lets the calling thread's heap go through what was
    /// freed. Not forced, it gives back what was freed for longer than a second.
    safe fn mi_collect(force: bool);
}

fn main() -> ExitCode {
    let result = cli::parse(std::env::args_os(), std::env::vars_os()).and_then(|command| {
        match command {
            Command::Serve(settings) => cli::serve::serve(&settings, || mi_collect(false))?,
            Command::Version => print!("{}", cli::version()),
        }
        Ok(())
    });
    server::log::flush(Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::from(exit::OK),
        Err(Stop { text, code: exit::OK }) => {
            print!("{text}");
            ExitCode::from(exit::OK)
        }
        Err(Stop { text, code }) => {
            eprint!("{text}");
            ExitCode::from(code)
        }
    }
}
