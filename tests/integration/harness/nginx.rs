//! A real nginx as a server, in a folder and on a port of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

use super::foreign::find;
use super::port;
use super::wait::eventually;

pub(crate) struct Nginx {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Nginx {
    /// Runs the lines of one `server`, in which `PORT` and `FOLDER` stand for its own; `None` where it
    /// is not installed.
    #[track_caller]
    pub(crate) fn serving(server: &str) -> Option<Nginx> {
        // nginx does not tell which port it took.
        Nginx::serving_at(port::free_address(), server)
    }

    /// The same at an address that is free.
    #[track_caller]
    pub(crate) fn serving_at(address: SocketAddr, server: &str) -> Option<Nginx> {
        let mut command = find("nginx")?;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nginx.conf");
        let server = server
            .replace("PORT", &address.port().to_string())
            .replace("FOLDER", folder.path().to_str().unwrap());
        fs::write(&path, config(folder.path(), &server)).unwrap();
        let child = command
            .arg("-c")
            .arg(&path)
            .arg("-e")
            .arg("stderr")
            .stderr(Stdio::null());
        let child = child.spawn().unwrap();
        let nginx = Nginx {
            child,
            address,
            folder,
        };
        eventually("nginx listens", || {
            std::net::TcpStream::connect(address).ok()
        });
        Some(nginx)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // One process: the master would leave its worker behind.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn config(folder: &Path, server: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr;\n\
         events {{}}\n\
         http {{\n access_log off;\n client_body_temp_path {folder}/body;\n \
         proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fcgi;\n \
         uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n \
         server {{\n{server}\n}}\n}}\n"
    )
}
