//! `uplift`: parses the command line and calls one function of [`uplift::cli`].

fn main() -> std::process::ExitCode {
    uplift::cli::run()
}
