//! The story of the program: read the command line, become what it asks for, give back an exit code.

fn main() -> std::process::ExitCode {
    sluice::cli::run()
}
