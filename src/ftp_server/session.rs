//! One client's session: its state, and the answer to each command. Transfers are in [`transfer`].

mod transfer;

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::area::AreaError;
use super::command::{Command, Epsv, Opts, PathText, Representation};
use super::control::{Control, Gone, Received};
use super::data::{Active, Passive, Way};
use super::files::Files;
use super::listing::{FACTS, Style};
use super::login::FREE_ATTEMPTS;
use super::name::{FileName, RemotePath};
use super::reply::Reply;
use super::who::{Who, is_this_machine};
use super::{Ends, Shared};
use crate::wire::places::{Place, Standing};

/// A client that has not logged in by then is holding a place.
const LOGIN_DEADLINE: Duration = Duration::from_secs(60);

/// Whether the session goes on after a command.
type Flow = Result<ControlFlow<()>, Gone>;

const GO_ON: Flow = Ok(ControlFlow::Continue(()));
const END: Flow = Ok(ControlFlow::Break(()));

/// Who the client is.
#[derive(Debug)]
enum Login {
    Nobody,
    Named(String),
    LoggedIn,
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    shared: Arc<Shared>,
    control: Control,
    /// Who has not logged in makes room for a newcomer, and after that who asks for nothing.
    place: Place<Who>,
    who: Who,
    /// The control connection's address on this side: data ports are opened there, and nowhere
    /// else.
    local: SocketAddr,
    peer: SocketAddr,
    login: Login,
    wrong_passwords: u32,
    login_deadline: Instant,
    /// What the client asked for. Without a word the bytes are left alone, as vsftpd does.
    representation: Option<Representation>,
    /// Offset that `REST` gave for the next transfer; clients ask for its data port before or
    /// after.
    restart: u64,
    /// Size that `ALLO` announced for the next upload.
    announced: Option<u64>,
    way: Option<Way>,
    /// When a data port that nobody connects to is given back.
    way_until: Instant,
    /// What `RNFR` named.
    renaming: Option<FileName>,
    epsv_only: bool,
}

impl Session {
    /// A session on a new connection.
    pub(super) fn new(
        shared: Arc<Shared>,
        control: Control,
        ends: Ends,
        place: Place<Who>,
    ) -> Self {
        Self {
            shared,
            control,
            place,
            who: ends.who,
            local: unmapped(ends.local),
            peer: unmapped(ends.peer),
            login: Login::Nobody,
            wrong_passwords: 0,
            login_deadline: Instant::now() + LOGIN_DEADLINE,
            representation: None,
            restart: 0,
            announced: None,
            way: None,
            way_until: Instant::now(),
            renaming: None,
            epsv_only: false,
        }
    }

    /// Says that somebody else needs the place, where that needs no waiting.
    pub(super) fn send_away(&self) {
        self.control.reply_at_once(&Reply::new(
            421,
            "Somebody else needs the place; log in at once, and again when you need it",
        ));
    }

    /// Serves the client until it leaves. Dropping the future ends everything that the session
    /// began.
    pub(super) async fn run(&mut self) -> Result<(), Gone> {
        if let Some(wait) = self.locked_out() {
            return self.control.reply(&locked_out(wait)).await;
        }
        self.say(220, "Ready").await?;
        loop {
            let deadline = self.deadline();
            let Ok(received) = timeout_at(deadline, self.next()).await else {
                return self
                    .control
                    .reply(&Reply::new(421, "No command came in time; goodbye"))
                    .await;
            };
            let flow = match received? {
                Ok(command) => self.obey(command).await?,
                Err(refusal) => {
                    self.control.reply(&refusal).await?;
                    ControlFlow::Continue(())
                }
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    fn deadline(&self) -> Instant {
        let idle = Instant::now() + self.shared.idle_timeout;
        if matches!(self.login, Login::LoggedIn) { idle } else { idle.min(self.login_deadline) }
    }

    /// The next command. Meanwhile a data port is given back when another needs it, or nobody has
    /// connected for long enough.
    async fn next(&mut self) -> Result<Received, Gone> {
        while let Some(Way::Passive(passive)) = &self.way {
            tokio::select! {
                biased;
                received = self.control.next() => return received,
                () = passive.told_to_leave() => {}
                () = sleep_until(self.way_until) => {}
            }
            tracing::info!(peer = %self.peer, "the data port of {} is given back: nothing has come on it", self.peer);
            self.way = None;
        }
        self.control.next().await
    }

    async fn say(
        &mut self,
        code: u16,
        text: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Result<(), Gone> {
        self.control.reply(&Reply::new(code, text)).await
    }

    async fn obey(&mut self, command: Command) -> Flow {
        tracing::debug!(peer = %self.peer, ?command);
        match command {
            Command::User(name) => self.user(name).await?,
            Command::Pass(password) => return self.password(password.reveal()).await,
            Command::Quit => {
                self.say(221, "Goodbye").await?;
                return END;
            }
            Command::Syst => self.say(215, "UNIX Type: L8").await?,
            Command::Feat => self.features().await?,
            Command::Opts(Opts::Utf8) => self.say(200, "Names are UTF-8").await?,
            Command::Opts(Opts::Mlst) => self.say(200, "MLST OPTS type;size;modify;").await?,
            Command::Noop => self.say(200, "Here").await?,
            Command::Acct => self.say(202, "No accounting here").await?,
            _ if !matches!(self.login, Login::LoggedIn) => {
                self.say(530, "Log in first, with USER and PASS").await?;
            }
            command => self.obey_logged_in(command).await?,
        }
        GO_ON
    }

    async fn obey_logged_in(&mut self, command: Command) -> Result<(), Gone> {
        match command {
            Command::Type(representation) => {
                self.representation = Some(representation);
                self.say(200, "Type set").await
            }
            Command::Mode | Command::Stru => self.say(200, "So it is").await,
            Command::Pwd => self.say(257, "\"/\" is the current directory").await,
            Command::Cwd(path) => self.change_directory(&path).await,
            Command::Cdup => self.say(550, "Nothing is above this directory").await,
            Command::Pasv => self.passive().await,
            Command::Epsv(argument) => self.extended_passive(argument).await,
            Command::Port(address) => self.active(address).await,
            Command::Rest(offset) => {
                self.restart = offset;
                self.say(350, format!("The next transfer starts at byte {offset}")).await
            }
            Command::Size(path) => {
                self.answer_from_files(move |files, who| {
                    Ok(Reply::new(213, files.entry(&path, who)?.size.to_string()))
                })
                .await
            }
            Command::Mdtm(path) => {
                self.answer_from_files(move |files, who| {
                    Ok(Reply::new(213, files.entry(&path, who)?.modified.exact()))
                })
                .await
            }
            Command::Mlst(path) => {
                self.answer_from_files(move |files, who| facts(files, path.as_ref(), who)).await
            }
            Command::Dele(path) => self.delete(path).await,
            Command::Rnfr(path) => self.rename_from(path).await,
            Command::Rnto(path) => self.rename_to(path).await,
            Command::Mkd(path) => self.make_directory(&path).await,
            Command::Allo(bytes) => self.allocate(bytes).await,
            Command::Abor => {
                self.way = None;
                self.say(226, "Nothing to abort").await
            }
            Command::Retr(path) => self.download(path).await,
            Command::Stor(path) => self.upload(path).await,
            Command::List(path) => self.list(path, Style::Long).await,
            Command::Nlst(path) => self.list(path, Style::Names).await,
            Command::Mlsd(path) => self.list(path, Style::Facts).await,
            // Answered by `obey`.
            Command::User(_) | Command::Pass(_) | Command::Quit | Command::Syst => Ok(()),
            Command::Feat | Command::Opts(_) | Command::Noop | Command::Acct => Ok(()),
        }
    }

    async fn features(&mut self) -> Result<(), Gone> {
        let features = ["EPRT", "EPSV", "MDTM", FACTS, "PASV", "REST STREAM", "SIZE", "UTF8"]
            .map(|name| name.into())
            .into();
        self.control.reply(&Reply::new(211, "Features:").with_body(features)).await
    }

    async fn user(&mut self, name: String) -> Result<(), Gone> {
        self.login = Login::Named(name);
        self.place.stand(Standing::New);
        self.say(331, "Password, please").await
    }

    async fn password(&mut self, password: &str) -> Flow {
        // Who is logged in stays so: the answer is a refusal, and no client takes that for the end
        // of its login.
        let Login::Named(name) = &mut self.login else {
            self.say(503, "USER comes first").await?;
            return GO_ON;
        };
        let name = std::mem::take(name);
        self.login = Login::Nobody;
        // Asked again here: an address may have many sessions that try side by side.
        if let Some(wait) = self.locked_out() {
            self.control.reply(&locked_out(wait)).await?;
            return END;
        }
        if self.shared.accounts.accept(&name, password) {
            self.shared.throttle().right(self.peer.ip());
            self.login = Login::LoggedIn;
            self.place.stand(Standing::Idle);
            tracing::info!(peer = %self.peer, user = ?name, "{} logged in as {name:?}: {}", self.peer, self.who);
            self.say(230, "Logged in").await?;
            return GO_ON;
        }
        self.wrong_password(&name).await
    }

    async fn wrong_password(&mut self, name: &str) -> Flow {
        self.wrong_passwords += 1;
        let delay = self.shared.throttle().wrong(self.peer.ip(), std::time::Instant::now());
        tracing::warn!(peer = %self.peer, user = ?name, "wrong user name or password from {}", self.peer);
        sleep(delay).await;
        if self.wrong_passwords < FREE_ATTEMPTS {
            self.say(530, "Wrong user name or password").await?;
            return GO_ON;
        }
        self.say(421, "Wrong user name or password too often; goodbye").await?;
        END
    }

    /// This machine itself is never locked out: any of its processes could keep out the daemon that
    /// pulls.
    fn locked_out(&self) -> Option<Duration> {
        if is_this_machine(self.local.ip(), self.peer.ip()) {
            return None;
        }
        self.shared.throttle().locked_out(self.peer.ip(), std::time::Instant::now())
    }

    async fn change_directory(&mut self, path: &PathText) -> Result<(), Gone> {
        match self.shared.files.resolve(path) {
            Ok(RemotePath::Root) => self.say(250, "\"/\" is the current directory").await,
            Ok(RemotePath::File(_)) | Err(_) => {
                self.say(550, "There is one directory here, \"/\"").await
            }
        }
    }

    async fn make_directory(&mut self, path: &PathText) -> Result<(), Gone> {
        match self.shared.files.resolve(path) {
            Ok(RemotePath::Root) => self.say(521, "\"/\" exists already").await,
            Ok(RemotePath::File(_)) | Err(_) => {
                self.say(550, "There is one directory here, \"/\"").await
            }
        }
    }

    async fn delete(&mut self, path: PathText) -> Result<(), Gone> {
        match self.ask_files(move |files, who| files.delete(&path, who)).await {
            Ok(name) => {
                tracing::info!(peer = %self.peer, file = ?name, "{} deleted {name:?}", self.peer);
                self.say(250, "Deleted").await
            }
            Err(refusal) => self.refuse("delete a file", &refusal).await,
        }
    }

    async fn rename_from(&mut self, path: PathText) -> Result<(), Gone> {
        match self.ask_files(move |files, who| files.may_rename(&path, who)).await {
            Ok(name) => {
                self.renaming = Some(name);
                self.say(350, "Its new name, please").await
            }
            Err(refusal) => self.refuse("rename a file", &refusal).await,
        }
    }

    async fn rename_to(&mut self, path: PathText) -> Result<(), Gone> {
        let Some(from) = self.renaming.take() else {
            return self.say(503, "RNFR comes first").await;
        };
        let old = from.clone();
        match self.ask_files(move |files, who| files.rename(&from, &path, who)).await {
            Ok(to) => {
                tracing::info!(peer = %self.peer, file = ?old, to = ?to, "{} renamed {old:?} to {to:?}", self.peer);
                self.say(250, "Renamed").await
            }
            Err(refusal) => self.refuse("rename a file", &refusal).await,
        }
    }

    /// Says no, and writes down to whom.
    async fn refuse(&mut self, what: &'static str, refusal: &Reply) -> Result<(), Gone> {
        tracing::info!(peer = %self.peer, "{} may not {what}: {}", self.peer, refusal.text());
        self.control.reply(refusal).await
    }

    async fn allocate(&mut self, bytes: u64) -> Result<(), Gone> {
        self.announced = Some(bytes);
        self.answer_from_files(move |files, _| {
            files.fits(bytes).map(|()| Reply::new(200, "There is room"))
        })
        .await
    }

    async fn passive(&mut self) -> Result<(), Gone> {
        if self.epsv_only {
            return self.say(501, "EPSV ALL forbids PASV").await;
        }
        let SocketAddr::V4(local) = self.local else {
            return self.say(425, "PASV is for IPv4; use EPSV").await;
        };
        match self.open_data_port().await {
            Ok(port) => {
                let [a, b, c, d] = local.ip().octets();
                let [high, low] = port.to_be_bytes();
                self.say(227, format!("Entering Passive Mode ({a},{b},{c},{d},{high},{low})."))
                    .await
            }
            Err(refusal) => self.control.reply(&refusal).await,
        }
    }

    async fn extended_passive(&mut self, argument: Epsv) -> Result<(), Gone> {
        match (argument, self.local) {
            (Epsv::All, _) => {
                self.epsv_only = true;
                return self.say(200, "Nothing but EPSV from now on").await;
            }
            (Epsv::Ipv4, SocketAddr::V6(_)) => {
                return self.say(522, "Network protocol not supported, use (2)").await;
            }
            (Epsv::Ipv6, SocketAddr::V4(_)) => {
                return self.say(522, "Network protocol not supported, use (1)").await;
            }
            _ => {}
        }
        match self.open_data_port().await {
            Ok(port) => self.say(229, format!("Entering Extended Passive Mode (|||{port}|)")).await,
            Err(refusal) => self.control.reply(&refusal).await,
        }
    }

    async fn active(&mut self, address: SocketAddr) -> Result<(), Gone> {
        if self.epsv_only {
            return self.say(501, "EPSV ALL forbids PORT").await;
        }
        self.way = Active::new(self.local, self.peer, address).map(Way::Active);
        match self.way {
            Some(_) => self.say(200, "Connecting when there is something to transfer").await,
            None => {
                self.say(501, "Only your own address is connected to, and no port below 1024").await
            }
        }
    }

    async fn open_data_port(&mut self) -> Result<u16, Reply> {
        // The old port goes first, or a range of one port would never do for a second request.
        self.way = None;
        let Shared { passive_ports, waiting, .. } = &*self.shared;
        let opened =
            Passive::listen(self.local, self.peer.ip(), passive_ports, waiting, self.who.clone())
                .await;
        let port = opened.and_then(|passive| {
            let port = passive.port();
            self.way = Some(Way::Passive(passive));
            self.way_until = Instant::now() + self.shared.stall_timeout;
            port
        });
        port.map_err(|error| {
            tracing::warn!("no data port can be opened: {error}");
            Reply::new(425, "No data port is free")
        })
    }

    /// Answers with what the files say; on a blocking thread, as it touches the disk.
    async fn answer_from_files<F>(&mut self, ask: F) -> Result<(), Gone>
    where
        F: FnOnce(&Arc<Files>, &Who) -> Result<Reply, AreaError> + Send + 'static,
    {
        let reply = self.ask_files(ask).await.unwrap_or_else(|refusal| refusal);
        self.control.reply(&reply).await
    }

    async fn ask_files<T, F>(&self, ask: F) -> Result<T, Reply>
    where
        T: Send + 'static,
        F: FnOnce(&Arc<Files>, &Who) -> Result<T, AreaError> + Send + 'static,
    {
        let (files, place, who) =
            (Arc::clone(&self.shared.files), self.place.clone(), self.who.clone());
        let answer = move || {
            // A thread that hangs at the disk holds the place, too.
            let _place = place;
            ask(&files, &who)
        };
        match tokio::task::spawn_blocking(answer).await {
            Ok(answer) => answer.map_err(|error| error.reply()),
            Err(error) => {
                tracing::error!("{error}");
                Err(Reply::new(451, "The server failed at this command"))
            }
        }
    }
}

/// A socket of IPv6 serves IPv4 as well, under mapped addresses; IPv4 is what such a client speaks.
/// An address of IPv6 keeps its scope, without which a link-local one is none.
fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

fn locked_out(wait: Duration) -> Reply {
    // Rounded up, so that who waits as told is let in.
    Reply::new(421, format!("Too many wrong passwords; try again in {} s", wait.as_secs() + 1))
}

fn facts(files: &Files, path: Option<&PathText>, who: &Who) -> Result<Reply, AreaError> {
    let is_file = |path: &&PathText| !matches!(files.resolve(path), Ok(RemotePath::Root));
    let fact = match path.filter(is_file) {
        None => b"type=dir; /".to_vec(),
        Some(path) => files.entry(path, who)?.line(Style::Facts),
    };
    Ok(Reply::new(250, "Facts:").with_body(vec![fact]))
}
