//! The daemon's side of the hand-over (docs/wire/hand-over.md), as far as devices need it to which
//! nothing is offered: a process of its own, because each device keeps a connection.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::task::JoinSet;

const OWN: &str = concat!(
    r#"{"answer":"own","upgrade":null,"busy":false,"reports":[],"components":"#,
    r#"[{"component":"program","product":"PSDK_APPALIAS","version":"V02.00.00.00"}],"#,
    r#""not_now":null,"boot":"a"}"#,
    "\n"
);
const DONE: &str = "{\"answer\":\"done\"}\n";

/// Devices that share a socket: no more than the kernel keeps waiting for one.
pub(crate) const SHARE: usize = 1000;

/// Serves these devices until it is killed; says a line when it is ready.
pub(crate) fn serve(root: &Path, from: usize, devices: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut sockets = JoinSet::new();
        for device in (from..from + devices).step_by(SHARE) {
            let bound = UnixSocket::new_stream()?;
            bound.bind(directory(root, device).join("channels.sock"))?;
            sockets.spawn(accept(bound.listen(4096)?));
        }
        println!("ready");
        while let Some(ended) = sockets.join_next().await {
            ended??;
        }
        Ok(())
    })
}

/// Where the socket of a device is.
pub(crate) fn directory(root: &Path, device: usize) -> PathBuf {
    root.join(format!("daemon-{}", device / SHARE))
}

async fn accept(listener: UnixListener) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(converse(stream));
    }
}

async fn converse(mut stream: UnixStream) -> std::io::Result<()> {
    let (from, mut to) = stream.split();
    let mut lines = BufReader::with_capacity(512, from).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = if line.contains(r#""request":"watch""#) { OWN } else { DONE };
        to.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}
