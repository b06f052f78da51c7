//! HTTP/1.1 as RFC 9112 has it, for a reader that repairs nothing. Written apart from the gateway's own.

/// How the end of a body is found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// The names are in lower case.
pub(crate) type Fields = Vec<(String, String)>;

pub(crate) struct Head {
    pub(crate) target: String,
    pub(crate) fields: Fields,
    pub(crate) framing: Framing,
    is_http_1_0: bool,
}

impl Head {
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }
}

fn is_token(bytes: &[u8]) -> bool {
    let of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(of_token)
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

/// A head with the empty line at its end.
pub(crate) fn head(bytes: &[u8]) -> Option<Head> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let sound = parts.next().is_none() && is_token(method) && !target.is_empty();
    if !sound || !target.iter().all(|byte| *byte > b' ' && *byte != 0x7f) {
        return None;
    }
    let is_http_1_0 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return None,
    };
    let fields = fields(rest)?;
    let of = |name: &str| {
        fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    };
    let (lengths, codings): (Vec<&str>, Vec<&str>) = (of("content-length"), of("transfer-encoding"));
    let framing = match (&lengths[..], &codings[..]) {
        ([], []) => Framing::None,
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            Framing::Length(length.parse().ok()?)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && !is_http_1_0 => Framing::Chunked,
        _ => return None,
    };
    let target = String::from_utf8_lossy(target).into_owned();
    Some(Head { target, fields, framing, is_http_1_0 })
}

/// Lines of fields, with the empty line at their end.
pub(crate) fn fields(mut bytes: &[u8]) -> Option<Fields> {
    let mut fields = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
        if line.is_empty() {
            return rest.is_empty().then_some(fields);
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) || !is_text(value) {
            return None;
        }
        let value = String::from_utf8_lossy(value.trim_ascii()).into_owned();
        fields.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value));
        bytes = rest;
    }
}

/// Of a line with the line's end.
pub(crate) fn chunk_size(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\r\n")?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    let is_extension =
        extension.trim_ascii_start().first().is_none_or(|first| *first == b';') && is_text(extension);
    let size = u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
    is_extension.then_some(size)
}

/// How many heads there are in these bytes, up to the first mistake.
pub(crate) fn heads(mut bytes: &[u8]) -> usize {
    let mut heads = 0;
    while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let Some(head) = head(&bytes[..end + 4]) else { break };
        heads += 1;
        let Some(rest) = after_body(&bytes[end + 4..], head.framing) else { break };
        if head.is_http_1_0 {
            break;
        }
        bytes = rest;
    }
    heads
}

fn after_body(mut bytes: &[u8], framing: Framing) -> Option<&[u8]> {
    match framing {
        Framing::None => Some(bytes),
        Framing::Length(length) => bytes.get(usize::try_from(length).ok()?..),
        Framing::Chunked => loop {
            let end = bytes.iter().position(|byte| *byte == b'\n')? + 1;
            let size = usize::try_from(chunk_size(&bytes[..end])?).ok()?;
            bytes = &bytes[end..];
            if size == 0 {
                let end = if bytes.starts_with(b"\r\n") {
                    2
                } else {
                    bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4
                };
                fields(&bytes[..end])?;
                return Some(&bytes[end..]);
            }
            bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
        },
    }
}
