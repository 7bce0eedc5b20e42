//! `uplift-sim`: simulated peers as a program of their own.

fn main() {}
