//! A name server that says what a test wants, for a process on a network of its own.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Packet, QTYPE, RCODE, ResourceRecord, TYPE};

use super::memcached::until;

/// What is answered about any name.
#[derive(Clone, Debug, Default)]
pub(crate) enum Said {
    #[default]
    NoSuchName,
    /// The name has these addresses, in this order.
    Addresses(Vec<Ipv4Addr>),
    /// The server is in trouble.
    Trouble,
}

/// The server. It answers until the process ends.
#[derive(Clone, Default)]
pub(crate) struct NameServer(Arc<Mutex<Answering>>);

#[derive(Default)]
struct Answering {
    said: Said,
    /// How many questions for addresses have been answered so.
    asked: usize,
}

impl NameServer {
    /// Starts where the system asks, so there can be one.
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:53").expect("a network of its own");
        let server = NameServer::default();
        let answers = server.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1232];
            while let Ok((bytes, asker)) = socket.recv_from(&mut buffer) {
                let reply = answers.reply(&Packet::parse(&buffer[..bytes]).expect("a question"));
                socket.send_to(&reply, asker).expect("an answer");
            }
        });
        server
    }

    /// Says this from now on.
    pub(crate) fn say(&self, said: Said) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Answering { said, asked: 0 };
    }

    /// Waits until this has been heard so many times.
    pub(crate) fn wait_until_heard(&self, times: usize) {
        until("the name to be asked for", || {
            let answering = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (answering.asked > times).then_some(())
        });
    }

    fn reply(&self, query: &Packet<'_>) -> Vec<u8> {
        let mut answering = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reply = Packet::new_reply(query.id());
        reply.questions.clone_from(&query.questions);
        for question in query.questions.iter().filter(|question| question.qtype == QTYPE::TYPE(TYPE::A)) {
            answering.asked += 1;
            if let Said::Addresses(addresses) = &answering.said {
                let record = |address: &Ipv4Addr| {
                    ResourceRecord::new(question.qname.clone(), CLASS::IN, 0, RData::A((*address).into()))
                };
                reply.answers.extend(addresses.iter().map(record));
            }
        }
        *reply.rcode_mut() = match answering.said {
            Said::NoSuchName => RCODE::NameError,
            Said::Addresses(_) => RCODE::NoError,
            Said::Trouble => RCODE::ServerFailure,
        };
        reply.build_bytes_vec_compressed().expect("an answer")
    }
}
