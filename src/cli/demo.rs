//! `uplift demo`.

/// Demo.
pub(super) fn run() -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
