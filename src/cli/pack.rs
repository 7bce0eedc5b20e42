//! `uplift pack FILE`: seals a program or any other payload, in one step or with a signature that is
//! made elsewhere, or only gives it its name.

mod compressed;
mod stream;
mod tried;

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};

use super::old::OldFile;
use super::output::{Mistake, NewFile, Written, ask_password, read_password, read_small};
use crate::cli::bar::Bar;
use crate::cli::view;
use crate::digest::hashing::hash_file;
use crate::journal;
use crate::model::KeyId;
use crate::model::file_name::FileName;
use crate::model::version::Version;
use crate::package::foreign::Foreign;
use crate::package::pack::{Label, Unsealed};
use crate::seal::signing::{SecretKey, SigningError};
use crate::seal::{LARGEST_SEAL, Manifest, Place, PublicKey, Seal, Signature};
use crate::tree::{Owners, Scan};
use compressed::Compressed;
use tried::Tried;

/// Longest key file that is read; they have two lines.
const LARGEST_KEY_FILE: u64 = 4096;
/// Mode of the file with a tree, which nobody runs.
const TREE_MODE: u32 = 0o644;
/// Mode of a manifest; it is no secret.
const MANIFEST_MODE: u32 = 0o644;

// Documentation here would take the place of what the subcommand says of itself.
#[derive(Debug, Args)]
pub struct PackArguments {
    /// The program, an ELF file, or any other payload, without a seal; or a directory, which becomes a
    /// tree.
    ///
    /// A tree comes in a container: --compress is not needed.
    #[arg(value_name = "FILE")]
    program: PathBuf,
    /// Product that it is for.
    #[arg(long, value_name = "NAME", required_unless_present = "attach")]
    product: Option<String>,
    /// Its version, Vaa.bb.cc.dd.
    #[arg(long, value_name = "VERSION", required_unless_present = "attach")]
    version: Option<Version>,
    /// Secret key to sign with: a .key file of `uplift keygen` or `minisign -G`.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["manifest_only", "attach", "unsigned"])]
    key: Option<PathBuf>,
    /// File with the key's password in its first line, instead of asking for it.
    #[arg(long, value_name = "FILE", requires = "key")]
    password_file: Option<PathBuf>,
    /// Lowest version that the program may replace.
    #[arg(long, value_name = "VERSION")]
    replaces_from: Option<Version>,
    /// When it was packed, RFC 3339, for people to read [default: now].
    #[arg(long, value_name = "TIME", value_parser = time)]
    created: Option<String>,
    /// Write the manifest alone, to be signed elsewhere with `minisign -S`.
    #[arg(long, requires = "public", conflicts_with_all = ["key", "attach"])]
    manifest_only: bool,
    /// Complete the file with the signature of a manifest that --manifest-only wrote.
    #[arg(long, value_name = "SIGNATURE", requires = "public", conflicts_with_all = ["key", "product", "version", "replaces_from", "created"])]
    attach: Option<PathBuf>,
    /// That manifest [default: SIGNATURE without .minisig].
    #[arg(long, value_name = "FILE", requires = "attach")]
    manifest: Option<PathBuf>,
    /// Public key that belongs to the signature from elsewhere: a .pub file.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    public: Option<PathBuf>,
    /// Where the seal stands [default: behind an ELF program, before what is no program; a program that
    /// needs its end as it is becomes a container].
    ///
    /// A seal before the payload is taken away before that is installed, or handed on.
    #[arg(long, value_name = "PLACE", value_enum, conflicts_with = "attach")]
    seal_place: Option<SealPlace>,
    /// Compress it: a container, whose program a payload installs byte for byte as it is here.
    ///
    /// A payload whose uplift does not know containers refuses it, so this is done unasked only for a program that a seal behind it
    /// would change.
    #[arg(long)]
    compress: bool,
    /// Compress it, and put in what changes this old program into it, for payloads that have that one;
    /// may be given several times.
    ///
    /// The old one is a program, a sealed file or a container. Where it does not say its version, and its
    /// name does not, that stands before its path: V01.00.00.00=program.
    #[arg(long, value_name = "OLD")]
    from: Vec<OldFile>,
    /// Put in nothing but that: a smaller file, which payloads with other programs refuse.
    #[arg(long, requires = "from")]
    delta_only: bool,
    /// Leave the things in a directory with the user and the group that they have here, by their
    /// numbers; without this they are root's.
    #[arg(long)]
    keep_owners: bool,
    /// Put files with a set-user-id or set-group-id bit into a tree.
    ///
    /// A payload refuses them where its component has no `set_id = true`.
    #[arg(long)]
    set_id: bool,
    /// Write the program without a seal, under the name of a firmware file.
    #[arg(long, conflicts_with_all = ["key", "manifest_only", "attach", "public", "replaces_from", "created"])]
    unsigned: bool,
    /// Directory of the new file.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Replace a file that exists already, and write one that behaves differently once it is
    /// sealed.
    #[arg(long)]
    force: bool,
}

/// [`Place`] as a person types it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SealPlace {
    Before,
    Behind,
}

/// Seals the program, or does the part of it that was asked for.
pub(super) fn run(arguments: &PackArguments) -> anyhow::Result<()> {
    // Clap sees to it that each way has what it needs.
    match arguments {
        PackArguments { attach: Some(signature), public: Some(public), .. } => {
            attach(arguments, signature, &read_public(public)?)
        }
        PackArguments { manifest_only: true, public: Some(public), .. } => {
            manifest_only(arguments, read_public(public)?.id())
        }
        PackArguments { unsigned: true, .. } => unsigned(arguments),
        PackArguments { key: Some(key), .. } => seal(arguments, key),
        _ => bail!("a key is needed"),
    }
}

fn time(text: &str) -> Result<String, String> {
    humantime::parse_rfc3339(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

impl PackArguments {
    fn name(&self) -> anyhow::Result<FileName> {
        let (Some(product), Some(version)) = (&self.product, self.version) else {
            bail!("product and version are needed")
        };
        let name = format!("{product}_{version}.bin");
        name.parse().with_context(|| format!("{name:?} can't be the name of a firmware file"))
    }

    fn label(&self, name: FileName, key_id: KeyId, place: Place) -> Label {
        let (created, key_id) = (self.created.clone().unwrap_or_else(journal::stamp), Some(key_id));
        Label { name, created, replaces_from: self.replaces_from, key_id, place }
    }

    /// What is said of a program that nobody signs.
    fn unsigned_label(&self, name: FileName) -> Label {
        let created = self.created.clone().unwrap_or_else(journal::stamp);
        let (replaces_from, key_id, place) = (self.replaces_from, None, Place::Before);
        Label { name, created, replaces_from, key_id, place }
    }

    /// Where the seal of such a payload stands.
    fn place(&self, unsealed: &Unsealed) -> anyhow::Result<Place> {
        let program = self.program.display();
        match (self.seal_place, unsealed.foreign()) {
            (None, None) if self.is_container(unsealed) => Ok(Place::Before),
            (Some(SealPlace::Before), _) => Ok(Place::Before),
            (_, None) | (Some(SealPlace::Behind), Some(Foreign::Archive(_))) => Ok(Place::Behind),
            (Some(SealPlace::Behind), Some(_)) => Err(Mistake::new(
                format!(
                    "{program} is no ELF program, and what reads it would read a seal behind it too"
                ),
                "--seal-place before puts the seal where it is taken away before the file is used",
            )
            .into()),
            (None, Some(foreign)) => self.is_meant(foreign).map(|()| Place::Before),
        }
    }

    /// Text and zeros come about by mistake, most of the time: the page of an error in place of the
    /// file, say, or the key.
    fn is_meant(&self, foreign: &Foreign) -> anyhow::Result<()> {
        if !matches!(foreign, Foreign::Text(_) | Foreign::Zeros) {
            return Ok(());
        }
        let sentence = format!("{} is {foreign}", self.program.display());
        Err(Mistake::new(sentence, "--seal-place before seals it all the same").into())
    }

    fn asks_for_container(&self) -> bool {
        self.compress || !self.from.is_empty() || self.program.is_dir()
    }

    /// Whose the things of a directory are to be.
    pub(super) const fn owners(&self) -> Owners {
        if self.keep_owners { Owners::Theirs } else { Owners::Root }
    }

    /// Whether the program becomes a container: where that is asked for, and where nothing is and it would not be
    /// the same with a seal behind it.
    fn is_container(&self, unsealed: &Unsealed) -> bool {
        self.asks_for_container() || self.seal_place.is_none() && unsealed.needs_its_end().is_some()
    }

    /// Says why it becomes a container, where nobody asked for one.
    fn say_why_container(&self, unsealed: &Unsealed) -> anyhow::Result<()> {
        let why = unsealed.needs_its_end().filter(|_| !self.asks_for_container());
        why.map_or(Ok(()), |why| {
            let program = self.program.display();
            Ok(view::say(format_args!(
                "{program} goes into a container, which leaves it as it is: {why}."
            ))?)
        })
    }

    fn can_not_be_sealed(&self) -> String {
        format!("{} can't be sealed", self.program.display())
    }
}

fn seal(arguments: &PackArguments, key: &Path) -> anyhow::Result<()> {
    let name = arguments.name()?;
    let packing = Packing::begin(arguments, &name)?;
    let key = read_secret(key, arguments.password_file.as_deref())?;
    let unsealed = packing.measure()?;
    let label = arguments.label(name.clone(), key.public().id(), arguments.place(&unsealed)?);
    let sign = |text: &[u8]| key.sign(text, &format!("{name}, sealed by uplift"));
    let manifest = unsealed.manifest(label);
    if arguments.is_container(&unsealed) {
        arguments.say_why_container(&unsealed)?;
        let compressed = packing.compress(&unsealed)?;
        let text = compressed.described_in(manifest).to_text()?;
        let signature = sign(&text)?;
        return packing.finish_container(
            &unsealed,
            compressed,
            &text,
            Some((&signature, key.public())),
        );
    }
    let text = manifest.to_text()?;
    let signature = sign(&text)?;
    packing.finish(&unsealed, (&text, &signature), key.public())
}

/// The program under its name, for a payload that needs no seal.
fn unsigned(arguments: &PackArguments) -> anyhow::Result<()> {
    let packing = Packing::begin(arguments, &arguments.name()?)?;
    let unsealed = packing.measure()?;
    unsealed.foreign().map_or(Ok(()), |foreign| arguments.is_meant(foreign))?;
    if arguments.asks_for_container() {
        let compressed = packing.compress(&unsealed)?;
        let label = arguments.unsigned_label(arguments.name()?);
        let text = compressed.described_in(unsealed.manifest(label)).to_text()?;
        return packing.finish_container(&unsealed, compressed, &text, None);
    }
    let path = packing.path.clone();
    packing.write(&unsealed, b"", b"")?.name()?;
    let path = path.display();
    view::say(format_args!(
        "Wrote {path}, without a seal: nothing in it says who made it. A payload with `seal = \"required\"` refuses it."
    ))?;
    if !unsealed.proves_its_end() {
        view::say(
            "It can't prove that it is whole either, so the payload also needs `allow_unproven_end = true`.",
        )?;
    }
    say_what_takes_it(&unsealed)
}

/// The manifest lies beside nothing yet.
fn manifest_only(arguments: &PackArguments, key_id: KeyId) -> anyhow::Result<()> {
    let name = arguments.name()?;
    let path = arguments.out.join(format!("{}_{}.manifest", name.product(), name.version()));
    let manifest = NewFile::create(&path, MANIFEST_MODE, arguments.force)?;
    let program = open(arguments)?;
    let unsealed = measure(&program).with_context(|| arguments.can_not_be_sealed())?;
    let place = arguments.place(&unsealed)?;
    let mut described = unsealed.manifest(arguments.label(name, key_id, place));
    if arguments.is_container(&unsealed) {
        arguments.say_why_container(&unsealed)?;
        described = Compressed::of(arguments, &program, &unsealed, &path)?.described_in(described);
    }
    manifest.finish_with(&described.to_text()?)?;
    if let Some(why) = unsealed.needs_its_end().filter(|_| place == Place::Behind) {
        view::complain(&format!("note: {why}; --attach tries the sealed program"));
    }
    let path = path.display();
    view::print(format_args!(
        "Wrote {path}. Sign it with key {key_id}, as with\n\n  minisign -S -s SECRET.key -m {path}\n\n\
         and complete the file with `uplift pack {} --attach {path}.minisig --public PUBLIC.pub`.",
        arguments.program.display()
    ))?;
    Ok(())
}

fn attach(arguments: &PackArguments, signature: &Path, public: &PublicKey) -> anyhow::Result<()> {
    let beside = || {
        let name =
            signature.to_str().and_then(|name| name.strip_suffix(".minisig")).map(PathBuf::from);
        name.with_context(|| {
            format!(
                "{} does not end in .minisig; name the manifest with --manifest",
                signature.display()
            )
        })
    };
    let path = arguments.manifest.clone().map_or_else(beside, Ok)?;
    let text = read_small(&path, "manifest", LARGEST_SEAL as u64)?;
    let manifest = Manifest::parse(text.as_bytes())
        .with_context(|| format!("{} is not a manifest", path.display()))?;
    let name: FileName = format!("{}_{}.bin", manifest.product, manifest.version)
        .parse()
        .context("the manifest names no product")?;
    let packing = Packing::begin(arguments, &name)?;
    let unsealed = packing.measure()?;
    ensure!(
        unsealed.is_described_by(&manifest),
        "{} is not the program that {} describes",
        arguments.program.display(),
        path.display()
    );
    let signature = read_small(signature, "signature", LARGEST_SEAL as u64)?;
    if !manifest.streams.is_empty() {
        let compressed = packing.compress(&unsealed)?;
        ensure!(
            compressed.is_described_by(&manifest),
            "{} was packed with other old programs, or by another version of uplift, whose streams differ",
            path.display()
        );
        return packing.finish_container(
            &unsealed,
            compressed,
            text.as_bytes(),
            Some((&signature, public)),
        );
    }
    packing.finish(&unsealed, (text.as_bytes(), &signature), public)
}

/// A new file that is being made of the program.
struct Packing<'a> {
    arguments: &'a PackArguments,
    program: File,
    target: NewFile,
    path: PathBuf,
}

impl<'a> Packing<'a> {
    fn begin(arguments: &'a PackArguments, name: &FileName) -> anyhow::Result<Self> {
        let program = open(arguments)?;
        let mode = match arguments.program.is_dir() {
            true => TREE_MODE,
            false => program.metadata()?.permissions().mode() & 0o777,
        };
        let path = arguments.out.join(name.to_string());
        let target = NewFile::create(&path, mode, arguments.force)?;
        Ok(Self { arguments, program, target, path })
    }

    fn measure(&self) -> anyhow::Result<Unsealed> {
        measure(&self.program).with_context(|| self.arguments.can_not_be_sealed())
    }

    /// Writes the seal of manifest and signature where the manifest says, and the program. A
    /// signature that does not hold is never written.
    fn finish(
        self,
        unsealed: &Unsealed,
        (manifest, signature): (&[u8], &str),
        public: &PublicKey,
    ) -> anyhow::Result<()> {
        let seal =
            Seal::to_bytes(manifest, signature).context("manifest and signature make no seal")?;
        let signed = Signature::parse(signature.as_bytes())?;
        ensure_signed(&signed, manifest, public)?;
        let Manifest { place, .. } = Manifest::parse(manifest)?;
        let (before, behind): (&[u8], &[u8]) = match place {
            Place::Before => (&seal, b""),
            Place::Behind => (b"", &seal),
        };
        let (path, arguments) = (self.path.clone(), self.arguments);
        let sealed = self.write(unsealed, before, behind)?;
        if let Some(why) = unsealed.needs_its_end().filter(|_| place == Place::Behind) {
            compare(arguments, &why, sealed.place())?;
        }
        sealed.name()?;
        let path = path.display();
        view::say(match place {
            Place::Behind => format!("Wrote {path}, sealed by key {}.", public.id()),
            Place::Before => {
                format!(
                    "Wrote {path}, sealed by key {}. The seal stands before the payload.",
                    public.id()
                )
            }
        })?;
        say_what_takes_it(unsealed)
    }

    /// Writes all of it. What is sealed is what was written: it is read once more.
    fn write(self, unsealed: &Unsealed, before: &[u8], behind: &[u8]) -> anyhow::Result<Written> {
        let Self { arguments, mut program, target, path } = self;
        let can_not_be_written = || format!("{} can't be written", path.display());
        let copied = (target.file().write_all(before))
            .and_then(|()| program.rewind())
            .and_then(|()| io::copy(&mut program, &mut target.file()))
            .and_then(|_| target.file().write_all(behind))
            .and_then(|()| target.file().rewind());
        copied.with_context(can_not_be_written)?;
        let written =
            hash_file(target.file(), u64::MAX, |_| ()).with_context(can_not_be_written)?;
        ensure!(
            unsealed.has_digest(written.program),
            "{} was changed while it was packed",
            arguments.program.display()
        );
        target.complete_with(b"")
    }
}

/// Whether this is the key's signature over this manifest.
fn ensure_signed(signed: &Signature, manifest: &[u8], public: &PublicKey) -> anyhow::Result<()> {
    ensure!(
        signed.key_id() == public.id(),
        "the signature is by key {}, and the public key is {}",
        signed.key_id(),
        public.id()
    );
    ensure!(
        public.verifies(signed, manifest),
        "the signature is not of key {} over this manifest",
        public.id()
    );
    Ok(())
}

/// Which components take what is no ELF program.
fn say_what_takes_it(unsealed: &Unsealed) -> anyhow::Result<()> {
    let Some(foreign) = unsealed.foreign() else { return Ok(()) };
    if *foreign == Foreign::Tree {
        view::say("A component of the kind \"tree\" takes it.")?;
        return Ok(());
    }
    let formats = match foreign {
        Foreign::Script(_) | Foreign::ScriptWithZip(_) => {
            "`format = \"script\"` or `format = \"any\"`"
        }
        _ => "`format = \"any\"`",
    };
    let what = foreign.name().map(|name| format!("{name} and ")).unwrap_or_default();
    view::say(format_args!("It is {what}no ELF program, so a component with {formats} takes it."))?;
    Ok(())
}

/// Says that a program may not find any more what it looks for at its end, and tries that where it
/// can be tried.
fn compare(arguments: &PackArguments, something: &str, sealed: &Path) -> anyhow::Result<()> {
    match tried::compare(&arguments.program, sealed) {
        Tried::Same => view::complain(&format!(
            "note: {something}; with --version it prints the same as before, so try what else it does"
        )),
        Tried::Impossible(why) => {
            view::complain(&format!(
                "note: {something}; that can't be tried here ({why}), so try the file before you send it"
            ));
        }
        Tried::Differs { before, after } if arguments.force => {
            view::complain(&format!(
                "note: {something}; with --version it {before}, and sealed it {after}"
            ));
        }
        Tried::Differs { before, after } => {
            let sentence =
                format!("{something}: with --version it {before}, and sealed it {after}");
            let hint = "without --seal-place it goes into a container, which leaves its end as it is; --force writes the sealed file all the same";
            return Err(Mistake::new(sentence, hint).into());
        }
    }
    Ok(())
}

fn measure(file: &File) -> anyhow::Result<Unsealed> {
    let bar = Bar::of_bytes("hashing", file.metadata()?.len(), false);
    Ok(Unsealed::measure(file, |bytes| bar.set_done(bytes))?)
}

fn open(arguments: &PackArguments) -> anyhow::Result<File> {
    let program = arguments.program.as_path();
    let unreadable = || format!("{} can't be read", program.display());
    if program.is_dir() {
        return tree(arguments);
    }
    // Asked before it is opened: opening a FIFO would wait for ever.
    ensure!(
        program.metadata().with_context(unreadable)?.is_file(),
        "{} is not a regular file",
        program.display()
    );
    File::open(program).with_context(unreadable)
}

/// The archive of a directory, in a file without a name.
fn tree(arguments: &PackArguments) -> anyhow::Result<File> {
    let program = arguments.program.display();
    let no_tree = || format!("{program} can't be packed as a tree");
    let scan = Scan::of(&arguments.program, arguments.owners()).with_context(no_tree)?;
    let manifest = scan.manifest();
    manifest.check().with_context(no_tree)?;
    if let Some(path) = manifest.set_id().filter(|_| !arguments.set_id) {
        let sentence = format!("{path:?} in {program} has a set-id bit");
        let hint = "take it away with `chmod u-s,g-s`, or let it in with --set-id";
        return Err(Mistake::new(sentence, hint).into());
    }
    let archive = scan.archive(&arguments.out).with_context(no_tree)?;
    let (files, size) = (manifest.files(), manifest.content_size()?);
    let others = manifest.entries().len() - files;
    view::say(format_args!(
        "{program} is a tree of {files} files, {others} directories and links, and {size} bytes."
    ))?;
    Ok(archive)
}

fn read_public(path: &Path) -> anyhow::Result<PublicKey> {
    let text = read_small(path, "public key", LARGEST_KEY_FILE)?;
    let line = text.lines().nth(1).unwrap_or_default();
    line.parse().with_context(|| format!("{} is no public key", path.display()))
}

fn read_secret(path: &Path, password_file: Option<&Path>) -> anyhow::Result<SecretKey> {
    let text = read_small(path, "secret key", LARGEST_KEY_FILE)?;
    let password = password_file.map(read_password).transpose()?;
    let key = match SecretKey::read(&text, password) {
        Err(SigningError::PasswordNeeded) => {
            let password = ask_password(
                &format!("Password of {}: ", path.display()),
                "give it with --password-file",
            )?;
            SecretKey::read(&text, Some(password))
        }
        read => read,
    };
    key.with_context(|| format!("the key {} can't be used", path.display()))
}
