//! A program of this host, played by a test over the local carrier.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use gpuferry_backend::channel::Channel;
use gpuferry_backend::mapping::{Mapping, Source};
use gpuferry_backend::os::signal as ring;
use wire::control::Message;
use wire::window::{STATE_DEAD, STATE_READY};

use super::{Front, Guest, eventually};

/// A program that a test plays; its session ends when it is dropped.
pub struct Program {
    pub channel: Channel,
    pub doorbell: OwnedFd,
    pub guest: Guest,
    _window: Mapping,
    pub cookie: u64,
}

pub fn hello(front: &Front, wire_version: u32) -> Channel {
    let mut channel = Channel::new(UnixStream::connect(front.path("local")).expect("connected")).expect("channel");
    let hello = Message::Hello { wire_version, process: 42, name: *b"test program\0\0\0\0" };
    channel.send(&hello, 5, vec![]).expect("sent");
    channel
}

impl Program {
    pub fn open(front: &Front) -> Program {
        let mut channel = hello(front, wire::WIRE_VERSION);
        let mut received = channel.receive_blocking().expect("an answer");
        assert_eq!(received.cookie, 5);
        let Message::Welcome { window_bytes, .. } = received.message else { panic!("{:?}", received.message) };
        let doorbell = received.descriptors.pop().expect("a doorbell");
        let memory = received.descriptors.pop().expect("a window");
        let window = Mapping::of(Source { file: memory.as_fd(), offset: 0, bytes: window_bytes }).expect("mapped");
        // SAFETY: the mapping lives as long as the program.
        let guest = unsafe { Guest::new(window.base()) };
        assert_eq!(guest.header().state.load(Ordering::Acquire), STATE_READY);
        assert_eq!(guest.header().wire_version.load(Ordering::Relaxed), wire::WIRE_VERSION);
        Program { channel, doorbell, guest, _window: window, cookie: 100 }
    }

    pub fn request(&mut self, message: &Message, descriptors: Vec<OwnedFd>) -> u64 {
        self.cookie += 1;
        self.channel.send(message, self.cookie, descriptors).expect("sent");
        self.cookie
    }

    pub fn ask(&mut self, message: &Message, descriptors: Vec<OwnedFd>) -> u32 {
        let cookie = self.request(message, descriptors);
        let received = self.channel.receive_blocking().expect("an answer");
        assert_eq!(received.cookie, cookie);
        let Message::Done { status } = received.message else { panic!("{:?}", received.message) };
        status
    }

    pub fn echo(&mut self, text: &[u8]) -> (i32, Vec<u8>) {
        let doorbell = self.doorbell.as_fd();
        self.guest.call(1, |writer| writer.raw(text), &|| ring(doorbell))
    }

    pub fn call_with(
        &mut self,
        call: u16,
        fill: impl FnOnce(&mut wire::payload::Writer<'_>) -> Result<(), wire::payload::Full>,
    ) -> (i32, Vec<u8>) {
        let doorbell = self.doorbell.as_fd();
        self.guest.call(call, fill, &|| ring(doorbell))
    }

    /// As [`Program::call_with`]; nothing where the session died instead.
    pub fn call_until_death(
        &mut self,
        call: u16,
        fill: impl FnOnce(&mut wire::payload::Writer<'_>) -> Result<(), wire::payload::Full>,
    ) -> Option<(i32, Vec<u8>)> {
        let doorbell = self.doorbell.as_fd();
        let sequence = self.guest.send(call, 0, fill, &|| ring(doorbell));
        let mut answer = None;
        eventually("an answer or death", || {
            let dead = self.guest.header().state.load(Ordering::Acquire) == STATE_DEAD;
            if !dead && self.guest.is_ready(0, sequence) {
                answer = Some(self.guest.reply(0));
            }
            dead || answer.is_some()
        });
        answer
    }
}
