//! The header of the PROXY protocol, versions 1 and 2, with which a proxy in front says whose a
//! connection is (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! What holds: not a byte behind the header is read, since another protocol begins there; what it may
//! take is bounded; what it says besides an address is skipped, and must be whole all the same.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// No header is shorter, of either version.
const SHORTEST: usize = 12;
const SIGNATURE: &[u8; SHORTEST] = b"\r\n\r\n\0\r\nQUIT\n";
/// The fixed part of a header of version 2: signature, command, family and length.
const FIXED: usize = 16;
/// The longest header of version 1, with its CR LF.
const LONGEST_LINE: usize = 107;
/// Addresses and whatever a proxy adds: nobody needs more than a certificate or two.
const LONGEST_REST: usize = 8 * 1024;

/// Whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Client(IpAddr),
    /// The proxy's own, or of somebody who has no address.
    Proxys,
}

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// At least so many bytes of it are still to come.
    Needs(usize),
    Whole(Whose),
}

/// The bytes are the beginning of no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

type Parsed<T> = Result<T, Malformed>;

/// Looks at the bytes that have come. Whoever reads no more at once than the header needs never reads
/// past it.
///
/// # Errors
/// When they are no header, or more than one.
pub fn parse(bytes: &[u8]) -> Parsed<Header> {
    let Some(first) = bytes.first_chunk::<SHORTEST>() else {
        return Ok(Header::Needs(SHORTEST - bytes.len()));
    };
    if first == SIGNATURE {
        version_2(bytes)
    } else if first.starts_with(b"PROXY ") {
        version_1(bytes)
    } else {
        Err(Malformed("neither version of the header"))
    }
}

/// Reads a header, and nothing else.
///
/// # Errors
/// When the connection breaks off, or begins otherwise ([`io::ErrorKind::InvalidData`]).
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Whose> {
    let mut bytes = Vec::with_capacity(LONGEST_LINE);
    loop {
        match parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Header::Whole(whose) => return Ok(whose),
            Header::Needs(more) => {
                let read = bytes.len();
                bytes.resize(read + more, 0);
                stream.read_exact(&mut bytes[read..]).await?;
            }
        }
    }
}

/// Section 2.1: one line of text.
fn version_1(bytes: &[u8]) -> Parsed<Header> {
    let Some(end) = memchr::memchr2(b'\r', b'\n', bytes) else {
        let full = bytes.len() + 2 > LONGEST_LINE;
        return if full { Err(Malformed("the line is too long")) } else { Ok(Header::Needs(2)) };
    };
    match &bytes[end..] {
        b"\r" => return Ok(Header::Needs(1)),
        b"\r\n" => {}
        _ => return Err(Malformed("the line does not end in CR LF")),
    }
    let line = str::from_utf8(&bytes[..end]).map_err(|_| Malformed("the line is not ASCII"))?;
    let fields: Vec<&str> = line.split(' ').collect();
    let whose = match fields[1..] {
        ["UNKNOWN", ..] => Whose::Proxys,
        [family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            if !is_port(from_port) || !is_port(to_port) {
                return Err(Malformed("a port is none"));
            }
            let address = |text: &str| match family {
                "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
                _ => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            };
            match (address(from), address(to)) {
                (Some(from), Some(_)) => Whose::Client(from.to_canonical()),
                _ => return Err(Malformed("an address is none of its family")),
            }
        }
        _ => return Err(Malformed("the line has other fields")),
    };
    Ok(Header::Whole(whose))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Section 2.2.
fn version_2(bytes: &[u8]) -> Parsed<Header> {
    let Some(fixed) = bytes.first_chunk::<FIXED>() else {
        return Ok(Header::Needs(FIXED - bytes.len()));
    };
    let is_local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed("neither LOCAL nor PROXY of version 2")),
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > LONGEST_REST {
        return Err(Malformed("the header is too long"));
    }
    let rest = &bytes[FIXED..];
    if rest.len() < length {
        return Ok(Header::Needs(length - rest.len()));
    }
    if rest.len() > length {
        return Err(Malformed("more than one header"));
    }
    // The command comes first: with LOCAL whatever else is said is to be ignored.
    Ok(Header::Whole(if is_local { Whose::Proxys } else { client(fixed[13], rest)? }))
}

/// Who is behind a proxied connection. What follows the addresses is skipped.
fn client(family: u8, rest: &[u8]) -> Parsed<Whose> {
    const SHORT: Malformed = Malformed("the addresses are cut short");
    let (whose, extensions) = match family {
        0x11 => {
            let (addresses, extensions) = rest.split_first_chunk::<12>().ok_or(SHORT)?;
            let [a, b, c, d, ..] = *addresses;
            (Whose::Client(Ipv4Addr::new(a, b, c, d).into()), extensions)
        }
        0x21 => {
            let (addresses, extensions) = rest.split_first_chunk::<36>().ok_or(SHORT)?;
            let (from, _) = addresses.split_first_chunk::<16>().ok_or(SHORT)?;
            (Whose::Client(IpAddr::from(*from).to_canonical()), extensions)
        }
        0x31 => {
            let (_, extensions) = rest.split_first_chunk::<216>().ok_or(SHORT)?;
            (Whose::Proxys, extensions)
        }
        // Unspecified: nothing can be read of what follows.
        0x00 => return Ok(Whose::Proxys),
        _ => return Err(Malformed("a family or transport that no connection here has")),
    };
    whole(extensions)?;
    Ok(whose)
}

/// Whether type, length and value follow each other to the end.
fn whole(mut extensions: &[u8]) -> Parsed<()> {
    while !extensions.is_empty() {
        let [_, high, low, rest @ ..] = extensions else {
            return Err(Malformed("an extension is cut short"));
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        extensions = rest.get(length..).ok_or(Malformed("an extension is longer than the header"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    /// Reads a header with other bytes behind it, and says what was left of them.
    fn read_with(behind: &[u8], header: &[u8]) -> (io::Result<Whose>, Vec<u8>) {
        let bytes = [header, behind].concat();
        let mut stream = bytes.as_slice();
        let mut reading = Box::pin(read(&mut stream));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(whose) = reading.as_mut().poll(&mut cx) else { panic!("it waits") };
        drop(reading);
        (whose, stream.to_vec())
    }

    const FROM_4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0, 80];

    #[test]
    fn whose_it_is_is_read_and_nothing_behind_it() {
        let client = |text: &str| Whose::Client(text.parse().unwrap());
        let mut from_6 = [0; 36];
        from_6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        let mut mapped = [0; 36];
        mapped[..16].copy_from_slice(&"::ffff:192.0.2.7".parse::<Ipv6Addr>().unwrap().octets());
        let extended = [&FROM_4[..], b"\x01\0\x02h2\x04\0\0"].concat();
        for (header, whose) in [
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 80\r\n".to_vec(), client("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n".to_vec(), client("2001:db8::7")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".to_vec(), client("192.0.2.7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Whose::Proxys),
            (b"PROXY UNKNOWN ::1 whatever\r\n".to_vec(), Whose::Proxys),
            (version_2(0x21, 0x11, &FROM_4), client("192.0.2.7")),
            (version_2(0x21, 0x11, &extended), client("192.0.2.7")),
            (version_2(0x21, 0x21, &from_6), client("2001:db8::7")),
            (version_2(0x21, 0x21, &mapped), client("192.0.2.7")),
            (version_2(0x21, 0x31, &[b'/'; 216]), Whose::Proxys),
            (version_2(0x21, 0x00, b"anything"), Whose::Proxys),
            (version_2(0x20, 0x11, &FROM_4), Whose::Proxys),
            (version_2(0x20, 0x00, b""), Whose::Proxys),
        ] {
            let (read, left) = read_with(b"GET / HTTP/1.1\r\n", &header);
            assert_eq!(read.unwrap(), whose, "{}", header.escape_ascii());
            assert_eq!(left, b"GET / HTTP/1.1\r\n", "{}", header.escape_ascii());
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for header in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 12345\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 80 x\r\n".to_vec(),
            b"PROXY TCP4  192.0.2.7 198.51.100.1 12345 80\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP6 192.0.2.7 192.0.2.8 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 192.0.2.8 +1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 192.0.2.8 1 65536\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\rx".to_vec(),
            b"proxy TCP4 192.0.2.7 192.0.2.8 1 2\r\n".to_vec(),
            b"PROXY UNKNOWN\xff\r\n".to_vec(),
            long.into_bytes(),
            version_2(0x31, 0x11, &FROM_4),
            version_2(0x22, 0x11, &FROM_4),
            version_2(0x21, 0x12, &FROM_4),
            version_2(0x21, 0x41, &FROM_4),
            version_2(0x21, 0x11, &FROM_4[..11]),
            version_2(0x21, 0x21, &FROM_4),
            version_2(0x21, 0x11, &[&FROM_4[..], b"\x01\0"].concat()),
            version_2(0x21, 0x11, &[&FROM_4[..], b"\x01\xff\xffshort"].concat()),
            version_2(0x21, 0x11, &vec![0; 0xffff]),
        ] {
            let (read, _) = read_with(b"xx", &header);
            let kind = read.map_err(|error| error.kind());
            assert_eq!(kind, Err(io::ErrorKind::InvalidData), "{}", header.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_in_bounds(bytes in prop::collection::vec(any::<u8>(), 0..300), signed: bool) {
            let bytes = if signed { [&SIGNATURE[..], &bytes].concat() } else { bytes };
            let mut read = 0;
            while let Ok(Header::Needs(more)) = parse(&bytes[..read]) {
                prop_assert!(more > 0);
                read += more;
                prop_assert!(read <= FIXED + LONGEST_REST);
                if read > bytes.len() {
                    break;
                }
            }
        }
    }
}
