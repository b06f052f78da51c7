//! The program: everything is in the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Chosen by measurement: see ARCHITECTURE.md.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    stytch_gateway::cli::main()
}
