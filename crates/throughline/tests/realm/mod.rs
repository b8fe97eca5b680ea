//! A realm as a process of its own, and the command line against it.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_throughline");

pub(crate) struct Realm {
    folder: TempDir,
    server: Running,
    listen: String,
}

impl Realm {
    /// Starts a realm on a free port with a data directory that vanishes.
    pub(crate) fn start() -> Realm {
        let folder = TempDir::new().unwrap();
        let (server, listen) = serve(&folder, "127.0.0.1:0", "", &[]);
        Realm { folder, server, listen }
    }

    /// Ends the server as a crash does.
    pub(crate) fn kill(&mut self) {
        self.server.child.kill().unwrap();
        self.server.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) {
        self.restart_with("", &[]);
    }

    /// The same with the text of a configuration file, and with more flags.
    pub(crate) fn restart_with(&mut self, config: &str, flags: &[&str]) {
        let (server, listen) = serve(&self.folder, &self.listen, config, flags);
        assert_eq!(listen, self.listen);
        self.server = server;
    }

    /// Copies the data of a realm that is down.
    pub(crate) fn back_up(&self) {
        self.copy("data", "backup");
    }

    /// Puts the copy in the data's place.
    pub(crate) fn restore(&self) {
        std::fs::remove_dir_all(self.folder.path().join("data")).unwrap();
        self.copy("backup", "data");
    }

    fn copy(&self, from: &str, to: &str) {
        let status = Command::new("cp").args(["-a", from, to]).current_dir(self.folder.path()).status();
        assert!(status.unwrap().success());
    }

    /// Host and port.
    pub(crate) fn listen(&self) -> &str {
        &self.listen
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        command(&self.listen, line)
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that has to succeed; gives what it printed.
    pub(crate) fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that has to fail with this status; gives what it said.
    pub(crate) fn fails(&self, status: i32, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(status), "{line}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Runs a command with this input.
    pub(crate) fn fed(&self, line: &str, input: &[u8]) -> String {
        let mut running = self.start_command(line);
        running.input.take().unwrap().write_all(input).unwrap();
        let output = running.child.wait_with_output_of(running.output);
        assert!(output.0, "{line}");
        output.1
    }

    pub(crate) fn start_command(&self, line: &str) -> Running {
        Running::of(&mut self.command(line))
    }
}

pub(crate) fn command(listen: &str, line: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_remove("THROUGHLINE_URL").args(["--url", &format!("http://{listen}")]).args(line.split_whitespace());
    command
}

/// Does what Ctrl-C does to a process.
pub(crate) fn interrupt(id: u32) {
    assert!(Command::new("kill").args(["-INT", &id.to_string()]).status().unwrap().success());
}

fn serve(folder: &TempDir, listen: &str, config: &str, flags: &[&str]) -> (Running, String) {
    let file = folder.path().join("throughline.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--listen", listen]).args(flags);
    command.arg("--data").arg(folder.path().join("data")).arg("--config").arg(file);
    let mut server = Running::of(&mut command);
    let line = server.line();
    let listen = line.strip_prefix("listening on http://").expect("the address");
    (server, listen.to_owned())
}

/// A program that is ended with the test.
pub(crate) struct Running {
    pub(crate) child: Ended,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) output: BufReader<ChildStdout>,
}

/// A child that is killed when it is dropped.
pub(crate) struct Ended(Child);

impl Running {
    fn of(command: &mut Command) -> Running {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Running { child: Ended(child), input, output }
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the output ended");
        line.pop();
        line
    }

    pub(crate) fn feed(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Does what Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        interrupt(self.child.0.id());
    }

    /// Ends its input, and waits; true when it succeeded, and what else it printed.
    pub(crate) fn end(mut self) -> (bool, String) {
        drop(self.input.take());
        self.child.wait_with_output_of(self.output)
    }
}

impl Ended {
    pub(crate) fn kill(&mut self) -> std::io::Result<()> {
        self.0.kill()
    }

    pub(crate) fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.0.wait()
    }

    fn wait_with_output_of(&mut self, mut output: BufReader<ChildStdout>) -> (bool, String) {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut output, &mut text).unwrap();
        (self.0.wait().unwrap().success(), text)
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
