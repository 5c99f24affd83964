//! Other processes: the examples, and this test binary again.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::folder::Folder;

/// An example's program, built with the tests.
pub(crate) fn example(name: &str) -> Command {
    let tests = std::env::current_exe().expect("this program has a path");
    let profile: PathBuf = tests.ancestors().nth(2).expect("target/<profile>/deps/<test>").into();
    let mut command = Command::new(profile.join("examples").join(name));
    clean(&mut command);
    command
}

/// One test of this binary in a process of its own, told so by `ROLE`.
pub(crate) fn again(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    clean(&mut command);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command
}

/// The same process, but it leaves the machine to others: tests beside it tell the time.
pub(crate) fn gently(command: &Command) -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", "15"]);
    under(nice, command)
}

/// The same process on a network of its own, where it is the name server itself. Not
/// without the tool `Namespaces`.
pub(crate) fn apart(command: &Command, folder: &Folder) -> Command {
    let asks_itself = folder.write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    let asks_no_other = folder.write("nsswitch.conf", "hosts: files dns\n");
    let script = r#"ip link set lo up
        mount --bind "$1" /etc/resolv.conf
        [ ! -e /etc/nsswitch.conf ] || mount --bind "$2" /etc/nsswitch.conf
        shift 2
        exec "$@""#;
    let mut shell = Command::new("unshare");
    shell.args(["-mn", "sh", "-ec", script, "sh", &asks_itself, &asks_no_other]);
    under(shell, command)
}

/// The same process, run by another program.
pub(crate) fn under(mut program: Command, command: &Command) -> Command {
    program.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => program.env(name, value),
            None => program.env_remove(name),
        };
    }
    program
}

/// Runs a test in a process of its own. It tells its module and its name.
pub(crate) fn alone(module: &str, test: &str, run: impl FnOnce()) {
    let (_program, module) = module.split_once("::").expect("a path");
    match role() {
        Some(_) => run(),
        None => drop(output(&mut again(&format!("{module}::{test}"), "alone"))),
    }
}

/// The role of this process, if a test started it.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// What a successful process has printed.
pub(crate) fn output(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("the program starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?} failed: {stdout}{stderr}");
    stdout.into_owned()
}

const ROLE: &str = "BEHAVIOUR_TEST_ROLE";

/// Without what the caller's environment says about caches and telemetry.
fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("MEMCACHED_") || name.starts_with("OTEL_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
}
