//! Everything at once: requests, streams and large bodies under way while the file is edited in every
//! way there is.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;

use super::load::{Clients, assert_none, reloads};
use super::wait_until_all_serve;
use crate::harness::kubelet::Volume;
use crate::harness::upstream::ok;
use crate::harness::{Client, Sluice, Upstream, eventually};

const KEY: &str = "sluice.yaml";
const UPGRADE: &str =
    "GET /app/chat HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: lines\r\n\r\n";
const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: lines\r\n\r\n";
/// Of an upload and of a download, which take as long as all the reloads.
const LARGE: usize = 8 << 20;

/// `/app/chat` answers line by line, `/app/down` gives a large body, all else is told how much was sent.
fn application() -> Upstream {
    Upstream::start(|exchange| {
        let mut length = 0;
        let Some(head) = exchange.streamed(&mut |piece| length += piece.len())? else {
            return Ok(());
        };
        match head.target() {
            "/app/chat" => {
                exchange.write(SWITCHING)?;
                loop {
                    let line = exchange.wire.read_through(b"\n")?;
                    exchange.write(line)?;
                }
            }
            "/app/down" => {
                exchange.write(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"
                ))?;
                exchange.write("x".repeat(LARGE))
            }
            _ => exchange.write(ok(&length.to_string())),
        }
    })
}

fn yaml(mark: u64, app: &Upstream) -> String {
    let own = format!("    - {{id: app, url: '{}'}}\n    - id: echo\n", app.url());
    let rules = "rules:\n    - {path: /app/, upstreams: [app]}\n    - path: /\n";
    super::config(mark, 2)
        .replace("    - id: echo\n", &own)
        .replace("rules:\n    - path: /\n", rules)
        + "admin:\n  listen: 127.0.0.1:0\n"
}

/// Streams of every kind, begun before the first reload.
struct Streams {
    chat: Client,
    download: Client,
    upload: Client,
    /// Bytes of the upload and of the download so far.
    done: usize,
}

impl Streams {
    fn begin(sluice: &Sluice) -> Streams {
        let [mut chat, mut download, mut upload] = [(); 3].map(|()| sluice.connect());
        chat.send(UPGRADE);
        assert_eq!(chat.head().status(), 101);
        download.send("GET /app/down HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(download.head().status(), 200);
        upload.send(format!(
            "POST /app/up HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGE}\r\n\r\n"
        ));
        let done = 0;
        Streams {
            chat,
            download,
            upload,
            done,
        }
    }

    /// A little of each.
    fn go_on(&mut self, round: u64, rounds: u64) {
        let line = format!("line {round}\n");
        self.chat.send(&line);
        assert_eq!(self.chat.read_through("\n"), line);
        let goal = LARGE / usize::try_from(rounds).unwrap() * usize::try_from(round).unwrap();
        self.load(goal);
    }

    fn load(&mut self, goal: usize) {
        let piece = goal - self.done;
        self.upload.send(vec![b'u'; piece]);
        let came = self.download.wire.read_exact(piece).unwrap();
        assert!(came.iter().all(|byte| *byte == b'x'));
        self.done = goal;
    }

    fn end(mut self) {
        self.load(LARGE);
        assert_eq!(self.upload.response("POST").text(), LARGE.to_string());
        self.chat.send("bye\n");
        assert_eq!(self.chat.read_through("\n"), "bye\n");
    }
}

/// The file that the program reads: a link to a link into a volume, or in its place a file of its own.
struct File<'s> {
    sluice: &'s Sluice,
    volume: Volume,
}

impl File<'_> {
    fn edit(&mut self, way: u64, text: &str) {
        let path = self.sluice.config_path();
        match way % 5 {
            // As an editor does it.
            0 => self.sluice.rewrite(text),
            // In pieces, of which the first alone is not YAML: it may be looked at.
            1 => {
                let (first, second) = text.split_at(text.find('/').unwrap());
                fs::write(&path, first).unwrap();
                let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
                std::io::Write::write_all(&mut file, second.as_bytes()).unwrap();
            }
            // Gone for a moment.
            2 => {
                fs::remove_file(&path).unwrap();
                thread::yield_now();
                fs::write(&path, text).unwrap();
            }
            // A link to a link into a volume that the kubelet has written.
            3 => {
                self.volume.write(&[(KEY, text)]);
                let (link, beside) = (path.with_extension("link"), path.with_extension("new"));
                let _none = fs::remove_file(&link);
                symlink(self.volume.path(KEY), &link).unwrap();
                symlink(&link, &beside).unwrap();
                fs::rename(beside, path).unwrap();
            }
            // The kubelet again.
            _ => self.volume.write(&[(KEY, text), ("other", text)]),
        }
    }
}

#[test]
fn every_way_to_edit_loses_nothing_of_what_is_under_way() {
    let app = application();
    let sluice = super::start(&yaml(1, &app));
    let clients = Clients::of(&sluice);
    let mut streams = Streams::begin(&sluice);
    let mut file = File {
        sluice: &sluice,
        volume: Volume::empty(),
    };
    let rounds = reloads();
    for round in 0..rounds {
        let mark = round + 2;
        file.edit(round, &yaml(mark, &app));
        eventually(&format!("mark {mark} is served"), || {
            let seen = super::echoed(&sluice.get("/"), "x-mark");
            (seen == Some(mark.to_string())).then_some(())
        });
        streams.go_on(round, rounds);
    }
    wait_until_all_serve(&sluice, 2);
    streams.end();
    assert_none(&clients.stop(&sluice));
}
