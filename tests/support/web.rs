//! Just enough of HTTP to visit a page on this machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// Status and body of a page.
pub(crate) fn visit(port: u16, path: &str) -> std::io::Result<(u16, String)> {
    status(answer(port, "GET", path, "")?)
}

/// Sends a page's new content; the status and body of the answer.
pub(crate) fn put(port: u16, path: &str, content: &str) -> std::io::Result<(u16, String)> {
    status(answer(port, "PUT", path, content)?)
}

fn status((head, body): (String, String)) -> std::io::Result<(u16, String)> {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, body))
}

/// A header of a page, if it has that; `name` is in lower case.
pub(crate) fn header(port: u16, path: &str, name: &str) -> std::io::Result<Option<String>> {
    let (head, _) = answer(port, "GET", path, "")?;
    let value = head.lines().find_map(|line| line.split_once(": ").filter(|(found, _)| *found == name));
    Ok(value.map(|(_, value)| value.to_owned()))
}

fn answer(port: u16, method: &str, path: &str, content: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let length = content.len();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n{content}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok((head.to_owned(), body.to_owned()))
}

/// A text as part of an address.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// A port without a listener just now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
