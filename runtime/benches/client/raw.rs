//! The baseline: a hand-written loop over a socket.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;

/// The bare minimum of the classic protocol.
pub(crate) struct Raw {
    stream: TcpStream,
    output: Vec<u8>,
    input: Vec<u8>,
}

impl Raw {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Raw { stream, output: Vec::new(), input: vec![0; 64 * 1024] }
    }

    pub(crate) fn get(&mut self, key: &str) -> Vec<u8> {
        let length = self.ask(&[b"get ", key.as_bytes()], b"END\r\n");
        let reply = &self.input[..length];
        let head = reply.iter().position(|byte| *byte == b'\n').unwrap();
        reply[head + 1..length - b"\r\nEND\r\n".len()].to_vec()
    }

    /// Returns the length of the reply, without decoding it.
    pub(crate) fn get_many(&mut self, keys: &[String]) -> usize {
        let mut words = vec![&b"get"[..]];
        for key in keys {
            words.extend([&b" "[..], key.as_bytes()]);
        }
        self.ask(&words, b"END\r\n")
    }

    /// Returns the values in the order of the keys.
    pub(crate) fn get_list(&mut self, keys: &[String]) -> Vec<Option<Vec<u8>>> {
        let length = self.get_many(keys);
        let mut rest = &self.input[..length];
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(item) = rest.strip_prefix(b"VALUE ").filter(|item| item.starts_with(key.as_bytes())) else {
                values.push(None);
                continue;
            };
            let (head, tail) = item.split_at(item.iter().position(|byte| *byte == b'\r').unwrap());
            let size = std::str::from_utf8(head).unwrap().rsplit(' ').next().unwrap().parse::<usize>().unwrap();
            let (value, next) = tail[2..].split_at(size);
            values.push(Some(value.to_vec()));
            rest = &next[2..];
        }
        values
    }

    /// Returns the values by key, as clients do.
    pub(crate) fn get_map(&mut self, keys: &[String]) -> HashMap<String, Vec<u8>> {
        let mut values = HashMap::with_capacity(keys.len());
        let length = self.get_many(keys);
        let mut rest = &self.input[..length];
        while let Some(item) = rest.strip_prefix(b"VALUE ") {
            let (head, tail) = item.split_at(item.iter().position(|byte| *byte == b'\r').unwrap());
            let mut words = std::str::from_utf8(head).unwrap().split(' ');
            let (key, size) = (words.next().unwrap(), words.nth(1).unwrap().parse::<usize>().unwrap());
            let (value, next) = tail[2..].split_at(size);
            values.insert(key.to_owned(), value.to_vec());
            rest = &next[2..];
        }
        values
    }

    pub(crate) fn set(&mut self, key: &str, value: &[u8]) {
        let size = value.len().to_string();
        self.ask(&[b"set ", key.as_bytes(), b" 0 600 ", size.as_bytes(), b"\r\n", value], b"STORED\r\n");
    }

    fn ask(&mut self, words: &[&[u8]], end: &[u8]) -> usize {
        self.output.clear();
        words.iter().for_each(|word| self.output.extend_from_slice(word));
        self.output.extend_from_slice(b"\r\n");
        self.stream.write_all(&self.output).unwrap();
        let mut length = 0;
        while !self.input[..length].ends_with(end) {
            let read = self.stream.read(&mut self.input[length..]).unwrap();
            assert!(read > 0, "the server has closed the connection, or the reply exceeds the buffer");
            length += read;
        }
        length
    }
}
