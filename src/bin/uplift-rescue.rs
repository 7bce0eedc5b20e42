//! `uplift-rescue`: the second deadline of a trial; a thin caller of [`uplift::rescue`].

fn main() -> std::process::ExitCode {
    uplift::rescue::command::run()
}
