//! What a shard needs of a connection.

use std::io::{self, IoSlice};

/// A connection that can be written to without waiting. Reading is the runtime's matter.
pub trait Sock {
    /// Writes what the connection takes now; `WouldBlock` when it takes nothing.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// The same for several slices in a row.
    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// True when it has taken in bytes that it could not pass on yet: [`Sock::flush`] is owed once it can.
    fn is_behind(&self) -> bool {
        false
    }

    /// Passes on what it has taken in; `WouldBlock` when some is left.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    /// True when its client has to acknowledge what it is given, and never did.
    fn is_untaken(&self) -> bool {
        false
    }

    /// Says that nothing more will be written. The peer's end is still awaited.
    fn shutdown(&self);

    /// Ends the connection in both directions, so that its reader sees the end.
    fn abort(&self);
}
