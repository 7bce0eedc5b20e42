//! The way back by hand: what would go, and what would come back.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::component::program::Program;
use crate::digest::Digests;
use crate::digest::hashing::hash_file;
use crate::model::{
    ChangeTerms, Failure, FailureKind, FileDigest, Form, PackageSummary, ProgramDigest, Request,
};
use crate::record::InstalledRecord;
use crate::tree::{Owners, Scan};

/// What goes, and the digest of what comes back.
pub(super) fn find_way_back(
    program: &Program,
    installed: Option<InstalledRecord>,
    product: String,
) -> Result<(PackageSummary, ProgramDigest), Failure> {
    let unreadable = |error| {
        Failure::from_io(FailureKind::InstallFailed, "the installed program can't be read", error)
    };
    let at_path = measure(program).map_err(unreadable)?;
    let Some((installed, (size, digests))) =
        installed.zip(at_path).filter(|(installed, (_, found))| installed.digest == found.program)
    else {
        return Err(nothing_to_go_back_to(
            "the program at the path is not one that uplift installed",
        ));
    };
    let previous =
        program.previous().map_err(unreadable)?.filter(|previous| *previous != installed.digest);
    let previous = previous.ok_or_else(|| {
        nothing_to_go_back_to("the program from before the last upgrade was not kept")
    })?;
    let file_name = format!("{product}_{}.bin", installed.version);
    let (version, file_digest, program_digest) = (installed.version, digests.file, digests.program);
    Ok((
        PackageSummary {
            file_name,
            product,
            version,
            size,
            file_digest,
            program_size: None,
            program_digest,
            trusted_key: None,
        },
        previous,
    ))
}

/// What goes, where another updater has installed it and can go back.
pub(super) fn way_back_by_updater(
    package: Option<PackageSummary>,
    terms: &ChangeTerms,
) -> Result<PackageSummary, Failure> {
    if terms.revert.is_none() {
        return Err(nothing_to_go_back_to("the component has no `revert` command"));
    }
    package.ok_or_else(|| nothing_to_go_back_to("no upgrade of the component succeeded here"))
}

/// Size and digests of the file at the path, as it was received; `None` if there is none. Of a tree,
/// which came in another form, what it is known by.
fn measure(program: &Program) -> io::Result<Option<(u64, Digests)>> {
    if program.form() == Form::Tree {
        return measure_tree(program.path());
    }
    let file = match File::open(program.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let size = file.metadata()?.len();
    Ok(Some((size, hash_file(&file, size, |_| ())?)))
}

fn measure_tree(path: &Path) -> io::Result<Option<(u64, Digests)>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let scan = Scan::of(path, Owners::Theirs).map_err(io::Error::other)?;
    let manifest = scan.manifest();
    let program = manifest.digest().map_err(io::Error::other)?;
    let size = manifest.archive_size().map_err(io::Error::other)?;
    let file = FileDigest(program.0);
    Ok(Some((size, Digests { file, program, md5: None, sha1: None })))
}

pub(super) fn by_hand(request: &Request) -> Failure {
    Failure::new(FailureKind::Cancelled, format!("rolled back by {}", request.requester))
        .with_hint("this program is refused from now on; `uplift install --force` accepts it again")
}

fn nothing_to_go_back_to(why: &str) -> Failure {
    Failure::new(FailureKind::InstallFailed, format!("there is nothing to go back to: {why}"))
        .with_hint(
            "install the version that is wanted; `uplift install --force` accepts a lower one",
        )
}
