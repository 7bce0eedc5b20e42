//! Programs of other packages than this one, of which Cargo does not tell tests the path.

use std::path::{Path, PathBuf};

/// The simulated peers' program, beside the daemon's.
pub(crate) fn uplift_sim() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_uplift")).with_file_name("uplift-sim");
    assert!(
        path.exists(),
        "{} does not exist; hint: cargo build --package uplift-sim",
        path.display()
    );
    path
}
