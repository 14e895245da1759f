//! The `lockstep` binary.

use std::process::ExitCode;
use std::time::Duration;

use lockstep::cli::{self, Command, Stop, exit};
use lockstep::server;

// Transparent huge pages are off: with registered buffers they would pin 2 MiB at a time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = cli::parse(std::env::args_os(), std::env::vars_os()).and_then(|command| {
        match command {
            Command::Serve(settings) => cli::serve::serve(&settings)?,
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
