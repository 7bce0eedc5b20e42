//! `uplift-sim`: simulated peers as a program; a thin caller of [`uplift_sim::command`].

fn main() -> std::process::ExitCode {
    uplift_sim::command::run()
}
