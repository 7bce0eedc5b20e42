//! `uplift-sim`: simulated peers as a program of their own; a thin caller of [`uplift::sim`].

fn main() -> std::process::ExitCode {
    uplift::sim::command::run()
}
