//! Between the thread that packs and encrypts and the task that reads or writes the blob: pieces through bounded channels.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;

/// Pieces are gathered to this size.
pub(super) const PIECE: usize = 512 << 10;
/// So many of them wait at most.
pub(super) const WAITING: usize = 4;

/// What goes through a channel: pieces, then the word that it was all. A channel that just ends was given up.
pub(super) enum Part {
    Piece(Bytes),
    End,
}

/// Sends what is written to it.
pub(super) struct Outlet {
    to: mpsc::Sender<Part>,
    gathered: BytesMut,
}

impl Outlet {
    pub(super) fn new(to: mpsc::Sender<Part>) -> Self {
        Self { to, gathered: BytesMut::with_capacity(PIECE) }
    }

    fn send(&mut self, part: Part) -> io::Result<()> {
        self.to.blocking_send(part).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.gathered, BytesMut::with_capacity(PIECE)).freeze();
        if piece.is_empty() { Ok(()) } else { self.send(Part::Piece(piece)) }
    }

    /// Sends the rest, and that it was all.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.pass_on()?;
        self.send(Part::End)
    }
}

impl Write for Outlet {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let taken = buffer.len().min(PIECE - self.gathered.len());
        self.gathered.extend_from_slice(&buffer[..taken]);
        if self.gathered.len() == PIECE {
            self.pass_on()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what comes.
pub(super) struct Inlet {
    from: mpsc::Receiver<Part>,
    piece: Bytes,
    ended: bool,
}

impl Inlet {
    pub(super) fn new(from: mpsc::Receiver<Part>) -> Self {
        Self { from, piece: Bytes::new(), ended: false }
    }
}

impl Read for Inlet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.from.blocking_recv() {
                Some(Part::Piece(piece)) => self.piece = piece,
                Some(Part::End) => self.ended = true,
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let taken = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..taken]);
        Ok(taken)
    }
}
